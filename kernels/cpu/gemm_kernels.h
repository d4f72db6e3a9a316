/* The matrix products, written once on the vectors of simd_*.h and compiled once for each instruction set: gemm_*.c includes
 * one simd_*.h, then this. A vector holds 16 rows, so the inner loops broadcast an activation and multiply-add.
 *
 * One column (decode): codes go from memory through registers into the dot product; memory is the limit.
 * More columns: a tile of 16 rows and up to 1024 columns is unpacked once, then used for every panel of columns from cache. */
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/packed.h"

#define TILE_BLOCKS 32 /* blocks of 32 that a tile spans */
#define PREFETCH_AHEAD 4096 /* bytes; decoding measured slower with half of it, no faster with twice */
#ifdef SIMD_SMALL /* for sanitizers and debuggers: one body of each function instead of one a type and a width */
#define KERNEL static __attribute__((unused))
#else
#define KERNEL SIMD_INLINE
#endif
#if defined SIMD_IN_MEMORY || defined SIMD_SMALL
#define UNROLL /* unrolled, plain vectors gain nothing and take minutes to compile */
#elif defined __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* ---- unpacking ---- */

struct sub_scales {
    int8_t scale[16][16], min[16][16]; /* [sub-block][row] */
};

/* The integer scales of a unit of 256 columns. Plain loops: they run once for 4096 weights and vectorise. */
KERNEL void expand_scales(enum dtype type, const uint8_t *unit, struct sub_scales *s) {
    int8_t *scale = s->scale[0], *min = s->min[0];
    const uint8_t *low = unit + (packed_layout(type).mins ? 64 : 32);
    const uint8_t *high = low + (type == DTYPE_IQ4_XS ? 64 : 128);
    switch (type) {
    case DTYPE_Q2_K:
        for (int i = 0; i < 256; i++) scale[i] = low[i] & 15;
        for (int i = 0; i < 256; i++) min[i] = (int8_t)(low[i] >> 4);
        break;
    case DTYPE_Q3_K:
        for (int f = 0; f < 4; f++)
            for (int i = 0; i < 64; i++)
                scale[64 * f + i] =
                    (int8_t)(((low[64 * (f % 2) + i] >> 4 * (f / 2) & 15) | (high[i] >> 2 * f & 3) << 4) - 32);
        break;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        for (int f = 0; f < 2; f++)
            for (int i = 0; i < 64; i++) {
                scale[64 * f + i] = (int8_t)((low[64 * f + i] & 15) | (high[i] >> 4 * f & 3) << 4);
                min[64 * f + i] = (int8_t)(low[64 * f + i] >> 4 | (high[i] >> (4 * f + 2) & 3) << 4);
            }
        break;
    case DTYPE_IQ4_XS:
        for (int f = 0; f < 4; f++)
            for (int i = 0; i < 32; i++)
                scale[32 * f + i] =
                    (int8_t)(((low[32 * (f % 2) + i] >> 4 * (f / 2) & 15) | (high[i] >> 2 * f & 3) << 4) - 32);
        break;
    default: break;
    }
}

/* Scales (and mins) of one run of 32 columns, one vector a half where the type has halves. Exactly the file's values. */
KERNEL void run_scales(enum dtype type, const uint8_t *unit, const struct sub_scales *s, int run, vfloat scale[2],
                            vfloat min[2]) {
    const struct packed_layout l = packed_layout(type);
    const float minus_one = -1.0f;
    vfloat d = vf_load_f16(unit);
    for (int h = 0; h < 1 + l.halves; h++) {
        int sub = l.halves ? 2 * run + h : run;
        const int8_t *ints = type == DTYPE_Q6_K ? (const int8_t *)unit + 32 + 16 * sub : s->scale[sub];
        scale[h] = l.runs == 1 ? d : vf_mul(d, vf_load_i8(ints));
        if (!l.mins) continue;
        vfloat m = vf_load_f16(unit + 32);
        min[h] = l.runs == 1 ? m : vf_mul(vf_mul(m, vf_set(&minus_one)), vf_load_i8(s->min[sub]));
    }
}

