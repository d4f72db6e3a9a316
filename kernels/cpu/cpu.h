/* What the sources of the CPU backend share. Step order: forward.c; the seam: kernels/backend.h. */
#ifndef LOGITOP_KERNELS_CPU_CPU_H
#define LOGITOP_KERNELS_CPU_CPU_H

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/sample.h"
#include "kernels/cpu/threads.h"

enum {
    CHUNK = 256,       /* positions that go through the layers together; a trace takes all at once */
    OUTPUT_CHUNK = 16, /* positions whose logits are computed together */
};

/* Matrices lie in backend->weights; the vectors are F32 in backend->vectors. NULL or .rows 0 where there is none. */
struct layer {
    struct matrix attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down;
    const float *attn_norm, *attn_q_bias, *attn_k_bias, *attn_v_bias, *attn_q_norm, *attn_k_norm, *ffn_norm;
};

/* Activations of a chunk of up to `n` positions, position after position. */
struct work {
    uint32_t n, keys;      /* made for so many positions, with attention on so many keys */
    float *x;              /* [n][n_embd] residual stream */
    float *y;              /* [n][n_embd] normalised, or about to be added to x */
    float *q, *k, *v;      /* [n][heads * head_dim] */
    float *attn;           /* [n][n_heads * head_dim] */
    float *gate, *up;      /* [n][n_ff] */
    float *cosines, *sines; /* [n][rope_dim / 2] */
    void *shared;          /* the prepared form of what is multiplied next */
    float *parts;          /* per thread: see attention.c */
    size_t part_size;      /* floats */
    float *splits;         /* partial results of attention on a few queries */
    float *logits;         /* [OUTPUT_CHUNK][logits_stride], n_vocab of each */
    size_t logits_stride;  /* whole groups of rows */
    char *memory;
    size_t size;
};

struct backend {
    const struct model_view *model;
    uint32_t n_threads;
    struct pool *pool;
    enum isa isa;
    bool exact;
    const struct vector_ops *ops;
    struct layer *layers;
    struct matrix token_embd, separate_output;
    const struct matrix *output; /* one of the two above */
    const float *output_norm;
    char *weights; /* all matrices, packed */
    size_t weights_size;
    float *vectors;
    size_t vectors_size; /* bytes */
    struct work work;
    struct sample_scratch **scratch; /* [n_threads] */
    uint64_t fingerprint; /* of the model, for saved timelines */
};

struct timeline {
    struct backend *backend;
    uint32_t n_ctx, length;
    uint32_t value_stride;
    int32_t *ids;  /* [n_ctx] */
    char *cache;   /* keys and values, F32 if exact, else F16: [layer][kv head] of a key plane and a value plane */
    size_t cache_size, key_plane, value_plane; /* bytes */
};

/* ---- timeline.c ---- */

int cpu_timeline_new(struct backend *backend, uint32_t n_ctx, struct timeline **out, struct err *err);
void cpu_timeline_free(struct timeline *timeline);
uint32_t cpu_timeline_length(const struct timeline *timeline);
const int32_t *cpu_timeline_ids(const struct timeline *timeline);
void cpu_timeline_truncate(struct timeline *timeline, uint32_t n);
int cpu_timeline_copy(struct timeline *to, const struct timeline *from, uint32_t n, struct err *err);
size_t cpu_timeline_size(const struct timeline *timeline, uint32_t n);
int cpu_timeline_save(const struct timeline *timeline, uint32_t n, void *to, struct err *err);
int cpu_timeline_load(struct timeline *timeline, const void *from, size_t size, struct err *err);

uint64_t kv_bytes(const struct model_view *model, bool exact, uint32_t n_ctx);
uint32_t value_stride(const struct model_view *model);
void *key_plane(const struct timeline *timeline, uint32_t layer, uint32_t head);
void *value_plane(const struct timeline *timeline, uint32_t layer, uint32_t head);
/* Put one position's keys and values ([kv heads * head_dim]) into the cache. Any thread, positions of its own. */
void timeline_put(struct timeline *timeline, uint32_t layer, uint32_t position, const float *k, const float *v);

/* ---- attention.c ---- */

/* Attention of n queries from `first` on, on the cache: work.q to work.attn. `weights` [head][query][key] may be NULL. */
void attention(struct timeline *timeline, uint32_t layer, uint32_t first, uint32_t n, float *weights);
size_t attention_part_size(const struct backend *backend, uint32_t keys); /* floats of work.parts a thread */
size_t attention_splits_size(const struct backend *backend, uint32_t keys); /* floats of work.splits */

/* ---- work.c: memory of a step ---- */

uint64_t work_bytes(const struct backend *backend, uint32_t n, uint32_t keys);
int work_reserve(struct backend *backend, uint32_t n, uint32_t keys, struct err *err); /* at least so much */
void work_free(struct backend *backend);

/* ---- forward.c ---- */

/* Run the layers on ids[0..n) at positions first and on, with work reserved; work.x then holds their residual stream, and the
 * cache their keys and values. */
int cpu_forward(struct timeline *timeline, const int32_t *ids, uint32_t first, uint32_t n, const struct step_request *trace,
                struct err *err);
/* Logits of `n` (at most OUTPUT_CHUNK) positions of the chunk from `from` on, into work.logits. */
void cpu_forward_logits(struct timeline *timeline, uint32_t from, uint32_t n);

/* ---- step.c ---- */

int cpu_step(struct timeline *timeline, const struct step_request *request, struct err *err);
/* Feed one token at timeline->length and compute its logits: work.logits. The length stays. */
int feed_one(struct timeline *timeline, int32_t id, const atomic_bool *stop, struct err *err);

/* ---- memory.c ---- */

uint64_t memory_available(void); /* bytes that new memory can take without swapping, or ending a container */
uint64_t memory_total(void);
uint64_t memory_resident(void); /* of this process */

/* ---- decode.c ---- */

int cpu_decode_begin(struct timeline *timeline, const struct decode_request *request, struct decode **out, struct err *err);
int cpu_decode_next(struct decode *decode, struct step_result *out, struct err *err);
void cpu_decode_end(struct decode *decode, uint32_t keep);

#endif
