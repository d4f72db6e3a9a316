/* The seam between the engine and a device: a backend runs whole steps of a transformer.
 *
 * A backend is opened on one model (a view of hyperparameters and of named weights inside mapped files) and on one device. It
 * keeps weights and activations; a timeline keeps the ids and the KV cache of one sequence. What a step computes, and how
 * many kernels, graphs or threads that takes, is the backend's own affair: no device type appears here.
 *
 * Threads: one thread at a time may call into a backend and its timelines (the engine's worker). The exceptions are the
 * `stop` flags, which any thread may set while the call that reads them runs.
 *
 * Errors: STATUS_OK or a negative status with `err` filled. After STATUS_DEVICE the device is lost to this backend: what is left is to
 * let go, with decode_end(), timeline_free() and close(), which free all they can and say nothing.
 * After any other failure, or STATUS_STOPPED, the timeline is at timeline_length() and can be used on.
 *
 * kernels/cpu/forward.c and kernels/cuda/forward.c follow the same steps in the same order under the same names. */
#ifndef LOGITOP_KERNELS_BACKEND_H
#define LOGITOP_KERNELS_BACKEND_H

#include "base/err.h"
#include "kernels/dtype.h"
#include "kernels/sampling.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the model, as data; owned by the caller, alive until close() ---- */

/* One tensor. A matrix has `rows` outputs and `cols` inputs (GGUF ne[1], ne[0]), row after row; a vector has rows = 0. */
struct weight {
    const char *name; /* "blk.3.attn_q.weight" */
    enum dtype type;
    uint64_t rows, cols;
    const void *data; /* in the mapping */
    size_t size;      /* bytes */
    int fd;           /* the file, open for pread */
    uint64_t offset;  /* of data in that file */
};

enum rope_pairing { ROPE_HALVES /* (i, i + d/2) */, ROPE_NEIGHBOURS /* (2i, 2i + 1) */ };

struct layer_view { /* NULL where the architecture has none */
    const struct weight *attn_norm, *attn_q, *attn_k, *attn_v, *attn_q_bias, *attn_k_bias, *attn_v_bias;
    const struct weight *attn_q_norm, *attn_k_norm; /* over head_dim, before RoPE (qwen3) */
    const struct weight *attn_output, *ffn_norm, *ffn_gate, *ffn_up, *ffn_down;
};

struct model_view {
    const char *architecture; /* "qwen2" */
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim;
    uint32_t n_ctx_train;
    uint32_t n_vocab; /* the real vocabulary: ids from here on are padding, never listed or sampled */
    uint32_t n_rows;  /* rows of the output matrix, >= n_vocab */
    float norm_eps;
    enum rope_pairing rope_pairing;
    uint32_t rope_dim;    /* first rope_dim elements of a head are rotated; even, <= head_dim */
    const float *rope_freq; /* [rope_dim / 2] radians a position; base and every scaling are in it */
    float rope_magnitude;   /* factor on cos and sin; 1 but for YaRN */
    const struct weight *token_embd, *output_norm, *output; /* output is token_embd where tied */
    const struct layer_view *layers;                        /* [n_layers] */
};

/* ---- a device ---- */

struct backend_options {
    int device;         /* ordinal, for backends with several */
    uint32_t n_threads; /* CPU: 0 is one a core */
    uint32_t n_ctx;     /* for the estimate */
    bool exact;         /* F32 activations and KV cache: the yardstick */
    const char *isa;    /* CPU: "portable", "avx2", "avx512"; NULL is the best there is. For tests and bench */
};

struct memory_estimate { /* bytes */
    uint64_t weights, kv, work, total, available;
    uint64_t copies;      /* taken on top of total, where there is room: weights in 16 bits, for prompts, or in another order, for decoding */
    uint32_t largest_ctx; /* that would fit; 0 if not even the weights do */
};

struct backend_info {
    char device[96];            /* "NVIDIA H200", "AMD EPYC, 2 threads, avx512" */
    uint64_t memory_used, memory_total;
    uint64_t bytes_per_token;   /* weights read by one decode step at depth 0 */
    uint64_t kv_bytes_per_token; /* one position of the KV cache */
};

/* Called as work goes on, from the calling thread; done counts up to total. Nonzero cancels: STATUS_STOPPED. */
typedef int (*progress_fn)(void *ctx, uint64_t done, uint64_t total);

/* ---- steps ---- */

/* A named intermediate of a step, all positions of the step: row-major, shape[0] slowest. Valid during the call.
 * Names: embd; blk.N.attn.norm; blk.N.attn.{q,k,v} (after bias or head norm, before RoPE); blk.N.attn.{q,k}_rope;
 * blk.N.attn.weights [head][query][key]; blk.N.attn.out; blk.N.ffn.norm; blk.N.ffn.out; blk.N.out; norm. */
typedef void (*trace_fn)(void *ctx, const char *name, const uint64_t *shape, int n_dims, const float *values);