/* The codes of one run: w[j] holds columns 4j to 4j+3 of 16 rows, as unsigned bytes. */
KERNEL void run_codes(enum dtype type, const uint8_t *planes, vbyte w[8]) {
    const struct packed_layout l = packed_layout(type);
    const uint8_t *one = planes, *two = one + (l.one ? 64 : 0), *rest = two + (l.two ? 128 : 0);
    if (l.eight) {
        UNROLL
        for (int j = 0; j < 8; j++) w[j] = vb_flip_sign(vb_load(rest + 64 * j));
    }
    if (l.four) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            vbyte pair = vb_load(rest + 64 * j);
            w[j] = vb_low4(pair);
            w[4 + j] = vb_high4(pair);
        }
    }
    if (l.two) {
        vbyte fields[2] = {vb_load(two), vb_load(two + 64)};
        UNROLL
        for (int j = 0; j < 8; j++) {
            vbyte field = vb_field2(fields[j % 2], j / 2);
            w[j] = l.four ? vb_or(w[j], vb_shl4(field)) : field;
        }
    }
    if (l.one) {
        UNROLL
        for (int j = 0; j < 8; j++) w[j] = vb_or_bits(w[j], one + 8 * j, l.four ? 16 : 4);
    }
    if (type == DTYPE_IQ4_NL || type == DTYPE_IQ4_XS) {
        UNROLL
        for (int j = 0; j < 8; j++) w[j] = vb_iq4(w[j]);
    }
}

KERNEL const uint8_t *run_planes(enum dtype type, const uint8_t *unit, int run) {
    const struct packed_layout l = packed_layout(type);
    return unit + l.header + run * packed_run_size(l);
}

KERNEL size_t unit_size(enum dtype type) {
    const struct packed_layout l = packed_layout(type);
    return (size_t)(l.header + l.runs * packed_run_size(l));
}

/* ---- one column ---- */

KERNEL const int32_t *fact_int(const union activation_fact *facts, int fact, int width) {
    return &facts[fact * width].i;
}

KERNEL const float *fact_float(const union activation_fact *facts, int fact, int width) {
    return &facts[fact * width].f;
}

/* Where a dot product of signed weights starts: minus offset times the sum of the activations. */
KERNEL vint dot_start(const union activation_fact *facts, int fact, int width, int offset) {
    if (offset == 0 || (SIMD_SIGNED_DOT && offset == 128)) return vi_zero();
    vint bias = vi_set(fact_int(facts, fact, width));
    return offset == 128 ? bias : vi_sra(bias, offset == 32 ? 2 : offset == 16 ? 3 : offset == 8 ? 4 : 5);
}

KERNEL void prefetch(const uint8_t *from, int size) {
    for (int i = 0; i < size; i += 64) __builtin_prefetch(from + PREFETCH_AHEAD + i, 0, 3);
}

KERNEL vfloat one_column_run(enum dtype type, const uint8_t *unit, const struct sub_scales *s, int run,
                                  const int8_t *x, const union activation_fact *facts, vfloat acc) {
    const struct packed_layout l = packed_layout(type);
    vbyte w[8];
    vfloat scale[2], min[2];
    run_codes(type, run_planes(type, unit, run), w);
    run_scales(type, unit, s, run, scale, min);
    vint low = dot_start(facts, l.halves ? ACTIVATION_BIAS_LOW : ACTIVATION_BIAS, 1, l.offset);
    vint high = l.halves ? dot_start(facts, ACTIVATION_BIAS_HIGH, 1, l.offset) : vi_zero();
    UNROLL
    for (int j = 0; j < 4; j++) {
        low = vi_dot4(low, w[j], x + 4 * j, l.offset == 128);
        high = vi_dot4(high, w[4 + j], x + 16 + 4 * j, l.offset == 128);
    }
    vfloat x_scale = vf_set(fact_float(facts, ACTIVATION_SCALE, 1));
    if (l.halves) {
        acc = vf_fma(vf_from_int(low), vf_mul(scale[0], x_scale), acc);
        acc = vf_fma(vf_from_int(high), vf_mul(scale[1], x_scale), acc);
        if (l.mins) {
            acc = vf_fma(min[0], vf_set(fact_float(facts, ACTIVATION_SUM_LOW, 1)), acc);
            acc = vf_fma(min[1], vf_set(fact_float(facts, ACTIVATION_SUM_HIGH, 1)), acc);
        }
    } else {
        acc = vf_fma(vf_from_int(vi_add(low, high)), vf_mul(scale[0], x_scale), acc);
        if (l.mins) acc = vf_fma(min[0], vf_set(fact_float(facts, ACTIVATION_SUM, 1)), acc);
    }
    return acc;
}

