/* The CUDA backend on models of real shapes: its exact steps against the CPU's, its fast steps and its fused decode against the exact
 * ones, with prompts around the borders of chunks; and what memory they take. `test_cuda_shapes -v` lists figures.
 *
 * The files, random weights, are written into TMPDIR and removed: up to 2 GB, and with LOGITOP_TEST_LARGE=1 7B and 8B, 5 GB each. The
 * default model is tried too. Skips where there is no device. */
#include "tests/golden/golden.h"
#include "tests/gpu/card.h"
#include "tests/gpu/sampler.h"
#include "tests/gpu/shapes.h"

#include "infer/engine.h"
#include "kernels/cuda/device.h"

#include <unistd.h>

#define DEFAULT_MODEL THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf"
static const struct shape default_model = {.name = "SmolLM2-135M-q4_1"};

enum { MORE = 16, KEPT = MORE + 1, LENGTHS = 6, LONGEST = 4097, N_CTX = LONGEST + MORE + 1 };
static const uint32_t lengths[LENGTHS] = {1, 2, 31, 512, 513, LONGEST};
/* Mean KL in nats, at most: of --exact; of the fast path, for quants and for float types. */
static const double most_exact = 1e-6, most_fast = 1e-3, most_float = 1e-4;

/* Where weights are quantised the fused decode rounds activations to 8 bits, as llama.cpp and the CPU's fast path do. Even distributions -
 * random weights, random ids - show that as a KL of up to 5e-2; there it must be about as near as the CPU's fast path is. */

static const struct shape *shape; /* under test, and its file: */
static char path[512];
static struct model *model;

/* ---- logits of a prompt's last position and of the MORE ids that follow it ---- */

struct kept {
    float *logits[LENGTHS]; /* [KEPT][n_vocab]; NULL: not computed */
};

static void fill_ids(int32_t *ids, size_t n) {
    struct shape_random random = {0xD1B54A32D192ED03u};
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(shape_next(&random) % model_view(model)->n_vocab);
}

static struct rig open_rig(const struct backend_ops *ops, const struct model_view *view, bool exact) {
    struct rig rig = {.ops = ops, .view = view};
    struct backend_options options = {.n_ctx = N_CTX, .exact = exact};
    struct err err;
    must(ops->open(view, &options, NULL, NULL, &rig.backend, &err), &err, ops->name);
    must(ops->timeline_new(rig.backend, N_CTX, &rig.timeline, &err), &err, ops->name);
    return rig;
}

static void shut(struct rig *rig) {
    rig->ops->timeline_free(rig->timeline);
    rig->ops->close(rig->backend);
}

static void feed_steps(struct rig *rig, const int32_t *ids, uint32_t n, enum wanted wanted, struct logits_sink *sink) {
    struct err err;
    struct step_request request = {.ids = ids, .n = n, .wanted = wanted, .logits = true, .on_result = logits_keep, .ctx = sink};
    must(rig->ops->step(rig->timeline, &request, &err), &err, "step");
}

/* One id through the decode step of the backend. */
static void feed_decode(struct rig *rig, int32_t id, struct logits_sink *sink) {
    struct err err;
    struct decode *decode = NULL;
    struct step_result result;
    struct decode_request request = {.id = id, .sampling = {.repeat_penalty = 1}, .limit = 1};
    uint32_t length = rig->ops->timeline_length(rig->timeline);
    must(rig->ops->decode_begin(rig->timeline, &request, &decode, &err), &err, "decode_begin");
    must(rig->ops->decode_next(decode, &result, &err), &err, "decode_next");
    rig->ops->decode_end(decode, length + 1);
    assert_int_equal(cudaMemcpy(sink->logits + (size_t)sink->n++ * sink->n_vocab, rig->backend->logits, sink->n_vocab * sizeof(float),
                                cudaMemcpyDeviceToHost), cudaSuccess);
}

