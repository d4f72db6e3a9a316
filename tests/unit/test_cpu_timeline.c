/* The CPU backend behind its seam: timelines, steps that are stopped or refused, decoding, what open()
 * refuses. */
#include "tests/golden/golden.h"

#include <pthread.h>
#include <unistd.h>

static const struct backend_options fast = {.n_threads = 2, .n_ctx = 1200},
                                    exact = {.n_threads = 2, .n_ctx = 1200, .exact = true};
static struct golden golden; /* of qwen2-deep: 1100 ids */
static struct rig rig;       /* exact */

static int setup(void **state) {
    (void)state;
    golden = golden_open("qwen2-deep");
    rig = rig_open(&backend_cpu, "qwen2-deep", &exact);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    rig_close(&rig);
    golden_close(&golden);
    return 0;
}

static float *keep(size_t n) {
    float *logits = calloc(n * golden.n_vocab, sizeof *logits);
    assert_non_null(logits);
    return logits;
}

/* Feed ids[from..to) to a timeline of the rig's backend, logits of all positions to out. */
static void feed(struct timeline *timeline, uint32_t from, uint32_t to, float *out) {
    struct rig other = rig;
    other.timeline = timeline;
    rig_feed(&other, golden.prompt + from, to - from, 0, out);
}

static void same_logits(const float *a, const float *b, size_t n) {
    assert_memory_equal(a, b, n * golden.n_vocab * sizeof *a);
}

static struct timeline *timeline_of(struct backend *backend, uint32_t n_ctx) {
    struct timeline *timeline;
    struct err err;
    must(backend_cpu.timeline_new(backend, n_ctx, &timeline, &err), &err, "timeline_new");
    return timeline;
}

static void cut_and_computed_anew(void **state) {
    (void)state;
    float *first = keep(300), *again = keep(300);
    backend_cpu.timeline_truncate(rig.timeline, 0);
    feed(rig.timeline, 0, 300, first);
    static const uint32_t cuts[] = {299, 257, 256, 130, 17, 16, 1, 0};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        float *other = keep(100);
        backend_cpu.timeline_truncate(rig.timeline, cuts[i] < 200 ? cuts[i] : 200);
        feed(rig.timeline, 500, 600, other); /* something else in between */
        backend_cpu.timeline_truncate(rig.timeline, 0);
        feed(rig.timeline, 0, 300, again);
        backend_cpu.timeline_truncate(rig.timeline, cuts[i]);
        assert_int_equal(backend_cpu.timeline_length(rig.timeline), cuts[i]);
        feed(rig.timeline, cuts[i], 300, again);
        same_logits(first + (size_t)cuts[i] * golden.n_vocab, again, 300 - cuts[i]);
        assert_memory_equal(backend_cpu.timeline_ids(rig.timeline), golden.prompt, 300 * sizeof(int32_t));
        free(other);
    }
    free(first);
    free(again);
}

static void copies_and_saves(struct backend *backend) {
    static const uint32_t prefixes[] = {0, 1, 15, 16, 17, 100};
    struct timeline *a = timeline_of(backend, 200), *b = timeline_of(backend, 150);
    float *first = keep(120), *again = keep(120);
    struct err err;
    feed(a, 0, 120, first);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        uint32_t n = prefixes[i];
        must(backend_cpu.timeline_copy(b, a, n, &err), &err, "copy");
        assert_int_equal(backend_cpu.timeline_length(b), n);
        backend_cpu.timeline_truncate(a, n);
        feed(a, n, 120, first + n * golden.n_vocab);
        feed(b, n, 120, again + n * golden.n_vocab);
        same_logits(first + n * golden.n_vocab, again + n * golden.n_vocab, 120 - n);

        size_t size = backend_cpu.timeline_size(a, n);
        char *saved = malloc(size);
        must(backend_cpu.timeline_save(a, n, saved, &err), &err, "save");
        backend_cpu.timeline_truncate(b, 0);
        must(backend_cpu.timeline_load(b, saved, size, &err), &err, "load");
        assert_int_equal(backend_cpu.timeline_length(b), n);
        assert_memory_equal(backend_cpu.timeline_ids(b), golden.prompt, n * sizeof(int32_t));
        feed(b, n, 120, again + n * golden.n_vocab);
        same_logits(first + n * golden.n_vocab, again + n * golden.n_vocab, 120 - n);
        free(saved);
    }
    assert_int_equal(backend_cpu.timeline_copy(b, a, 121, &err), STATUS_USAGE);
    assert_int_equal(backend_cpu.timeline_save(a, 121, again, &err), STATUS_USAGE);
    backend_cpu.timeline_free(a);
    backend_cpu.timeline_free(b);
    free(first);
    free(again);
}