KERNEL int group_rows(const struct matrix *m, uint64_t row) {
    return m->rows - row < MATRIX_ROWS ? (int)(m->rows - row) : MATRIX_ROWS;
}

KERNEL const uint8_t *group_at(const struct matrix *m, uint64_t row) {
    return m->packed + row / MATRIX_ROWS * m->group_size;
}

KERNEL void one_column(enum dtype type, const struct matrix *m, const struct activations *a, float *y,
                            uint64_t row_begin, uint64_t row_end) {
    const struct packed_layout l = packed_layout(type);
    const size_t units = m->cols / 32 / l.runs;
    const uint8_t *unit = group_at(m, row_begin);
    for (uint64_t row = row_begin; row < row_end; row += MATRIX_ROWS) {
        vfloat acc = vf_zero();
        const int8_t *x = a->q8;
        const union activation_fact *facts = a->facts;
        for (size_t u = 0; u < units; u++, unit += unit_size(type)) {
            struct sub_scales s;
            if (l.runs > 1) {
                prefetch(unit, l.header);
                expand_scales(type, unit, &s);
            }
            for (int run = 0; run < l.runs; run++, x += 32, facts += ACTIVATION_FACTS) {
                if (l.runs > 1) prefetch(run_planes(type, unit, run), packed_run_size(l));
                else prefetch(unit, (int)unit_size(type));
                acc = one_column_run(type, unit, &s, run, x, facts, acc);
            }
        }
        vf_store_rows(y + row, acc, group_rows(m, row));
    }
}

/* ---- more columns ---- */

/* 16 rows unpacked: signed codes with 128 added, the others as they are. */
struct tile {
    _Alignas(64) uint8_t codes[TILE_BLOCKS][8][64];
    float scale[TILE_BLOCKS][2][16], min[TILE_BLOCKS][2][16];
};

KERNEL void tile_fill(enum dtype type, const uint8_t *group, size_t block, size_t n, struct tile *t) {
    const struct packed_layout l = packed_layout(type);
    const uint8_t *unit = group + block / l.runs * unit_size(type); /* block is a multiple of runs */
    for (size_t b = 0; b < n; unit += unit_size(type)) {
        struct sub_scales s;
        if (l.runs > 1) expand_scales(type, unit, &s);
        for (int run = 0; run < l.runs; run++, b++) {
            vbyte w[8];
            vfloat scale[2], min[2];
            run_codes(type, run_planes(type, unit, run), w);
            run_scales(type, unit, &s, run, scale, min);
            UNROLL
            for (int j = 0; j < 8; j++)
                vb_store(t->codes[b][j], l.offset == 0 || l.offset == 128 ? w[j] : vb_add(w[j], 128 - l.offset));
            for (int h = 0; h < 1 + l.halves; h++) {
                vf_store(t->scale[b][h], scale[h]);
                if (l.mins) vf_store(t->min[b][h], min[h]);
            }
        }
    }
}

/* A tile times N columns of a panel that is `width` columns wide. Each output is the chain of sums that
 * one_column() makes, across tiles too: what is decoded and what is read in a prompt have the same bits. */
