/* The weights of down as the kernel of whole steps wants them, beside their rows in chunks (layout.cuh).
 *
 * A block of the kernel makes some of the hidden values, between gate and down, and multiplies them at once by their columns of down: its
 * slice. So the slice has all rows, of the columns that the values are multiplied by; where two blocks of the kernel share a block of
 * quants, both have it, and each multiplies the other's values by zero. A slice is a run of tiles, 32 rows by 8 columns of a float type or by
 * one block of quants, row group by row group: lane l of a warp has row l, so the sum of a row needs no other lane. In a tile the numbers lie
 * in planes as in a chunk; the scales of 256 columns, `super`, lie behind all slices, in the order in which they are needed. Each slice
 * begins with another row group, or all would add to the same results at the same time. */
#pragma once

#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/layout.cuh"

template <int T> struct tile_of {
    using P = planes<T>;
    static constexpr uint32_t columns = 32, low = 32 * P::scale, high = low + 32 * P::low, size = high + 32 * P::high;
};
struct float_tile {
    static constexpr uint32_t columns = 8, size = 32 * 16;
};
template <> struct tile_of<DTYPE_F16> : float_tile {};
template <> struct tile_of<DTYPE_BF16> : float_tile {};

/* Which hidden values block `i` of the kernel makes, and the tiles across its slice. */
struct hidden_share {
    uint32_t begin, end, first, n;
};
__host__ __device__ __forceinline__ hidden_share hidden_of(const whole_slices &s, uint32_t i) {
    const uint32_t begin = (uint32_t)((uint64_t)s.units * i / s.n) * s.unit, end = (uint32_t)((uint64_t)s.units * (i + 1) / s.n) * s.unit;
    return {begin, end, begin / s.columns, (end + s.columns - 1) / s.columns - begin / s.columns};
}

/* Blocks of 256 columns that a run of n blocks of 32 meets. */
__host__ __device__ __forceinline__ uint32_t supers_of(uint32_t first, uint32_t n) { return (first + n - 1) / 8 - first / 8 + 1; }

/* The row group that stands first in a slice. */
__device__ __forceinline__ uint32_t first_group(const whole_slices &s, uint32_t i) { return s.groups * i / s.n; }

/* Row l of a tile in shared memory, but for `super`. */
template <int T> __device__ __forceinline__ raw_block tile_block(const char *tile, uint32_t l) {
    using P = planes<T>;
    using L = tile_of<T>;
    raw_block r;
    r.low = get_plane<P::low, from_shared>(tile + L::low + l * P::low);
    r.high = get_plane<P::high, from_shared>(tile + L::high + l * P::high);
    r.scale = get_n<P::scale, from_shared>(tile + l * P::scale);
    return r;
}

/* Of row group `at` of slice `i`, where the scales of 256 columns begin: [supers][32], `behind` all tiles. */
template <int T> __device__ __forceinline__ const char *supers_at(const char *behind, const whole_slices &s, uint32_t i, uint32_t at) {
    return behind + ((size_t)i * s.groups + at) * s.supers * 32 * planes<T>::super;
}

/* Run CODE with the constant T set to the type of a tile; there are none of others. */
#define FOR_TILE_TYPE(type, CODE)                                                                            \
    switch (type) {                                                                                          \
    case DTYPE_F16: { constexpr int T = DTYPE_F16; CODE; break; }                                            \
    case DTYPE_BF16: { constexpr int T = DTYPE_BF16; CODE; break; }                                          \
    FOR_QUANT_CASES(CODE)                                                                                    \
    default: break;                                                                                          \
    }
