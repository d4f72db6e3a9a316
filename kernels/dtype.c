#include "kernels/dtype.h"

#include <string.h>

const struct dtype_info *dtype_info(uint32_t id) {
    static const struct dtype_info table[] = {
#define X(name, id, block, bytes, computable) [id] = {#name, block, bytes, computable},
        DTYPE_MAP(X)
#undef X
    };
    if (id >= sizeof table / sizeof *table || !table[id].name) return NULL;
    return &table[id];
}

static float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 0x3ff;
    if (exponent == 31) return float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float value = (float)fraction * 0x1p-24f; /* subnormal: exact */
    return sign ? -value : value;
}

uint16_t f32_to_f16(float value) {
    uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x1ff)); /* NaN stays one */
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and up round to infinity */
    if (magnitude < 0x38800000) {
        /* Subnormal in f16: adding 0.5 leaves the fraction, rounded by the addition, in the low bits. */
        float shifted = float_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of_float(shifted) - 0x3f000000));
    }
    uint32_t odd = magnitude >> 13 & 1;
    return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + odd) >> 13);
}

static float load_half(const uint8_t *from) {
    uint16_t half;
    memcpy(&half, from, sizeof half);
    return f16_to_f32(half);
}

/* One function a block format: `b` is one block, `y` its elements. Each multiplication and addition is rounded to F32 in the
 * order of ggml's dequantize_row_* (ggml-quants.c); -ffp-contract=off keeps it so. */

static void q4_0_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((b[2 + i] & 15) - 8) * d;
        y[i + 16] = (float)((b[2 + i] >> 4) - 8) * d;
    }
}

static void q4_1_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b), m = load_half(b + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(b[4 + i] & 15) * d + m;
        y[i + 16] = (float)(b[4 + i] >> 4) * d + m;
    }
}

static uint32_t load_u32(const uint8_t *from) {
    uint32_t bits;
    memcpy(&bits, from, sizeof bits);
    return bits;
}

static void q5_0_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b);
    uint32_t high = load_u32(b + 2);
    for (int i = 0; i < 16; i++) {
        int low = (b[6 + i] & 15) | (int)(high >> i & 1) << 4, up = b[6 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        y[i] = (float)(low - 16) * d;
        y[i + 16] = (float)(up - 16) * d;
    }
}

static void q5_1_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b), m = load_half(b + 2);
    uint32_t high = load_u32(b + 4);
    for (int i = 0; i < 16; i++) {
        int low = (b[8 + i] & 15) | (int)(high >> i & 1) << 4, up = b[8 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        y[i] = (float)low * d + m;
        y[i + 16] = (float)up * d + m;
    }
}

static void q8_0_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b);
    for (int i = 0; i < 32; i++) y[i] = (float)(int8_t)b[2 + i] * d;
}

/* scales[16] (scale low, min high nibble), qs[64], d, dmin */
static void q2_k_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b + 80), min = load_half(b + 82);
    for (int i = 0; i < 256; i++) {
        int part = i / 128, group = i % 128 / 32, at = i % 32;
        uint8_t scale = b[i / 16];
        float dl = d * (float)(scale & 15), ml = min * (float)(scale >> 4);
        y[i] = dl * (float)(b[16 + 32 * part + at] >> 2 * group & 3) - ml;
    }
}

/* hmask[32], qs[64], scales[12] (16 of 6 bits: 4 low bits first, then 2 high bits), d */
static void q3_k_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b + 108);
    const uint8_t *scales = b + 96;
    for (int i = 0; i < 256; i++) {
        int part = i / 128, group = i % 128 / 32, at = i % 32, s = i / 16;
        int scale = (scales[s % 8] >> 4 * (s / 8) & 15) | (scales[8 + s % 4] >> 2 * (s / 4) & 3) << 4;
        int q = (b[32 + 32 * part + at] >> 2 * group & 3) - (b[at] >> (4 * part + group) & 1 ? 0 : 4);
        y[i] = d * (float)(scale - 32) * (float)q;
    }
}

