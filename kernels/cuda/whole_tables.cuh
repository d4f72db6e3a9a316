/* What the blocks of the one kernel are told of a model: made once on the host (whole_plan.cu), read at the
 * beginning of each step. */
#pragma once

#include "kernels/cuda/decode_kernels.h"

/* Threads and warps that multiply; one more warp feeds them. */
enum { WHOLE_CONSUMERS = WHOLE_THREADS - 32, WHOLE_WARPS = WHOLE_CONSUMERS / 32 };

/* What a block does of the products of a kind, which have the same shape in all layers: units of each part,
 * counted from the first part's beginning. */
struct block_share {
    uint32_t begin[WHOLE_PARTS], end[WHOLE_PARTS];
};
/* Blocks and chunks of a row, and blocks of its last chunk. Of a slice: tiles of a row group, which are all
 * whole. */
struct whole_shape {
    uint32_t blocks, chunks, tail;
};
/* How the block's rows of a part, or the row groups of its slice, are dealt to the warps: in pieces, in
 * turns. A piece is a run of whole rows or, where rows are long, a part of one. */
struct part_deal {
    uint32_t cuts_magic; /* 2^32 / cuts rounded up */
    uint16_t rows, pieces;
    uint16_t a_piece;      /* rows, where they are whole */
    uint16_t cuts, chunks; /* pieces of a row; chunks of such a piece */
    uint16_t turn;         /* the warp that has the first piece */
    uint16_t sums; /* where the sums begin that the pieces give: one for each row, or for each piece of one */
};
struct __align__(16) whole_shares {
    whole_shape shape[WHOLE_KINDS];
    block_share block[WHOLE_KINDS];
    part_deal deal[WHOLE_KINDS][WHOLE_PARTS];
    uint32_t n_loads; /* in the block's list */
};

/* What must be known of a product. */
struct __align__(16) whole_brief {
    const float *norm, *q_norm, *k_norm, *bias[3];
    const char *slices; /* of down, where there are slices */
    uint8_t type[WHOLE_PARTS], a_load[WHOLE_PARTS], floats;
};

/* Where in the ring the loads of a part of a product begin: the slot, and the round of the ring, of which the
 * lowest bits count. */
__host__ __device__ __forceinline__ uint16_t make_start(uint32_t slot, uint32_t round) {
    return (uint16_t)(slot * 4 + round % 4);
}
__device__ __forceinline__ uint32_t start_slot(uint32_t start) {
    return start / 4;
}
__device__ __forceinline__ uint32_t start_round(uint32_t start) {
    return start % 4;
}

/* A load is what a slot of the ring takes, of pieces that lie together. A block's list has all its loads, in
 * the order in which they are multiplied: address and bytes in units of 16, the latter in the upper 12 bits.
 * Lists come in segments. */
enum { LIST_SEGMENT = 32 /* loads */ };
__host__ __device__ __forceinline__ uint64_t make_load(uint64_t address, uint32_t bytes) {
    return address / 16 | (uint64_t)(bytes / 16) << 52;
}
__host__ __device__ __forceinline__ uint64_t load_address(uint64_t load) {
    return load << 12 >> 8;
}
__host__ __device__ __forceinline__ uint32_t load_bytes(uint64_t load) {
    return (uint32_t)(load >> 52) * 16;
}
