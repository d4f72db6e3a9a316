/* What a nano model must answer (tests/data/nano/NAME.golden.gguf), and a model on a backend to ask. For CMocka tests. */
#ifndef LOGITOP_TESTS_GOLDEN_GOLDEN_H
#define LOGITOP_TESTS_GOLDEN_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "infer/gguf.h"
#include "infer/model.h"
#include "kernels/backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const nano_names[] = {
    "llama-f16",    "llama-mha-q6_k", "llama-smol-q4_1", "llama-trace",  "llama3-scaled-q8_0", "qwen2-bf16", "qwen2-deep",
    "qwen2-f16",    "qwen2-f32",      "qwen2-gqa7",      "qwen2-iq4_nl", "qwen2-iq4_xs",       "qwen2-mix",  "qwen2-oldpads",
    "qwen2-q2_k",   "qwen2-q3_k",     "qwen2-q4_0",      "qwen2-q4_1",   "qwen2-q4_k",         "qwen2-q5_0", "qwen2-q5_1",
    "qwen2-q5_k",   "qwen2-q6_k",     "qwen2-q8_0",      "qwen2-trace",  "qwen3-mix",          "qwen3-q8_0", "qwen3-trace",
};
enum { NANO_MODELS = sizeof nano_names / sizeof *nano_names };

struct golden {
    struct gguf *file;
    int32_t *prompt, *positions, *greedy;
    float *margin;
    size_t n_prompt, n_positions, n_greedy;
    uint32_t n_vocab;
    const float *logits; /* [n_positions][n_vocab] */
};

/* Fail with the error's text. */
static inline void must(int status, const struct err *err, const char *what) {
    if (status) fail_msg("%s: %s", what, err->text);
}

/* How far a is from the reference, of the reference's length; of zeros anything else is infinitely far. */
static inline double relative(const float *a, const float *reference, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)reference[i];
        difference += d * d;
        norm += (double)reference[i] * (double)reference[i];
    }
    return difference > 0 ? sqrt(difference / norm) : difference; /* NaN stays NaN */
}

static inline struct golden golden_open(const char *name) {
    struct golden golden = {0};
    struct err err;
    char path[512];
    size_t n_margin;
    snprintf(path, sizeof path, "%s/nano/%s.golden.gguf", TEST_DATA, name);
    must(gguf_open(path, GGUF_WHOLE, NULL, &golden.file, &err), &err, path);
    must(gguf_map(golden.file, &err), &err, path);
    struct gguf *file = golden.file;
    must(gguf_i32s(file, "golden.prompt", GGUF_NEEDED, &golden.prompt, &golden.n_prompt, &err), &err, path);
    must(gguf_i32s(file, "golden.positions", GGUF_NEEDED, &golden.positions, &golden.n_positions, &err), &err, path);
    must(gguf_i32s(file, "golden.greedy", GGUF_NEEDED, &golden.greedy, &golden.n_greedy, &err), &err, path);
    must(gguf_f32s(file, "golden.margin", GGUF_NEEDED, &golden.margin, &n_margin, &err), &err, path);
    must(gguf_u32(file, "golden.n_vocab", GGUF_NEEDED, &golden.n_vocab, &err), &err, path);
    assert_int_equal(n_margin, golden.n_greedy);
    const struct gguf_tensor *logits = gguf_tensor(file, "logits");
    assert_non_null(logits);
    assert_int_equal(logits->n_elements, golden.n_positions * golden.n_vocab);
    golden.logits = logits->data;
    return golden;
}

static inline void golden_close(struct golden *golden) {
    free(golden->prompt);
    free(golden->positions);
    free(golden->greedy);
    free(golden->margin);
    gguf_close(golden->file);
}

/* A model on a backend with one timeline. */
struct rig {
    const struct backend_ops *ops;
    struct model *model;
    const struct model_view *view;
    struct backend *backend;
    struct timeline *timeline;
};

static inline struct rig rig_open_path(const struct backend_ops *ops, const char *path, const struct backend_options *options) {
    struct rig rig = {.ops = ops};
    struct err err;
    must(model_open(path, MODEL_WHOLE, &rig.model, &err), &err, path);
    rig.view = model_view(rig.model);
    must(ops->open(rig.view, options, NULL, NULL, &rig.backend, &err), &err, path);
    must(ops->timeline_new(rig.backend, options->n_ctx, &rig.timeline, &err), &err, path);
    return rig;
}

static inline struct rig rig_open(const struct backend_ops *ops, const char *name, const struct backend_options *options) {
    char path[512];
    snprintf(path, sizeof path, "%s/nano/%s.gguf", TEST_DATA, name);
    return rig_open_path(ops, path, options);
}