static float *run_prompt(struct rig *rig, uint32_t n, bool fused) {
    int32_t ids[N_CTX];
    fill_ids(ids, n + MORE);
    struct logits_sink sink = {xmalloc((size_t)KEPT * rig->view->n_vocab * sizeof(float)), rig->view->n_vocab, 0};
    rig->ops->timeline_truncate(rig->timeline, 0);
    feed_steps(rig, ids, n, WANT_LAST, &sink);
    if (!fused) feed_steps(rig, ids + n, MORE, WANT_ALL, &sink);
    for (uint32_t i = 0; fused && i < MORE; i++) feed_decode(rig, ids[n + i], &sink);
    assert_int_equal(sink.n, KEPT);
    return sink.logits;
}

static struct kept run_all(struct rig *rig, bool fused, uint32_t longest) {
    struct kept kept = {0};
    for (int i = 0; i < LENGTHS && lengths[i] <= longest; i++) kept.logits[i] = run_prompt(rig, lengths[i], fused);
    return kept;
}

static void kept_free(struct kept *kept) {
    for (int i = 0; i < LENGTHS; i++) free(kept->logits[i]);
}

/* ---- comparing ---- */

/* Mean KL(a || b) in nats over the kept positions. */
static double mean_kl(const float *a, const float *b, uint32_t n_vocab) {
    double sum = 0;
    for (int p = 0; p < KEPT; p++, a += n_vocab, b += n_vocab) {
        double max_a = a[argmax(a, n_vocab)], max_b = b[argmax(b, n_vocab)], sum_a = 0, sum_b = 0, kl = 0;
        for (uint32_t j = 0; j < n_vocab; j++) sum_a += exp(a[j] - max_a), sum_b += exp(b[j] - max_b);
        double log_a = max_a + log(sum_a), log_b = max_b + log(sum_b);
        for (uint32_t j = 0; j < n_vocab; j++) kl += exp(a[j] - log_a) * ((a[j] - log_a) - (b[j] - log_b));
        sum += kl;
    }
    return sum / KEPT;
}

/* Prompts of all lengths but the longest, or that alone. */
enum reach { SHORTER, THE_LONGEST };

/* Returns the largest mean KL of a prompt. */
static double compare(const char *what, const struct kept *a, const struct kept *b, enum reach reach, double most) {
    double worst = 0;
    for (int i = reach == SHORTER ? 0 : LENGTHS - 1; i < (reach == SHORTER ? LENGTHS - 1 : LENGTHS); i++) {
        if (!a->logits[i] || !b->logits[i]) continue;
        double kl = mean_kl(a->logits[i], b->logits[i], model_view(model)->n_vocab);
        uint32_t same = 0;
        for (size_t p = 0; p < KEPT; p++)
            same += argmax(a->logits[i] + p * model_view(model)->n_vocab, model_view(model)->n_vocab) == argmax(b->logits[i] + p * model_view(model)->n_vocab, model_view(model)->n_vocab);
        if (verbose) printf("%-20s %-12s %4u tokens  KL %.2e  %u of %d best ids\n", shape->name, what, lengths[i], kl, same, KEPT);
        if (!(kl < most)) fail_msg("%s, %s, %u tokens: KL is %g, expected less than %g", shape->name, what, lengths[i], kl, most);
        if (kl > worst) worst = kl;
    }
    return worst;
}

static void every_path_agrees(void **state) {
    (void)state;
    const struct model_view *view = model_view(model);
    uint32_t longest = view->n_ctx_train - MORE; /* the default model knows 2048 positions */
    struct rig rig = open_rig(&backend_cuda, view, true);
    struct kept exact = run_all(&rig, false, longest);
    shut(&rig);
    rig = open_rig(&backend_cuda, view, false);
    struct kept many = run_all(&rig, false, longest), fused = run_all(&rig, true, longest);
    shut(&rig);
    rig = open_rig(&backend_cpu, view, true);
    struct kept cpu = run_all(&rig, false, shape < shapes + SHAPES_SMALL ? 513 : 31);
    shut(&rig);
    rig = open_rig(&backend_cpu, view, false);
    struct kept cpu_fast = run_all(&rig, false, shape < shapes + SHAPES_SMALL ? 513 : 31);
    if (LONGEST <= longest) cpu_fast.logits[LENGTHS - 1] = run_prompt(&rig, LONGEST, false);
    shut(&rig);
    const bool is_float = view->layers[0].attn_q->type == DTYPE_BF16;
    double eight_bits = 0;
    for (enum reach reach = SHORTER; reach <= THE_LONGEST; reach++) { /* there 7B has a position a hundred times as sensitive as the others */
        compare("exact, CPU", &exact, &cpu, reach, most_exact);
        compare("fast steps", &exact, &many, reach, is_float ? most_float : most_fast);
        eight_bits = fmax(eight_bits, compare("fast, CPU", &exact, &cpu_fast, reach, 0.2));
        compare("fused decode", &exact, &fused, reach, is_float ? most_float : fmax(most_fast, 2 * eight_bits));
    }
    kept_free(&cpu_fast);
    kept_free(&exact);
    kept_free(&many);
    kept_free(&fused);
    kept_free(&cpu);
}

