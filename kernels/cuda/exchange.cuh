/* How the blocks of one running kernel hand values to each other: each value lies beside the number of the epoch it belongs to, in one
 * 64-bit word that is written and read whole. Who needs a value reads until the epoch is the one it waits for; no flag, no fence and no
 * barrier, so a value is there one trip through the second-level cache after it was written (NCCL's LL protocol does the same).
 *
 * A place is used again one layer later. Nobody may write it before all have read it: whoever writes in a layer has read values that
 * depend on what every block did after its reading in the layer before (decode_whole.cu tells why). */
#pragma once

#include <stdint.h>

__device__ __forceinline__ void tell(uint64_t *to, float value, uint32_t epoch) {
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"((uint64_t)epoch << 32 | __float_as_uint(value)) : "memory");
}

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
__device__ __forceinline__ void hear(const uint64_t *from, uint32_t epoch, float v[N], uint32_t step = 2, bool gently = false, bool there = true) {
    uint64_t pair[N];
    patience p;
    if (gently) {
        bool waits = threadIdx.x % 32 == 0 && there;
        while (waits) {
            listen(from, pair[0], pair[1]);
            waits = (uint32_t)(pair[0] >> 32) != epoch;
            p.look();
        }
        __syncwarp();
    }
    for (bool waits = there; waits; p.look()) {
#pragma unroll
        for (int i = 0; i < N / 2; i++) listen(from + i * step, pair[2 * i], pair[2 * i + 1]);
        uint32_t wrong = 0;
#pragma unroll
        for (int i = 0; i < N; i++) wrong |= (uint32_t)(pair[i] >> 32) ^ epoch;
        waits = wrong;
    }
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = there ? __uint_as_float((uint32_t)pair[i]) : 0.0f;
}

/* Eight quants with their scale, in 16 bytes that are written and read whole. */
struct told_quants {
    uint2 quants;
    float scale;
    uint32_t epoch;
};
__device__ __forceinline__ void tell(told_quants *to, const told_quants &what) {
#if __CUDA_ARCH__ >= 900
    const uint64_t low = (uint64_t)what.quants.y << 32 | what.quants.x, high = (uint64_t)what.epoch << 32 | __float_as_uint(what.scale);
    asm volatile("{\n.reg .b128 t;\nmov.b128 t, {%1, %2};\nst.relaxed.gpu.global.b128 [%0], t;\n}" ::"l"(to), "l"(low), "l"(high) : "memory");
#else
    *to = what;
#endif
}
__device__ __forceinline__ told_quants listen(const told_quants *from) {
    uint64_t low = 0, high = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n.reg .b128 t;\nld.relaxed.gpu.global.b128 t, [%2];\nmov.b128 {%0, %1}, t;\n}" : "=l"(low), "=l"(high) : "l"(from) : "memory");
#endif
    return {make_uint2((uint32_t)low, (uint32_t)(low >> 32)), __uint_as_float((uint32_t)high), (uint32_t)(high >> 32)};
}

/* Where value i of a vector that becomes a product's lies. A thread prepares two neighbours of a short vector and eight of a long one, and
 * a warp reads its 256 values two a lane, in full lines. */
__device__ __forceinline__ bool in_pairs(uint32_t cols) { return cols <= 960; }
__device__ __forceinline__ uint32_t place_of(uint32_t i, uint32_t cols) {
    return in_pairs(cols) ? i : i / 256 * 256 + i % 8 / 2 * 64 + i % 256 / 8 * 2 + i % 2;
}

/* Values at.. of a long one, `at` a multiple of 8. */
__device__ __forceinline__ void hear_eight(const uint64_t *vector, uint32_t at, uint32_t epoch, float v[8], bool gently, bool there) {
    hear<8>(vector + at / 256 * 256 + at % 256 / 4, epoch, v, 64, gently, there);
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
