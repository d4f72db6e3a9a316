/* The sanitiser, widths, quoting and line breaking. */
#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *shown(const char *text) {
    static struct buf out;
    buf_clear(&out);
    text_sanitize(&out, text, strlen(text));
    buf_append(&out, "", 0);
    return out.data ? out.data : "";
}

/* What may never reach a terminal: control characters but LF, C1, bidi controls, zero-width ones, tags,
 * selectors, surrogates, private use; bytes that are not UTF-8. Written apart from the sanitiser's own
 * tables. */
static void check_harmless(const char *text, size_t len) {
    for (size_t at = 0; at < len;) {
        uint32_t c = 0;
        int n = utf8_decode(text + at, len - at, &c);
        assert_true(n > 0);
        assert_false(c < 0x20 && c != '\n');
        assert_false(c >= 0x7F && c <= 0x9F);
        assert_false(c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E));
        assert_false(c >= 0x2060 && c <= 0x206F);
        assert_false(c == 0x200B || c == 0xFEFF || c == 0x00AD || c == 0x034F || c == 0x115F || c == 0x1160);
        assert_false(c == 0x3164 || c == 0xFFA0 || (c >= 0xFFF9 && c <= 0xFFFB));
        assert_false((c >= 0xFE00 && c <= 0xFE0F) || (c >= 0xE0000 && c <= 0xE0FFF));
        assert_false((c >= 0xE000 && c <= 0xF8FF) || c >= 0xF0000);
        at += (size_t)n;
    }
}

static void every_byte_is_harmless(void **state) {
    (void)state;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second++) {
            char text[3] = {(char)first, (char)second, 'x'};
            struct buf out = {0};
            text_sanitize(&out, text, 3);
            check_harmless(out.data, out.len);
            assert_int_equal(out.data[out.len - 1], 'x');
            buf_free(&out);
        }
}

static void every_code_point_is_harmless(void **state) {
    (void)state;
    struct buf out = {0};
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char text[16];
        int n = utf8_encode(c, text);
        if (n == 0) continue;
        struct text_piece piece;
        size_t got = text_next(text, (size_t)n, false, 0, &piece);
        assert_int_equal(got, n);
        assert_true(piece.kind == TEXT_KIND_NEWLINE ? piece.width == 0
                                                    : piece.width >= 1 && piece.n_out >= 1);
        assert_true(piece.n_out <= TEXT_OUT_MAX);
        /* behind a letter and behind an emoji, where joiners, tones, tags and marks have other meanings */
        const char *before[] = {"a", "\xF0\x9F\x91\xA9", "\xF0\x9F\x8F\xB4", "\xE0\xA4\x95"};
        for (size_t i = 0; i < 4; i++) {
            char both[32];
            int len = snprintf(both, sizeof both, "%s", before[i]);
            memcpy(both + len, text, (size_t)n);
            buf_clear(&out);
            text_sanitize(&out, both, (size_t)(len + n));
            check_harmless(out.data, out.len);
        }
    }
    buf_free(&out);
}

static void controls_are_shown(void **state) {
    (void)state;
    assert_string_equal(shown("a\x1b[31mb"), "a^[[31mb");
    assert_string_equal(shown("\x07\x08\x0b\x7f"), "^G^H^K^?");
    assert_string_equal(shown("a\r\nb\rc"), "a\nb^Mc");
    assert_string_equal(shown("a\tb\n\tc"), "a   b\n    c");
    assert_string_equal(shown("\xC2\x9B"
                              "31m"),
                        "<9B>31m");
    assert_string_equal(shown("\xE2\x80\xAE"), "<U+202E>");
    assert_string_equal(shown("a\xE2\x80\x8B"
                              "b"),
                        "a<U+200B>b");
    assert_string_equal(shown("\xF3\xA0\x81\xA1"), "<tag:a>");
    assert_string_equal(shown("\xF3\xA0\x80\x81"), "<tag:01>");
    assert_string_equal(shown("\xF3\xA0\x84\x80"), "<U+E0100>");
    assert_string_equal(shown("\xEE\x80\x80"), "\xEF\xBF\xBD");
    assert_string_equal(shown("a\x80\xC3"), "a\xEF\xBF\xBD\xEF\xBF\xBD");
    struct buf out = {0};
    text_sanitize_line(&out, "a\nb\x1b", 4);
    buf_append(&out, "", 0);
    assert_string_equal(out.data, "a b^[");
    buf_free(&out);
}