static void copy_save_and_load(void **state) {
    (void)state;
    copies_and_saves(rig.backend);
    struct rig other = rig_open(&backend_cpu, "qwen2-deep", &fast);
    copies_and_saves(other.backend);
    rig_close(&other);
}

static void load_refuses_what_does_not_fit(void **state) {
    (void)state;
    struct err err;
    float *logits = keep(40);
    backend_cpu.timeline_truncate(rig.timeline, 0);
    feed(rig.timeline, 0, 40, logits);
    size_t size = backend_cpu.timeline_size(rig.timeline, 40);
    char *saved = malloc(size);
    must(backend_cpu.timeline_save(rig.timeline, 40, saved, &err), &err, "save");
    for (size_t cut = 0; cut < size; cut += cut < 100 ? 1 : 1000)
        assert_int_not_equal(backend_cpu.timeline_load(rig.timeline, saved, cut, &err), STATUS_OK);
    struct timeline *small = timeline_of(rig.backend, 39);
    assert_int_equal(backend_cpu.timeline_load(small, saved, size, &err), STATUS_CONTEXT_FULL);
    backend_cpu.timeline_free(small);
    struct rig other = rig_open(&backend_cpu, "qwen2-deep", &fast); /* the same model, another precision */
    assert_int_equal(backend_cpu.timeline_load(other.timeline, saved, size, &err), STATUS_FAILED);
    rig_close(&other);
    other = rig_open(&backend_cpu, "qwen2-q8_0", &exact);
    assert_int_equal(backend_cpu.timeline_load(other.timeline, saved, size, &err), STATUS_FAILED);
    assert_non_null(strstr(err.text, "another model"));
    rig_close(&other);
    for (size_t i = 0; i < 36; i++) { /* any byte of the header, and the sign of the first id */
        if (i >= 32 && i < 35) continue;
        saved[i] ^= (char)0x80;
        assert_int_not_equal(backend_cpu.timeline_load(rig.timeline, saved, size, &err), STATUS_OK);
        saved[i] ^= (char)0x80;
    }
    assert_int_equal(backend_cpu.timeline_length(rig.timeline), 40); /* untouched by all that */
    must(backend_cpu.timeline_load(rig.timeline, saved, size, &err), &err, "load");
    free(saved);
    free(logits);
}

