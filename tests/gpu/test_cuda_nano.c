/* The CUDA backend against the goldens of the nano models, its fused decode against its unfused steps, and its sampler against the
 * CPU's. Skips where there is no device. `test_cuda_nano -v` lists figures. */
#include "tests/golden/golden.h"
#include "tests/gpu/card.h"
#include "tests/gpu/sampler.h"

#include "infer/engine.h"
#include "kernels/cuda/device.h"

#include <unistd.h>

enum { N_CTX = 1200 };

static struct rig open_cuda(const char *name, bool exact) {
    return rig_open(&backend_cuda, name, &(struct backend_options){.n_ctx = N_CTX, .exact = exact});
}

static float *logits_new(size_t n, uint32_t n_vocab) {
    float *logits = malloc(n * n_vocab * sizeof *logits);
    assert_non_null(logits);
    return logits;
}

static bool is_float_model(const char *name) {
    return strstr(name, "f16") || strstr(name, "f32") || strstr(name, "llama-trace") || strstr(name, "qwen2-trace") || strstr(name, "qwen3-trace");
}

static void exact_equals_the_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < NANO_MODELS; i++) {
        struct golden golden = golden_open(nano_names[i]);
        struct rig rig = open_cuda(nano_names[i], true);
        float *logits = logits_new(golden.n_prompt, golden.n_vocab);
        rig_feed(&rig, golden.prompt, golden.n_prompt, 0, logits);
        double error = golden_error(&golden, logits);
        size_t same = rig_check_greedy(&rig, &golden, logits + (golden.n_prompt - 1) * golden.n_vocab, 1e-3f);
        if (verbose) printf("exact %-20s error %.2e, %zu of %zu greedy ids\n", nano_names[i], error, same, golden.n_greedy);
        if (!(error < 3e-4)) fail_msg("%s: logits are off by %g, expected less than 3e-4", nano_names[i], error);
        free(logits);
        rig_close(&rig);
        golden_close(&golden);
    }
}

static void exact_ignores_chunks(void **state) {
    (void)state;
    static const size_t chunks[] = {512, 32, 7, 1};
    for (size_t i = 0; i < NANO_MODELS; i++) {
        struct golden golden = golden_open(nano_names[i]);
        struct rig rig = open_cuda(nano_names[i], true);
        float *first = logits_new(golden.n_prompt, golden.n_vocab), *other = logits_new(golden.n_prompt, golden.n_vocab);
        rig_feed(&rig, golden.prompt, golden.n_prompt, 0, first);
        for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
            rig.ops->timeline_truncate(rig.timeline, 0);
            rig_feed(&rig, golden.prompt, golden.n_prompt, chunks[c], other);
            if (memcmp(first, other, golden.n_prompt * golden.n_vocab * sizeof *first))
                fail_msg("%s: chunks of %zu give other bits", nano_names[i], chunks[c]);
        }
        free(first);
        free(other);
        rig_close(&rig);
        golden_close(&golden);
    }
}

/* Feed a prompt token by token through the fused decode step, logits of every position to `out`. */
static void feed_fused(struct rig *rig, const int32_t *ids, size_t n, float *out) {
    struct err err;
    for (size_t i = 0; i < n; i++) {
        struct decode *decode = NULL;
        struct step_result result;
        struct decode_request request = {.id = ids[i], .sampling = {.repeat_penalty = 1}, .limit = 1};
        uint32_t length = rig->ops->timeline_length(rig->timeline);
        must(rig->ops->decode_begin(rig->timeline, &request, &decode, &err), &err, "decode_begin");
        must(rig->ops->decode_next(decode, &result, &err), &err, "decode_next");
        rig->ops->decode_end(decode, length + 1);
        cudaMemcpy(out + i * rig->view->n_vocab, rig->backend->logits, rig->view->n_vocab * sizeof *out, cudaMemcpyDeviceToHost);
    }
}

enum way { MANY, WHOLE, CHAIN };
static const char *const way_names[] = {"many ", "whole", "chain"};