/* ---- would it be seen? ---- */

enum fault { NO_FAULT, GATE_IS_UP, NO_Q_BIAS };

/* The KL of the fast path with a fault in layers up to `end`, prompt of 31 tokens, against the exact path without. */
static double kl_of(enum fault fault, uint32_t end, bool fused, const float *exact) {
    struct model_view view = *model_view(model);
    struct layer_view *layers = xmalloc(view.n_layers * sizeof *layers);
    memcpy(layers, view.layers, view.n_layers * sizeof *layers);
    view.layers = layers;
    for (uint32_t i = 0; i < end; i++) {
        const struct weight *gate = layers[i].ffn_gate;
        if (fault == GATE_IS_UP) layers[i].ffn_gate = layers[i].ffn_up, layers[i].ffn_up = gate;
        if (fault == NO_Q_BIAS) layers[i].attn_q_bias = NULL;
    }
    struct rig rig = open_rig(&backend_cuda, &view, false);
    float *faulty = run_prompt(&rig, 31, fused);
    double kl = mean_kl(exact, faulty, view.n_vocab);
    shut(&rig);
    free(faulty);
    free(layers);
    return kl;
}

static void faults_are_seen(void **state) {
    (void)state;
    uint32_t n_layers = model_view(model)->n_layers;
    struct rig rig = open_rig(&backend_cuda, model_view(model), true);
    float *exact = run_prompt(&rig, 31, false);
    shut(&rig);
    for (int fused = 0; fused < 2; fused++) {
        double gate = kl_of(GATE_IS_UP, n_layers, fused, exact), one = kl_of(GATE_IS_UP, 1, fused, exact);
        double bias = model_view(model)->layers[0].attn_q_bias ? kl_of(NO_Q_BIAS, n_layers, fused, exact) : 1;
        if (verbose) printf("%-20s KL with gate and up swapped %.2e (in one layer %.2e), without q biases %.2e\n", shape->name, gate, one, bias);
        if (gate < 10 * most_fast || one < most_fast || bias < 10 * most_fast)
            fail_msg("%s: faults make KL %g, %g, %g: nobody would see them", shape->name, gate, one, bias);
    }
    free(exact);
}

/* ---- a vocabulary of real size ---- */

static void the_sampler_is_the_hosts(void **state) {
    (void)state;
    int32_t ids[14];
    fill_ids(ids, 14);
    struct rig rig = open_rig(&backend_cuda, model_view(model), false);
    check_sampler(&rig, ids, shape->name, 64);
    shut(&rig);
}

/* ---- memory ---- */

static size_t least_free;

static int look_at_memory(void *ctx, uint64_t done, uint64_t total) {
    size_t left = 0, all;
    (void)ctx, (void)done, (void)total;
    if (cudaMemGetInfo(&left, &all) == cudaSuccess && left < least_free) least_free = left;
    return 0;
}