KERNEL void tile_columns(const int N, const bool halves, const bool mins, const struct tile *t, size_t n_blocks,
                              const int8_t *x, const union activation_fact *facts, int width, bool first, float *y,
                              size_t stride, int rows) {
    vfloat acc[16];
    UNROLL
    for (int c = 0; c < N; c++) acc[c] = first ? vf_zero() : vf_load_rows(y + c * stride, rows);
    for (size_t b = 0; b < n_blocks; b++, x += 32 * width, facts += ACTIVATION_FACTS * width) {
        vbyte w[8];
        UNROLL
        for (int j = 0; j < 8; j++) w[j] = vb_load(t->codes[b][j]);
        vfloat scale[2] = {vf_load(t->scale[b][0]), vf_load(t->scale[b][halves])};
        UNROLL
        for (int c = 0; c < N; c++) {
            const union activation_fact *f = facts + c;
            vint low = dot_start(f, halves ? ACTIVATION_BIAS_LOW : ACTIVATION_BIAS, width, mins ? 0 : 128);
            UNROLL
            for (int j = 0; j < 4; j++) low = vi_dot4(low, w[j], x + 32 * c + 4 * j, !mins);
            vint high = halves ? dot_start(f, ACTIVATION_BIAS_HIGH, width, mins ? 0 : 128) : low;
            UNROLL
            for (int j = 4; j < 8; j++) high = vi_dot4(high, w[j], x + 32 * c + 4 * j, !mins);
            vfloat x_scale = vf_set(fact_float(f, ACTIVATION_SCALE, width));
            if (halves) acc[c] = vf_fma(vf_from_int(low), vf_mul(scale[0], x_scale), acc[c]);
            acc[c] = vf_fma(vf_from_int(high), vf_mul(scale[1], x_scale), acc[c]);
            if (!mins) continue;
            acc[c] = vf_fma(vf_load(t->min[b][0]), vf_set(fact_float(f, halves ? ACTIVATION_SUM_LOW : ACTIVATION_SUM, width)),
                            acc[c]);
            if (halves)
                acc[c] = vf_fma(vf_load(t->min[b][1]), vf_set(fact_float(f, ACTIVATION_SUM_HIGH, width)), acc[c]);
        }
    }
    UNROLL
    for (int c = 0; c < N; c++) vf_store_rows(y + c * stride, acc[c], rows);
}

/* A tile times one panel: as many columns at a time as the registers hold. */
KERNEL void tile_panel(const bool halves, const bool mins, const struct tile *t, size_t n_blocks, const int8_t *x,
                            const union activation_fact *facts, int width, bool first, float *y, size_t stride, int rows) {
#define COLUMNS(N, wide) \
    tile_columns(N, halves, mins, t, n_blocks, x + 32 * c, facts + c, wide, first, y + c * stride, stride, rows)
    int c = 0;
    if (width == ACTIVATION_PANEL)
        for (; c < width; c += SIMD_COLUMNS) COLUMNS(SIMD_COLUMNS, ACTIVATION_PANEL);
    if (SIMD_COLUMNS > 8)
        for (; width - c >= 8; c += 8) COLUMNS(8, width);
    for (; width - c >= 4; c += 4) COLUMNS(4, width);
    for (; width - c >= 2; c += 2) COLUMNS(2, width);
    if (c < width) COLUMNS(1, width);
#undef COLUMNS
}

typedef void (*panel_fn)(const struct tile *t, size_t n_blocks, const int8_t *x, const union activation_fact *facts, int width,
                         bool first, float *y, size_t stride, int rows);
typedef void (*fill_fn)(const uint8_t *group, size_t block, size_t n, struct tile *t);

#define PANEL(name, halves, mins)                                                                            \
    static __attribute__((noinline)) void panel_##name(const struct tile *t, size_t n_blocks, const int8_t *x,              \
                                                       const union activation_fact *facts, int width, bool first, float *y, \
                                                       size_t stride, int rows) {                            \
        tile_panel(halves, mins, t, n_blocks, x, facts, width, first, y, stride, rows);                      \
    }
PANEL(plain, false, false)
PANEL(mins, false, true)
PANEL(halves, true, false)
PANEL(halves_mins, true, true)
#undef PANEL

static void many_columns(const struct matrix *m, const struct activations *a, float *y, size_t stride, uint64_t row_begin,
                         uint64_t row_end, fill_fn fill, panel_fn panel) {
    struct tile t;
    const size_t blocks = m->cols / 32;
    for (size_t block = 0; block < blocks; block += TILE_BLOCKS) {
        size_t n = blocks - block < TILE_BLOCKS ? blocks - block : TILE_BLOCKS;
        for (uint64_t row = row_begin; row < row_end; row += MATRIX_ROWS) {
            fill(group_at(m, row), block, n, &t);
            for (uint32_t c = 0; c < a->n; c += ACTIVATION_PANEL) {
                int width = a->n - c < ACTIVATION_PANEL ? (int)(a->n - c) : ACTIVATION_PANEL;
                panel(&t, n, a->q8 + (size_t)c * a->cols + block * 32 * width,
                      a->facts + ((size_t)c * blocks + block * width) * ACTIVATION_FACTS, width, block == 0,
                      y + c * stride + row, stride, group_rows(m, row));
            }
        }
    }
}

