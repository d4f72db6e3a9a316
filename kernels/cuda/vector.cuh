/* The vector that rows of weights are multiplied by, in shared memory, and the products of a block of weights with it.
 *
 * For quantised weights the vector is 8-bit runs of 16 with an F32 scale and a sum each, so that a block of weights s * q + m
 * needs eight dp4a and no unpacking to floats:
 *     sum over e of (s q_e + m) x_e  =  s * xs * sum(q_e * xq_e)  +  m * xs * sum(xq_e)
 * For float weights it stays in F32. */
#pragma once

#include "kernels/cuda/layout.cuh"

struct quantised_vector { /* blocks of 32; the halves of all blocks lie apart so that 16-byte reads meet no bank twice */
    int4 *a, *b;         /* elements 0..15 and 16..31 */
    float2 *scale, *sum; /* of both halves; sums are of the dequantised values */
};
struct float_vector { /* chunks of W elements, W / 4 planes of float4 */
    float4 *plane[2];
};

__device__ __forceinline__ quantised_vector quantised_at(char *memory, uint32_t blocks) {
    quantised_vector v;
    v.a = (int4 *)memory;
    v.b = v.a + blocks;
    v.scale = (float2 *)(v.b + blocks);
    v.sum = v.scale + blocks;
    return v;
}

/* Eight elements, zero beyond cols. */
__device__ __forceinline__ void load_eight(const float *x, uint32_t cols, uint32_t at, float v[8]) {
    if (at + 8 <= cols && cols % 4 == 0) {
        float4 p = __ldcg((const float4 *)(x + at)), r = __ldcg((const float4 *)(x + at + 4));
        v[0] = p.x, v[1] = p.y, v[2] = p.z, v[3] = p.w, v[4] = r.x, v[5] = r.y, v[6] = r.z, v[7] = r.w;
    } else {
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] = at + e < cols ? __ldcg(x + at + e) : 0.0f;
    }
}

/* Eight quants of a run, with the scale and the sum of all the run's. */
__device__ __forceinline__ void put_eight(const quantised_vector &to, uint32_t at, uint2 quants, float scale, int sum) {
    const uint32_t block = at / 32, part = at % 32 / 8;
    *(uint2 *)((char *)((part < 2 ? to.a : to.b) + block) + part % 2 * 8) = quants;
    if (part % 2) return;
    ((float *)(to.scale + block))[part / 2] = scale;
    ((float *)(to.sum + block))[part / 2] = scale * (float)sum;
}

/* Two neighbouring threads hold the 16 elements of a run, eight each. Whole warps call this; what lies beyond `end` is not stored. */
__device__ __forceinline__ void store_quantised(const quantised_vector &to, uint32_t at, uint32_t end, const float v[8]) {
    /* As integers, so that NaN and infinity win: such a scale makes the product not finite, and somebody notices. */
    uint32_t bits = 0;
#pragma unroll
    for (int e = 0; e < 8; e++) bits = max(bits, __float_as_uint(v[e]) & 0x7FFFFFFFu);
    bits = max(bits, __shfl_xor_sync(~0u, bits, 1));
    float largest = __uint_as_float(bits), scale = largest / 127.0f, inverse = bits ? 127.0f / largest : 0;
    uint32_t word[2] = {0, 0};
    int sum = 0;
#pragma unroll
    for (int e = 0; e < 8; e++) {
        int q = __float2int_rn(v[e] * inverse);
        sum += q;
        word[e / 4] |= (uint32_t)(q & 0xFF) << (e % 4 * 8);
    }
    sum += __shfl_xor_sync(~0u, sum, 1);
    if (at >= end) return;
    put_eight(to, at, make_uint2(word[0], word[1]), scale, sum);
}
template <int W> __device__ __forceinline__ void store_floats(const float_vector &to, uint32_t at, uint32_t end, const float v[8]) {
    if (at >= end) return;
    to.plane[0][at / W] = make_float4(v[0], v[1], v[2], v[3]);
    if (W == 8) to.plane[1][at / W] = make_float4(v[4], v[5], v[6], v[7]);
    else to.plane[0][at / W + 1] = make_float4(v[4], v[5], v[6], v[7]);
}

