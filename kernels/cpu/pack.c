/* Packing: 16 rows of blocks, as they stand in the file, to the interleaved units of packed.h. Bits move, none changes. */
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/packed.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE void codes_of_nibbles(const uint8_t *nibbles, uint8_t codes[32]) {
    for (int i = 0; i < 16; i++) codes[i] = nibbles[i] & 15;
    for (int i = 0; i < 16; i++) codes[16 + i] = nibbles[i] >> 4;
}

/* Eight bits at a time: bit i goes to byte i; seven fit into one multiplication without a carry. */
INLINE void codes_add_bits(const uint8_t *bits, uint8_t codes[32]) {
    for (int i = 0; i < 4; i++) {
        uint64_t eight, spread = (bits[i] & 0x7f) * 0x0002040810204081u & 0x0101010101010101u;
        spread |= (uint64_t)(bits[i] >> 7) << 56;
        memcpy(&eight, codes + 8 * i, 8);
        eight |= spread << 4;
        memcpy(codes + 8 * i, &eight, 8);
    }
}

/* The codes of columns 32*run and on of block b. */
INLINE void codes_of_block(enum dtype type, const uint8_t *b, int run, uint8_t codes[32]) {
    int part = run / 4, group = run % 4;
    switch (type) {
    case DTYPE_Q4_0:
    case DTYPE_IQ4_NL: codes_of_nibbles(b + 2, codes); break;
    case DTYPE_Q4_1: codes_of_nibbles(b + 4, codes); break;
    case DTYPE_IQ4_XS: codes_of_nibbles(b + 8 + 16 * run, codes); break;
    case DTYPE_Q5_0:
        codes_of_nibbles(b + 6, codes);
        codes_add_bits(b + 2, codes);
        break;
    case DTYPE_Q5_1:
        codes_of_nibbles(b + 8, codes);
        codes_add_bits(b + 4, codes);
        break;
    case DTYPE_Q8_0: memcpy(codes, b + 2, 32); break;
    case DTYPE_Q2_K:
        for (int i = 0; i < 32; i++) codes[i] = b[16 + 32 * part + i] >> 2 * group & 3;
        break;
    case DTYPE_Q3_K:
        for (int i = 0; i < 32; i++)
            codes[i] = (uint8_t)((b[32 + 32 * part + i] >> 2 * group & 3) | (b[i] >> run & 1) << 2);
        break;
    case DTYPE_Q4_K:
        for (int i = 0; i < 32; i++) codes[i] = b[16 + run / 2 * 32 + i] >> 4 * (run % 2) & 15;
        break;
    case DTYPE_Q5_K:
        for (int i = 0; i < 32; i++)
            codes[i] = (uint8_t)((b[48 + run / 2 * 32 + i] >> 4 * (run % 2) & 15) | (b[16 + i] >> run & 1) << 4);
        break;
    case DTYPE_Q6_K:
        for (int i = 0; i < 32; i++)
            codes[i] = (uint8_t)((b[64 * part + 32 * (group % 2) + i] >> 4 * (group / 2) & 15) |
                                 (b[128 + 32 * part + i] >> 2 * group & 3) << 4);
        break;
    default: break;
    }
}

INLINE uint32_t four_codes(const uint8_t *codes) {
    uint32_t four;
    memcpy(&four, codes, sizeof four);
    return four;
}

INLINE void put_four(uint8_t *out, uint32_t four) { memcpy(out, &four, sizeof four); }

/* Four bytes' bit `bit` as the low four bits of the result, the first byte's lowest. */
INLINE uint32_t gather_bit(uint32_t four, int bit) {
    return ((four >> bit & 0x01010101) * 0x01020408u) >> 24 & 15;
}

