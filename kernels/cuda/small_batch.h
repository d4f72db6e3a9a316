/* A step of a few positions - the usual turn of a chat - by products of the quants themselves: what C and
 * CUDA files share. */
#ifndef LOGITOP_KERNELS_CUDA_SMALL_BATCH_H
#define LOGITOP_KERNELS_CUDA_SMALL_BATCH_H

#include "kernels/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Positions of such a step. With 64 it takes 0.6 to 0.8 of the time that cuBLASLt takes over copies in 16
 * bits, of every type measured (docs/performance.md); for more a warp's sums would not fit into its
 * registers. */
enum { SMALL_BATCH_MOST = 64 };

enum {
    SMALL_STEP_BLOCKS = 4,   /* blocks of 32 that a step of a product multiplies */
    SMALL_TILE = 16,         /* rows of a tile of the matrix units; a warp has two of them */
    SMALL_PARTS_MOST = 16,   /* of the columns */
    SMALL_MATRICES = 3,      /* in one product */
    SMALL_WARPS_MOST = 12,   /* of a block of a product: as many as find registers */
    SMALL_DEEPEST = 4,       /* ring of such a block, of 2 or more units */
    SMALL_COLS_MOST = 32768, /* of a matrix: a row is kept in registers between its norm and its 16 bits */
};

/* Positions go in groups of 8, as the matrix units have them: 2, 4 or 8 groups. */
static inline uint32_t small_groups(uint32_t n) {
    return n <= 16 ? 2 : n <= 32 ? 4 : 8;
}
static inline uint32_t small_steps(uint32_t blocks) {
    return (blocks + SMALL_STEP_BLOCKS - 1) / SMALL_STEP_BLOCKS;
}
/* Bytes of shared memory that a block of a product takes: a ring of `depth` units, each of `vectors` and of
 * `pieces` for each warp, and `heads` for each warp. */
struct small_memory {
    uint32_t vectors, pieces, heads;
    uint32_t wide; /* a weight has about eight bits or more: the memory is what counts */
};
static inline uint32_t small_block_memory(struct small_memory m, uint32_t warps, uint32_t depth) {
    return depth * (m.vectors + warps * m.pieces) + warps * m.heads;
}
struct small_memory small_product_memory(int type, uint32_t groups);

/* The vectors of n positions in 16 bits in the order in which the threads of the matrix units want them,
 * padded with zeros to whole steps and groups: [step][group][piece 0..3][lane][8]. Two orders of columns, one
 * for quants and one for float types. */
struct small_vectors {
    void *data;
    uint32_t groups; /* small_groups(n) */
    float *scale;    /* [n] each row was divided by it so that nothing overflows */
    int bf16, floats;
};
static inline size_t small_vectors_size(uint32_t blocks, uint32_t n) {
    return (size_t)small_steps(blocks) * small_groups(n) * 4 * 32 * 8 * 2;
}

/* Sums over a part of the columns, not yet multiplied by the scale of the vectors: [parts][n][rows]. */
struct small_sums {
    float *data;
    uint32_t parts, rows;
};

struct small_product_args {
    struct device_matrix w[SMALL_MATRICES]; /* of one type, with the same blocks; of two tiles of rows each at
                                               least, or of one if gated */
    uint32_t n_matrices;
    int gated; /* w is gate and up, parts is 1: the sums become silu(gate) * up, with all scales, [n][rows of
                  one] */
    uint32_t n;
    struct small_vectors x;
    struct small_sums to;
    uint32_t first_row;    /* of the sums: where those of w[0] begin; those of the others follow */
    uint32_t warps, depth; /* of a block; small_block_memory() */
};
/* How products are cut: rows of tiles into blocks of warps, columns into parts. What was found for a product
 * is kept, as there are only some. */
struct small_cut {
    uint32_t warps, parts, depth;
};
struct small_work { /* of a product: its matrices together, and what the one of them that needs most needs */
    uint32_t tiles, rows, steps, groups, most_parts, wide;
    struct small_memory memory; /* but `wide` */
};
enum { SMALL_CUTS = 16 };
struct small_cuts {
    struct small_work work[SMALL_CUTS];
    struct small_cut cut[SMALL_CUTS];
    uint32_t n; /* found, ever */
};

int small_product_can(int type, int bf16); /* is there a kernel for this type, with vectors of that kind? */
cudaError_t launch_small_product(cudaStream_t stream, const struct small_product_args *args);

/* What lies between two products, a block a position: v = x (+ sums * scale, and x = v), an RMS norm of it if
 * wanted, and the result as small_vectors, or in F32 where `normed` is given. */
struct small_rows_args {
    float *x;              /* [n][cols] */
    struct small_sums add; /* data NULL: none */
    const float *norm;     /* [cols] or NULL */
    float eps;
    uint32_t cols, n;
    struct small_vectors to; /* its scale is read, then written */
    float *normed;
};
cudaError_t launch_small_rows(cudaStream_t stream, const struct small_rows_args *args);

/* Sums of q, k and v: scale and bias, norm of heads, rotation; q to [n][n_heads][head_dim], k and v to the
 * cache. */
struct small_heads_args {
    struct rope_args rope;
    struct cache_layer cache;
    struct small_sums sums;
    const float *scale;   /* of the vectors */
    const float *bias[3]; /* of q, k, v, or NULL */
    uint32_t first, n;
    float *q;
};
cudaError_t launch_small_heads(cudaStream_t stream, const struct small_heads_args *args);

#ifdef __cplusplus
}
#endif

#endif
