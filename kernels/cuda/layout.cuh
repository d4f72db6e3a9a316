/* How weights lie in device memory, and how a block of 32 is read.
 *
 * A GGUF block mixes quants and scales in one record of odd size; a warp that reads such records wastes most of each
 * sector. Here a row is a run of chunks of 32 blocks (the last may be shorter), and a chunk has its numbers in planes: `super` scales of
 * each 256 weights, `scale` of each block, `low` bits, `high` bits. Lane l reads block l of a chunk, so that each plane is read in
 * full lines of 16 bytes a lane, while rows, and so any run of them, lie together and can be copied in one piece. It is a permutation
 * of the file's numbers; only 6-bit scales are widened to 8 bits. Float types keep their elements in order, padded with zeros to whole
 * blocks.
 *
 * Within a block, with element e = 4 k + j (k = word 0..7, j = byte 0..3):
 *   4-bit low:  16 bytes; word k < 4 holds elements 4k+j in its low nibbles and 16 + 4k+j in its high nibbles
 *   2-bit low / high: 8 bytes; words w0, w1: bits 2s..2s+1 of byte j of w(k % 2) hold element 8 s + 4 (k % 2) + j
 *   1-bit high: one word; bit k of byte j holds element 4 k + j
 *   8-bit:      `low` has elements 0..15, `high` elements 16..31
 * So a few shifts and masks give four elements in the bytes of a word, as dp4a wants them: a[0..3] are elements 0..15, b[0..3]
 * elements 16..31, and each half has its own scale and minimum: weight = s * q + m. */
#pragma once

#include "kernels/cuda/kernels.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

/* Types whose quants are packed into planes. */
#define QUANT_TYPES(X)                                                                                       \
    X(DTYPE_Q4_0) X(DTYPE_Q4_1) X(DTYPE_Q5_0) X(DTYPE_Q5_1) X(DTYPE_Q8_0) X(DTYPE_Q2_K) X(DTYPE_Q3_K)        \
    X(DTYPE_Q4_K) X(DTYPE_Q5_K) X(DTYPE_Q6_K) X(DTYPE_IQ4_NL) X(DTYPE_IQ4_XS)

/* Bytes a block in each plane (`super`: bytes for 8 blocks); 0: the type has no such plane. */
template <int T> struct planes { static constexpr uint32_t low = 0, high = 0, scale = 0, super = 0; };
template <> struct planes<DTYPE_Q4_0> { static constexpr uint32_t low = 16, high = 0, scale = 2, super = 0; };
template <> struct planes<DTYPE_Q4_1> { static constexpr uint32_t low = 16, high = 0, scale = 4, super = 0; };
template <> struct planes<DTYPE_Q5_0> { static constexpr uint32_t low = 16, high = 4, scale = 2, super = 0; };
template <> struct planes<DTYPE_Q5_1> { static constexpr uint32_t low = 16, high = 4, scale = 4, super = 0; };
template <> struct planes<DTYPE_Q8_0> { static constexpr uint32_t low = 16, high = 16, scale = 2, super = 0; };
template <> struct planes<DTYPE_Q2_K> { static constexpr uint32_t low = 8, high = 0, scale = 2, super = 4; };
template <> struct planes<DTYPE_Q3_K> { static constexpr uint32_t low = 8, high = 4, scale = 2, super = 2; };
template <> struct planes<DTYPE_Q4_K> { static constexpr uint32_t low = 16, high = 0, scale = 2, super = 4; };
template <> struct planes<DTYPE_Q5_K> { static constexpr uint32_t low = 16, high = 4, scale = 2, super = 4; };
template <> struct planes<DTYPE_Q6_K> { static constexpr uint32_t low = 16, high = 8, scale = 2, super = 2; };
template <> struct planes<DTYPE_IQ4_NL> { static constexpr uint32_t low = 16, high = 0, scale = 2, super = 0; };
template <> struct planes<DTYPE_IQ4_XS> { static constexpr uint32_t low = 16, high = 0, scale = 1, super = 2; };