/* `way` decides what computes the golden's positions: steps over many, decode steps of one kernel, or of a chain. Files of float weights have a limit of their own: their KL is so small that
 * a ratio says nothing. */
static void check_fast(enum way way) {
    double product = 0, worst = 0;
    const char *worst_name = "";
    size_t n_models = 0;
    for (size_t i = 0; i < NANO_MODELS; i++) {
        struct golden golden = golden_open(nano_names[i]);
        struct rig rig = open_cuda(nano_names[i], false);
        float *logits = logits_new(golden.n_prompt, golden.n_vocab);
        if (way == CHAIN) { /* a timeline is made for one way */
            struct err err;
            rig.backend->whole = false;
            rig.ops->timeline_free(rig.timeline);
            must(rig.ops->timeline_new(rig.backend, N_CTX, &rig.timeline, &err), &err, "timeline_new");
        }
        if (way != MANY) feed_fused(&rig, golden.prompt, golden.n_prompt, logits);
        else rig_feed(&rig, golden.prompt, golden.n_prompt, 0, logits);
        double kl = golden_kl(&golden, logits), ratio = kl / llama_cpp_kl(nano_names[i]);
        rig_check_greedy(&rig, &golden, logits + (golden.n_prompt - 1) * golden.n_vocab, 1.0f);
        if (verbose) printf("%s %-20s KL %.2e, %.3f of llama.cpp's\n", way_names[way], nano_names[i], kl, ratio);
        product += log(ratio);
        n_models++;
        if (is_float_model(nano_names[i])) {
            if (!(kl <= 1e-4)) fail_msg("%s: KL is %g, expected at most 1e-4", nano_names[i], kl);
        } else if (!(ratio <= worst)) {
            worst = ratio, worst_name = nano_names[i];
        }
        free(logits);
        rig_close(&rig);
        golden_close(&golden);
    }
    double mean = exp(product / (double)n_models);
    if (verbose) printf("%s geometric mean %.3f, worst %.3f\n", way_names[way], mean, worst);
    if (!(mean <= 1)) fail_msg("KL is %.3f of llama.cpp's in the geometric mean", mean);
    if (!(worst <= 1.5)) fail_msg("KL of %s is %.3f of llama.cpp's", worst_name, worst);
}

static void fast_steps_are_as_good_as_llama_cpp(void **state) {
    (void)state;
    check_fast(MANY);
}

static void fast_decode_is_as_good_as_llama_cpp(void **state) {
    (void)state;
    check_fast(WHOLE);
    check_fast(CHAIN);
}

/* ---- traces ---- */

struct trace_check {
    const struct golden *golden;
    const char *model;
    size_t seen;
    double worst;
};

static void compare_trace(void *ctx, const char *name, const uint64_t *shape, int n_dims, const float *values) {
    struct trace_check *check = ctx;
    char wanted[96];
    snprintf(wanted, sizeof wanted, "trace.%s", name);
    const struct gguf_tensor *tensor = gguf_tensor(check->golden->file, wanted);
    if (!tensor) fail_msg("%s: the golden has no %s", check->model, wanted);
    size_t count = 1;
    for (int i = 0; i < n_dims; i++) count *= shape[i];
    assert_int_equal(count, tensor->n_elements);
    const double off = relative(values, tensor->data, count);
    if (!(off < 1e-4)) fail_msg("%s: %s is off by %g relative, expected less than 1e-4", check->model, name, off);
    if (strstr(name, "weights"))
        for (uint64_t row = 0; row < shape[0] * shape[1]; row++) {
            double sum = 0;
            for (uint64_t key = 0; key < shape[2]; key++) sum += (double)values[row * shape[2] + key];
            assert_true(fabs(sum - 1) < 1e-5);
        }
    if (off > check->worst) check->worst = off;
    check->seen++;
}

