/* The vectors of gemm_kernels.h on AVX-512 with VNNI: 64 bytes, 16 integers, 16 floats, one register each. */
#ifndef LOGITOP_KERNELS_CPU_SIMD_AVX512_H
#define LOGITOP_KERNELS_CPU_SIMD_AVX512_H

#include "kernels/dtype.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))
#define SIMD_SIGNED_DOT 0
#define SIMD_KERNELS matmul_avx512
#define SIMD_COLUMNS 16 /* columns that a kernel keeps in registers */

typedef __m512i vbyte;
typedef __m512i vint;
typedef __m512 vfloat;
/* for shifts by a variable, which becomes a constant where the caller is inlined */
typedef uint16_t int16_lanes __attribute__((vector_size(64)));
typedef int32_t int32_lanes __attribute__((vector_size(64)));

SIMD_INLINE vbyte vb_load(const void *p) { return _mm512_loadu_si512(p); }
SIMD_INLINE void vb_store(void *p, vbyte a) { _mm512_storeu_si512(p, a); }
SIMD_INLINE vbyte vb_low4(vbyte a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
SIMD_INLINE vbyte vb_high4(vbyte a) { return vb_low4(_mm512_srli_epi16(a, 4)); }
SIMD_INLINE vbyte vb_field2(vbyte a, int field) {
    return _mm512_and_si512((vbyte)((int16_lanes)a >> 2 * field), _mm512_set1_epi8(3));
}
SIMD_INLINE vbyte vb_shl4(vbyte a) { return _mm512_slli_epi16(a, 4); } /* of values below 16 */
SIMD_INLINE vbyte vb_or(vbyte a, vbyte b) { return _mm512_or_si512(a, b); }
SIMD_INLINE vbyte vb_add(vbyte a, int n) { return _mm512_add_epi8(a, _mm512_set1_epi8((char)n)); }
SIMD_INLINE vbyte vb_flip_sign(vbyte a) { return _mm512_xor_si512(a, _mm512_set1_epi8((char)-128)); }
/* bytes whose bit is set get `value` (they must not have those bits yet) */
SIMD_INLINE vbyte vb_or_bits(vbyte a, const uint8_t *bits, int value) {
    uint64_t mask;
    memcpy(&mask, bits, sizeof mask);
    return _mm512_mask_add_epi8(a, mask, a, _mm512_set1_epi8((char)value));
}
SIMD_INLINE vbyte vb_iq4(vbyte a) {
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)dtype_iq4_values));
    return _mm512_shuffle_epi8(vb_flip_sign(table), a);
}

SIMD_INLINE vint vi_zero(void) { return _mm512_setzero_si512(); }
SIMD_INLINE vint vi_set(const int32_t *p) { return _mm512_set1_epi32(*p); }
SIMD_INLINE vint vi_add(vint a, vint b) { return _mm512_add_epi32(a, b); }
SIMD_INLINE vint vi_sra(vint a, int n) { return (vint)((int32_lanes)a >> n); }
SIMD_INLINE vint vi_byte(vbyte a, int n) {
    return _mm512_and_si512((vint)((int32_lanes)a >> 8 * n), _mm512_set1_epi32(255));
}
/* lane i += bytes 4i..4i+3 of w, unsigned, times the four signed bytes at x */
SIMD_INLINE vint vi_dot4(vint acc, vbyte w, const int8_t *x, int is_signed) {
    int32_t four;
    (void)is_signed;
    memcpy(&four, x, sizeof four);
    return _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(four));
}

SIMD_INLINE vfloat vf_zero(void) { return _mm512_setzero_ps(); }
SIMD_INLINE vfloat vf_set(const float *p) { return _mm512_set1_ps(*p); }
SIMD_INLINE vfloat vf_load(const void *p) { return _mm512_loadu_ps(p); }
SIMD_INLINE void vf_store(float *p, vfloat a) { _mm512_storeu_ps(p, a); }
SIMD_INLINE vfloat vf_load_rows(const float *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
SIMD_INLINE void vf_store_rows(float *p, vfloat a, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a); }
SIMD_INLINE vfloat vf_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
SIMD_INLINE vfloat vf_load_bf16(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
SIMD_INLINE vfloat vf_load_i8(const int8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
}
SIMD_INLINE vfloat vf_from_int(vint a) { return _mm512_cvtepi32_ps(a); }
SIMD_INLINE vfloat vf_add(vfloat a, vfloat b) { return _mm512_add_ps(a, b); }
SIMD_INLINE vfloat vf_mul(vfloat a, vfloat b) { return _mm512_mul_ps(a, b); }
SIMD_INLINE vfloat vf_fma(vfloat a, vfloat b, vfloat c) { return _mm512_fmadd_ps(a, b, c); }

#endif
