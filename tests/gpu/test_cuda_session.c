/* The first prompt on a card. And looking back: old positions tell what decoding told of them, nothing of the KV cache is lost by it, and
 * the answer goes on as if nobody had looked. Skips where there is no device. */
#include "tests/golden/golden.h"
#include "tests/gpu/card.h"

#include "base/clock.h"
#include "infer/engine.h"
#include "infer/session.h"
#include "kernels/cuda/device.h"

#include <unistd.h>

static const char *const names[] = {"llama-f16", "llama-smol-q4_1", "qwen2-gqa7", "qwen3-q8_0"};
enum { PROMPT = 40, SAID = 30, TOP = 8, N_CTX = 1100 };

struct log {
    struct step_result *results;
    uint32_t n;
};

static void add(struct log *log, const struct step_result *result) {
    memcpy(&log->results[log->n++], result, offsetof(struct step_result, top) + result->n_top * sizeof *result->top);
}

static int on_token(void *ctx, const struct step_result *result) {
    add(ctx, result);
    return 0;
}

static int on_score(void *ctx, const struct step_result *result, const float *logits) {
    (void)logits;
    add(ctx, result);
    return 0;
}

static void say(struct session *session, const int32_t *ids, uint32_t n, uint32_t limit, struct log *log) {
    struct sampling sampling;
    struct session_watch watch = {0};
    struct err err;
    uint32_t cached;
    sampling_defaults(&sampling);
    sampling.temperature = 0;
    log->n = 0;
    must(session_prompt(session, ids, n, &watch, &cached, &err), &err, "prompt");
    must(session_decode(session, &sampling, TOP, limit, NULL, on_token, log, &err), &err, "decode");
}

static void look_back(const char *name, bool exact) {
    char path[512];
    struct model *model;
    struct backend *backend;
    struct session *session, *fresh;
    struct err err;
    struct session_watch watch = {0};
    snprintf(path, sizeof path, "%s/nano/%s.gguf", TEST_DATA, name);
    must(model_open(path, MODEL_WHOLE, &model, &err), &err, path);
    must(backend_cuda.open(model_view(model), &(struct backend_options){.n_ctx = N_CTX, .exact = exact}, NULL, NULL, &backend, &err),
         &err, path);
    must(session_new(&backend_cuda, backend, N_CTX, &session, &err), &err, "session");
    struct log said = {calloc(256, sizeof *said.results), 0}, scored = {calloc(256, sizeof *scored.results), 0};
    struct log on = {calloc(256, sizeof *on.results), 0}, again = {calloc(256, sizeof *again.results), 0};
    int32_t ids[PROMPT + SAID + 1];
    for (int i = 0; i < PROMPT; i++) ids[i] = (int32_t)(i * 37 % 90 + 3);
    say(session, ids, PROMPT, SAID, &said);
    for (int i = 0; i < SAID; i++) ids[PROMPT + i] = said.results[i].id;
    ids[PROMPT + SAID] = -1;
    uint32_t used = session_used(session);
    static const uint32_t windows[][2] = {{PROMPT, PROMPT + SAID}, {60, 61}, {1, PROMPT + SAID + 1}, {45, 50}};
    double largest = 0;
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        scored.n = 0;
        must(session_score(session, ids, windows[w][0], windows[w][1], TOP, false, &watch, on_score, &scored, &err), &err, "score");
        assert_int_equal(scored.n, windows[w][1] - windows[w][0]);
        for (uint32_t i = 0; i < scored.n; i++) {
            uint32_t at = windows[w][0] + i;
            const struct step_result *got = &scored.results[i];
            assert_int_equal(got->position, at - 1);
            assert_int_equal(got->id, ids[at]);
            if (at < PROMPT || at >= PROMPT + SAID) continue;
            const struct step_result *was = &said.results[at - PROMPT];
            double off = fabs((double)got->logit - (double)got->log_sum_exp - (double)was->logit + (double)was->log_sum_exp);
            largest = off > largest ? off : largest;
        }
    }
    print_message("%s%s: log-probabilities of old positions are off by at most %.1e\n", name, exact ? ", exact" : "", largest);
    assert_true(largest < (exact ? 1e-3 : 0.1));
    assert_int_equal(session_used(session), used);
    say(session, ids, PROMPT + SAID, 20, &on); /* goes on: all of it is still there */
    must(session_new(&backend_cuda, backend, N_CTX, &fresh, &err), &err, "session");
    say(fresh, ids, PROMPT, SAID, &again); /* the same without having looked */
    say(fresh, ids, PROMPT + SAID, 20, &again);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(on.results[i].id, again.results[i].id);
        assert_true(on.results[i].logit == again.results[i].logit);
    }
    session_free(fresh);
    session_free(session);
    backend_cuda.close(backend);
    model_close(model);
    free(said.results);
    free(scored.results);
    free(on.results);
    free(again.results);
}

