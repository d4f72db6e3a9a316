/* How the blocks of one running kernel hand values to each other: each value lies beside the number of the epoch it belongs to, in one
 * 64-bit word that is written and read whole. Who needs a value reads until the epoch is the one it waits for; no flag, no fence and no
 * barrier, so a value is there one trip through the second-level cache after it was written (NCCL's LL protocol does the same).
 *
 * A value to which many blocks contribute is a sum in fixed point, with the number of contributions in its lowest byte: one atomic
 * addition brings both, and who needs it reads until all have come. Integers add up to the same in any order.
 *
 * A place is used again one layer later. Nobody may write it before all have read it: whoever writes in a layer has read values that
 * depend on what every block did after its reading in the layer before (decode_whole.cu tells why). */
#pragma once

#include <stdint.h>

/* Sums: 8 bits that count, then a signed number of 56 bits, 31 of them behind the point. One contribution may be a residual; with all others
 * below their limit nothing overflows. */
enum { SUM_COUNT = 8, SUM_POINT = 31, SUM_LIMIT = 1 << 16, SUM_LIMIT_RESIDUAL = 1 << 22 };

__device__ __forceinline__ void tell(uint64_t *to, float value, uint32_t epoch) {
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"((uint64_t)epoch << 32 | __float_as_uint(value)) : "memory");
}

/* Add to a sum, as `count` contributions. What reaches the limit, or is not a number, counts as zero, and `spoiled` becomes `step` before. */
__device__ __forceinline__ void contribute(uint64_t *to, float value, uint32_t count, int limit, uint32_t *spoiled, uint32_t step) {
    if (!(fabsf(value) < (float)limit)) {
        *(volatile uint32_t *)spoiled = step;
        __threadfence();
        value = 0;
    }
    const uint64_t word = ((uint64_t)__float2ll_rn(value * (float)(1ll << SUM_POINT)) << SUM_COUNT) + count;
    asm volatile("red.relaxed.gpu.global.add.u64 [%0], %1;" ::"l"(to), "l"(word) : "memory");
}
__device__ __forceinline__ float sum_value(uint64_t word) {
    return __ll2float_rn((int64_t)word >> SUM_COUNT) * (1.0f / (float)(1ll << SUM_POINT));
}

/* What makes a word the one that is waited for: an epoch, or a number of contributions. */
struct awaited {
    uint64_t mask, word;
    __device__ __forceinline__ bool is(uint64_t w) const { return !((w ^ word) & mask); }
    __device__ __forceinline__ bool is_sum() const { return !(mask >> 32); }
    __device__ __forceinline__ float value(uint64_t w) const { return is_sum() ? sum_value(w) : __uint_as_float((uint32_t)w); }
};
__device__ __forceinline__ awaited value_of(uint32_t epoch) { return {~0ull << 32, (uint64_t)epoch << 32}; }
__device__ __forceinline__ awaited sum_of(uint32_t contributions) { return {(1u << SUM_COUNT) - 1, contributions}; }

/* Two neighbours, to - 16-byte aligned. */
__device__ __forceinline__ void listen(const uint64_t *from, uint64_t &a, uint64_t &b) {
    asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];" : "=l"(a), "=l"(b) : "l"(from) : "memory");
}

/* A kernel that waits for what never comes would hold the device for ever: after seconds it ends with an error instead. */
struct patience {
    uint32_t looks = 0;
    __device__ __forceinline__ void look() {
        if (++looks > 1u << 25) __trap();
    }
};

/* N values (even), two at a time from places `step` apart. `gently`: while there is nothing, one lane of the warp looks for all: where
 * all blocks wait long for the same values, their looking must not fill the way to the cache. Whole warps call this; `there` says for
 * which lanes. */
template <int N>
__device__ __forceinline__ void hear(const uint64_t *from, awaited what, float v[N], uint32_t step = 2, bool gently = false, bool there = true) {
    uint64_t pair[N];
    patience p;
    if (gently) {
        bool waits = threadIdx.x % 32 == 0 && there;
        while (waits) {
            listen(from, pair[0], pair[1]);
            waits = !what.is(pair[0]);
            p.look();
        }
        __syncwarp();
    }
    for (bool waits = there; waits; p.look()) {
#pragma unroll
        for (int i = 0; i < N / 2; i++) listen(from + i * step, pair[2 * i], pair[2 * i + 1]);
        uint64_t wrong = 0;
#pragma unroll
        for (int i = 0; i < N; i++) wrong |= pair[i] ^ what.word;
        waits = wrong & what.mask;
    }
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = there ? what.value(pair[i]) : 0.0f;
}