static void every_traced_tensor_is_right(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2-trace", "qwen3-trace", "llama-trace"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct golden golden = golden_open(names[i]);
        struct rig rig = open_cuda(names[i], true);
        struct trace_check check = {&golden, names[i], 0, 0};
        struct step_request request = {.ids = golden.prompt, .n = (uint32_t)golden.n_prompt, .on_trace = compare_trace, .ctx = &check};
        struct err err;
        must(rig.ops->step(rig.timeline, &request, &err), &err, "step");
        assert_int_equal(check.seen, 2 + 11 * rig.view->n_layers);
        if (verbose) printf("trace %-12s %zu tensors, worst %.2e\n", names[i], check.seen, check.worst);
        rig_close(&rig);
        golden_close(&golden);
    }
}

/* ---- the fused decode step, layer by layer ---- */

/* A trace runs unfused. What the fused kernels make of each layer is seen through models that end after it: their logits are
 * those of the trace's blk.N.out through output norm and head. Token by token, so that all but the first attend to what was
 * cached. 8-bit activations are a percent off, float weights a thousandth. */
static void every_layer_of_a_fused_step_is_the_traces(void **state) {
    (void)state;
    enum { N = 24 };
    double worst = 0, worst_float = 0;
    for (size_t i = 0; i < NANO_MODELS; i++) {
        struct golden golden = golden_open(nano_names[i]);
        struct model *model;
        struct err err;
        char path[512];
        snprintf(path, sizeof path, "%s/nano/%s.gguf", TEST_DATA, nano_names[i]);
        must(model_open(path, MODEL_WHOLE, &model, &err), &err, path);
        struct model_view view = *model_view(model);
        uint32_t n_layers = view.n_layers, n = golden.n_prompt < N ? (uint32_t)golden.n_prompt : N;
        float *unfused = logits_new(n, view.n_vocab), *fused = logits_new(n, view.n_vocab);
        for (view.n_layers = 1; view.n_layers <= n_layers; view.n_layers++) {
            for (int exact = 0; exact < 2; exact++) {
                struct rig rig = {.ops = &backend_cuda, .view = &view};
                struct backend_options options = {.n_ctx = N, .exact = exact};
                must(rig.ops->open(&view, &options, NULL, NULL, &rig.backend, &err), &err, path);
                must(rig.ops->timeline_new(rig.backend, N, &rig.timeline, &err), &err, path);
                if (exact) rig_feed(&rig, golden.prompt, n, 0, unfused);
                else feed_fused(&rig, golden.prompt, n, fused);
                rig.ops->timeline_free(rig.timeline);
                rig.ops->close(rig.backend);
            }
            double off = relative(fused, unfused, n * view.n_vocab), most = is_float_model(nano_names[i]) ? 4e-3 : 4e-2;
            if (!(off < most))
                fail_msg("%s, layer %u: fused logits are off by %g relative, expected less than %g", nano_names[i], view.n_layers - 1, off, most);
            double *of_kind = is_float_model(nano_names[i]) ? &worst_float : &worst;
            if (off > *of_kind) *of_kind = off;
        }
        free(unfused);
        free(fused);
        model_close(model);
        golden_close(&golden);
    }
    if (verbose) printf("fused, layer by layer: worst %.2e, of float weights %.2e\n", worst, worst_float);
}

/* ---- the two backends, tensor by tensor ---- */

enum { TRACE_MAX = 128 };

struct traced {
    char name[64];
    float *values;
    size_t count;
};

struct trace_pair {
    const char *model;
    struct traced of_cpu[TRACE_MAX];
    size_t n, compared;
    double worst;
};

