/* The pieces of one decode step: the fused kernels and what they are given. Callable from C. */
#ifndef LOGITOP_KERNELS_CUDA_DECODE_H
#define LOGITOP_KERNELS_CUDA_DECODE_H

#include "kernels/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the steps of a run hand on, on the device. */
struct decode_state {
    int32_t id;        /* fed next */
    uint32_t position; /* where */
    uint32_t step;     /* of the run: 0, 1, ... */
};

/* x = row of state->id; turn = cosine and sine of every rotated pair at state->position, [rope_dim / 2]. */
cudaError_t launch_decode_embed(cudaStream_t stream, struct device_matrix table, const struct decode_state *state, float *x,
                                struct rope_args rope, float2 *turn);

/* ---- attention of the newest position (decode_attention.cu) ---- */
struct decode_attention_args {
    struct rope_args rope;
    struct cache_layer cache;
    const float *q, *k, *v; /* of the newest position, before norm and rotation */
    const uint32_t *position;
    const float2 *turn; /* of launch_decode_embed() */
    float *out;        /* [n_heads][head_dim] */
    float *partial;    /* decode_attention_partial() bytes */
    uint32_t *arrived; /* [decode_attention_blocks()], zero */
    uint32_t splits;
};
size_t decode_attention_shared(struct rope_args rope); /* bytes a block needs; 0: no kernel for this head dimension */
uint32_t decode_attention_blocks(struct rope_args rope);
uint32_t decode_attention_splits(struct rope_args rope, uint32_t n_ctx, uint32_t multiprocessors);
size_t decode_attention_partial(struct rope_args rope, uint32_t splits);
cudaError_t launch_decode_attention(cudaStream_t stream, struct decode_attention_args args);

/* ---- matrix times vector (decode_product.cu) ---- */
enum { PRODUCT_MATRICES = 3 };
struct decode_product_args {
    struct device_matrix w[PRODUCT_MATRICES]; /* n of them, all with the same cols: q, k, v or one */
    const float *bias[PRODUCT_MATRICES];      /* or NULL */
    float *y[PRODUCT_MATRICES];
    uint32_t n;
    const float *x;    /* [cols] */
    const float *norm; /* weights of an RMS norm over x, or NULL */
    float eps;
    int add;  /* y += instead of y = */
    int gate; /* w[0] is the gate, w[1] is up: y[0] = silu(w0 x) * (w1 x) */
};
size_t decode_product_shared(const struct device_matrix *w); /* bytes a block needs */
/* Can one launch do it? Types may differ only in the last matrix, and only in common pairs. */
int decode_product_fits(const struct decode_product_args *args);
/* Weights that are quantised meet x as 8-bit blocks of 32, others meet it in F32. */
cudaError_t launch_decode_product(cudaStream_t stream, struct decode_product_args args, uint32_t multiprocessors);

/* ---- choosing the next token (decode_sample.cu) ---- */

enum { SAMPLE_RING = 16 };

/* One step's record in pinned host memory; `ready` is step + 1 once the rest is there. */
struct sample_record {
    uint32_t ready, position;
    int32_t id;
    float logit, prob;
    uint32_t rank;
    float max;                   /* largest raw logit */
    uint64_t weights, distances; /* fixed-point sums over the raw distribution: log-sum-exp and entropy */
    uint32_t bad;                /* first id whose logit is not finite, or UINT32_MAX: nothing was chosen */
    uint32_t overflow;           /* too many candidates: nothing was chosen, the host must */
    uint32_t n_top;
    struct candidate top[CANDIDATES_MAX + 1];
};

enum { SAMPLE_BINS = 4096, SAMPLE_LIST = 1024 };
struct sample_scratch_device { /* between the two kernels; `bad` starts as UINT32_MAX, everything else as 0 */
    uint32_t bins[SAMPLE_BINS];
    uint64_t list[SAMPLE_LIST];
    uint64_t weights, distances;
    uint32_t max_key, threshold, count, bad, arrived;
};