static void full_contexts_and_wrong_ids(void **state) {
    (void)state;
    struct timeline *timeline = timeline_of(rig.backend, 20);
    struct err err;
    struct step_request request = {.ids = golden.prompt, .n = 21};
    assert_int_equal(backend_cpu.step(timeline, &request, &err), STATUS_CONTEXT_FULL);
    assert_int_equal(backend_cpu.timeline_length(timeline), 0);
    request.n = 18;
    must(backend_cpu.step(timeline, &request, &err), &err, "step");
    struct decode_request decoding = {.id = 5, .sampling = {.repeat_penalty = 1}, .limit = 10, .top_k = 3};
    struct decode *decode;
    struct step_result result;
    must(backend_cpu.decode_begin(timeline, &decoding, &decode, &err), &err, "decode_begin");
    must(backend_cpu.decode_next(decode, &result, &err), &err, "decode_next");
    assert_int_equal(result.position, 18);
    assert_int_equal(result.n_top, 3);
    assert_int_equal(result.rank, 1);
    must(backend_cpu.decode_next(decode, &result, &err), &err, "decode_next");
    assert_int_equal(backend_cpu.decode_next(decode, &result, &err), STATUS_CONTEXT_FULL);
    backend_cpu.decode_end(decode, 19);
    assert_int_equal(backend_cpu.timeline_length(timeline), 19);
    assert_int_equal(backend_cpu.timeline_ids(timeline)[18], 5);
    int32_t wrong[] = {1, -1, (int32_t)golden.n_vocab};
    backend_cpu.timeline_truncate(timeline, 0);
    for (int i = 1; i < 3; i++) {
        request.ids = wrong;
        request.n = (uint32_t)i + 1;
        assert_int_equal(backend_cpu.step(timeline, &request, &err), STATUS_USAGE);
        decoding.id = wrong[i];
        assert_int_equal(backend_cpu.decode_begin(timeline, &decoding, &decode, &err), STATUS_USAGE);
    }
    assert_int_equal(backend_cpu.timeline_length(timeline), 0);
    backend_cpu.timeline_free(timeline);
}

/* ---- results ---- */

struct results {
    struct step_result last;
    uint32_t n, stop_after;
};

static int count_results(void *ctx, const struct step_result *result, const float *logits) {
    struct results *results = ctx;
    assert_null(logits);
    results->last = *result;
    return ++results->n == results->stop_after;
}

static void results_of_a_step(void **state) {
    (void)state;
    struct err err;
    struct results results = {.n = 0};
    struct step_request request = {.ids = golden.prompt,
                                   .n = 50,
                                   .wanted = WANT_LAST,
                                   .top_k = 7,
                                   .on_result = count_results,
                                   .ctx = &results};
    backend_cpu.timeline_truncate(rig.timeline, 0);
    must(backend_cpu.step(rig.timeline, &request, &err), &err, "step");
    assert_int_equal(results.n, 1);
    struct step_result last = results.last;
    assert_int_equal(last.position, 49);
    assert_int_equal(last.id, -1);
    assert_int_equal(last.n_top, 7);

    int32_t targets[50];
    for (int i = 0; i < 50; i++) targets[i] = i == 48 ? last.top[3].id : last.top[2].id;
    request.targets = targets;
    request.wanted = WANT_ALL;
    results.n = 0;
    backend_cpu.timeline_truncate(rig.timeline, 0);
    must(backend_cpu.step(rig.timeline, &request, &err), &err, "step");
    assert_int_equal(results.n, 50);
    assert_int_equal(results.last.id, last.top[2].id);
    assert_int_equal(results.last.rank, 3);
    assert_true(results.last.logit == last.top[2].logit && results.last.log_sum_exp == last.log_sum_exp);

    const int32_t beyond[] = {-2, (int32_t)rig.view->n_vocab, INT32_MAX};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) { /* no logit of such a one is there to tell of */
        int32_t asked[50];
        memcpy(asked, targets, sizeof asked);
        asked[49] = beyond[i];
        request.targets = asked;
        backend_cpu.timeline_truncate(rig.timeline, 0);
        assert_int_equal(backend_cpu.step(rig.timeline, &request, &err), STATUS_USAGE);
        assert_int_equal(backend_cpu.timeline_length(rig.timeline), 0);
        request.targets = targets;
    }

    results = (struct results){.stop_after = 20};
    backend_cpu.timeline_truncate(rig.timeline, 0);
    assert_int_equal(backend_cpu.step(rig.timeline, &request, &err), STATUS_STOPPED);
    assert_int_equal(results.n, 20);
    request.wanted = WANT_NOTHING; /* and on it goes */
    request.ids += backend_cpu.timeline_length(rig.timeline);
    request.n = 3;
    must(backend_cpu.step(rig.timeline, &request, &err), &err, "step");
}

