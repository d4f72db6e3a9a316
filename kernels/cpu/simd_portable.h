/* The vectors of gemm_kernels.h for any little-endian machine: 64 bytes, 16 integers, 16 floats, as four of the 16-byte
 * vectors that GCC and Clang know everywhere (SSE2, NEON, or plain registers). */
#ifndef LOGITOP_KERNELS_CPU_SIMD_PORTABLE_H
#define LOGITOP_KERNELS_CPU_SIMD_PORTABLE_H

#include "kernels/dtype.h"

#include <stdint.h>
#include <string.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))
#define SIMD_SIGNED_DOT 0
#define SIMD_KERNELS matmul_portable
#define SIMD_IN_MEMORY
#define SIMD_COLUMNS 4 /* columns that a kernel keeps in registers */

typedef uint8_t quarter_byte __attribute__((vector_size(16)));
typedef int32_t quarter_int __attribute__((vector_size(16)));
typedef float quarter_float __attribute__((vector_size(16)));
typedef struct { quarter_byte h[4]; } vbyte;
typedef struct { quarter_int h[4]; } vint;
typedef struct { quarter_float h[4]; } vfloat;

#define EACH_QUARTER for (int i = 0; i < 4; i++)

SIMD_INLINE vbyte vb_load(const void *p) { vbyte r; memcpy(&r, p, sizeof r); return r; }
SIMD_INLINE void vb_store(void *p, vbyte a) { memcpy(p, &a, sizeof a); }
SIMD_INLINE vbyte vb_low4(vbyte a) { EACH_QUARTER a.h[i] &= 15; return a; }
SIMD_INLINE vbyte vb_high4(vbyte a) { EACH_QUARTER a.h[i] >>= 4; return a; }
SIMD_INLINE vbyte vb_field2(vbyte a, int field) { EACH_QUARTER a.h[i] = a.h[i] >> (uint8_t)(2 * field) & 3; return a; }
SIMD_INLINE vbyte vb_shl4(vbyte a) { EACH_QUARTER a.h[i] <<= 4; return a; }
SIMD_INLINE vbyte vb_or(vbyte a, vbyte b) { EACH_QUARTER a.h[i] |= b.h[i]; return a; }
SIMD_INLINE vbyte vb_add(vbyte a, int n) { EACH_QUARTER a.h[i] += (uint8_t)n; return a; }
SIMD_INLINE vbyte vb_flip_sign(vbyte a) { EACH_QUARTER a.h[i] ^= 0x80; return a; }
/* bytes whose bit is set get `value` (they must not have those bits yet) */
static vbyte __attribute__((unused)) vb_or_bits(vbyte a, const uint8_t *bits, int value) {
    uint8_t set[64];
    for (int i = 0; i < 64; i++) set[i] = (uint8_t)((bits[i / 8] >> i % 8 & 1) * value);
    return vb_or(a, vb_load(set));
}
static vbyte __attribute__((unused)) vb_iq4(vbyte a) {
    uint8_t codes[64];
    vb_store(codes, a);
    for (int i = 0; i < 64; i++) codes[i] = (uint8_t)(dtype_iq4_values[codes[i]] + 128);
    return vb_load(codes);
}

SIMD_INLINE vint vi_zero(void) { return (vint){{{0}}}; }
SIMD_INLINE vint vi_set(const int32_t *p) { vint r = {{{0}}}; EACH_QUARTER r.h[i] += *p; return r; }
SIMD_INLINE vint vi_add(vint a, vint b) { EACH_QUARTER a.h[i] += b.h[i]; return a; }
SIMD_INLINE vint vi_sra(vint a, int n) { EACH_QUARTER a.h[i] >>= n; return a; }
SIMD_INLINE vint vi_byte(vbyte a, int n) { vint r; EACH_QUARTER r.h[i] = (quarter_int)a.h[i] >> 8 * n & 255; return r; }
/* lane i += bytes 4i..4i+3 of w, unsigned, times the four signed bytes at x */
SIMD_INLINE vint vi_dot4(vint acc, vbyte w, const int8_t *x, int is_signed) {
    (void)is_signed;
    for (int n = 0; n < 4; n++) EACH_QUARTER acc.h[i] += ((quarter_int)w.h[i] >> 8 * n & 255) * x[n];
    return acc;
}

SIMD_INLINE vfloat vf_zero(void) { return (vfloat){{{0}}}; }
SIMD_INLINE vfloat vf_load(const void *p) { vfloat r; memcpy(&r, p, sizeof r); return r; }
SIMD_INLINE vfloat vf_set(const float *p) {
    vfloat r;
    EACH_QUARTER r.h[i] = (quarter_float){*p, *p, *p, *p};
    return r;
}
SIMD_INLINE void vf_store(float *p, vfloat a) { memcpy(p, &a, sizeof a); }
SIMD_INLINE vfloat vf_load_rows(const float *p, int n) { vfloat r = {{{0}}}; memcpy(&r, p, n * sizeof *p); return r; }
SIMD_INLINE void vf_store_rows(float *p, vfloat a, int n) { memcpy(p, &a, n * sizeof *p); }
static vfloat __attribute__((unused)) vf_load_f16(const void *p) {
    uint16_t half[16];
    float value[16];
    memcpy(half, p, sizeof half);
    for (int i = 0; i < 16; i++) value[i] = f16_to_f32(half[i]);
    return vf_load(value);
}
static vfloat __attribute__((unused)) vf_load_bf16(const void *p) {
    uint16_t half[16];
    uint32_t bits[16];
    memcpy(half, p, sizeof half);
    for (int i = 0; i < 16; i++) bits[i] = (uint32_t)half[i] << 16;
    return vf_load(bits);
}
static vfloat __attribute__((unused)) vf_load_i8(const int8_t *p) {
    float value[16];
    for (int i = 0; i < 16; i++) value[i] = p[i];
    return vf_load(value);
}
SIMD_INLINE vfloat vf_from_int(vint a) {
    vfloat r;
    EACH_QUARTER r.h[i] = __builtin_convertvector(a.h[i], quarter_float);
    return r;
}
SIMD_INLINE vfloat vf_add(vfloat a, vfloat b) { EACH_QUARTER a.h[i] += b.h[i]; return a; }
SIMD_INLINE vfloat vf_mul(vfloat a, vfloat b) { EACH_QUARTER a.h[i] *= b.h[i]; return a; }
SIMD_INLINE vfloat vf_fma(vfloat a, vfloat b, vfloat c) { EACH_QUARTER c.h[i] += a.h[i] * b.h[i]; return c; }

#endif
