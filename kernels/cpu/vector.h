/* Vectors of VEC floats in one instruction set, for sources that are compiled once for each: define VECTOR_AVX2 or
 * VECTOR_AVX512 or neither (portable: GCC's vector extension, any machine) before including this.
 * Function names say what is meant: multiply-add is fused where the instruction set has it. */
#ifndef LOGITOP_KERNELS_CPU_VECTOR_H
#define LOGITOP_KERNELS_CPU_VECTOR_H

#include "kernels/dtype.h"

#include <stdint.h>
#include <string.h>

#if defined(VECTOR_AVX512)
#include <immintrin.h>
#define VEC 16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
typedef __m512 vec;
#elif defined(VECTOR_AVX2)
#include <immintrin.h>
#define VEC 8
#define TARGET __attribute__((target("avx2,fma,f16c")))
typedef __m256 vec;
#else
#define VEC 4
#define TARGET
typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_int __attribute__((vector_size(16)));
#endif

#define INLINE static inline __attribute__((always_inline)) TARGET

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(VECTOR_AVX512)

INLINE vec vec_set(float x) { return _mm512_set1_ps(x); }
INLINE vec vec_load(const float *from) { return _mm512_loadu_ps(from); }
INLINE void vec_store(float *to, vec a) { _mm512_storeu_ps(to, a); }
INLINE vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec vec_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec vec_div(vec a, vec b) { return _mm512_div_ps(a, b); }
INLINE vec vec_mul_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); } /* a * b + c */
INLINE vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }                 /* b if either is NaN */
INLINE vec vec_min(vec a, vec b) { return _mm512_min_ps(a, b); }                 /* b if either is NaN */
INLINE vec vec_round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vec vec_scale2(vec a, vec n) { return _mm512_scalef_ps(a, n); } /* a * 2^n, n whole */
INLINE vec vec_load_half(const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}
INLINE void vec_store_half(uint16_t *to, vec a) {
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

#elif defined(VECTOR_AVX2)

INLINE vec vec_set(float x) { return _mm256_set1_ps(x); }
INLINE vec vec_load(const float *from) { return _mm256_loadu_ps(from); }
INLINE void vec_store(float *to, vec a) { _mm256_storeu_ps(to, a); }
INLINE vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
INLINE vec vec_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
INLINE vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
INLINE vec vec_div(vec a, vec b) { return _mm256_div_ps(a, b); }
INLINE vec vec_mul_add(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); } /* a * b + c */
INLINE vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }                 /* b if either is NaN */
INLINE vec vec_min(vec a, vec b) { return _mm256_min_ps(a, b); }                 /* b if either is NaN */
INLINE vec vec_round(vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vec vec_scale2(vec a, vec n) { /* a * 2^n, n whole, the result a normal number */
    __m256i shift = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), shift));
}
INLINE vec vec_load_half(const uint16_t *from) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}
INLINE void vec_store_half(uint16_t *to, vec a) {
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

#else

INLINE vec vec_set(float x) { return (vec){x, x, x, x}; }
INLINE vec vec_load(const float *from) {
    vec a;
    memcpy(&a, from, sizeof a);
    return a;
}
INLINE void vec_store(float *to, vec a) { memcpy(to, &a, sizeof a); }
INLINE vec vec_add(vec a, vec b) { return a + b; }
INLINE vec vec_sub(vec a, vec b) { return a - b; }
INLINE vec vec_mul(vec a, vec b) { return a * b; }
INLINE vec vec_div(vec a, vec b) { return a / b; }
INLINE vec vec_mul_add(vec a, vec b, vec c) { return a * b + c; }
INLINE vec vec_choose(vec_int mask, vec yes, vec no) {
    return (vec)((mask & (vec_int)yes) | (~mask & (vec_int)no));
}
INLINE vec vec_max(vec a, vec b) { return vec_choose(a > b, a, b); } /* b if either is NaN */
INLINE vec vec_min(vec a, vec b) { return vec_choose(a < b, a, b); } /* b if either is NaN */
INLINE vec vec_round(vec a) { /* to nearest, for |a| < 2^22 */
    vec magic = vec_set(12582912.0f);
    return (a + magic) - magic;
}
INLINE vec vec_scale2(vec a, vec n) { /* a * 2^n, n whole, the result a normal number */
    vec_int shift = (vec_int)(n + vec_set(12582912.0f)) << 23; /* the low bits of the sum are n */
    return (vec)((vec_int)a + shift);
}
INLINE vec vec_load_half(const uint16_t *from) {
    return (vec){f16_to_f32(from[0]), f16_to_f32(from[1]), f16_to_f32(from[2]), f16_to_f32(from[3])};
}
INLINE void vec_store_half(uint16_t *to, vec a) {
    for (int i = 0; i < VEC; i++) to[i] = f32_to_f16(a[i]);
}

#endif

INLINE float vec_first(vec a) {
    float lanes[VEC];
    vec_store(lanes, a);
    return lanes[0];
}

/* Of all lanes: the upper half with the lower, and so on, on every machine. */
#if defined(VECTOR_AVX512) || defined(VECTOR_AVX2)
#if defined(VECTOR_AVX512)
#define VEC_EIGHT(a, op) _mm256_##op##_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1))
#else
#define VEC_EIGHT(a, op) (a)
#endif
#define VEC_REDUCE(a, op)                                                                                    \
    __m256 eight = VEC_EIGHT(a, op);                                                                         \
    __m128 four = _mm_##op##_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));             \
    __m128 two = _mm_##op##_ps(four, _mm_movehl_ps(four, four));                                             \
    return _mm_cvtss_f32(_mm_##op##_ss(two, _mm_movehdup_ps(two)))

INLINE float vec_sum(vec a) {
    VEC_REDUCE(a, add);
}
INLINE float vec_largest(vec a) {
    VEC_REDUCE(a, max);
} /* no lane is NaN */
#else
INLINE float vec_sum(vec a) {
    return (a[0] + a[2]) + (a[1] + a[3]);
}
INLINE float vec_largest(vec a) { /* no lane is NaN */
    float even = a[2] > a[0] ? a[2] : a[0], odd = a[3] > a[1] ? a[3] : a[1];
    return odd > even ? odd : even;
}
#endif

/* e^x within 2 units in the last place; below -87 it stays at e^-87, above 88 at e^88; NaN stays NaN.
 * Cephes expf: x = n ln 2 + r, a polynomial of degree 5 for (e^r - 1 - r) / r^2. */
INLINE vec vec_exp(vec x) {
    x = vec_min(vec_set(88.0f), vec_max(vec_set(-87.0f), x));
    vec n = vec_round(vec_mul(x, vec_set(1.44269504088896341f)));
    vec r = vec_mul_add(n, vec_set(-0.693359375f), x);
    r = vec_mul_add(n, vec_set(2.12194440e-4f), r);
    vec p = vec_set(1.9875691500e-4f);
    p = vec_mul_add(p, r, vec_set(1.3981999507e-3f));
    p = vec_mul_add(p, r, vec_set(8.3334519073e-3f));
    p = vec_mul_add(p, r, vec_set(4.1665795894e-2f));
    p = vec_mul_add(p, r, vec_set(1.6666665459e-1f));
    p = vec_mul_add(p, r, vec_set(5.0000001201e-1f));
    p = vec_mul_add(vec_mul(p, r), r, vec_add(r, vec_set(1.0f)));
    return vec_scale2(p, n);
}

#endif
