/* What becomes of failures of the device: every call into the CUDA runtime fails once, at every moment of a model's life, and once for
 * good. And what is known of memory before anything is allocated. Skips where there is no device. */
#include "tests/golden/golden.h"
#include "tests/gpu/card.h"
#include "tests/gpu/cuda_calls.h"

#include "infer/engine.h"
#include "kernels/cuda/device.h"

#include <poll.h>

#define MODEL "qwen2-gqa7"
enum { N_CTX = 256, PROMPT = 40, TOKENS = 6, AGAIN = 3 };

static int32_t wanted[TOKENS]; /* what comes when nothing fails */

static void expect_one_line(const struct err *err, int status) {
    assert_true(status < 0 && err->code == status);
    if (!*err->text || strchr(err->text, '\n')) fail_msg("after %s: \"%s\", expected one line", calls.failed, err->text);
}

static void fill_prompt(int32_t *ids, uint32_t n_vocab) {
    for (uint32_t i = 0; i < PROMPT; i++) ids[i] = (int32_t)(i * 37 % n_vocab);
}

/* Read the prompt after what is there, and decode. */
static int answer(struct rig *rig, int32_t *out, struct err *err) {
    int32_t ids[PROMPT];
    fill_prompt(ids, rig->view->n_vocab);
    uint32_t length = rig->ops->timeline_length(rig->timeline);
    assert_true(length <= PROMPT);
    struct step_request prompt = {.ids = ids + length, .n = PROMPT - length};
    int status = prompt.n ? rig->ops->step(rig->timeline, &prompt, err) : STATUS_OK;
    struct decode *decode = NULL;
    struct decode_request request = {.id = 5, .sampling = {.repeat_penalty = 1}, .limit = TOKENS, .top_k = 5};
    if (status == STATUS_OK) status = rig->ops->decode_begin(rig->timeline, &request, &decode, err);
    for (uint32_t i = 0; status == STATUS_OK && i < TOKENS; i++) {
        struct step_result result;
        status = rig->ops->decode_next(decode, &result, err);
        if (status == STATUS_OK) out[i] = result.id;
    }
    if (decode) rig->ops->decode_end(decode, PROMPT);
    return status;
}

/* What was answered to another timeline, copied, and by way of host memory. */
static int keep(struct rig *rig, struct err *err) {
    struct timeline *other = NULL;
    size_t size = rig->ops->timeline_size(rig->timeline, PROMPT);
    void *saved = malloc(size);
    assert_non_null(saved);
    int status = rig->ops->timeline_new(rig->backend, N_CTX, &other, err);
    if (status == STATUS_OK) status = rig->ops->timeline_copy(other, rig->timeline, PROMPT, err);
    if (status == STATUS_OK) status = rig->ops->timeline_save(other, PROMPT, saved, err);
    if (status == STATUS_OK) status = rig->ops->timeline_load(other, saved, size, err);
    if (status == STATUS_OK) assert_memory_equal(rig->ops->timeline_ids(other), rig->ops->timeline_ids(rig->timeline), PROMPT * sizeof(int32_t));
    rig->ops->timeline_free(other);
    free(saved);
    return status;
}

/* A model's whole life. False: nothing failed. */
static bool live(struct model *model, uint32_t fail_at, bool for_good) {
    struct rig rig = {.ops = &backend_cuda, .view = model_view(model)};
    struct backend_options options = {.n_ctx = N_CTX};
    struct err err = {0};
    int32_t ids[TOKENS];
    calls_begin(fail_at, for_good);
    int status = rig.ops->open(rig.view, &options, NULL, NULL, &rig.backend, &err);
    if (status == STATUS_OK) status = rig.ops->timeline_new(rig.backend, N_CTX, &rig.timeline, &err);
    if (status == STATUS_OK) {
        status = answer(&rig, ids, &err);
        for (int i = 0; i < AGAIN && status != STATUS_OK && status != STATUS_DEVICE; i++) { /* what is left can be used on */
            expect_one_line(&err, status);
            status = answer(&rig, ids, &err);
        }
        if (status == STATUS_OK) assert_memory_equal(ids, wanted, sizeof ids);
        if (status == STATUS_OK) status = keep(&rig, &err);
    }
    if (status != STATUS_OK) expect_one_line(&err, status);
    if (status != STATUS_OK && !calls_failed()) fail_msg("nothing failed, and yet: %s", err.text);
    rig.ops->timeline_free(rig.timeline);
    rig.ops->close(rig.backend);
    if (calls.held) fail_msg("after %s (call %u) %d things were not given back", calls.failed, fail_at, calls.held);
    return calls_failed();
}

