/* Every named tensor of a step against the reference's, on the three nano models that have a trace. */
#include "tests/golden/golden.h"

struct tracer {
    const struct golden *golden;
    size_t n_seen;
    double worst;
};

static void check_sums(const uint64_t *shape, const float *weights) {
    for (uint64_t row = 0; row < shape[0] * shape[1]; row++) {
        double sum = 0;
        for (uint64_t key = 0; key < shape[2]; key++) {
            float weight = weights[row * shape[2] + key];
            sum += (double)weight;
            if (key > row % shape[1]) assert_true(weight == 0);
        }
        assert_true(fabs(sum - 1) < 1e-6);
    }
}

static void on_trace(void *ctx, const char *name, const uint64_t *shape, int n_dims, const float *values) {
    struct tracer *tracer = ctx;
    char key[80];
    snprintf(key, sizeof key, "trace.%s", name);
    const struct gguf_tensor *golden = gguf_tensor(tracer->golden->file, key);
    if (!golden) fail_msg("the golden has no %s", key);
    size_t n = 1;
    assert_int_equal(n_dims, golden->n_dims);
    for (int i = 0; i < n_dims; i++) {
        assert_int_equal(shape[i], golden->dims[n_dims - 1 - i]);
        n *= shape[i];
    }
    double error = relative(values, golden->data, n);
    if (!(error < 1e-4)) fail_msg("%s is off by %g, relative", name, error);
    if (error > tracer->worst) tracer->worst = error;
    if (n_dims == 3) check_sums(shape, values);
    tracer->n_seen++;
}

static void trace_equals_the_reference(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2-trace", "qwen3-trace", "llama-trace"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct golden golden = golden_open(names[i]);
        struct rig rig = rig_open(&backend_cpu, names[i], &(struct backend_options){.n_threads = 2, .n_ctx = 64, .exact = true});
        struct tracer tracer = {.golden = &golden};
        struct err err;
        struct step_request request = {.ids = golden.prompt, .n = (uint32_t)golden.n_prompt, .on_trace = on_trace, .ctx = &tracer};
        must(rig.ops->step(rig.timeline, &request, &err), &err, names[i]);
        assert_int_equal(tracer.n_seen, gguf_n_tensors(golden.file) - 1); /* all but the logits */
        printf("%s: %zu tensors, relative error at most %.1e\n", names[i], tracer.n_seen, tracer.worst);
        rig_close(&rig);
        golden_close(&golden);
    }
}

/* A step in two traced halves tells the same as one: shapes and positions of what comes later count on from the first. */
static int32_t keys_seen;
static void keep_keys(void *ctx, const char *name, const uint64_t *shape, int n_dims, const float *values) {
    (void)ctx;
    if (strcmp(name, "blk.0.attn.weights") != 0) return;
    assert_int_equal(n_dims, 3);
    keys_seen = (int32_t)shape[2];
    double sum = 0;
    for (uint64_t key = 0; key < shape[2]; key++) sum += (double)values[(shape[1] - 1) * shape[2] + key];
    assert_true(fabs(sum - 1) < 1e-3); /* the fast path, too */
}

static void trace_of_a_later_step(void **state) {
    (void)state;
    struct golden golden = golden_open("qwen2-trace");
    struct rig rig = rig_open(&backend_cpu, "qwen2-trace", &(struct backend_options){.n_threads = 2, .n_ctx = 64});
    struct err err;
    struct step_request request = {.ids = golden.prompt, .n = 4, .on_trace = keep_keys};
    must(rig.ops->step(rig.timeline, &request, &err), &err, "step");
    assert_int_equal(keys_seen, 4);
    request.ids += 4;
    request.n = 3;
    must(rig.ops->step(rig.timeline, &request, &err), &err, "step");
    assert_int_equal(keys_seen, 7);
    rig_close(&rig);
    golden_close(&golden);
}

/* A trace tells of a whole step, however long, and changes nothing of it. */
static void count_long(void *ctx, const char *name, const uint64_t *shape, int n_dims, const float *values) {
    (void)name;
    (void)values;
    size_t *seen = ctx;
    assert_int_equal(shape[n_dims == 3 ? 1 : 0], 700);
    ++*seen;
}

static void trace_of_a_long_step(void **state) {
    (void)state;
    struct golden golden = golden_open("qwen2-deep");
    struct rig rig = rig_open(&backend_cpu, "qwen2-deep", &(struct backend_options){.n_threads = 2, .n_ctx = 1100, .exact = true});
    size_t seen = 0, size = golden.n_vocab * sizeof(float);
    struct err err;
    struct step_request request = {.ids = golden.prompt, .n = 700, .on_trace = count_long, .ctx = &seen};
    float *first = malloc(3 * size), *again = malloc(703 * size);
    must(rig.ops->step(rig.timeline, &request, &err), &err, "step");
    assert_int_equal(seen, 2 + 11 * rig.view->n_layers);
    rig_feed(&rig, golden.prompt + 700, 3, 0, first);
    rig.ops->timeline_truncate(rig.timeline, 0);
    rig_feed(&rig, golden.prompt, 703, 0, again);
    assert_memory_equal(first, again + 700 * golden.n_vocab, 3 * size);
    free(first);
    free(again);
    rig_close(&rig);
    golden_close(&golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trace_equals_the_reference),
        cmocka_unit_test(trace_of_a_later_step),
        cmocka_unit_test(trace_of_a_long_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