/* Where the planes of a chunk begin. The scales have room for 32 blocks in short chunks too, so that only `high` depends on n. */
enum { CHUNK = 32 };
template <int T> struct chunk_of {
    using P = planes<T>;
    static __host__ __device__ constexpr uint32_t round(uint32_t n) { return (n + 15) / 16 * 16; }
    static constexpr uint32_t scale = round(CHUNK / 8 * P::super), low = scale + round(CHUNK * P::scale);
    static __host__ __device__ constexpr uint32_t size(uint32_t n) { return round(low + n * (P::low + P::high)); } /* of n blocks */
};
template <> struct chunk_of<DTYPE_F32> { static __host__ __device__ constexpr uint32_t size(uint32_t n) { return n * 128; } };
template <> struct chunk_of<DTYPE_F16> { static __host__ __device__ constexpr uint32_t size(uint32_t n) { return n * 64; } };
template <> struct chunk_of<DTYPE_BF16> { static __host__ __device__ constexpr uint32_t size(uint32_t n) { return n * 64; } };

/* The chunk of block b of a row, and how many blocks it has. */
template <int T> __device__ __forceinline__ char *chunk_at(const device_matrix &w, uint32_t row, uint32_t b) {
    return (char *)w.data + (size_t)row * w.pitch + b / CHUNK * chunk_of<T>::size(CHUNK);
}
__device__ __forceinline__ uint32_t chunk_blocks(const device_matrix &w, uint32_t b) {
    return min((uint32_t)CHUNK, w.blocks - b / CHUNK * CHUNK);
}

/* ---- reading ---- */

/* A block as it comes from memory: loading is kept apart from using so that many loads can be in flight. */
struct raw_block {
    uint4 low;
    uint4 high; /* narrower planes use x, or x and y */
    uint32_t scale, super;
};