/* The result of one wanted position. `logits` is [n_vocab] or NULL; both are valid during the call. Nonzero stops the step. */
typedef int (*result_fn)(void *ctx, const struct step_result *result, const float *logits);

enum wanted { WANT_NOTHING, WANT_LAST, WANT_ALL };

struct step_request {
    const int32_t *ids; /* [n], each in 0..n_vocab-1; fed at timeline_length() and on */
    uint32_t n;
    enum wanted wanted;
    uint32_t top_k;         /* candidates a result, at most CANDIDATES_MAX */
    bool logits;            /* hand the full logits to on_result */
    const int32_t *targets; /* [n] or NULL: the id in 0..n_vocab-1 whose logit and rank each result tells (scoring); -1 none */
    result_fn on_result;    /* needed unless nothing is wanted */
    trace_fn on_trace;      /* NULL: no trace. A trace runs unfused and may be slow */
    progress_fn progress;   /* tokens done of n; those of a chunk under way count in proportion to its work */
    void *ctx;              /* for the three above */
    const atomic_bool *stop; /* may be NULL; polled per layer */
};

struct decode_request {
    int32_t id; /* fed first, at timeline_length(); the first result tells what follows it */
    struct sampling sampling;
    uint32_t top_k; /* candidates a result */
    uint32_t limit; /* at most so many results */
    const atomic_bool *stop;
};

struct backend;
struct timeline;
struct decode;

struct backend_ops {
    const char *name; /* "cpu", "cuda" */

    /* Is there such a device? 0, or STATUS_DEVICE with one line why not (no driver, no card). Cheap. */
    int (*probe)(const struct backend_options *options, struct err *err);

    /* Bytes free on the device now, for whatever model; 0 where that cannot be told. Cheap after probe(). */
    uint64_t (*memory_free)(const struct backend_options *options);

    /* Do what the first open() would wait for and what depends on no model, up to half a second of it; NULL where there is nothing. After probe(),
     * from any thread, while another reads the model. What fails here fails again in open(). */
    void (*wake)(const struct backend_options *options);

    /* What it would take; allocates nothing. STATUS_UNSUPPORTED names the tensor and the type that this backend cannot run. */
    int (*estimate)(const struct model_view *model, const struct backend_options *options,
                    struct memory_estimate *out, struct err *err);

    /* Load the weights. progress counts bytes. On failure nothing is left behind. */
    int (*open)(const struct model_view *model, const struct backend_options *options, progress_fn progress, void *ctx,
                struct backend **out, struct err *err);
    void (*close)(struct backend *backend); /* after its timelines; NULL is fine */
    void (*info)(struct backend *backend, struct backend_info *out);
    double (*read_bandwidth)(struct backend *backend); /* bytes a second of a plain read loop over resident weights, measured now */

    /* A timeline of at most n_ctx positions, empty. */
    int (*timeline_new)(struct backend *backend, uint32_t n_ctx, struct timeline **out, struct err *err);
    void (*timeline_free)(struct timeline *timeline);
    uint32_t (*timeline_length)(const struct timeline *timeline);
    const int32_t *(*timeline_ids)(const struct timeline *timeline); /* [length], valid until the next call */
    void (*timeline_truncate)(struct timeline *timeline, uint32_t n); /* keep the first n <= length */
    int (*timeline_copy)(struct timeline *to, const struct timeline *from, uint32_t n, struct err *err); /* first n positions */
    size_t (*timeline_size)(const struct timeline *timeline, uint32_t n); /* bytes that save() writes */
    int (*timeline_save)(const struct timeline *timeline, uint32_t n, void *to, struct err *err);
    int (*timeline_load)(struct timeline *timeline, const void *from, size_t size, struct err *err); /* refuses what does not fit this model */

    /* Feed n tokens. Longer prompts are cut into chunks inside. STATUS_CONTEXT_FULL if they do not fit, STATUS_USAGE for an id
     * that is not of the real vocabulary: nothing is fed then.
     * STATUS_FAILED if a wanted result has logits that are not finite. */
    int (*step)(struct timeline *timeline, const struct step_request *request, struct err *err);

    /* Keep decoding: feed id, sample, feed what was sampled, and so on; the backend may run ahead of what was asked for.
     * decode_next() gives the results in order and waits for the next one. After the last of `limit`, or when stop was seen:
     * STATUS_STOPPED; when the context is full: STATUS_CONTEXT_FULL; not finite: STATUS_FAILED.
     * decode_end() ends the run and truncates to `keep` positions (at most what was fed), whatever ran ahead.
     * No other call on this timeline between begin and end. */
    int (*decode_begin)(struct timeline *timeline, const struct decode_request *request, struct decode **out, struct err *err);
    int (*decode_next)(struct decode *decode, struct step_result *out, struct err *err);
    void (*decode_end)(struct decode *decode, uint32_t keep);
};

extern const struct backend_ops backend_cpu;
#ifdef LOGITOP_CUDA
extern const struct backend_ops backend_cuda;
#endif

#endif