INLINE void pack_run(struct packed_layout l, const uint8_t codes[MATRIX_ROWS][32], uint8_t *out) {
    if (l.one) {
        int bit = l.four ? 4 : 2;
        for (int j = 0; j < 8; j++)
            for (int r = 0; r < MATRIX_ROWS; r += 2)
                out[8 * j + r / 2] = (uint8_t)(gather_bit(four_codes(codes[r] + 4 * j), bit) |
                                               gather_bit(four_codes(codes[r + 1] + 4 * j), bit) << 4);
        out += 64;
    }
    if (l.two) {
        int shift = l.four ? 4 : 0;
        for (int h = 0; h < 2; h++)
            for (int r = 0; r < MATRIX_ROWS; r++) {
                uint32_t four = 0;
                for (int f = 0; f < 4; f++) four |= (four_codes(codes[r] + 4 * (2 * f + h)) >> shift & 0x03030303) << 2 * f;
                put_four(out + 64 * h + 4 * r, four);
            }
        out += 128;
    }
    if (l.four)
        for (int j = 0; j < 4; j++)
            for (int r = 0; r < MATRIX_ROWS; r++) {
                uint32_t low = four_codes(codes[r] + 4 * j) & 0x0f0f0f0f, high = four_codes(codes[r] + 16 + 4 * j) & 0x0f0f0f0f;
                put_four(out + 64 * j + 4 * r, low | high << 4);
            }
    if (l.eight)
        for (int j = 0; j < 8; j++)
            for (int r = 0; r < MATRIX_ROWS; r++) put_four(out + 64 * j + 4 * r, four_codes(codes[r] + 4 * j));
}

/* Where a block keeps d, and m or dmin. */
INLINE int d_at(enum dtype type) {
    return type == DTYPE_Q2_K ? 80 : type == DTYPE_Q3_K ? 108 : type == DTYPE_Q6_K ? 208 : 0;
}

/* Row r's sub-block scales into a unit's header (zeroed), behind d and dmin. */
INLINE void pack_scales(enum dtype type, const uint8_t *b, int r, uint8_t *out) {
    switch (type) {
    case DTYPE_Q2_K:
        for (int s = 0; s < 16; s++) out[64 + 16 * s + r] = b[s];
        break;
    case DTYPE_Q6_K:
        for (int s = 0; s < 16; s++) out[32 + 16 * s + r] = b[192 + s];
        break;
    case DTYPE_Q3_K: /* the file's own bytes pair the same subs */
        for (int s = 0; s < 8; s++) out[32 + 16 * s + r] = b[96 + s];
        for (int s = 0; s < 4; s++) out[160 + 16 * s + r] = b[104 + s];
        break;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K: {
        const uint8_t *in = b + 4;
        for (int s = 0; s < 4; s++) {
            out[64 + 16 * s + r] = (uint8_t)((in[s] & 15) | in[s + 4] << 4);
            out[64 + 16 * (s + 4) + r] = in[s + 8];
            out[192 + 16 * s + r] =
                (uint8_t)((in[s] >> 4 & 3) | (in[s + 4] >> 4 & 3) << 2 | in[s] >> 6 << 4 | in[s + 4] >> 6 << 6);
        }
        break;
    }
    case DTYPE_IQ4_XS:
        for (int s = 0; s < 8; s++) {
            out[32 + 16 * (s % 4) + r] |= (uint8_t)((b[4 + s / 2] >> 4 * (s % 2) & 15) << 4 * (s / 4));
            out[96 + 16 * (s % 2) + r] |= (uint8_t)((b[2 + s / 4] >> 2 * (s % 4) & 3) << 2 * (s / 2));
        }
        break;
    default: break;
    }
}

INLINE void pack_unit_of(enum dtype type, const uint8_t *const rows[MATRIX_ROWS], uint8_t *out) {
    struct packed_layout l = packed_layout(type);
    memset(out, 0, l.header);
    for (int r = 0; r < MATRIX_ROWS; r++) {
        memcpy(out + 2 * r, rows[r] + d_at(type), 2);
        if (l.mins) memcpy(out + 32 + 2 * r, rows[r] + d_at(type) + 2, 2);
        pack_scales(type, rows[r], r, out);
    }
    uint8_t codes[MATRIX_ROWS][32];
    for (int run = 0; run < l.runs; run++) {
        for (int r = 0; r < MATRIX_ROWS; r++) codes_of_block(type, rows[r], run, codes[r]);
        pack_run(l, codes, out + l.header + run * packed_run_size(l));
    }
}

void pack_unit(enum dtype type, const uint8_t *const rows[MATRIX_ROWS], uint8_t *out) {
    switch (type) {
#define PACK(name) \
    case DTYPE_##name: pack_unit_of(DTYPE_##name, rows, out); break;
        PACK(Q4_0) PACK(Q4_1) PACK(Q5_0) PACK(Q5_1) PACK(Q8_0) PACK(IQ4_NL)
        PACK(Q2_K) PACK(Q3_K) PACK(Q4_K) PACK(Q5_K) PACK(Q6_K) PACK(IQ4_XS)
#undef PACK
    default: break;
    }
}