/* Weights are read once a step: past the first-level cache, and first to leave the second. */
__device__ __forceinline__ uint4 load_16(const void *p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
__device__ __forceinline__ uint2 load_8(const void *p) {
    uint2 v;
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
    return v;
}
/* Readers of global memory, as above, and of shared memory. */
struct from_global {
    static __device__ __forceinline__ uint4 get_16(const char *p) { return load_16(p); }
    static __device__ __forceinline__ uint2 get_8(const char *p) { return load_8(p); }
    template <class N> static __device__ __forceinline__ uint32_t get(const char *p) { return __ldg((const N *)p); }
};
struct from_shared {
    static __device__ __forceinline__ uint4 get_16(const char *p) { return *(const uint4 *)p; }
    static __device__ __forceinline__ uint2 get_8(const char *p) { return *(const uint2 *)p; }
    template <class N> static __device__ __forceinline__ uint32_t get(const char *p) { return *(const N *)p; }
};
template <int bytes, class F> __device__ __forceinline__ uint32_t get_n(const char *p) {
    if (bytes == 4) return F::template get<uint32_t>(p);
    if (bytes == 2) return F::template get<uint16_t>(p);
    return F::template get<uint8_t>(p);
}
/* What a block has of a plane. */
template <uint32_t bytes, class F> __device__ __forceinline__ uint4 get_plane(const char *p) {
    if constexpr (bytes == 16) return F::get_16(p);
    if constexpr (bytes == 8) {
        const uint2 v = F::get_8(p);
        return make_uint4(v.x, v.y, 0, 0);
    }
    return make_uint4(bytes == 4 ? get_n<4, F>(p) : 0, 0, 0, 0);
}
/* Number `index` of a plane gets a value; of 0 bytes: there is no such plane. */
__device__ __forceinline__ void put_n(void *plane, size_t index, uint32_t bytes, uint32_t value) {
    if (bytes == 4) ((uint32_t *)plane)[index] = value;
    else if (bytes == 2) ((uint16_t *)plane)[index] = (uint16_t)value;
    else if (bytes == 1) ((uint8_t *)plane)[index] = (uint8_t)value;
}

/* Block l of a chunk of n blocks. */
template <int T, class F> __device__ __forceinline__ raw_block chunk_block(const char *chunk, uint32_t l, uint32_t n) {
    using P = planes<T>;
    using C = chunk_of<T>;
    raw_block r;
    r.low = get_plane<P::low, F>(chunk + C::low + l * P::low);
    r.high = get_plane<P::high, F>(chunk + C::low + n * P::low + l * P::high);
    r.scale = get_n<P::scale, F>(chunk + C::scale + l * P::scale);
    if (P::super) r.super = get_n<P::super, F>(chunk + l / 8 * P::super);
    return r;
}

/* Block b of row `row`. */
template <int T> __device__ __forceinline__ raw_block block_load(const device_matrix &w, uint32_t row, uint32_t b) {
    return chunk_block<T, from_global>(chunk_at<T>(w, row, b), b % CHUNK, chunk_blocks(w, b));
}

struct quants { /* bytes: elements 0..15 in a, 16..31 in b; weight = s * q + m */
    int a[4], b[4];
    float s0, m0, s1, m1;
};

__device__ __forceinline__ float half_bits(uint32_t bits) { return __half2float(__ushort_as_half((unsigned short)bits)); }

/* Four values of the 16-entry table of IQ4 at the low nibbles of the bytes of x. */
__device__ __forceinline__ int iq4_lookup(uint32_t x) {
    /* -127 -104 -83 -65 | -49 -35 -22 -10 | 1 13 25 38 | 53 69 89 113, lowest byte first */
    const uint32_t t0 = 0xBFAD9881u, t1 = 0xF6EADDCFu, t2 = 0x26190D01u, t3 = 0x71594535u;
    uint32_t select = (x & 0x7) | (x >> 4 & 0x70) | (x >> 8 & 0x700) | (x >> 12 & 0x7000);
    uint32_t small = __byte_perm(t0, t1, select), large = __byte_perm(t2, t3, select);
    uint32_t upper = (x >> 3 & 0x01010101u) * 0xFFu;
    return (int)((large & upper) | (small & ~upper));
}

template <int T> __device__ __forceinline__ quants block_quants(const raw_block &r) {
    using P = planes<T>;
    quants q;
    const uint32_t low[4] = {r.low.x, r.low.y, r.low.z, r.low.w};
    if (T == DTYPE_Q8_0) {
        const uint32_t high[4] = {r.high.x, r.high.y, r.high.z, r.high.w};
#pragma unroll
        for (int k = 0; k < 4; k++) q.a[k] = (int)low[k], q.b[k] = (int)high[k];
    } else if (T == DTYPE_IQ4_NL || T == DTYPE_IQ4_XS) {
#pragma unroll
        for (int k = 0; k < 4; k++) q.a[k] = iq4_lookup(low[k] & 0x0F0F0F0Fu), q.b[k] = iq4_lookup(low[k] >> 4 & 0x0F0F0F0Fu);
    } else if (P::low == 16) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t a = low[k] & 0x0F0F0F0Fu, b = low[k] >> 4 & 0x0F0F0F0Fu;
            if (P::high == 4) { /* fifth bit */
                a |= (r.high.x >> k & 0x01010101u) << 4;
                b |= (r.high.x >> (k + 4) & 0x01010101u) << 4;
            }
            if (P::high == 8) { /* fifth and sixth */
                uint32_t h = k % 2 ? r.high.y : r.high.x;
                a |= (h >> (k / 2 * 2) & 0x03030303u) << 4;
                b |= (h >> (k / 2 * 2 + 4) & 0x03030303u) << 4;
            }
            q.a[k] = (int)a, q.b[k] = (int)b;
        }
    } else { /* two bits, and a third for Q3_K */
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t w = low[k % 2];
            uint32_t a = w >> (k / 2 * 2) & 0x03030303u, b = w >> (k / 2 * 2 + 4) & 0x03030303u;
            if (P::high == 4) {
                a |= (r.high.x >> k & 0x01010101u) << 2;
                b |= (r.high.x >> (k + 4) & 0x01010101u) << 2;
            }
            q.a[k] = (int)a, q.b[k] = (int)b;
        }
    }
    if (T == DTYPE_Q4_0 || T == DTYPE_Q5_0 || T == DTYPE_Q8_0 || T == DTYPE_IQ4_NL) {
        q.s0 = q.s1 = half_bits(r.scale);
        q.m0 = q.m1 = T == DTYPE_Q4_0 ? -8 * q.s0 : T == DTYPE_Q5_0 ? -16 * q.s0 : 0;
    } else if (T == DTYPE_Q4_1 || T == DTYPE_Q5_1) {
        q.s0 = q.s1 = half_bits(r.scale & 0xFFFF);
        q.m0 = q.m1 = half_bits(r.scale >> 16);
    } else if (T == DTYPE_Q4_K || T == DTYPE_Q5_K) {
        q.s0 = q.s1 = half_bits(r.super & 0xFFFF) * (float)(r.scale & 0xFF);
        q.m0 = q.m1 = -half_bits(r.super >> 16) * (float)(r.scale >> 8);
    } else if (T == DTYPE_Q2_K) {
        float d = half_bits(r.super & 0xFFFF), dmin = half_bits(r.super >> 16);
        q.s0 = d * (float)(r.scale & 0xF), q.m0 = -dmin * (float)(r.scale >> 4 & 0xF);
        q.s1 = d * (float)(r.scale >> 8 & 0xF), q.m1 = -dmin * (float)(r.scale >> 12);
    } else if (T == DTYPE_Q6_K || T == DTYPE_Q3_K) {
        float d = half_bits(r.super), offset = T == DTYPE_Q6_K ? -32.0f : -4.0f;
        q.s0 = d * (float)(int8_t)(r.scale & 0xFF), q.s1 = d * (float)(int8_t)(r.scale >> 8);
        q.m0 = offset * q.s0, q.m1 = offset * q.s1;
    } else { /* IQ4_XS */
        q.s0 = q.s1 = half_bits(r.super) * (float)(int8_t)r.scale;
        q.m0 = q.m1 = 0;
    }
    return q;
}