struct sample_order { /* what a run wants; in device memory, so that one captured graph serves every run */
    struct sampling sampling;
    uint32_t top_k;
};

struct sample_args {
    const float *logits; /* [n_vocab] */
    uint32_t n_vocab;
    const struct sample_order *order;
    int32_t *history; /* [n_ctx + 1] ids of the timeline, the newest at state->position */
    struct decode_state *state;
    struct sample_scratch_device *scratch;
    struct sample_record *ring; /* [SAMPLE_RING] */
};
/* Is this a chain for launch_sample()? */
int sample_fits(const struct sampling *sampling, uint32_t top_k, uint32_t n_vocab);
cudaError_t launch_sample(cudaStream_t stream, struct sample_args args, uint32_t multiprocessors);

/* Every other chain (decode_sample_all.cu). */
enum { SAMPLE_ALL_THREADS = 1024, SAMPLE_ALL_BINS = 2048, SAMPLE_ALL_TILE = 128, SAMPLE_ALL_TILES = (1 << 18) / SAMPLE_ALL_TILE };
struct sample_all_place { /* where a stage cuts, as it is looked for */
    unsigned long long bins[SAMPLE_ALL_BINS];
    uint32_t n; /* keys in the bin */
};
struct sample_all_scratch { /* between its blocks; all before `keys` is zero at the beginning of a step */
    uint32_t arrived, n_told;
    unsigned long long slots[128];                   /* sums and extremes, each used once */
    struct sample_all_place places[STAGE_COUNT + 1]; /* the same */
    unsigned long long keys[SAMPLE_ALL_THREADS], tiles[SAMPLE_ALL_TILES];
};
struct sample_all_args {
    struct sample_args sample; /* without scratch */
    float *logits;             /* [n_vocab] as the stages change them */
    uint32_t *counts;          /* [n_vocab] of what was said; zero between steps */
    uint8_t *marks;            /* [n_vocab] enum stage that cut an id */
    struct sample_all_scratch *scratch;
};
cudaError_t launch_sample_all(cudaStream_t stream, struct sample_all_args args, uint32_t multiprocessors);

/* ---- a whole step in one kernel (decode_whole.cu, and whole_plan.cu, which prepares it) ---- */

enum { WHOLE_THREADS = 512, WHOLE_PARTS = 3, WHOLE_SLOTS = 64 /* at most */, WHOLE_LOAD = 8 /* pieces in a slot, at most */, WHOLE_BLOCKS = 192 /* at most */ };

/* Rows that are multiplied by the same vector, of one type. Of q, k and v those that have one are a part together: they lie one behind the other. */
struct whole_part {
    const char *data;
    uint32_t type, units; /* a unit is a row, or a row of gate and the one of up behind it */
    uint32_t a_load;      /* pieces that a slot of the ring takes */
};
enum whole_kind { WHOLE_QKV, WHOLE_OUTPUT, WHOLE_GATE, WHOLE_DOWN, WHOLE_HEAD, WHOLE_KINDS };
struct whole_product {
    struct whole_part part[WHOLE_PARTS]; /* of down where `sliced`, data are slices */
    uint32_t n_parts, rows_a_unit, kind, floats; /* floats: F16 or BF16 weights, which meet the vector in F32 */
    uint32_t run; /* units that one block has together */
    uint32_t cols, blocks, chunks; /* of a row */
    const float *norm; /* weights of the RMS norm over the vector, or NULL */
    const float *bias[3], *q_norm, *k_norm; /* of q, k and v or NULL, and of the heads */
};
/* How the hidden values between gate and down are shared out, and with them the columns of down (slices.cuh). */
struct whole_slices {
    uint32_t n, unit, units; /* slices, one a block of the kernel; hidden values that stay together, and how many such units there are */
    uint32_t columns;        /* of a tile: 8 of a float type, or a block of 32 */
    uint32_t groups, widest, supers; /* groups of 32 rows; tiles across the widest slice; blocks of 256 columns that a slice meets, at most */
};
uint32_t tile_bytes(uint32_t type); /* of 32 rows; 0: not a type of slices */
size_t slices_bytes(const struct whole_slices *slices, uint32_t type); /* of a matrix */
cudaError_t launch_slices(cudaStream_t stream, struct device_matrix from, const struct whole_slices *slices, void *to);