static void the_estimate_is_what_is_used(void **state) {
    (void)state;
    const struct model_view *view = model_view(model);
    for (int exact = 0; exact < 2; exact++) {
        struct backend_options options = {.n_ctx = N_CTX, .exact = exact};
        struct memory_estimate estimate;
        struct rig rig = {.ops = &backend_cuda, .view = view};
        struct err err;
        must(backend_cuda.estimate(view, &options, &estimate, &err), &err, "estimate");
        least_free = SIZE_MAX;
        look_at_memory(NULL, 0, 0);
        size_t before = least_free;
        must(backend_cuda.open(view, &options, look_at_memory, NULL, &rig.backend, &err), &err, "open");
        look_at_memory(NULL, 0, 0);
        must(backend_cuda.timeline_new(rig.backend, N_CTX, &rig.timeline, &err), &err, "timeline_new");
        look_at_memory(NULL, 0, 0);
        free(run_prompt(&rig, 513, false));
        free(run_prompt(&rig, 31, true));
        look_at_memory(NULL, 0, 0);
        shut(&rig);
        double mib = 1 << 20, used = (double)(before - least_free), wanted = (double)(estimate.total + estimate.copies);
        if (verbose) printf("%-20s %s weights %.1f copies %.1f kv %.1f work %.1f: %.1f MiB estimated, %.1f used, %+.2f %%\n", shape->name,
                            exact ? "exact" : "fast ", (double)estimate.weights / mib, (double)estimate.copies / mib, (double)estimate.kv / mib,
                            (double)estimate.work / mib, wanted / mib, used / mib, 100 * (used / wanted - 1));
        if (fabs(used / wanted - 1) > 0.05) fail_msg("%s: %.1f MiB were estimated, %.1f used", shape->name, wanted / mib, used / mib);
    }
}

static void the_largest_context_is_there(void **state) {
    (void)state;
    const struct model_view *view = model_view(model);
    struct backend_options options = {.n_ctx = 1};
    struct memory_estimate estimate;
    struct rig rig = {.ops = &backend_cuda, .view = view};
    struct err err;
    must(backend_cuda.estimate(view, &options, &estimate, &err), &err, "estimate");
    options.n_ctx = estimate.largest_ctx;
    must(backend_cuda.open(view, &options, NULL, NULL, &rig.backend, &err), &err, "open");
    must(backend_cuda.timeline_new(rig.backend, options.n_ctx, &rig.timeline, &err), &err, "timeline_new");
    free(run_prompt(&rig, 31, true));
    shut(&rig);
    options.n_ctx += options.n_ctx / 20;
    must(backend_cuda.estimate(view, &options, &estimate, &err), &err, "estimate");
    assert_true(estimate.largest_ctx < options.n_ctx && estimate.total > estimate.available);
    assert_int_equal(backend_cuda.open(view, &options, NULL, NULL, &rig.backend, &err), STATUS_MEMORY);
    if (verbose) printf("%-20s %u positions fit; %u: %s\n", shape->name, estimate.largest_ctx, options.n_ctx, err.text);
}

/* ---- */

static int write_and_open(void **state) {
    (void)state;
    const char *folder = getenv("TMPDIR");
    struct err err;
    if (!shape->nano) {
        must(model_open(DEFAULT_MODEL, MODEL_WHOLE, &model, &err), &err, DEFAULT_MODEL);
        return 0;
    }
    snprintf(path, sizeof path, "%s/logitop-%d-%s.gguf", folder ? folder : "/tmp", (int)getpid(), shape->name);
    shape_write(shape, path);
    int status = model_open(path, MODEL_WHOLE, &model, &err);
    unlink(path); /* open it stays readable */
    must(status, &err, path);
    return 0;
}

static int close_it(void **state) {
    (void)state;
    model_close(model);
    model = NULL;
    return 0;
}

int main(int argc, char **argv) {
    if (!card_is_there(argc, argv)) return SKIPPED;
    const char *large = getenv("LOGITOP_TEST_LARGE");
    bool has_default = access(DEFAULT_MODEL, R_OK) == 0;
    if (!has_default) printf("left out: no %s\n", DEFAULT_MODEL);
    int failed = 0, n = large && strcmp(large, "1") == 0 ? N_SHAPES : SHAPES_SMALL;
    for (int i = has_default ? -1 : 0; i < n; i++) {
        shape = i < 0 ? &default_model : &shapes[i];
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(every_path_agrees),
            cmocka_unit_test(faults_are_seen),
            cmocka_unit_test(the_sampler_is_the_hosts),
            cmocka_unit_test(the_estimate_is_what_is_used),
            cmocka_unit_test(the_largest_context_is_there),
        };
        failed += cmocka_run_group_tests_name(shape->name, tests, write_and_open, close_it);
    }
    return failed;
}