/* ---- stops ---- */

struct stopper {
    atomic_bool stop;
    unsigned calls, stop_at; /* progress told; the stop is asked for in this call */
};

static int stop_there(void *ctx, uint64_t done, uint64_t total) {
    struct stopper *stopper = ctx;
    (void)done;
    (void)total;
    if (++stopper->calls == stopper->stop_at) atomic_store(&stopper->stop, true);
    return 0;
}

static void a_stop_is_seen_at_once(void **state) {
    (void)state;
    float *first = keep(64), *again = keep(64);
    backend_cpu.timeline_truncate(rig.timeline, 0);
    feed(rig.timeline, 0, 64, first);
    for (unsigned stop_at = 1; stop_at <= 9; stop_at++) {
        struct stopper stopper = {.stop_at = stop_at};
        struct step_request request = {.ids = golden.prompt + 64,
                                       .n = 1036,
                                       .progress = stop_there,
                                       .ctx = &stopper,
                                       .stop = &stopper.stop};
        struct err err;
        backend_cpu.timeline_truncate(rig.timeline, 64);
        assert_int_equal(backend_cpu.step(rig.timeline, &request, &err), STATUS_STOPPED);
        assert_int_equal(stopper.calls, stop_at); /* no further layer is computed */
        uint32_t length = backend_cpu.timeline_length(rig.timeline);
        assert_in_range(length, 64, 1099);
        assert_memory_equal(backend_cpu.timeline_ids(rig.timeline), golden.prompt, length * sizeof(int32_t));
    }
    backend_cpu.timeline_truncate(rig.timeline, 32); /* what was there is still right */
    feed(rig.timeline, 32, 64, again);
    same_logits(first + 32 * golden.n_vocab, again, 32);

    atomic_bool stop = true;
    struct decode_request request = {.id = 1, .sampling = {.repeat_penalty = 1}, .limit = 10, .stop = &stop};
    struct decode *decode;
    struct step_result result;
    struct err err;
    must(backend_cpu.decode_begin(rig.timeline, &request, &decode, &err), &err, "decode_begin");
    assert_int_equal(backend_cpu.decode_next(decode, &result, &err), STATUS_STOPPED);
    backend_cpu.decode_end(decode, 1000);
    assert_int_equal(backend_cpu.timeline_length(rig.timeline), 64);
    free(first);
    free(again);
}

/* ---- what is not finite ---- */

static struct weight poison(const struct weight *from, float *values, float value) {
    struct weight weight = *from;
    assert_true(dtype_to_f32(from->type, from->data, values, from->cols));
    values[1] = value;
    weight.data = values;
    weight.type = DTYPE_F32;
    weight.size = from->cols * sizeof *values;
    weight.fd = -1;
    return weight;
}

static void not_finite_is_an_error(void **state) {
    (void)state;
    float values[1024];
    struct weight norm = poison(rig.view->output_norm, values, NAN);
    struct model_view view = *rig.view;
    view.output_norm = &norm;
    for (int i = 0; i < 2; i++) {
        struct backend *backend;
        struct err err;
        must(backend_cpu.open(&view, i ? &exact : &fast, NULL, NULL, &backend, &err), &err, "open");
        struct timeline *timeline = timeline_of(backend, 64);
        struct results results = {.n = 0};
        struct step_request request = {
            .ids = golden.prompt, .n = 5, .wanted = WANT_LAST, .on_result = count_results, .ctx = &results};
        assert_int_equal(backend_cpu.step(timeline, &request, &err), STATUS_FAILED);
        assert_int_equal(results.n, 0);
        assert_int_equal(backend_cpu.timeline_length(timeline), 0);
        struct decode_request decoding = {.id = 1, .sampling = {.repeat_penalty = 1}, .limit = 10};
        struct decode *decode;
        struct step_result result;
        must(backend_cpu.decode_begin(timeline, &decoding, &decode, &err), &err, "decode_begin");
        assert_int_equal(backend_cpu.decode_next(decode, &result, &err), STATUS_FAILED);
        backend_cpu.decode_end(decode, 0);
        backend_cpu.timeline_free(timeline);
        backend_cpu.close(backend);
    }
}

