/* The matrix products of every type, shape and instruction set against sums in double of what dtype_to_f32() says. */
#include "base/mem.h"
#include "kernels/cpu/matmul.h"
#include "tests/unit/random_blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENTINEL (-12345.0f)

struct fixture {
    struct weight weight;
    float *values; /* [rows][cols] by dtype_to_f32() */
    void *packed;
    size_t packed_size;
    struct matrix m;
};

static void fixture_make(struct fixture *f, enum dtype type, uint64_t rows, uint64_t cols) {
    const struct dtype_info *info = dtype_info(type);
    size_t size = rows * cols / info->block * info->block_size;
    uint8_t *data = xmalloc(size);
    for (size_t at = 0; at < size; at += info->block_size) random_block(type, data + at, info->block_size);
    f->weight = (struct weight){.name = "w", .type = type, .rows = rows, .cols = cols, .data = data, .size = size, .fd = -1};
    f->values = xmalloc(rows * cols * sizeof(float));
    assert_true(dtype_to_f32(type, data, f->values, rows * cols));
    f->packed_size = matrix_size(&f->weight);
    f->packed = aligned_alloc(64, f->packed_size);
    assert_non_null(f->packed);
    memset(f->packed, 0xff, f->packed_size);
}

static void fixture_pack(struct fixture *f, bool exact, enum isa isa) {
    struct err err = {0};
    assert_int_equal(matrix_init(&f->m, &f->weight, exact, isa, f->packed, &err), STATUS_OK);
    uint64_t middle = f->weight.rows / 2 / MATRIX_ROWS * MATRIX_ROWS;
    matrix_pack(&f->m, 0, middle);
    matrix_pack(&f->m, middle, f->weight.rows);
}

static void fixture_free(struct fixture *f) {
    free((void *)f->weight.data);
    free(f->values);
    free(f->packed);
}

/* x [n][cols], some elements large, as the outputs of layers with big biases are */
static float *random_input(uint32_t n, uint64_t cols) {
    float *x = xmalloc(n * cols * sizeof *x);
    for (size_t i = 0; i < n * cols; i++) x[i] = i % 97 == 13 ? -34.0f : random_normal();
    return x;
}

/* y = m * x into a buffer of n x stride floats, cut into slices; everything else in it is SENTINEL. */
static float *product(const struct matrix *m, enum isa isa, const float *x, uint32_t n, size_t stride, uint64_t slice) {
    struct activations a;
    size_t size = activations_size(n, (uint32_t)m->cols, (int)m->form);
    assert_int_not_equal(size, 0);
    void *memory = aligned_alloc(64, size);
    float *y = xmalloc((n * stride + 16) * sizeof *y);
    for (size_t i = 0; i < n * stride + 16; i++) y[i] = SENTINEL;
    activations_init(&a, n, (uint32_t)m->cols, (int)m->form, memory);
    size_t units = activations_units(&a), half = units / 2;
    activations_fill(&a, isa, x, m->cols, half, units);
    activations_fill(&a, isa, x, m->cols, 0, half);
    for (uint64_t row = 0; row < m->rows; row += slice)
        matmul_slice(m, &a, y, stride, row, row + slice < m->rows ? row + slice : m->rows);
    free(memory);
    return y;
}

/* What the Q8 form keeps of a block of 32: the nearest multiples of a 127th of the largest. */
static void round_to_q8(const float *x, double *out, size_t n) {
    for (size_t b = 0; b < n; b += 32) {
        float max = 0;
        for (size_t i = b; i < b + 32; i++) max = fmaxf(max, fabsf(x[i]));
        for (size_t i = b; i < b + 32; i++) out[i] = (double)rintf(x[i] * (127.0f / max)) * (double)(max / 127.0f);
    }
}