/* The two with scales a half, and those with a minimum (or an offset that acts as one). */
template <int T> constexpr bool two_scales = T == DTYPE_Q2_K || T == DTYPE_Q3_K || T == DTYPE_Q6_K;
template <int T> constexpr bool has_minimum = T != DTYPE_Q8_0 && T != DTYPE_IQ4_NL && T != DTYPE_IQ4_XS;

/* A block of the vector in registers, for blocks of a type: what the type does not use is not read, and takes none. */
template <int T> struct quantised_block {
    int4 a, b;
    float2 scale, sum; /* sum.x is that of both halves where one minimum goes with both */
};
template <int T> __device__ __forceinline__ quantised_block<T> block_of(const quantised_vector &x, uint32_t b) {
    quantised_block<T> r = {x.a[b], x.b[b], x.scale[b], {}};
    if (has_minimum<T>) r.sum = x.sum[b];
    if (has_minimum<T> && !two_scales<T>) r.sum.x += r.sum.y;
    return r;
}

template <int T> __device__ __forceinline__ float block_dot(const raw_block &raw, const quantised_block<T> &x) {
    quants q = block_quants<T>(raw);
    int ia = __dp4a(q.a[0], x.a.x, 0), ib = __dp4a(q.b[0], x.b.x, 0);
    ia = __dp4a(q.a[1], x.a.y, ia), ib = __dp4a(q.b[1], x.b.y, ib);
    ia = __dp4a(q.a[2], x.a.z, ia), ib = __dp4a(q.b[2], x.b.z, ib);
    ia = __dp4a(q.a[3], x.a.w, ia), ib = __dp4a(q.b[3], x.b.w, ib);
    const float da = (float)ia * x.scale.x, db = (float)ib * x.scale.y;
    float result = two_scales<T> ? q.s0 * da + q.s1 * db : q.s0 * (da + db);
    if (has_minimum<T>) result += two_scales<T> ? q.m0 * x.sum.x + q.m1 * x.sum.y : q.m0 * x.sum.x;
    return result;
}
template <int T> __device__ __forceinline__ float block_dot(const raw_block &raw, const quantised_vector &x, uint32_t b) {
    return block_dot<T>(raw, block_of<T>(x, b));
}

__device__ __forceinline__ float dot_eight(uint4 w, float4 y, float4 z, __half) {
    const __half2 *h = (const __half2 *)&w;
    float2 p = __half22float2(h[0]), q = __half22float2(h[1]), r = __half22float2(h[2]), s = __half22float2(h[3]);
    return p.x * y.x + p.y * y.y + q.x * y.z + q.y * y.w + r.x * z.x + r.y * z.y + s.x * z.z + s.y * z.w;
}
__device__ __forceinline__ float dot_eight(uint4 w, float4 y, float4 z, __nv_bfloat16) {
    auto low = [](uint32_t v) { return __uint_as_float(v << 16); };
    auto high = [](uint32_t v) { return __uint_as_float(v & 0xFFFF0000u); };
    return low(w.x) * y.x + high(w.x) * y.y + low(w.y) * y.z + high(w.y) * y.w + low(w.z) * z.x + high(w.z) * z.y + low(w.w) * z.z +
           high(w.w) * z.w;
}
template <class E> __device__ __forceinline__ float dot_bits(uint4 w, const float_vector &x, uint32_t c, E) {
    return dot_eight(w, x.plane[0][c], x.plane[1][c], E());
}
__device__ __forceinline__ float dot_bits(uint4 w, const float_vector &x, uint32_t c, float) {
    float4 y = x.plane[0][c];
    return __uint_as_float(w.x) * y.x + __uint_as_float(w.y) * y.y + __uint_as_float(w.z) * y.z + __uint_as_float(w.w) * y.w;
}