/* ---- before and while opening ---- */

static int cancel(void *ctx, uint64_t done, uint64_t total) {
    uint64_t *calls = ctx;
    assert_true(done <= total);
    return ++*calls == 3;
}

static void refusals(void **state) {
    (void)state;
    struct err err;
    struct memory_estimate estimate;
    struct backend *backend = NULL;
    must(backend_cpu.probe(&fast, &err), &err, "probe");
    must(backend_cpu.estimate(rig.view, &fast, &estimate, &err), &err, "estimate");
    assert_int_equal(estimate.total, estimate.weights + estimate.kv + estimate.work);
    assert_true(estimate.kv >= 1200 * 2 * 2 * 1 * 32 * 2 && estimate.largest_ctx > 1200);

    struct weight q = *rig.view->layers[0].attn_q;
    struct layer_view layers[8];
    assert_true(rig.view->n_layers <= 8);
    memcpy(layers, rig.view->layers, rig.view->n_layers * sizeof *layers);
    layers[0].attn_q = &q;
    struct model_view view = *rig.view;
    view.layers = layers;
    q.type = DTYPE_IQ2_XXS;
    assert_int_equal(backend_cpu.estimate(&view, &fast, &estimate, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "blk.0.attn_q.weight"));
    assert_non_null(strstr(err.text, "IQ2_XXS"));
    assert_int_equal(backend_cpu.open(&view, &fast, NULL, NULL, &backend, &err), STATUS_UNSUPPORTED);
    q = *rig.view->layers[0].attn_q;
    q.rows--;
    assert_int_equal(backend_cpu.estimate(&view, &fast, &estimate, &err), STATUS_UNSUPPORTED);
    view = *rig.view;
    view.head_dim = 33;
    assert_int_equal(backend_cpu.estimate(&view, &fast, &estimate, &err), STATUS_UNSUPPORTED);
    view.head_dim = 258;
    assert_int_equal(backend_cpu.estimate(&view, &fast, &estimate, &err), STATUS_UNSUPPORTED);

    struct backend_options unknown = {.isa = "sse9"};
    assert_int_equal(backend_cpu.probe(&unknown, &err), STATUS_USAGE);
    uint64_t calls = 0;
    assert_int_equal(backend_cpu.open(rig.view, &fast, cancel, &calls, &backend, &err), STATUS_STOPPED);
    assert_int_equal(calls, 3);
    assert_null(backend);
    struct timeline *timeline;
    assert_int_equal(backend_cpu.timeline_new(rig.backend, UINT32_MAX - 64, &timeline, &err), STATUS_MEMORY);
    assert_non_null(strstr(err.text, "MiB"));
}

static void info_and_bandwidth(void **state) {
    (void)state;
    struct backend_info info;
    backend_cpu.info(rig.backend, &info);
    assert_non_null(strstr(info.device, "2 threads"));
    assert_int_equal(info.kv_bytes_per_token, rig.view->n_layers * 2 * 32 * sizeof(float));
    assert_true(info.bytes_per_token > 100000 && info.memory_used > 1000000 &&
                info.memory_total > info.memory_used);
    assert_true(backend_cpu.read_bandwidth(rig.backend) > 1e8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_and_computed_anew),
        cmocka_unit_test(copy_save_and_load),
        cmocka_unit_test(load_refuses_what_does_not_fit),
        cmocka_unit_test(full_contexts_and_wrong_ids),
        cmocka_unit_test(results_of_a_step),
        cmocka_unit_test(a_stop_is_seen_at_once),
        cmocka_unit_test(not_finite_is_an_error),
        cmocka_unit_test(refusals),
        cmocka_unit_test(info_and_bandwidth),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
