/* Errors, buffers, arenas, the string map and UTF-8. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/strmap.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void err_keeps_code_and_prefix(void **state) {
    (void)state;
    struct err err;
    assert_int_equal(err_set(&err, STATUS_MODEL, "found %d", 7), STATUS_MODEL);
    assert_int_equal(err_prefix(&err, "x.gguf"), STATUS_MODEL);
    assert_string_equal(err.text, "x.gguf: found 7");
    assert_int_equal(err_set(NULL, STATUS_USAGE, "nobody listens"), STATUS_USAGE);
    assert_int_equal(status_exit_code(STATUS_CONTEXT_FULL), 5);
}

static void buf_grows_and_ends_in_nul(void **state) {
    (void)state;
    struct buf buf = {0};
    for (int i = 0; i < 1000; i++) buf_printf(&buf, "%d,", i);
    assert_int_equal(buf.len, 3890);
    assert_int_equal(strlen(buf.data), buf.len);
    char *taken = buf_take(&buf);
    assert_int_equal(memcmp(taken, "0,1,2,", 6), 0);
    free(taken);
    taken = buf_take(&buf);
    assert_string_equal(taken, "");
    free(taken);
}

static void arena_keeps_its_limit(void **state) {
    (void)state;
    struct arena arena = {.limit = 1000};
    assert_non_null(arena_alloc(&arena, 900));
    assert_null(arena_alloc(&arena, 101));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    arena_free(&arena);
    char *text = arena_dup(&arena, "abc", 3);
    assert_string_equal(text, "abc");
    for (int i = 0; i < 20; i++) assert_non_null(arena_alloc(&arena, 32));
    arena_free(&arena);
}

static void strmap_finds_what_was_added(void **state) {
    (void)state;
    struct strmap map = {0};
    enum { N = 10000 };
    char (*keys)[8] = xcalloc(N, sizeof *keys);
    uint32_t value;
    assert_false(strmap_get(&map, "x", 1, &value));
    for (uint32_t i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "%u", i);
        assert_true(strmap_add(&map, keys[i], strlen(keys[i]), i));
    }
    assert_false(strmap_add(&map, "77", 2, 0));
    for (uint32_t i = 0; i < N; i++) {
        assert_true(strmap_get(&map, keys[i], strlen(keys[i]), &value));
        assert_int_equal(value, i);
    }
    assert_false(strmap_get(&map, "77x", 3, &value));
    strmap_free(&map);
    free(keys);
}

static void utf8_every_code_point(void **state) {
    (void)state;
    for (uint32_t c = 0; c <= 0x110000; c++) {
        char bytes[4];
        int n = utf8_encode(c, bytes);
        if ((c >= 0xD800 && c <= 0xDFFF) || c > 0x10FFFF) {
            assert_int_equal(n, 0);
            continue;
        }
        uint32_t back = 0;
        assert_int_equal(utf8_decode(bytes, (size_t)n, &back), n);
        assert_int_equal(back, c);
        for (int cut = 1; cut < n; cut++) {
            assert_int_equal(utf8_decode(bytes, (size_t)cut, &back), 0);
            assert_int_equal(utf8_incomplete_tail(bytes, (size_t)cut), cut);
        }
        assert_int_equal(utf8_incomplete_tail(bytes, (size_t)n), 0);
    }
}

static void utf8_refuses_bad_bytes(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        int skip;
    } bad[] = {{"\x80", 1}, {"\xC0\x80", 1}, {"\xC1\xBF", 1}, {"\xE0\x80\x80", 1}, {"\xED\xA0\x80", 1},
               {"\xF5\x80\x80\x80", 1}, {"\xF4\x90\x80\x80", 1}, {"\xE2\x82x", 2}, {"\xF0\x9F\x98x", 3}, {"\xFF", 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t c;
        size_t len = strlen(bad[i].bytes);
        assert_int_equal(utf8_decode(bad[i].bytes, len, &c), -1);
        assert_int_equal(utf8_bad_length(bad[i].bytes, len), bad[i].skip);
    }
}

/* Hashes by Python's hashlib; each length in one piece and in pieces of every size up to 130. */
static void sha256_in_any_pieces(void **state) {
    (void)state;
    static const struct {
        size_t len;
        const char *hex;
    } cases[] = {
        {0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
        {55, "576a1bf8d4478657e6dc4af9398544765c2a92cde28478b019235cfed315fc09"},
        {56, "9b20501dfd1d99161c257950f3444f3e49230c351c5c8e0943ef369f85f5205d"},
        {63, "30b345906b493f06f69444b6521113511c242f30e29840462950035043682f1e"},
        {64, "d8bc63b4fc1156e5e7d95a418b9bf54cd3174bedbc2db40f74895349b229b3c0"},
        {65, "1ee23b0fbcaecc1aff4a9e8f1645f35ab2c8e13609cd73b68df8b5e3f63ce073"},
        {119, "7a6589821178918ca8d9edaba5abfc1e9b2669564f4469b66885379c1530b2c8"},
        {128, "54c9eb041badfd7064645067b107661fed6113197ce2dd066ba69618abd3732f"},
        {1000, "c85a431e0fe575b2609289d3a4042414715f400612575a125d2ce5573d608732"}};
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7 + i / 256);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[SHA256_HEX];
        sha256_hex(bytes, cases[i].len, hex);
        assert_string_equal(hex, cases[i].hex);
        for (size_t piece = 1; piece <= 130; piece++) {
            struct sha256 sha;
            sha256_begin(&sha);
            for (size_t at = 0; at < cases[i].len; at += piece)
                sha256_add(&sha, bytes + at, cases[i].len - at < piece ? cases[i].len - at : piece);
            sha256_end(&sha, hex);
            assert_string_equal(hex, cases[i].hex);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_keeps_code_and_prefix), cmocka_unit_test(buf_grows_and_ends_in_nul),
        cmocka_unit_test(arena_keeps_its_limit),     cmocka_unit_test(strmap_finds_what_was_added),
        cmocka_unit_test(utf8_every_code_point),     cmocka_unit_test(utf8_refuses_bad_bytes),
        cmocka_unit_test(sha256_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