/* The 6-bit scale and min of sub-block j in the 12 bytes that Q4_K and Q5_K share. */
static void k4_scale_min(const uint8_t *s, int j, int *scale, int *min) {
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *min = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* d, dmin, scales[12], then qs[128] for Q4_K, or qh[32] qs[128] for Q5_K */
static void q45_k_to_f32(const uint8_t *b, float *y, bool five) {
    float d = load_half(b), dmin = load_half(b + 2);
    const uint8_t *high = b + 16, *qs = five ? b + 48 : b + 16;
    for (int j = 0; j < 8; j++) {
        int scale, min;
        k4_scale_min(b + 4, j, &scale, &min);
        float d1 = d * (float)scale, m1 = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int q = qs[j / 2 * 32 + i] >> 4 * (j % 2) & 15;
            if (five) q += (high[i] >> j & 1) << 4;
            y[32 * j + i] = d1 * (float)q - m1;
        }
    }
}

static void q4_k_to_f32(const uint8_t *b, float *y) { q45_k_to_f32(b, y, false); }
static void q5_k_to_f32(const uint8_t *b, float *y) { q45_k_to_f32(b, y, true); }

/* ql[128], qh[64], scales[16], d */
static void q6_k_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b + 208);
    for (int i = 0; i < 256; i++) {
        int part = i / 128, group = i % 128 / 32, at = i % 32;
        int low = b[64 * part + 32 * (group % 2) + at] >> 4 * (group / 2) & 15;
        int high = b[128 + 32 * part + at] >> 2 * group & 3;
        y[i] = d * (float)(int8_t)b[192 + i / 16] * (float)((low | high << 4) - 32);
    }
}

const int8_t dtype_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void iq4_nl_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b);
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)dtype_iq4_values[b[2 + i] & 15];
        y[i + 16] = d * (float)dtype_iq4_values[b[2 + i] >> 4];
    }
}

/* d, scales_h (2 bits each of 8), scales_l[4] (4 bits each), qs[128] */
static void iq4_xs_to_f32(const uint8_t *b, float *y) {
    float d = load_half(b);
    for (int j = 0; j < 8; j++) {
        int scale = (b[4 + j / 2] >> 4 * (j % 2) & 15) | (b[2 + j / 4] >> 2 * (j % 4) & 3) << 4;
        float dl = d * (float)(scale - 32);
        for (int i = 0; i < 16; i++) {
            uint8_t q = b[8 + 16 * j + i];
            y[32 * j + i] = dl * (float)dtype_iq4_values[q & 15];
            y[32 * j + i + 16] = dl * (float)dtype_iq4_values[q >> 4];
        }
    }
}

static void f16_row_to_f32(const uint8_t *from, float *to, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = load_half(from + 2 * i);
}

static void bf16_row_to_f32(const uint8_t *from, float *to, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = float_of_bits((uint32_t)from[2 * i] << 16 | (uint32_t)from[2 * i + 1] << 24);
}

bool dtype_to_f32(enum dtype type, const void *from, float *to, size_t n) {
    void (*convert)(const uint8_t *, float *);
    switch (type) {
    case DTYPE_F32: memcpy(to, from, n * sizeof *to); return true;
    case DTYPE_F16: f16_row_to_f32(from, to, n); return true;
    case DTYPE_BF16: bf16_row_to_f32(from, to, n); return true;
    case DTYPE_Q4_0: convert = q4_0_to_f32; break;
    case DTYPE_Q4_1: convert = q4_1_to_f32; break;
    case DTYPE_Q5_0: convert = q5_0_to_f32; break;
    case DTYPE_Q5_1: convert = q5_1_to_f32; break;
    case DTYPE_Q8_0: convert = q8_0_to_f32; break;
    case DTYPE_Q2_K: convert = q2_k_to_f32; break;
    case DTYPE_Q3_K: convert = q3_k_to_f32; break;
    case DTYPE_Q4_K: convert = q4_k_to_f32; break;
    case DTYPE_Q5_K: convert = q5_k_to_f32; break;
    case DTYPE_Q6_K: convert = q6_k_to_f32; break;
    case DTYPE_IQ4_NL: convert = iq4_nl_to_f32; break;
    case DTYPE_IQ4_XS: convert = iq4_xs_to_f32; break;
    default: return false;
    }
    const struct dtype_info *info = dtype_info(type);
    const uint8_t *block = from;
    for (size_t i = 0; i < n / info->block; i++, block += info->block_size) convert(block, to + i * info->block);
    return true;
}