static void looking_back_changes_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int exact = 0; exact < 2; exact++) look_back(names[i], exact);
}

static void ids_beyond_the_vocabulary_are_refused(void **state) {
    (void)state;
    struct rig rig = rig_open(&backend_cuda, names[0], &(struct backend_options){.n_ctx = N_CTX});
    const int32_t good[] = {3, 4, 5}, beyond[] = {-2, (int32_t)rig.view->n_vocab, INT32_MAX};
    struct log log = {calloc(4, sizeof *log.results), 0};
    struct err err;
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        const int32_t bad[] = {3, 4, beyond[i]};
        struct decode *decode;
        struct decode_request run = {.id = beyond[i], .limit = 1};
        struct step_request fed = {.ids = bad, .n = 3}, asked = {.ids = good, .n = 3, .wanted = WANT_ALL, .targets = bad, .on_result = on_score, .ctx = &log};
        assert_int_equal(rig.ops->step(rig.timeline, &fed, &err), STATUS_USAGE);
        assert_int_equal(rig.ops->step(rig.timeline, &asked, &err), STATUS_USAGE);
        assert_int_equal(rig.ops->decode_begin(rig.timeline, &run, &decode, &err), STATUS_USAGE);
        assert_int_equal(rig.ops->timeline_length(rig.timeline), 0);
    }
    assert_int_equal(log.n, 0);
    free(log.results);
    rig_close(&rig);
}

static double read_ms(struct rig *rig, const int32_t *ids, uint32_t n) {
    struct step_request request = {.ids = ids, .n = n};
    struct err err;
    rig->ops->timeline_truncate(rig->timeline, 0);
    int64_t begin = clock_ns();
    must(rig->ops->step(rig->timeline, &request, &err), &err, "step");
    return (double)(clock_ns() - begin) * 1e-6;
}

/* Who types a question finds all set up: no product has a shape that the library has not met. Before all others: what is set up stays so for
 * the process, and -v tells the times. */
static void the_first_prompt_waits_for_nothing(void **state) {
    (void)state;
    static const uint32_t lengths[] = {40, 7, 65, 150, 513, 700};
    struct rig rig = rig_open(&backend_cuda, names[0], &(struct backend_options){.n_ctx = N_CTX});
    int32_t ids[N_CTX];
    for (int i = 0; i < N_CTX; i++) ids[i] = i * 37 % 90 + 3;
    for (int ms = 0; rig.backend->blas && !atomic_load(&rig.backend->warming.over); ms++) {
        assert_true(ms < 60000);
        usleep(1000);
    }
    const uint32_t plans = rig.backend->blas ? blas_n_plans(rig.backend->blas) : 0;
    assert_true(plans > 0 || !rig.backend->blas);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        double first = read_ms(&rig, ids, lengths[i]), second = read_ms(&rig, ids, lengths[i]);
        if (verbose) printf("%u positions: %.2f ms, then %.2f\n", lengths[i], first, second);
        if (rig.backend->blas) assert_int_equal(blas_n_plans(rig.backend->blas), plans);
    }
    rig_close(&rig);
}

int main(int argc, char **argv) {
    if (!card_is_there(argc, argv)) return SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_prompt_waits_for_nothing),
        cmocka_unit_test(looking_back_changes_nothing),
        cmocka_unit_test(ids_beyond_the_vocabulary_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