/* The 32 weights of a block in F32. */
template <int T> __device__ __forceinline__ void block_floats(const device_matrix &w, uint32_t row, uint32_t b, float out[32]) {
    quants q = block_quants<T>(block_load<T>(w, row, b));
#pragma unroll
    for (int e = 0; e < 16; e++) {
        out[e] = q.s0 * (float)(int8_t)(q.a[e / 4] >> (e % 4 * 8)) + q.m0;
        out[16 + e] = q.s1 * (float)(int8_t)(q.b[e / 4] >> (e % 4 * 8)) + q.m1;
    }
}
template <> __device__ __forceinline__ void block_floats<DTYPE_F32>(const device_matrix &w, uint32_t row, uint32_t b, float out[32]) {
    const float *p = (const float *)((const char *)w.data + (size_t)row * w.pitch) + b * 32;
#pragma unroll
    for (int e = 0; e < 32; e++) out[e] = p[e];
}
template <> __device__ __forceinline__ void block_floats<DTYPE_F16>(const device_matrix &w, uint32_t row, uint32_t b, float out[32]) {
    const __half *p = (const __half *)((const char *)w.data + (size_t)row * w.pitch) + b * 32;
#pragma unroll
    for (int e = 0; e < 32; e++) out[e] = __half2float(p[e]);
}
template <> __device__ __forceinline__ void block_floats<DTYPE_BF16>(const device_matrix &w, uint32_t row, uint32_t b, float out[32]) {
    const __nv_bfloat16 *p = (const __nv_bfloat16 *)((const char *)w.data + (size_t)row * w.pitch) + b * 32;
#pragma unroll
    for (int e = 0; e < 32; e++) out[e] = __bfloat162float(p[e]);
}

/* Run CODE with the constant T set to the type; anything else is refused when the model is opened. */
#define FOR_TYPE(type, CODE)                                                                                 \
    switch (type) {                                                                                          \
    case DTYPE_F32: { constexpr int T = DTYPE_F32; CODE; break; }                                            \
    case DTYPE_F16: { constexpr int T = DTYPE_F16; CODE; break; }                                            \
    case DTYPE_BF16: { constexpr int T = DTYPE_BF16; CODE; break; }                                          \
    FOR_QUANT_CASES(CODE)                                                                                    \
    default: break;                                                                                          \
    }
#define FOR_QUANT_CASES(CODE)                                                                                \
    case DTYPE_Q4_0: { constexpr int T = DTYPE_Q4_0; CODE; break; }                                          \
    case DTYPE_Q4_1: { constexpr int T = DTYPE_Q4_1; CODE; break; }                                          \
    case DTYPE_Q5_0: { constexpr int T = DTYPE_Q5_0; CODE; break; }                                          \
    case DTYPE_Q5_1: { constexpr int T = DTYPE_Q5_1; CODE; break; }                                          \
    case DTYPE_Q8_0: { constexpr int T = DTYPE_Q8_0; CODE; break; }                                          \
    case DTYPE_Q2_K: { constexpr int T = DTYPE_Q2_K; CODE; break; }                                          \
    case DTYPE_Q3_K: { constexpr int T = DTYPE_Q3_K; CODE; break; }                                          \
    case DTYPE_Q4_K: { constexpr int T = DTYPE_Q4_K; CODE; break; }                                          \
    case DTYPE_Q5_K: { constexpr int T = DTYPE_Q5_K; CODE; break; }                                          \
    case DTYPE_Q6_K: { constexpr int T = DTYPE_Q6_K; CODE; break; }                                          \
    case DTYPE_IQ4_NL: { constexpr int T = DTYPE_IQ4_NL; CODE; break; }                                      \
    case DTYPE_IQ4_XS: { constexpr int T = DTYPE_IQ4_XS; CODE; break; }