static void keep_trace(void *ctx, const char *name, const uint64_t *shape, int n_dims, const float *values) {
    struct trace_pair *pair = ctx;
    size_t count = 1;
    for (int i = 0; i < n_dims; i++) count *= shape[i];
    assert_true(pair->n < TRACE_MAX);
    struct traced *t = &pair->of_cpu[pair->n++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->values = malloc(count * sizeof *values);
    t->count = count;
    memcpy(t->values, values, count * sizeof *values);
}

/* In the same order under the same names. */
static void compare_with_cpu(void *ctx, const char *name, const uint64_t *shape, int n_dims, const float *values) {
    struct trace_pair *pair = ctx;
    size_t count = 1;
    for (int i = 0; i < n_dims; i++) count *= shape[i];
    assert_true(pair->compared < pair->n);
    const struct traced *t = &pair->of_cpu[pair->compared++];
    assert_string_equal(name, t->name);
    assert_int_equal(count, t->count);
    const double off = relative(values, t->values, count);
    if (!(off < 1e-4)) fail_msg("%s: %s differs by %g relative, expected less than 1e-4", pair->model, name, off);
    if (off > pair->worst) pair->worst = off;
}

static void both_backends_trace_the_same(void **state) {
    (void)state;
    for (size_t i = 0; i < NANO_MODELS; i++) {
        struct golden golden = golden_open(nano_names[i]);
        struct rig cpu = rig_open(&backend_cpu, nano_names[i], &(struct backend_options){.n_threads = 2, .n_ctx = 64, .exact = true});
        struct rig cuda = rig_open(&backend_cuda, nano_names[i], &(struct backend_options){.n_ctx = 64, .exact = true});
        static struct trace_pair pair;
        pair = (struct trace_pair){.model = nano_names[i]};
        struct step_request request = {.ids = golden.prompt, .n = golden.n_prompt < 33 ? (uint32_t)golden.n_prompt : 33, .on_trace = keep_trace, .ctx = &pair};
        struct err err;
        must(cpu.ops->step(cpu.timeline, &request, &err), &err, "step on the CPU");
        request.on_trace = compare_with_cpu;
        must(cuda.ops->step(cuda.timeline, &request, &err), &err, "step on the GPU");
        assert_int_equal(pair.compared, pair.n);
        if (verbose) printf("both  %-20s %zu tensors, worst %.2e\n", nano_names[i], pair.n, pair.worst);
        for (size_t t = 0; t < pair.n; t++) free(pair.of_cpu[t].values);
        rig_close(&cpu);
        rig_close(&cuda);
        golden_close(&golden);
    }
}

/* ---- the sampler ---- */

static void the_sampler_is_the_hosts(void **state) {
    (void)state;
    static const char *const models[] = {"qwen2-gqa7", "qwen2-oldpads", "llama-f16"};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        struct golden golden = golden_open(models[m]);
        struct rig rig = open_cuda(models[m], false);
        check_sampler(&rig, golden.prompt, models[m], 128);
        rig_close(&rig);
        golden_close(&golden);
    }
}

/* ---- the timeline ---- */

static size_t run(struct rig *rig, int32_t id, uint32_t limit, uint64_t seed, int32_t *out) {
    struct decode *decode = NULL;
    struct err err;
    struct decode_request request = {.id = id, .top_k = 5, .limit = limit};
    sampling_defaults(&request.sampling);
    request.sampling.seed = seed;
    uint32_t length = rig->ops->timeline_length(rig->timeline);
    must(rig->ops->decode_begin(rig->timeline, &request, &decode, &err), &err, "decode_begin");
    size_t n = 0;
    int status = STATUS_OK;
    while (n < limit) { /* or to the end of the context */
        struct step_result result;
        status = rig->ops->decode_next(decode, &result, &err);
        if (status != STATUS_OK) break;
        out[n++] = result.id;
    }
    assert_true(status == STATUS_OK || status == STATUS_CONTEXT_FULL);
    rig->ops->decode_end(decode, length);
    return n;
}

