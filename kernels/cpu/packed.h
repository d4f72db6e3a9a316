/* How packed weights lie in memory: what pack.c writes and gemm_kernels.h reads.
 *
 * A group is 16 rows; it is a sequence of units, one for each block of the type (one element for F32, F16, BF16), each as long
 * as 16 blocks of the file. "[16]" below is one entry a row.
 *
 * F32, F16, BF16   [16] elements
 * block types      d [16] f16; then, where the type has it, m or dmin [16] f16; then the scales of sub-blocks; then for each
 *                  run of 32 columns (one in blocks of 32, eight in blocks of 256) its code planes:
 *                    one   64 bytes   a bit a code    bit 4r+i of the j-th 8 bytes
 *                    two  128 bytes   two bits a code field j/2 (from the low end) of byte 4r+i of the (j%2)-th 64 bytes
 *                    four 256 bytes   four bits       low (j < 4) or high half of byte 4r+i of the (j%4)-th 64 bytes
 *                    eight 512 bytes  a byte          byte 4r+i of the j-th 64 bytes
 *                  where the code is that of row r and column 4j+i of the run. A code is the planes together, `two` or
 *                  `four` at the low end.
 * scales of sub-blocks
 *   Q2_K           [sub 16][16] scale | min << 4, as in the file
 *   Q6_K           [sub 16][16] scale
 *   Q3_K           [8][16] low nibbles: subs 0-7, 8-15; [4][16] high pairs of bits: subs 0-3, 4-7, 8-11, 12-15
 *   Q4_K, Q5_K     [sub 8][16] low nibbles: scale, min; [4][16] high pairs of bits: scale and min of subs 0-3, then of 4-7
 *   IQ4_XS         [4][16] low nibbles: subs 0-3, 4-7; [2][16] high pairs of bits: subs 0-1, 2-3, 4-5, 6-7 */
#ifndef LOGITOP_KERNELS_CPU_PACKED_H
#define LOGITOP_KERNELS_CPU_PACKED_H

#include "kernels/dtype.h"

#include <stdbool.h>

struct packed_layout {
    int runs;   /* runs of 32 columns a unit; 0: not a block type */
    int header; /* bytes before the code planes */
    bool one, two, four, eight;
    int offset;  /* value = scale * (code - offset) + min */
    bool halves; /* scales (and mins) are for 16 elements, not 32 */
    bool mins;
};

static inline __attribute__((always_inline)) struct packed_layout packed_layout(enum dtype type) {
    switch (type) {
    case DTYPE_Q4_0: return (struct packed_layout){.runs = 1, .header = 32, .four = true, .offset = 8};
    case DTYPE_Q4_1: return (struct packed_layout){.runs = 1, .header = 64, .four = true, .mins = true};
    case DTYPE_Q5_0: return (struct packed_layout){.runs = 1, .header = 32, .one = true, .four = true, .offset = 16};
    case DTYPE_Q5_1: return (struct packed_layout){.runs = 1, .header = 64, .one = true, .four = true, .mins = true};
    case DTYPE_Q8_0: return (struct packed_layout){.runs = 1, .header = 32, .eight = true, .offset = 128};
    case DTYPE_IQ4_NL: return (struct packed_layout){.runs = 1, .header = 32, .four = true, .offset = 128};
    case DTYPE_Q2_K: return (struct packed_layout){.runs = 8, .header = 320, .two = true, .halves = true, .mins = true};
    case DTYPE_Q3_K:
        return (struct packed_layout){.runs = 8, .header = 224, .one = true, .two = true, .offset = 4, .halves = true};
    case DTYPE_Q4_K: return (struct packed_layout){.runs = 8, .header = 256, .four = true, .mins = true};
    case DTYPE_Q5_K: return (struct packed_layout){.runs = 8, .header = 256, .one = true, .four = true, .mins = true};
    case DTYPE_Q6_K:
        return (struct packed_layout){.runs = 8, .header = 288, .two = true, .four = true, .offset = 32, .halves = true};
    case DTYPE_IQ4_XS: return (struct packed_layout){.runs = 8, .header = 128, .four = true, .offset = 128};
    default: return (struct packed_layout){0};
    }
}

/* bytes of the code planes of one run of 32 columns */
static inline __attribute__((always_inline)) int packed_run_size(struct packed_layout l) {
    return (l.one ? 64 : 0) + (l.two ? 128 : 0) + (l.four ? 256 : 0) + (l.eight ? 512 : 0);
}

#endif