#define WOMAN "\xF0\x9F\x91\xA9"
#define GIRL "\xF0\x9F\x91\xA7"
#define THUMB "\xF0\x9F\x91\x8D"
#define TONE "\xF0\x9F\x8F\xBD"
#define ZWJ "\xE2\x80\x8D"
#define VS16 "\xEF\xB8\x8F"
#define BLACK_FLAG "\xF0\x9F\x8F\xB4"
#define TAG(c) "\xF3\xA0\x81" c
#define END_TAG "\xF3\xA0\x81\xBF"

static void emoji_have_one_width(void **state) {
    (void)state;
    assert_string_equal(shown(WOMAN ZWJ GIRL "x"), WOMAN "x");
    assert_string_equal(shown(THUMB TONE), THUMB);
    assert_string_equal(shown(TONE), "<U+1F3FD>");
    assert_string_equal(shown("\xE2\x9D\xA4" VS16), "\xE2\x9D\xA4");
    assert_string_equal(shown(VS16 "a"), "<U+FE0F>a");
    assert_string_equal(shown(WOMAN ZWJ "a"), WOMAN "<U+200D>a");
    assert_string_equal(shown("a" ZWJ "b"), "a<U+200D>b");
    assert_string_equal(shown(BLACK_FLAG TAG("\xA7") TAG("\xA2") TAG("\xA5") END_TAG "!"), BLACK_FLAG "!");
    assert_string_equal(shown(BLACK_FLAG TAG("\xA7") "!"), BLACK_FLAG "<tag:g>!");
    assert_int_equal(text_width(WOMAN ZWJ GIRL, strlen(WOMAN ZWJ GIRL)), 2);
    assert_int_equal(text_width("\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA", 8), 2); /* flag DE */
    assert_int_equal(text_width("\xE6\xBC\xA2", 3), 2);
    assert_int_equal(text_width("\xE0\xB8\xA0\xE0\xB8\xB2", 6), 2); /* Thai, no marks */
    assert_int_equal(text_width("e\xCC\x81", 3), 1);
    assert_int_equal(text_width("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", 9),
                     2); /* one Hangul syllable of three parts */
    /* ZWNJ in a Persian word stays */
    assert_string_equal(shown("\xD9\x85\xE2\x80\x8C\xDB\x8C"), "\xD9\x85\xE2\x80\x8C\xDB\x8C");
}

static void marks_are_limited(void **state) {
    (void)state;
    char text[1 + 2 * 300 + 1] = "a";
    for (int i = 0; i < 300; i++) memcpy(text + 1 + 2 * i, "\xCC\x81", 2);
    struct text_piece piece;
    size_t n = text_next(text, 601, false, 0, &piece);
    assert_int_equal(n, 1 + 2 * 255); /* a cluster ends after 256 code points */
    assert_int_equal(piece.n_out, 1 + 2 * TEXT_MARKS_MAX);
    assert_true(piece.altered);
    assert_int_equal(piece.width, 1);
    assert_string_equal(shown("\xCC\x81"), "\xE2\x97\x8C\xCC\x81");
    assert_string_equal(shown("\n\xCC\x81"), "\n\xE2\x97\x8C\xCC\x81");
}

static const char *const samples[] = {
    "plain text, nothing else\n",
    "a\r\nb\rc\r",
    "h\xC3\xA9llo \xE6\xBC\xA2\xE5\xAD\x97 " WOMAN ZWJ WOMAN ZWJ GIRL " end",
    WOMAN ZWJ "a" THUMB TONE TONE ZWJ,
    BLACK_FLAG TAG("\xA7") TAG("\xA2") TAG("\xA5") TAG("\xAE") TAG("\xA7") END_TAG "x",
    BLACK_FLAG TAG("\xA7") TAG("\xA2") "no",
    "\x1b]52;c;AAAA\x07\xC2\x9B\xE2\x80\xAE\xF0\x9F\x98\x80",
    "\xF0\x9F\x98 \xE2\x82 \xFF\xFE \xED\xA0\x80 \xF4\x90\x80\x80 \xC0\x80",
    "e\xCC\x81\xCC\x82\xCC\x83 \xCC\x84\t|\n\tx\xEF\xB8\x8F\xE2\x80\x8D",
    "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA\xF0\x9F\x87\xAB\xF0\x9F\x87\xB7\xF0\x9F\x87\xAF",
    "\xE0\xA4\x95\xE0\xA5\x8D\xE2\x80\x8D\xE0\xA4\xB7 \xD9\x85\xE2\x80\x8C\xDB\x8C",
    "\n\xE0\xA5\x8D\xE2\x80\x8D \xE0\xA4\x95",            /* a joiner behind a mark without a base */
    "x\xE1\x86\xAB \xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", /* a part of Hangul alone, a whole syllable of parts
                                                           */
    "\xE1\x80\x80\xE1\x81\xA7 \xE1\x81\xA7", /* a Myanmar vowel that is no extender to the cluster rules */
};
enum { N_SAMPLES = sizeof samples / sizeof *samples };