static void a_run_can_be_replayed(void **state) {
    (void)state;
    struct golden golden = golden_open("qwen2-gqa7");
    struct rig rig = open_cuda("qwen2-gqa7", false);
    struct step_request prompt = {.ids = golden.prompt, .n = (uint32_t)golden.n_prompt - 1};
    struct err err;
    int32_t last = golden.prompt[golden.n_prompt - 1], a[64], b[64], *all = malloc(N_CTX * sizeof *all);
    must(rig.ops->step(rig.timeline, &prompt, &err), &err, "step");
    run(&rig, last, 64, 7, a);
    run(&rig, last, 64, 7, b);
    assert_memory_equal(a, b, sizeof a);
    run(&rig, last, 64, 8, b);
    assert_true(memcmp(a, b, sizeof a) != 0);
    assert_int_equal(run(&rig, last, N_CTX, 7, all), N_CTX - golden.n_prompt + 1); /* to the end of the context */
    assert_memory_equal(a, all, sizeof a);

    /* save, load into another timeline, copy a prefix, go on: the same again */
    size_t size = rig.ops->timeline_size(rig.timeline, prompt.n);
    void *saved = malloc(size);
    struct timeline *first = rig.timeline, *second = NULL, *third = NULL;
    must(rig.ops->timeline_save(first, prompt.n, saved, &err), &err, "save");
    must(rig.ops->timeline_new(rig.backend, 700, &second, &err), &err, "timeline_new");
    must(rig.ops->timeline_load(second, saved, size, &err), &err, "load");
    rig.timeline = second;
    run(&rig, last, 64, 7, b);
    assert_memory_equal(a, b, sizeof a);
    must(rig.ops->timeline_new(rig.backend, 300, &third, &err), &err, "timeline_new");
    must(rig.ops->timeline_copy(third, second, prompt.n, &err), &err, "copy");
    rig.timeline = third;
    run(&rig, last, 64, 7, b);
    assert_memory_equal(a, b, sizeof a);
    ((char *)saved)[20] ^= 1;
    assert_int_equal(rig.ops->timeline_load(second, saved, size, &err), STATUS_MODEL);
    rig.timeline = first;
    rig.ops->timeline_free(second);
    rig.ops->timeline_free(third);
    free(saved);
    free(all);
    rig_close(&rig);
    golden_close(&golden);
}

/* Cut anywhere, read again, go on: the same, at every border there is. */
static void a_cut_timeline_goes_on_as_if_new(void **state) {
    (void)state;
    enum { N = 600, AFTER = 40 };
    static const char *const models[] = {"qwen2-gqa7", "llama-f16", "qwen3-mix"};
    static const uint32_t cuts[] = {0, 1, 31, 32, 33, 255, 256, 511, 512, 513, N - 2, N - 1};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        struct err err;
        struct rig rig = rig_open(&backend_cuda, models[m], &(struct backend_options){.n_ctx = N + AFTER});
        int32_t ids[N], first[AFTER + 1], again[AFTER + 1];
        for (uint32_t i = 0; i < N; i++) ids[i] = (int32_t)(i * 53 % rig.view->n_vocab);
        float *whole = logits_new(1, rig.view->n_vocab), *cut = logits_new(1, rig.view->n_vocab);
        struct step_request prompt = {.ids = ids, .n = N - 1};
        must(rig.ops->step(rig.timeline, &prompt, &err), &err, "step");
        feed_fused(&rig, ids + N - 1, 1, whole);
        for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
            rig.ops->timeline_truncate(rig.timeline, cuts[c]);
            prompt = (struct step_request){.ids = ids + cuts[c], .n = N - 1 - cuts[c]};
            if (prompt.n) must(rig.ops->step(rig.timeline, &prompt, &err), &err, "step");
            feed_fused(&rig, ids + N - 1, 1, cut);
            const double off = relative(cut, whole, rig.view->n_vocab);
            if (!(off < 4e-2)) fail_msg("%s, cut at %u: logits are off by %g relative", models[m], cuts[c], off);
            for (uint32_t i = 0; i < N; i++) assert_int_equal(rig.ops->timeline_ids(rig.timeline)[i], ids[i]);
        }

        /* decoded positions: the last one that fits, then back by any number of them */
        rig.ops->timeline_truncate(rig.timeline, N);
        assert_int_equal(run(&rig, 7, UINT32_MAX, 3, first), AFTER);
        for (uint32_t back = 1; back <= AFTER; back++) {
            struct decode *decode = NULL;
            struct decode_request request = {.id = 7, .top_k = 5, .limit = AFTER};
            sampling_defaults(&request.sampling);
            request.sampling.seed = 3;
            must(rig.ops->decode_begin(rig.timeline, &request, &decode, &err), &err, "decode_begin");
            struct step_result result;
            for (uint32_t i = 0; i < AFTER; i++) must(rig.ops->decode_next(decode, &result, &err), &err, "decode_next");
            assert_int_equal(rig.ops->decode_next(decode, &result, &err), STATUS_STOPPED);
            rig.ops->decode_end(decode, N + AFTER - back);
            assert_int_equal(rig.ops->timeline_length(rig.timeline), N + AFTER - back);
            assert_int_equal(run(&rig, back == AFTER ? 7 : first[AFTER - back - 1], UINT32_MAX, 3, again), back);
            assert_memory_equal(again, first + AFTER - back, back * sizeof *first);
            rig.ops->timeline_truncate(rig.timeline, N);
        }
        free(whole);
        free(cut);
        rig_close(&rig);
    }
}

