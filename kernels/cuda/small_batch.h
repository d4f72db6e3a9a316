/* The products of a step of a few positions - the usual turn of a chat - by the quants themselves: what C and
 * CUDA files share. */
#ifndef LOGITOP_KERNELS_CUDA_SMALL_BATCH_H
#define LOGITOP_KERNELS_CUDA_SMALL_BATCH_H

#include "kernels/cuda/batch.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Positions of such a step. With 64 it takes 0.6 to 0.8 of the time that cuBLASLt takes over copies in 16
 * bits, of every type measured (docs/performance.md); for more a warp's sums would not fit into its
 * registers. */
enum { SMALL_BATCH_MOST = 64 };

enum {
    SMALL_STEP_BLOCKS = 4, /* blocks of 32 that a step of a product multiplies */
    SMALL_TILE = 16,       /* rows of a tile of the matrix units; a warp has two of them */
    SMALL_PARTS_MOST = 16, /* of the columns */
    SMALL_MATRICES = 3,    /* in one product */
    SMALL_WARPS_MOST = 12, /* of a block of a product: as many as find registers */
    SMALL_DEEPEST = 4,     /* ring of such a block, of 2 or more units */
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

/* Bytes of the vectors of n positions in the order in which the threads of the matrix units want them, padded
 * with zeros to whole steps and groups: [step][group][piece 0..3][lane][8]. There are two orders of columns,
 * one for quants and one for float types. */
static inline size_t small_vectors_size(uint32_t blocks, uint32_t n) {
    return (size_t)small_steps(blocks) * small_groups(n) * 4 * 32 * 8 * 2;
}

struct small_product_args {
    struct device_matrix w[SMALL_MATRICES]; /* of one type, with the same blocks; of two tiles of rows each at
                                               least, or of one if gated */
    uint32_t n_matrices;
    int gated; /* w is gate and up, parts is 1: the sums become silu(gate) * up, with all scales, [n][rows of
                  one] */
    uint32_t n;
    struct batch_vectors x; /* in that order */
    struct batch_sums to;
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

int small_product_can(int type); /* is there a kernel for this type? */
cudaError_t launch_small_product(cudaStream_t stream, const struct small_product_args *args);

#ifdef __cplusplus
}
#endif

#endif