static void filter_gives_the_same_for_every_split(void **state) {
    (void)state;
    for (size_t s = 0; s < N_SAMPLES; s++) {
        size_t len = strlen(samples[s]);
        struct buf whole = {0};
        text_sanitize(&whole, samples[s], len);
        for (size_t cut = 0; cut <= len + 1; cut++) { /* len + 1: a byte at a time */
            struct text_filter filter = {0};
            struct buf out = {0};
            if (cut <= len) {
                text_filter_feed(&filter, samples[s], cut, &out);
                text_filter_feed(&filter, samples[s] + cut, len - cut, &out);
            } else {
                for (size_t i = 0; i < len; i++) text_filter_feed(&filter, samples[s] + i, 1, &out);
            }
            text_filter_end(&filter, &out);
            assert_int_equal(out.len, whole.len);
            assert_memory_equal(out.data, whole.data, whole.len);
            buf_free(&out);
        }
        buf_free(&whole);
    }
}

static void twice_is_once(void **state) {
    (void)state;
    for (size_t s = 0; s < N_SAMPLES; s++) {
        char *once = xstrdup(shown(samples[s]));
        assert_string_equal(shown(once), once);
        free(once);
    }
}

static void filter_gives_early(void **state) {
    (void)state;
    struct text_filter filter = {0};
    struct buf out = {0};
    text_filter_feed(&filter, "abc", 3, &out);
    assert_int_equal(out.len, 3);
    text_filter_feed(&filter, "\xCC\x81\xF0\x9F", 4, &out);
    assert_int_equal(out.len, 5);
    text_filter_end(&filter, &out);
    buf_append(&out, "", 0);
    assert_string_equal(out.data, "abc\xCC\x81\xEF\xBF\xBD");
    buf_free(&out);
}

static void check_quote(const char *text, size_t len, unsigned cells, const char *expected) {
    struct buf out = {0};
    text_quote(&out, text, len, cells);
    buf_append(&out, "", 0);
    assert_string_equal(out.data, expected);
    assert_true(text_width(out.data, out.len) <= cells);
    buf_free(&out);
}

static void tokens_are_quoted(void **state) {
    (void)state;
    check_quote(" blue", 5, 20, "\" blue\"");
    check_quote("\n\n\t\"\\", 5, 20, "\"\\n\\n\\t\\\"\\\\\"");
    check_quote("\xF0\x9F", 2, 20, "\"\\xF0\\x9F\"");
    check_quote("a\0b", 3, 20, "\"a^@b\"");
    check_quote("abcdefgh", 8, 10, "\"abcdefgh\"");
    check_quote("abcdefghi", 9, 10, "\"abcdefg\xE2\x80\xA6\"");
    check_quote("\xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2", 9, 7, "\"\xE6\xBC\xA2\xE5\xAD\x97\xE2\x80\xA6\"");
    check_quote("", 0, 4, "\"\"");
}

static void check_rows(const char *text, unsigned width, const char *const *rows) {
    size_t len = strlen(text), at = 0;
    bool more = true;
    for (; *rows; rows++) {
        struct text_row row;
        assert_true(more);
        text_wrap(text, len, at, width, &row);
        assert_int_equal(row.end - row.start, strlen(*rows));
        assert_memory_equal(text + row.start, *rows, strlen(*rows));
        assert_true(row.cells <= width);
        more = row.next < len || row.newline;
        at = row.next;
    }
    assert_false(more);
}

