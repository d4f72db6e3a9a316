/* Element types: conversion to F32 bit for bit as the gguf package has it (data/dtype), and half precision both ways. */
#include "base/mem.h"
#include "kernels/dtype.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void check_golden(enum dtype type) {
    const struct dtype_info *info = dtype_info(type);
    size_t n_blocks = info->block == 1 ? 256 : 8, size = n_blocks * info->block_size, n = n_blocks * info->block;
    char path[512];
    snprintf(path, sizeof path, TEST_DATA "/dtype/%s.bin", info->name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    uint8_t *raw = xmalloc(size);
    float *expected = xmalloc(n * sizeof *expected), *got = xmalloc(n * sizeof *got);
    assert_int_equal(fread(raw, 1, size, file), size);
    assert_int_equal(fread(expected, sizeof *expected, n, file), n);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    assert_true(dtype_to_f32(type, raw, got, n));
    for (size_t i = 0; i < n; i++)
        if (bits_of(got[i]) != bits_of(expected[i]) && !(isnan(got[i]) && isnan(expected[i])))
            fail_msg("%s element %zu: %.9g, expected %.9g", info->name, i, (double)got[i], (double)expected[i]);
    free(raw);
    free(expected);
    free(got);
}

static void test_goldens(void **state) {
    (void)state;
    int checked = 0;
#define X(name, id, block, bytes, computable)                                                                \
    if (computable) {                                                                                        \
        check_golden(DTYPE_##name);                                                                          \
        checked++;                                                                                           \
    }
    DTYPE_MAP(X)
#undef X
    assert_int_equal(checked, 15);
}

static void test_info(void **state) {
    (void)state;
    assert_string_equal(dtype_info(DTYPE_Q4_K)->name, "Q4_K");
    assert_int_equal(dtype_info(DTYPE_Q4_K)->block, 256);
    assert_int_equal(dtype_info(DTYPE_Q4_K)->block_size, 144);
    static const uint32_t unused[] = {4, 5, 31, 38, 40, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++) assert_null(dtype_info(unused[i]));
    float out[256];
    char in[300] = {0};
    assert_false(dtype_to_f32(DTYPE_IQ2_XXS, in, out, 256));
}

/* Every half there is goes to F32 and back; every F32 between two neighbours goes to the nearer one, the middle to the even. */
static void test_halves(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float value = f16_to_f32((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            assert_true(isnan(value) && (f32_to_f16(value) & 0x7fff) > 0x7c00);
            continue;
        }
        assert_int_equal(f32_to_f16(value), h);
        double magnitude = (h & 0x7c00) ? ldexp((h & 0x3ff) + 1024, (int)(h >> 10 & 31) - 25) : ldexp(h & 0x3ff, -24);
        if ((h & 0x7fff) < 0x7c00) assert_true((double)value == (h & 0x8000 ? -magnitude : magnitude));
        if ((h & 0x7fff) >= 0x7bff) continue;
        float next = f16_to_f32((uint16_t)(h + 1)), middle = (value + next) / 2;
        assert_int_equal(f32_to_f16(middle), h + (h & 1));
        assert_int_equal(f32_to_f16(nextafterf(middle, value)), h);
        assert_int_equal(f32_to_f16(nextafterf(middle, next)), h + 1);
    }
    assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(float_of(0x7f800001)) & 0x7e00, 0x7e00);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goldens), cmocka_unit_test(test_info), cmocka_unit_test(test_halves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