struct whole_args {
    /* The tables of a plan, in device memory (whole_tables.cuh). */
    const struct whole_brief *briefs;   /* of the products: 4 a layer, then the head */
    const struct whole_shares *shares;  /* of the blocks */
    const uint16_t *starts;             /* [blocks][n_starts], of the parts of the products, in the ring */
    const uint64_t *loads;              /* [blocks][a_list] */
    uint32_t n_starts, a_list;
    uint32_t n_layers, n_embd, n_ff;
    struct rope_args rope; /* but q_norm, k_norm */
    struct device_matrix table;
    struct decode_state *state;
    uint32_t *epoch; /* begins at 1 */
    void *cache;     /* of the timeline */
    uint32_t n_ctx;
    struct whole_slices slices; /* where `sliced` */
    float *logits;
    int sample; /* choose the next token too, as `choice` says */
    struct sample_args choice;
    /* Exchanges (exchange.cuh): x after a layer (where `sliced` as sums, for even epochs and for odd ones), q and k and v, attention, x within a layer, hidden
     * values, parts of attention, largest logits, candidates for the next token. */
    uint64_t *x[2], *qkv, *attn, *middle, *hidden, *partial, *largest, *candidates;
    uint32_t *spoiled; /* the epoch of the last step in which a value did not fit into its sum */
    uint32_t most_splits;
    uint32_t sliced;        /* hidden values stay with their block, which has a slice of down */
    uint32_t hidden_quants; /* else: are they told as quants? */
    /* Where things lie in shared memory, bytes, and how large they are. */
    uint32_t shares_at, sums_at, attention_at, slice_vector_at, lanes_at, units_at, most_qkv, most_x, briefs_at, starts_at, list_at, barriers_at, ring_at, slot_size, n_slots;
    uint32_t load_magic[WHOLE_LOAD + 1]; /* 2^32 / 1..WHOLE_LOAD, rounded up */
    uint32_t ahead, pace; /* of the feeder: loads asked for but not copied, at most; cycles from one to the next, for 2^14 bytes */
};

/* The pieces that the rows of a part of a kind of product are dealt in, whatever their types: `rows` whole rows, or a row in `cuts` pieces of `chunks`,
 * the last one shorter. */
struct whole_cut {
    uint16_t rows, cuts, chunks;
};
/* What a plan depends on. */
struct device_shape {
    int capability; /* its major number */
    uint32_t multiprocessors;
    size_t shared;        /* bytes of shared memory a block can have */
    double memory_cycles; /* of a multiprocessor, in which the memory gives it a byte if all have equal parts; as the card's clocks say */
};
struct whole_plan { /* how a model is run; shared memory in bytes */
    struct whole_args args; /* but what belongs to a timeline */
    struct whole_cut cut[WHOLE_KINDS][WHOLE_PARTS];
    uint32_t blocks, shared;
    size_t exchange, tables; /* bytes; the exchange is zeroed before the first step */
};
/* Are these products, 4 a layer and the head, something whole steps can run? Fills the layout of args. Their data may be missing still. */
int whole_fits(struct whole_plan *plan, struct whole_product *products, const struct device_shape *card);
/* Cut `memory`, of plan->exchange bytes, into the exchanges. */
void whole_exchange(struct whole_plan *plan, void *memory);
/* Fill `tables`, of plan->tables bytes, which are to be copied to `device`. All data of the products are known. */
void whole_tables(struct whole_plan *plan, const struct whole_product *products, void *tables, void *device);
/* Load the kernel, so that nothing is allocated in a run. *each: blocks that a multiprocessor holds at a time. */
cudaError_t whole_load(const struct whole_plan *plan, int *each);
cudaError_t launch_whole_step(cudaStream_t stream, const struct whole_plan *plan);

#ifdef __cplusplus
}
#endif

#endif