static void rows_break_where_they_should(void **state) {
    (void)state;
    check_rows("the sky is blue", 8, (const char *[]){"the sky", "is blue", NULL});
    check_rows("the sky  is blue", 7, (const char *[]){"the sky", "is blue", NULL});
    check_rows("abcdefghijkl mn", 5, (const char *[]){"abcde", "fghij", "kl mn", NULL});
    check_rows("a\n\nb\n", 5, (const char *[]){"a", "", "b", "", NULL});
    check_rows("", 5, (const char *[]){"", NULL});
    check_rows("  indented code here", 12, (const char *[]){"  indented", "code here", NULL});
    check_rows("\xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2", 5,
               (const char *[]){"\xE6\xBC\xA2\xE5\xAD\x97", "\xE6\xBC\xA2", NULL});
    check_rows("ab\xE6\xBC\xA2\xE5\xAD\x97", 5, (const char *[]){"ab\xE6\xBC\xA2", "\xE5\xAD\x97", NULL});
    check_rows("abcd" WOMAN ZWJ GIRL, 5, (const char *[]){"abcd", WOMAN ZWJ GIRL, NULL});
}

/* Rows found before bytes were appended are the rows of the whole, wherever the header promises it. */
static void rows_stay_when_text_grows(void **state) {
    (void)state;
    struct buf text = {0};
    for (int round = 0; round < 40; round++) buf_puts(&text, samples[(round * 7 + round / 3) % N_SAMPLES]);
    for (unsigned width = 8; width <= 41; width += 11)
        for (size_t len = 0; len <= text.len; len++)
            for (size_t at = 0; at < len;) {
                struct text_row part, whole;
                text_wrap(text.data, len, at, width, &part);
                text_wrap(text.data, text.len, at, width, &whole);
                if (len < part.seen + TEXT_WRAP_TAIL) break;
                assert_int_equal(part.end, whole.end);
                assert_int_equal(part.next, whole.next);
                assert_int_equal(part.cells, whole.cells);
                assert_true(part.next > at);
                at = len > 400 ? len
                               : part.next; /* the later ones from their first row only: this is quadratic */
            }
    buf_free(&text);
}

static void clusters_are_whole_for_the_editor(void **state) {
    (void)state;
    const uint32_t family[] = {'a', 0x1F469, 0x200D, 0x1F469, 0x200D, 0x1F467,
                               'e', 0x301,   '\n',   0x1F1E9, 0x1F1EA};
    size_t n = sizeof family / sizeof *family;
    const size_t edges[] = {0, 1, 6, 8, 9, 11};
    for (size_t i = 0; i + 1 < sizeof edges / sizeof *edges; i++) {
        assert_int_equal(text_cluster_after(family, n, edges[i]), edges[i + 1]);
        assert_int_equal(text_cluster_before(family, n, edges[i + 1]), edges[i]);
    }
    assert_int_equal(text_cluster_after(family, n, n), n);
    assert_int_equal(text_cluster_before(family, n, 0), 0);
}

static void test_cut_line(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned cells;
        const char *shown;
    } cases[] = {{"model.gguf", 10, "model.gguf"},
                 {"model.gguf", 9, "model...."},
                 {"a b c d e f", 8, "a b c..."},
                 {"\xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2", 5, "\xE6\xBC\xA2..."},
                 {"\033[31mred", 8, "^[[31..."},
                 {"", 4, ""},
                 {"abcdef", 4, "a..."},
                 {"\n\n\n\n", 4, "    "},
                 {"\n\n\n\n\n", 4, " ..."},
                 {"a\r\n\nbcd", 5, "a ..."},
                 {"a\n\tb", 8, "a   b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = strlen(cases[i].text);
        char *text = malloc(len ? len : 1); /* of its own size: a read beyond it is found */
        memcpy(text, cases[i].text, len);
        struct buf out = {0};
        text_cut_line(&out, text, len, cases[i].cells);
        assert_string_equal(out.data ? out.data : "", cases[i].shown);
        assert_true(text_width(out.data, out.len) <= cases[i].cells);
        buf_free(&out);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_line),
        cmocka_unit_test(every_byte_is_harmless),
        cmocka_unit_test(every_code_point_is_harmless),
        cmocka_unit_test(controls_are_shown),
        cmocka_unit_test(emoji_have_one_width),
        cmocka_unit_test(marks_are_limited),
        cmocka_unit_test(filter_gives_the_same_for_every_split),
        cmocka_unit_test(twice_is_once),
        cmocka_unit_test(filter_gives_early),
        cmocka_unit_test(tokens_are_quoted),
        cmocka_unit_test(rows_break_where_they_should),
        cmocka_unit_test(rows_stay_when_text_grows),
        cmocka_unit_test(clusters_are_whole_for_the_editor),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