static struct model *open_model(void) {
    struct model *model;
    struct err err;
    must(model_open(TEST_DATA "/nano/" MODEL ".gguf", MODEL_WHOLE, &model, &err), &err, MODEL);
    return model;
}

static int find_out(void **state) {
    (void)state;
    struct rig rig = rig_open(&backend_cuda, MODEL, &(struct backend_options){.n_ctx = N_CTX});
    struct err err;
    must(answer(&rig, wanted, &err), &err, "answer");
    rig_close(&rig);
    return 0;
}

static void every_call_may_fail_once(void **state) {
    (void)state;
    struct model *model = open_model();
    uint32_t n = 1;
    while (live(model, n, false)) n++;
    assert_true(n > 100);
    if (verbose) printf("%u calls failed, one each time\n", n - 1);
    model_close(model);
}

static void every_call_may_be_the_last(void **state) {
    (void)state;
    struct model *model = open_model();
    uint32_t n = 1;
    while (live(model, n, true)) n++;
    assert_true(n > 100);
    if (verbose) printf("the device was lost at %u moments\n", n - 1);
    model_close(model);
}

/* ---- an engine on such a device ---- */

static struct engine_event *next(struct engine *engine) {
    static struct engine_event event;
    while (!engine->ops->next(engine, &event)) {
        struct pollfd fd = {.fd = engine->ops->wake_fd(engine), .events = POLLIN};
        if (poll(&fd, 1, 60000) != 1) fail_msg("no event came");
    }
    return &event;
}

/* One question and its answer of TOKENS ids; where the device was lost it went on on the CPU. Returns notices. */
static uint32_t converse(struct engine *engine, uint64_t id) {
    const char text[] = "the cat sat on the mat and the dog";
    struct engine_request request = {.id = id, .raw = text, .raw_len = strlen(text), .top_k = 5, .n_predict = TOKENS};
    struct err err;
    sampling_defaults(&request.sampling);
    must(engine->ops->submit(engine, &request, &err), &err, "submit");
    uint32_t n = 0, n_notices = 0;
    for (;;) {
        const struct engine_event *event = next(engine);
        n += event->type == ENGINE_TOKEN;
        if (event->type == ENGINE_NOTICE) {
            n_notices++;
            expect_one_line(&event->error, STATUS_DEVICE);
        }
        if (event->type != ENGINE_DONE) continue;
        if (event->done.reason != ENGINE_LIMIT && event->done.reason != ENGINE_END)
            fail_msg("after %s (call %u): %s", calls.failed, calls.fail_at, event->error.text);
        assert_true(n > 0);
        return n_notices;
    }
}

static void a_conversation_outlives_the_device(void **state) {
    (void)state;
    struct engine_options options = {.model = TEST_DATA "/nano/" MODEL ".gguf", .n_threads = 2, .n_ctx = N_CTX};
    uint32_t n_moved = 0;
    for (uint32_t fail_at = 1;; fail_at++) {
        calls_begin(fail_at, true);
        struct engine *engine = engine_local(&options);
        const struct engine_event *event;
        uint32_t n_notices = 0;
        while ((event = next(engine))->type != ENGINE_READY) {
            if (event->type == ENGINE_FAILED) fail_msg("after %s: %s", calls.failed, event->error.text);
            n_notices += event->type == ENGINE_NOTICE;
        }
        bool lost_in_answer = !calls_failed();
        n_notices += converse(engine, 1);
        n_notices += converse(engine, 2);
        lost_in_answer = lost_in_answer && n_notices;
        n_moved += lost_in_answer;
        bool card = strstr(engine->ops->info(engine)->device, "threads") == NULL;
        if (n_notices > 1 || (n_notices == 1) == card)
            fail_msg("after %s (call %u): told %u times, and it runs on %s", calls.failed, fail_at, n_notices, engine->ops->info(engine)->device);
        engine->ops->close(engine);
        if (calls.held) fail_msg("after %s (call %u) %d things were not given back", calls.failed, fail_at, calls.held);
        if (!calls_failed()) break;
    }
    assert_true(n_moved > 10);
    if (verbose) printf("%u conversations went on on the CPU in the middle of an answer\n", n_moved);
}