static void check_product(const struct fixture *f, enum isa isa, uint32_t n, uint64_t slice) {
    uint64_t rows = f->m.rows, cols = f->m.cols;
    size_t stride = rows + 3;
    float *x = random_input(n, cols), *y = product(&f->m, isa, x, n, stride, slice);
    double *rounded = xmalloc(cols * sizeof *rounded);
    double error = 0, rounded_error = 0, energy = 0;
    for (uint32_t c = 0; c < n; c++) {
        if (f->m.form == ACTIVATION_Q8) round_to_q8(x + c * cols, rounded, cols);
        for (uint64_t r = 0; r < rows; r++) {
            double sum = 0, rounded_sum = 0, got = y[c * stride + r];
            for (uint64_t k = 0; k < cols; k++) {
                double w = f->values[r * cols + k];
                sum += w * x[c * cols + k];
                if (f->m.form == ACTIVATION_Q8) rounded_sum += w * rounded[k];
                energy += w * x[c * cols + k] * w * x[c * cols + k];
            }
            assert_true(isfinite(got));
            error += (got - sum) * (got - sum);
            rounded_error += (got - rounded_sum) * (got - rounded_sum);
        }
        for (size_t r = rows; r < stride; r++) assert_true(y[c * stride + r] == SENTINEL);
    }
    for (size_t i = n * stride; i < n * stride + 16; i++) assert_true(y[i] == SENTINEL);
    const char *name = dtype_info(f->m.type)->name;
    /* Errors are measured against the sum of the products' squares: what a sum of so many terms with random signs has on
     * average, so that one output that happens to cancel does not count as an error. F32: the rounding of sums of 64 and of
     * the runs' sums. Q8 against the rounded input: the F32 additions across blocks. Q8 against the input itself: steps of
     * up to 34 / 127 have a variance of 0.006 beside the input's 1 + 34^2 / 97; few outputs scatter too much to say. */
    double limit = f->m.form == ACTIVATION_F32 ? 1e-12 : n * rows >= 128 ? 2e-3 : 1.0;
    if (error > limit * energy || (f->m.form == ACTIVATION_Q8 && rounded_error > 1e-12 * energy))
        fail_msg("%s %s %llux%llu n %u: nmse %.2e, against rounded input %.2e", isa_name(isa), name, (unsigned long long)rows,
                 (unsigned long long)cols, n, error / energy, rounded_error / energy);
    free(rounded);
    free(x);
    free(y);
}

/* Widths of a type that meet the ends of units, tiles (1024, 256 for F32) and runs. */
static int widths(enum dtype type, uint64_t out[4]) {
    uint32_t block = dtype_info(type)->block;
    static const uint64_t of_one[] = {7, 64, 259, 576}, of_32[] = {32, 96, 576, 1120}, of_256[] = {256, 768, 1280, 1792};
    memcpy(out, block == 1 ? of_one : block == 32 ? of_32 : of_256, (block == 256 ? 3 : 4) * sizeof *out);
    return block == 256 ? 3 : 4;
}

static void check_types(enum isa isa, bool exact) {
    if (!isa_available(isa)) skip();
    static const uint64_t rows[] = {1, 16, 41};
    static const uint32_t columns[] = {1, 2, 3, 7, 8, 9, 16, 31, 64};
    for (int t = 0; t < N_TYPES; t++) {
        uint64_t cols[4];
        int n_cols = widths(types[t], cols);
        for (int i = 0; i < n_cols; i++)
            for (int r = 0; r < 3; r++) {
                struct fixture f;
                seed = (uint64_t)(t * 100 + i * 10 + r);
                fixture_make(&f, types[t], rows[r], cols[i]);
                fixture_pack(&f, exact, isa);
                for (int c = 0; c < 9; c++)
                    if (r == 2 || c % 3 == r) check_product(&f, isa, columns[c], c % 2 ? 16 : 64);
                fixture_free(&f);
            }
    }
}

static void test_fast_portable(void **state) { (void)state; check_types(ISA_portable, false); }
static void test_fast_avx2(void **state) { (void)state; check_types(ISA_avx2, false); }
static void test_fast_avx512(void **state) { (void)state; check_types(ISA_avx512, false); }
static void test_exact_portable(void **state) { (void)state; check_types(ISA_portable, true); }
static void test_exact_avx2(void **state) { (void)state; check_types(ISA_avx2, true); }
static void test_exact_avx512(void **state) { (void)state; check_types(ISA_avx512, true); }

/* Packing loses no bit: every row comes back as dtype_to_f32() gives it. */
static void test_rows(void **state) {
    (void)state;
    for (int i = 0; i < ISA_COUNT; i++)
        for (int t = 0; isa_available((enum isa)i) && t < N_TYPES; t++) {
            uint64_t cols[4];
            struct fixture f;
            fixture_make(&f, types[t], 37, cols[widths(types[t], cols) - 1]);
            fixture_pack(&f, false, (enum isa)i);
            float *row = xmalloc(f.m.cols * sizeof *row);
            for (uint64_t r = 0; r < f.m.rows; r++) {
                matrix_row(&f.m, r, row);
                for (uint64_t k = 0; k < f.m.cols; k++) {
                    if (memcmp(&row[k], &f.values[r * f.m.cols + k], 4) != 0)
                        fail_msg("%s %s row %d column %d: %.9g, expected %.9g", isa_name((enum isa)i), dtype_info(types[t])->name,
                                 (int)r, (int)k, (double)row[k], (double)f.values[r * f.m.cols + k]);
                }
            }
            free(row);
            fixture_free(&f);
        }
}

/* The same bits for any number of columns and any slices, on the fast path as with `exact`: what is decoded
 * token by token is what is read in one go. */