static inline void rig_close(struct rig *rig) {
    rig->ops->timeline_free(rig->timeline);
    rig->ops->close(rig->backend);
    model_close(rig->model);
}

/* Logits of all positions, as they come. */
struct logits_sink {
    float *logits; /* [n][n_vocab] */
    uint32_t n_vocab, n;
};

static inline int logits_keep(void *ctx, const struct step_result *result, const float *logits) {
    struct logits_sink *sink = ctx;
    (void)result;
    memcpy(sink->logits + (size_t)sink->n++ * sink->n_vocab, logits, sink->n_vocab * sizeof *logits);
    return 0;
}

/* Feed ids in steps of `chunk` (0: one step), logits of all positions to `out` [n][n_vocab]. */
static inline void rig_feed(struct rig *rig, const int32_t *ids, size_t n, size_t chunk, float *out) {
    struct logits_sink sink = {out, rig->view->n_vocab, 0};
    struct err err;
    if (!chunk) chunk = n;
    for (size_t at = 0; at < n; at += chunk) {
        struct step_request request = {.ids = ids + at, .n = (uint32_t)(n - at < chunk ? n - at : chunk), .wanted = WANT_ALL,
                                       .top_k = 1, .logits = true, .on_result = logits_keep, .ctx = &sink};
        must(rig->ops->step(rig->timeline, &request, &err), &err, "step");
    }
    assert_int_equal(sink.n, n);
}

static inline int32_t argmax(const float *logits, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* Greedy continuation after a prompt whose last logits are given must be the golden's, as long as its choice is clear: a margin
 * of at least `clear`. Returns how many ids were the same. */
static inline size_t rig_check_greedy(struct rig *rig, const struct golden *golden, const float *last, float clear) {
    struct err err;
    struct decode *decode = NULL;
    struct decode_request request = {.id = argmax(last, golden->n_vocab), .sampling = {.repeat_penalty = 1},
                                     .limit = (uint32_t)golden->n_greedy};
    int32_t id = request.id;
    size_t i = 0;
    must(rig->ops->decode_begin(rig->timeline, &request, &decode, &err), &err, "decode_begin");
    for (; i < golden->n_greedy; i++) {
        if (id != golden->greedy[i] && golden->margin[i] < clear) break;
        assert_int_equal(id, golden->greedy[i]);
        struct step_result result;
        must(rig->ops->decode_next(decode, &result, &err), &err, "decode_next");
        id = result.id;
    }
    rig->ops->decode_end(decode, (uint32_t)golden->n_prompt);
    assert_int_equal(rig->ops->timeline_length(rig->timeline), golden->n_prompt);
    return i;
}

/* Mean over the golden's positions of KL(golden || ours) in nats. */
static inline double golden_kl(const struct golden *golden, const float *logits) {
    double sum = 0;
    for (size_t i = 0; i < golden->n_positions; i++) {
        const float *a = golden->logits + i * golden->n_vocab;
        const float *b = logits + (size_t)golden->positions[i] * golden->n_vocab;
        double max_a = a[0], max_b = b[0], sum_a = 0, sum_b = 0;
        for (uint32_t j = 1; j < golden->n_vocab; j++) {
            if (a[j] > max_a) max_a = a[j];
            if (b[j] > max_b) max_b = b[j];
        }
        for (uint32_t j = 0; j < golden->n_vocab; j++) {
            sum_a += exp(a[j] - max_a);
            sum_b += exp(b[j] - max_b);
        }
        for (uint32_t j = 0; j < golden->n_vocab; j++) {
            double log_a = a[j] - max_a - log(sum_a), log_b = b[j] - max_b - log(sum_b);
            sum += exp(log_a) * (log_a - log_b);
        }
    }
    return sum / (double)golden->n_positions;
}

static inline double golden_error(const struct golden *golden, const float *logits) {
    double worst = 0;
    for (size_t i = 0; i < golden->n_positions; i++)
        for (uint32_t j = 0; j < golden->n_vocab; j++) {
            double error = fabs((double)golden->logits[i * golden->n_vocab + j] -
                                (double)logits[(size_t)golden->positions[i] * golden->n_vocab + j]);
            if (!(error <= worst)) worst = error; /* NaN counts as the worst */
        }
    return worst;
}

/* llama.cpp's mean KL on the same file. */
static inline double llama_cpp_kl(const char *name) {
    FILE *file = fopen(TEST_DATA "/nano/llama_cpp.tsv", "r");
    assert_non_null(file);
    char line[256], model[64];
    double error, rms, kl, found = 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %lf %lf %lf", model, &error, &rms, &kl) == 4 && strcmp(model, name) == 0) found = kl;
    fclose(file);
    assert_true(found > 0);
    return found;
}

#endif