/* ---- kernels whose blocks wait for each other ---- */

/* A step is one kernel only where all its blocks can run at the same time; elsewhere it is a chain, and says the same. */
static void steps_never_wait_for_blocks_that_do_not_run(void **state) {
    (void)state;
    for (int why = 0; why < 3; why++) {
        calls_begin(0, false);
        calls.crowded = why == 1;
        calls.mps = why == 2;
        struct rig rig = rig_open(&backend_cuda, MODEL, &(struct backend_options){.n_ctx = N_CTX});
        struct err err;
        int32_t ids[TOKENS];
        assert_true(rig.backend->whole == (why == 0 && rig.backend->properties.major >= 9));
        must(answer(&rig, ids, &err), &err, "answer");
        assert_memory_equal(ids, wanted, sizeof ids);
        struct decode *decode = NULL; /* a chain of samplers that looks at the whole vocabulary: blocks that meet */
        struct decode_request run = {.id = 5, .limit = TOKENS, .top_k = 5};
        struct step_result result;
        sampling_defaults(&run.sampling);
        run.sampling.dry_multiplier = 0.8f;
        must(rig.ops->decode_begin(rig.timeline, &run, &decode, &err), &err, "decode_begin");
        for (int i = 0; i < TOKENS; i++) must(rig.ops->decode_next(decode, &result, &err), &err, "decode_next");
        rig.ops->decode_end(decode, PROMPT);
        rig_close(&rig);
    }
    calls.crowded = calls.mps = false;
}

/* ---- memory ---- */

/* After the timeline is there nothing is allocated, whatever is asked. */
static void nothing_is_allocated_in_a_run(void **state) {
    (void)state;
    for (size_t i = 0; i < NANO_MODELS; i++) {
        calls_begin(0, false);
        struct rig rig = rig_open(&backend_cuda, nano_names[i], &(struct backend_options){.n_ctx = 700});
        int32_t ids[600];
        for (uint32_t k = 0; k < 600; k++) ids[k] = (int32_t)(k * 37 % rig.view->n_vocab);
        calls_begin(0, false);
        static const uint32_t lengths[] = {1, 2, 31, 513};
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            struct step_request request = {.ids = ids, .n = lengths[l]};
            struct err err;
            must(rig.ops->step(rig.timeline, &request, &err), &err, "step");
            for (int way = 0; way < 2; way++) { /* from a list and from the whole vocabulary */
                struct decode *decode = NULL;
                struct step_result result;
                struct decode_request run = {.id = 5, .limit = 4, .top_k = 20};
                sampling_defaults(&run.sampling);
                if (way) run.sampling.dry_multiplier = 0.8f, run.sampling.dry_breakers[0] = -1;
                must(rig.ops->decode_begin(rig.timeline, &run, &decode, &err), &err, "decode_begin");
                for (int t = 0; t < 4; t++) must(rig.ops->decode_next(decode, &result, &err), &err, "decode_next");
                rig.ops->decode_end(decode, rig.ops->timeline_length(rig.timeline));
            }
        }
        if (calls.n_made) fail_msg("%s: %u things were allocated in a run", nano_names[i], calls.n_made);
        rig_close(&rig);
    }
}

int main(int argc, char **argv) {
    if (!card_is_there(argc, argv)) return SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_may_fail_once),
        cmocka_unit_test(every_call_may_be_the_last),
        cmocka_unit_test(a_conversation_outlives_the_device),
        cmocka_unit_test(steps_never_wait_for_blocks_that_do_not_run),
        cmocka_unit_test(nothing_is_allocated_in_a_run),
    };
    return cmocka_run_group_tests(tests, find_out, NULL);
}