static void check_same_bits(enum isa isa, enum dtype type, uint64_t cols, bool exact) {
    static const uint32_t counts[] = {1, 2, 3, 5, 16};
    struct fixture f;
    fixture_make(&f, type, 53, cols);
    fixture_pack(&f, exact, isa);
    float *x = random_input(31, f.m.cols), *all = product(&f.m, isa, x, 31, 53, 64);
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
        for (uint32_t c = 0; c + counts[n] <= 31; c += counts[n]) {
            float *part = product(&f.m, isa, x + c * f.m.cols, counts[n], 53, 16);
            if (memcmp(part, all + c * 53, counts[n] * 53 * sizeof *part) != 0)
                fail_msg("%s %s%s, %u columns wide: other bits with %u at a time", isa_name(isa),
                         dtype_info(type)->name, exact ? " exact" : "", (unsigned)cols, counts[n]);
            free(part);
        }
    free(x);
    free(all);
    fixture_free(&f);
}

static void test_same_bits(void **state) {
    (void)state;
    for (int i = 0; i < ISA_COUNT; i++)
        for (int t = 0; isa_available((enum isa)i) && t < N_TYPES; t++) {
            uint64_t cols[4];
            int n = widths(types[t], cols); /* the two widest end in a second tile */
            for (int exact = 0; exact < 2; exact++)
                for (int c = n - 2; c < n; c++) check_same_bits((enum isa)i, types[t], cols[c], exact);
        }
}

/* An input that is not finite makes its own column so, and no other. */
static void test_not_finite(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < ISA_COUNT; i++)
        for (int t = 0; isa_available((enum isa)i) && t < N_TYPES; t++) {
            struct fixture f;
            fixture_make(&f, types[t], 16, 512);
            fixture_pack(&f, false, (enum isa)i);
            for (int b = 0; b < 6; b++) {
                uint32_t n = b < 3 ? 1 : 5, at = b < 3 ? 0 : 3;
                float *x = random_input(n, 512);
                x[at * 512 + 300] = bad[b % 3];
                float *y = product(&f.m, (enum isa)i, x, n, 16, 16);
                for (uint32_t c = 0; c < n; c++)
                    for (int r = 0; r < 16; r++)
                        if (c != at) assert_true(isfinite(y[c * 16 + r]));
                        else assert_false(isfinite(y[c * 16 + r]) && f.values[r * 512 + 300] != 0.0f);
                free(x);
                free(y);
            }
            fixture_free(&f);
        }
}

static void test_zero_and_tiny(void **state) {
    (void)state;
    for (int i = 0; i < ISA_COUNT; i++) {
        if (!isa_available((enum isa)i)) continue;
        struct fixture f;
        fixture_make(&f, DTYPE_Q8_0, 16, 64);
        fixture_pack(&f, false, (enum isa)i);
        float x[128] = {0};
        for (int k = 64; k < 128; k++) x[k] = 1e-40f;
        float *y = product(&f.m, (enum isa)i, x, 2, 16, 16);
        for (int r = 0; r < 32; r++) assert_true(y[r] == 0.0f);
        free(y);
        fixture_free(&f);
    }
}

static void test_refusals(void **state) {
    (void)state;
    struct matrix m;
    struct err err = {0};
    char data[64];
    struct weight w = {.name = "blk.0.w", .type = DTYPE_IQ1_S, .rows = 1, .cols = 256, .data = data, .size = 50, .fd = -1};
    assert_int_equal(matrix_init(&m, &w, false, isa_best(), data, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "blk.0.w"));
    assert_non_null(strstr(err.text, "IQ1_S"));
    w.type = DTYPE_Q8_0;
    w.cols = 48;
    assert_int_equal(matrix_init(&m, &w, false, isa_best(), data, &err), STATUS_UNSUPPORTED);
    w.cols = 64;
    w.size = 67;
    assert_int_equal(matrix_init(&m, &w, false, isa_best(), data, &err), STATUS_MODEL);
    w.rows = UINT64_MAX / 2;
    assert_int_equal(matrix_size(&w), 0);
    assert_int_equal(matrix_init(&m, &w, false, isa_best(), data, &err), STATUS_UNSUPPORTED);
    enum isa isa;
    assert_int_equal(isa_from_name("sse9", &isa, &err), STATUS_USAGE);
    assert_int_equal(isa_from_name(NULL, &isa, &err), STATUS_OK);
    assert_int_equal(isa, isa_best());
}

static void test_alloc(void **state) {
    (void)state;
    for (size_t size = 1; size < 8u << 20; size = size * 7 + 5) {
        unsigned char *memory = weights_alloc(size);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 64, 0);
        assert_int_equal(memory[0] | memory[size - 1], 0);
        memory[size - 1] = 1;
        weights_free(memory, size);
    }
    assert_null(weights_alloc(SIZE_MAX - 100));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),           cmocka_unit_test(test_fast_portable),  cmocka_unit_test(test_fast_avx2),
        cmocka_unit_test(test_fast_avx512),    cmocka_unit_test(test_exact_portable), cmocka_unit_test(test_exact_avx2),
        cmocka_unit_test(test_exact_avx512),   cmocka_unit_test(test_same_bits),      cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_zero_and_tiny),  cmocka_unit_test(test_refusals),       cmocka_unit_test(test_alloc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