/* Words of 16 bytes, with the epoch in the last four, are written and read whole. */
__device__ __forceinline__ void tell_whole(void *to, uint64_t low, uint64_t high) {
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n.reg .b128 t;\nmov.b128 t, {%1, %2};\nst.relaxed.gpu.global.b128 [%0], t;\n}" ::"l"(to), "l"(low), "l"(high) : "memory");
#else
    ((uint64_t *)to)[0] = low, ((uint64_t *)to)[1] = high;
#endif
}
__device__ __forceinline__ void listen_whole(const void *from, uint64_t &low, uint64_t &high) {
    low = high = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n.reg .b128 t;\nld.relaxed.gpu.global.b128 t, [%2];\nmov.b128 {%0, %1}, t;\n}" : "=l"(low), "=l"(high) : "l"(from) : "memory");
#endif
}

/* Eight quants with their scale. */
struct __align__(16) told_quants {
    uint2 quants;
    float scale;
    uint32_t epoch;
};
__device__ __forceinline__ void tell(told_quants *to, const told_quants &what) {
    tell_whole(to, (uint64_t)what.quants.y << 32 | what.quants.x, (uint64_t)what.epoch << 32 | __float_as_uint(what.scale));
}
__device__ __forceinline__ told_quants listen(const told_quants *from) {
    uint64_t low, high;
    listen_whole(from, low, high);
    return {make_uint2((uint32_t)low, (uint32_t)(low >> 32)), __uint_as_float((uint32_t)high), (uint32_t)(high >> 32)};
}

/* A number of 64 bits, with one of 32. */
struct __align__(16) told_number {
    uint64_t number;
    uint32_t other, epoch;
};
__device__ __forceinline__ void tell(told_number *to, const told_number &what) {
    tell_whole(to, what.number, (uint64_t)what.epoch << 32 | what.other);
}
__device__ __forceinline__ told_number listen(const told_number *from) {
    uint64_t low, high;
    listen_whole(from, low, high);
    return {low, (uint32_t)high, (uint32_t)(high >> 32)};
}
__device__ __forceinline__ told_number hear(const told_number *from, uint32_t epoch, told_number first) {
    for (patience p; first.epoch != epoch; p.look()) first = listen(from);
    return first;
}

/* Where value i of a vector that becomes a product's lies. A thread prepares two neighbours of a short vector and eight of a long one, and
 * a warp reads its 256 values two a lane, in full lines. */
__device__ __forceinline__ bool in_pairs(uint32_t cols) { return cols <= 960; }
__device__ __forceinline__ uint32_t place_of(uint32_t i, uint32_t cols) {
    return in_pairs(cols) ? i : i / 256 * 256 + i % 8 / 2 * 64 + i % 256 / 8 * 2 + i % 2;
}

/* Sums lie four to a line of the cache: all blocks add to all of them at about the same time, and parts of the second-level cache are chosen
 * by line. */
__device__ __forceinline__ uint32_t sum_place(uint32_t place) { return place / 4 * 16 + place % 4; }
__host__ __device__ __forceinline__ uint32_t sum_places(uint32_t n) { return (n + 255) / 256 * 1024; }

/* Values at.. of a long one, `at` a multiple of 8. */
__device__ __forceinline__ void hear_eight(const uint64_t *vector, uint32_t at, awaited what, float v[8], bool gently, bool there) {
    const uint32_t place = at / 256 * 256 + at % 256 / 4;
    hear<8>(vector + (what.is_sum() ? sum_place(place) : place), what, v, what.is_sum() ? sum_place(64) : 64, gently, there);
}

__device__ __forceinline__ float hear_one(const uint64_t *from, uint32_t epoch) {
    uint64_t word;
    patience p;
    do {
        asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(from) : "memory");
        p.look();
    } while ((uint32_t)(word >> 32) != epoch);
    return __uint_as_float((uint32_t)word);
}
