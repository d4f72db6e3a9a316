/* The vectors of gemm_kernels.h on AVX2 with FMA and F16C: 64 bytes, 16 integers, 16 floats, two registers each. */
#ifndef LOGITOP_KERNELS_CPU_SIMD_AVX2_H
#define LOGITOP_KERNELS_CPU_SIMD_AVX2_H

#include "kernels/dtype.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))
#define SIMD_SIGNED_DOT 1 /* vi_dot4() of signed weights takes the 128 off itself */
#define SIMD_KERNELS matmul_avx2
#define SIMD_COLUMNS 4 /* columns that a kernel keeps in registers */

typedef struct { __m256i h[2]; } vbyte;
typedef struct { __m256i h[2]; } vint;
typedef struct { __m256 h[2]; } vfloat;
/* for shifts by a variable, which becomes a constant where the caller is inlined */
typedef uint16_t int16_lanes __attribute__((vector_size(32)));
typedef int32_t int32_lanes __attribute__((vector_size(32)));

#define EACH_HALF for (int i = 0; i < 2; i++)
#define PAIR(type, expr0, expr1) ((type){{(expr0), (expr1)}})
#define BOTH(type, function, a, b) PAIR(type, function((a).h[0], b), function((a).h[1], b))
#define BOTH2(type, function, a, b) PAIR(type, function((a).h[0], (b).h[0]), function((a).h[1], (b).h[1]))

SIMD_INLINE vbyte vb_load(const void *p) {
    const __m256i *from = p;
    return PAIR(vbyte, _mm256_loadu_si256(from), _mm256_loadu_si256(from + 1));
}
SIMD_INLINE void vb_store(void *p, vbyte a) {
    __m256i *to = p;
    _mm256_storeu_si256(to, a.h[0]);
    _mm256_storeu_si256(to + 1, a.h[1]);
}
SIMD_INLINE vbyte vb_low4(vbyte a) { return BOTH(vbyte, _mm256_and_si256, a, _mm256_set1_epi8(15)); }
SIMD_INLINE vbyte vb_high4(vbyte a) { return vb_low4(BOTH(vbyte, _mm256_srli_epi16, a, 4)); }
SIMD_INLINE vbyte vb_field2(vbyte a, int field) {
    EACH_HALF a.h[i] = (__m256i)((int16_lanes)a.h[i] >> 2 * field);
    return BOTH(vbyte, _mm256_and_si256, a, _mm256_set1_epi8(3));
}
SIMD_INLINE vbyte vb_shl4(vbyte a) { return BOTH(vbyte, _mm256_slli_epi16, a, 4); } /* of values below 16 */
SIMD_INLINE vbyte vb_or(vbyte a, vbyte b) { return BOTH2(vbyte, _mm256_or_si256, a, b); }
SIMD_INLINE vbyte vb_add(vbyte a, int n) { return BOTH(vbyte, _mm256_add_epi8, a, _mm256_set1_epi8((char)n)); }
SIMD_INLINE vbyte vb_flip_sign(vbyte a) { return BOTH(vbyte, _mm256_xor_si256, a, _mm256_set1_epi8((char)-128)); }
SIMD_INLINE __m256i half_of_bits(const uint8_t *bits, int value) {
    int32_t four;
    memcpy(&four, bits, sizeof four);
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3,
                                            3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(four), spread), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(set, bit), _mm256_set1_epi8((char)value));
}
/* bytes whose bit is set get `value` (they must not have those bits yet) */
SIMD_INLINE vbyte vb_or_bits(vbyte a, const uint8_t *bits, int value) {
    return vb_or(a, PAIR(vbyte, half_of_bits(bits, value), half_of_bits(bits + 4, value)));
}
SIMD_INLINE vbyte vb_iq4(vbyte a) {
    __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)dtype_iq4_values));
    return vb_flip_sign(PAIR(vbyte, _mm256_shuffle_epi8(table, a.h[0]), _mm256_shuffle_epi8(table, a.h[1])));
}