/* ---- what is not finite ---- */

/* A copy of a model whose first scale of a tensor is NaN. */
static void write_with_nan(const char *name, const char *tensor, const char *to) {
    struct err err;
    struct gguf *file = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/nano/%s.gguf", TEST_DATA, name);
    must(gguf_open(path, GGUF_WHOLE, NULL, &file, &err), &err, path);
    uint64_t offset = gguf_tensor(file, tensor)->offset;
    gguf_close(file);
    FILE *in = fopen(path, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    for (int c; (c = fgetc(in)) != EOF;) fputc(c, out);
    fclose(in);
    fseek(out, (long)offset, SEEK_SET);
    fputc(0x00, out);
    fputc(0x7E, out); /* F16 NaN */
    assert_int_equal(fclose(out), 0);
}

static void nothing_is_chosen_from_what_is_not_finite(void **state) {
    (void)state;
    char path[] = "/tmp/logitop-nan-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_with_nan("qwen2-q8_0", "blk.0.ffn_up.weight", path);
    for (int exact = 0; exact < 2; exact++) {
        struct rig rig = rig_open_path(&backend_cuda, path, &(struct backend_options){.n_ctx = 64, .exact = exact});
        struct err err;
        struct decode *decode = NULL;
        struct step_result result;
        struct decode_request request = {.id = 5, .limit = 8, .top_k = 5};
        sampling_defaults(&request.sampling);
        must(rig.ops->decode_begin(rig.timeline, &request, &decode, &err), &err, "decode_begin");
        assert_int_equal(rig.ops->decode_next(decode, &result, &err), STATUS_FAILED);
        assert_non_null(strstr(err.text, "finite"));
        rig.ops->decode_end(decode, 0);
        assert_int_equal(rig.ops->timeline_length(rig.timeline), 0);
        rig_close(&rig);
    }
    unlink(path);
}

int main(int argc, char **argv) {
    if (!card_is_there(argc, argv)) return SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_equals_the_reference),
        cmocka_unit_test(every_traced_tensor_is_right),
        cmocka_unit_test(every_layer_of_a_fused_step_is_the_traces),
        cmocka_unit_test(both_backends_trace_the_same),
        cmocka_unit_test(exact_ignores_chunks),
        cmocka_unit_test(fast_steps_are_as_good_as_llama_cpp),
        cmocka_unit_test(fast_decode_is_as_good_as_llama_cpp),
        cmocka_unit_test(the_sampler_is_the_hosts),
        cmocka_unit_test(a_run_can_be_replayed),
        cmocka_unit_test(a_cut_timeline_goes_on_as_if_new),
        cmocka_unit_test(nothing_is_chosen_from_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