/* ---- each block type ---- */

#define TYPES(X)                                                                                             \
    X(Q4_0, plain) X(Q4_1, mins) X(Q5_0, plain) X(Q5_1, mins) X(Q8_0, plain) X(IQ4_NL, plain)                \
    X(Q2_K, halves_mins) X(Q3_K, halves) X(Q4_K, mins) X(Q5_K, mins) X(Q6_K, halves) X(IQ4_XS, plain)

#define X(name, panel)                                                                                       \
    static void fill_##name(const uint8_t *group, size_t block, size_t n, struct tile *t) {                  \
        tile_fill(DTYPE_##name, group, block, n, t);                                                         \
    }                                                                                                        \
    static void one_##name(const struct matrix *m, const struct activations *a, float *y, uint64_t row_begin, \
                           uint64_t row_end) {                                                               \
        one_column(DTYPE_##name, m, a, y, row_begin, row_end);                                               \
    }
TYPES(X)
#undef X

static void product_q8(const struct matrix *m, const struct activations *a, float *y, size_t stride, uint64_t row_begin,
                       uint64_t row_end) {
    switch (m->type) {
#define X(name, panel)                                                                                       \
    case DTYPE_##name:                                                                                       \
        if (a->n == 1) one_##name(m, a, y, row_begin, row_end);                                              \
        else many_columns(m, a, y, stride, row_begin, row_end, fill_##name, panel_##panel);                  \
        break;
        TYPES(X)
#undef X
    default: break;
    }
}

/* ---- F32 ---- */

#define WIDE_TILE 256 /* columns of a widened tile */
#define WIDE_RUN 64   /* elements summed in one chain; the chains' sums are added in order */

KERNEL void widen_run(enum dtype type, const uint8_t *unit, const struct sub_scales *s, int run, float *out) {
    const struct packed_layout l = packed_layout(type);
    const float minus_offset = (float)-l.offset;
    vbyte w[8];
    vfloat scale[2], min[2];
    run_codes(type, run_planes(type, unit, run), w);
    run_scales(type, unit, s, run, scale, min);
    UNROLL
    for (int j = 0; j < 8; j++) {
        int h = l.halves ? j / 4 : 0;
        UNROLL
        for (int i = 0; i < 4; i++) {
            vfloat value = vf_mul(vf_add(vf_from_int(vi_byte(w[j], i)), vf_set(&minus_offset)), scale[h]);
            vf_store(out + 16 * (4 * j + i), l.mins ? vf_add(value, min[h]) : value);
        }
    }
}

KERNEL void widen_blocks(enum dtype type, const uint8_t *group, size_t k, size_t n, float *out) {
    const struct packed_layout l = packed_layout(type);
    for (size_t b = k / 32; b < (k + n) / 32;) {
        const uint8_t *unit = group + b / l.runs * unit_size(type);
        struct sub_scales s;
        if (l.runs > 1) expand_scales(type, unit, &s);
        for (int run = (int)(b % l.runs); run < l.runs && b < (k + n) / 32; run++, b++, out += 32 * MATRIX_ROWS)
            widen_run(type, unit, &s, run, out);
    }
}

static void widen(enum dtype type, const uint8_t *group, size_t k, size_t n, float *out) {
    switch (type) {
    case DTYPE_F32: memcpy(out, group + k * 64, n * 64); break;
    case DTYPE_F16:
        for (size_t i = 0; i < n; i++) vf_store(out + 16 * i, vf_load_f16(group + 32 * (k + i)));
        break;
    case DTYPE_BF16:
        for (size_t i = 0; i < n; i++) vf_store(out + 16 * i, vf_load_bf16(group + 32 * (k + i)));
        break;
#define X(name, panel) \
    case DTYPE_##name: widen_blocks(DTYPE_##name, group, k, n, out); break;
        TYPES(X)
#undef X
    default: break;
    }
}

/* One run of at most WIDE_RUN elements, N columns: each output is one chain from zero, whatever N is. */
KERNEL void wide_columns(const int N, const float *w, size_t n, const float *x, int width, bool first, float *y,
                              size_t stride, int rows) {
    vfloat acc[16];
    UNROLL
    for (int c = 0; c < N; c++) acc[c] = vf_zero();
    for (size_t k = 0; k < n; k++, w += 16, x += width) {
        vfloat row = vf_load(w);
        UNROLL
        for (int c = 0; c < N; c++) acc[c] = vf_fma(row, vf_set(x + c), acc[c]);
    }
    UNROLL
    for (int c = 0; c < N; c++) {
        float *to = y + c * stride;
        vf_store_rows(to, first ? acc[c] : vf_add(vf_load_rows(to, rows), acc[c]), rows);
    }
}

/* Element k of 16 rows, F32, F16 or BF16. */
KERNEL vfloat load_elements(enum dtype type, const uint8_t *group, size_t k) {
    if (type == DTYPE_F16) return vf_load_f16(group + 32 * k);
    if (type == DTYPE_BF16) return vf_load_bf16(group + 32 * k);
    return vf_load(group + 64 * k);
}

/* One column of 256 elements straight from packed elements: the same sums as wide_columns(), but four runs at a time, so that
 * four chains hide each other's latency. */
KERNEL void four_runs(enum dtype type, const uint8_t *from, const float *x, bool first, float *y, int rows) {
    const int size = type == DTYPE_F32 ? 64 : 32;
    vfloat acc[4];
    UNROLL
    for (int r = 0; r < 4; r++) acc[r] = vf_zero();
    for (size_t k = 0; k < WIDE_RUN; k += 2)
        UNROLL
        for (int r = 0; r < 4; r++) {
            prefetch(from + size * (WIDE_RUN * r + k), 2 * size);
            acc[r] = vf_fma(load_elements(type, from, WIDE_RUN * r + k), vf_set(x + WIDE_RUN * r + k), acc[r]);
            acc[r] = vf_fma(load_elements(type, from, WIDE_RUN * r + k + 1), vf_set(x + WIDE_RUN * r + k + 1), acc[r]);
        }
    vfloat sum = first ? acc[0] : vf_add(vf_load_rows(y, rows), acc[0]);
    UNROLL
    for (int r = 1; r < 4; r++) sum = vf_add(sum, acc[r]);
    vf_store_rows(y, sum, rows);
}

static void wide_panel(const float *w, size_t n, const float *x, int width, bool first, float *y, size_t stride, int rows) {
#define COLUMNS(N, wide) wide_columns(N, w + 16 * k, run, x + k * width + c, wide, first && k == 0, y + c * stride, stride, rows)
    if (width == 1 && n == WIDE_TILE) {
        four_runs(DTYPE_F32, (const uint8_t *)w, x, first, y, rows);
        return;
    }
    for (size_t k = 0; k < n; k += WIDE_RUN) {
        size_t run = n - k < WIDE_RUN ? n - k : WIDE_RUN;
        int c = 0;
        if (width == ACTIVATION_PANEL)
            for (; c < width; c += SIMD_COLUMNS) COLUMNS(SIMD_COLUMNS, ACTIVATION_PANEL);
        if (SIMD_COLUMNS > 8)
            for (; width - c >= 8; c += 8) COLUMNS(8, width);
        for (; width - c >= 4; c += 4) COLUMNS(4, width);
        for (; width - c >= 2; c += 2) COLUMNS(2, width);
        if (c < width) COLUMNS(1, width);
    }
#undef COLUMNS
}

/* One column of elements that need no unpacking: group after group, as they lie in memory. */
KERNEL void one_column_elements(enum dtype type, const struct matrix *m, const struct activations *a, float *y,
                                     uint64_t row_begin, uint64_t row_end) {
    _Alignas(64) float wide[WIDE_TILE * MATRIX_ROWS];
    for (uint64_t row = row_begin; row < row_end; row += MATRIX_ROWS) {
        const uint8_t *group = group_at(m, row);
        size_t k = 0;
        for (; k + WIDE_TILE <= m->cols; k += WIDE_TILE)
            four_runs(type, group + k * (type == DTYPE_F32 ? 64 : 32), a->f32 + k, k == 0, y + row, group_rows(m, row));
        if (k == m->cols) continue;
        widen(type, group, k, m->cols - k, wide);
        wide_panel(wide, m->cols - k, a->f32 + k, 1, k == 0, y + row, 0, group_rows(m, row));
    }
}

static void product_f32(const struct matrix *m, const struct activations *a, float *y, size_t stride, uint64_t row_begin,
                        uint64_t row_end) {
    if (a->n == 1 && m->type == DTYPE_F32) { one_column_elements(DTYPE_F32, m, a, y, row_begin, row_end); return; }
    if (a->n == 1 && m->type == DTYPE_F16) { one_column_elements(DTYPE_F16, m, a, y, row_begin, row_end); return; }
    if (a->n == 1 && m->type == DTYPE_BF16) { one_column_elements(DTYPE_BF16, m, a, y, row_begin, row_end); return; }
    _Alignas(64) float wide[WIDE_TILE * MATRIX_ROWS];
    for (size_t k = 0; k < m->cols; k += WIDE_TILE) {
        size_t n = m->cols - k < WIDE_TILE ? m->cols - k : WIDE_TILE;
        for (uint64_t row = row_begin; row < row_end; row += MATRIX_ROWS) {
            widen(m->type, group_at(m, row), k, n, wide);
            for (uint32_t c = 0; c < a->n; c += ACTIVATION_PANEL) {
                int width = a->n - c < ACTIVATION_PANEL ? (int)(a->n - c) : ACTIVATION_PANEL;
                wide_panel(wide, n, a->f32 + (size_t)c * a->cols + k * width, width, k == 0, y + c * stride + row, stride,
                           group_rows(m, row));
            }
        }
    }
}

/* ---- activations ---- */

KERNEL uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* 32 elements to signed bytes and their facts. The largest magnitude is found on the bits, where NaN is above infinity, so
 * that the scale, and with it every product, is not finite if one element is not. */
KERNEL void quantize_block(const float *x, int8_t *q, union activation_fact *facts, int width) {
    uint32_t largest = 0;
    for (int i = 0; i < 32; i++) {
        uint32_t magnitude = bits_of(x[i]) & 0x7fffffff;
        largest = magnitude > largest ? magnitude : largest;
    }
    float max;
    memcpy(&max, &largest, sizeof max);
    float inverse = max < 1e-30f ? 0.0f : 127.0f / max; /* below, the inverse would overflow: such a block is zero */
    int32_t low = 0, high = 0;
    for (int i = 0; i < 32; i++) /* adding 1.5 * 2^23 rounds to an integer, ties to even, and leaves it in the low bits */
        q[i] = (int8_t)(bits_of(x[i] * inverse + 0x1.8p23f) & 255);
    for (int i = 0; i < 16; i++) low += q[i];
    for (int i = 16; i < 32; i++) high += q[i];
    float scale = max < 1e-30f ? 0.0f : max / 127.0f;
    facts[ACTIVATION_SCALE * width].f = scale;
    facts[ACTIVATION_BIAS * width].i = -128 * (low + high);
    facts[ACTIVATION_SUM * width].f = scale * (float)(low + high);
    facts[ACTIVATION_BIAS_LOW * width].i = -128 * low;
    facts[ACTIVATION_BIAS_HIGH * width].i = -128 * high;
    facts[ACTIVATION_SUM_LOW * width].f = scale * (float)low;
    facts[ACTIVATION_SUM_HIGH * width].f = scale * (float)high;
}

static void quantize(const struct activations *a, const float *x, size_t stride, size_t begin, size_t end) {
    const size_t blocks = a->cols / ACTIVATION_BLOCK;
    for (size_t unit = begin; unit < end; unit++) {
        size_t panel = unit / blocks * ACTIVATION_PANEL, block = unit % blocks;
        int width = a->n - panel < ACTIVATION_PANEL ? (int)(a->n - panel) : ACTIVATION_PANEL;
        int8_t *q = a->q8 + panel * a->cols + block * 32 * width;
        union activation_fact *facts = a->facts + (panel * blocks + block * width) * ACTIVATION_FACTS;
        for (int c = 0; c < width; c++)
            quantize_block(x + (panel + c) * stride + block * 32, q + 32 * c, facts + c, width);
    }
}

const struct matmul_kernels SIMD_KERNELS = {quantize, product_q8, product_f32, widen};