SIMD_INLINE vint vi_zero(void) { return PAIR(vint, _mm256_setzero_si256(), _mm256_setzero_si256()); }
SIMD_INLINE vint vi_set(const int32_t *p) { return PAIR(vint, _mm256_set1_epi32(*p), _mm256_set1_epi32(*p)); }
SIMD_INLINE vint vi_add(vint a, vint b) { return BOTH2(vint, _mm256_add_epi32, a, b); }
SIMD_INLINE vint vi_sra(vint a, int n) {
    EACH_HALF a.h[i] = (__m256i)((int32_lanes)a.h[i] >> n);
    return a;
}
SIMD_INLINE vint vi_byte(vbyte a, int n) {
    EACH_HALF a.h[i] = (__m256i)((int32_lanes)a.h[i] >> 8 * n);
    return BOTH(vint, _mm256_and_si256, a, _mm256_set1_epi32(255));
}
/* vpmaddubsw adds two products in 16 bits, saturating: weights below 128 fit as they are, signed ones as magnitude times
 * sign (activations are never -128). */
SIMD_INLINE __m256i half_dot4(__m256i acc, __m256i w, __m256i x, int is_signed) {
    if (is_signed) {
        w = _mm256_xor_si256(w, _mm256_set1_epi8((char)-128));
        x = _mm256_sign_epi8(x, w);
        w = _mm256_abs_epi8(w);
    }
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
/* lane i += bytes 4i..4i+3 of w (unsigned, or with 128 added if signed) times the four signed bytes at x */
SIMD_INLINE vint vi_dot4(vint acc, vbyte w, const int8_t *x, int is_signed) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    __m256i all = _mm256_set1_epi32(four);
    return PAIR(vint, half_dot4(acc.h[0], w.h[0], all, is_signed), half_dot4(acc.h[1], w.h[1], all, is_signed));
}

SIMD_INLINE vfloat vf_zero(void) { return PAIR(vfloat, _mm256_setzero_ps(), _mm256_setzero_ps()); }
SIMD_INLINE vfloat vf_set(const float *p) { return PAIR(vfloat, _mm256_broadcast_ss(p), _mm256_broadcast_ss(p)); }
SIMD_INLINE vfloat vf_load(const void *p) {
    const float *from = p;
    return PAIR(vfloat, _mm256_loadu_ps(from), _mm256_loadu_ps(from + 8));
}
SIMD_INLINE void vf_store(float *p, vfloat a) {
    _mm256_storeu_ps(p, a.h[0]);
    _mm256_storeu_ps(p + 8, a.h[1]);
}
SIMD_INLINE __m256i half_rows(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SIMD_INLINE vfloat vf_load_rows(const float *p, int n) {
    if (n == 16) return vf_load(p);
    return PAIR(vfloat, _mm256_maskload_ps(p, half_rows(n)), n > 8 ? _mm256_maskload_ps(p + 8, half_rows(n - 8)) : _mm256_setzero_ps());
}
SIMD_INLINE void vf_store_rows(float *p, vfloat a, int n) {
    if (n == 16) {
        vf_store(p, a);
        return;
    }
    _mm256_maskstore_ps(p, half_rows(n), a.h[0]);
    if (n > 8) _mm256_maskstore_ps(p + 8, half_rows(n - 8), a.h[1]);
}
SIMD_INLINE vfloat vf_load_f16(const void *p) {
    const __m128i *from = p;
    return PAIR(vfloat, _mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from + 1)));
}
SIMD_INLINE __m256 half_load_bf16(const __m128i *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
SIMD_INLINE vfloat vf_load_bf16(const void *p) {
    const __m128i *from = p;
    return PAIR(vfloat, half_load_bf16(from), half_load_bf16(from + 1));
}
SIMD_INLINE __m256 half_load_i8(const int8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)));
}
SIMD_INLINE vfloat vf_load_i8(const int8_t *p) { return PAIR(vfloat, half_load_i8(p), half_load_i8(p + 8)); }
SIMD_INLINE vfloat vf_from_int(vint a) { return PAIR(vfloat, _mm256_cvtepi32_ps(a.h[0]), _mm256_cvtepi32_ps(a.h[1])); }
SIMD_INLINE vfloat vf_add(vfloat a, vfloat b) { return BOTH2(vfloat, _mm256_add_ps, a, b); }
SIMD_INLINE vfloat vf_mul(vfloat a, vfloat b) { return BOTH2(vfloat, _mm256_mul_ps, a, b); }
SIMD_INLINE vfloat vf_fma(vfloat a, vfloat b, vfloat c) {
    return PAIR(vfloat, _mm256_fmadd_ps(a.h[0], b.h[0], c.h[0]), _mm256_fmadd_ps(a.h[1], b.h[1], c.h[1]));
}

#endif
