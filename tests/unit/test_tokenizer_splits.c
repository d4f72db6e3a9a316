/* The hand-written scanners against the published patterns: data/tokenizer/splits.json was made by
 * make_splits.py, which runs the patterns themselves over corpus.json and over strings of its own. */
#include "base/mem.h"
#include "tests/unit/cpu_time.h"
#include "tokenizer/pretokenize.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *load(const char *name) {
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/tokenizer/%s", TEST_DATA, name);
    json_t *data = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!data) fail_msg("%s:%d: %s", path, error.line, error.text);
    return data;
}

/* The hash make_splits.py keeps: FNV-1a over the lengths of the words. */
struct cut {
    const char *end; /* where the next word has to begin */
    uint32_t hash;
    size_t n;
};

static void add_word(void *context, const char *word, size_t len) {
    struct cut *cut = context;
    assert_ptr_equal(word, cut->end);
    assert_true(len > 0);
    cut->end += len;
    cut->n++;
    for (int i = 0; i < 4; i++) cut->hash = (cut->hash ^ (uint32_t)(len >> (8 * i) & 0xFF)) * 0x01000193u;
}

static struct cut cut_text(const char *name, const char *text, size_t len) {
    const struct pre_tokenizer *pre = pre_tokenizer_find(name, strlen(name));
    assert_non_null(pre);
    struct cut cut = {text, 0x811C9DC5u, 0};
    pre_tokenize(pre, text, len, add_word, &cut);
    assert_ptr_equal(cut.end, text + len);
    return cut;
}

static void print_word(void *context, const char *word, size_t len) {
    (void)context;
    fprintf(stderr, " [%.*s]", (int)len, word);
}

static void check(const char *name, const json_t *text, const char *hex) {
    char found[9];
    const char *bytes = json_string_value(text);
    size_t len = json_string_length(text);
    snprintf(found, sizeof found, "%08x", cut_text(name, bytes, len).hash);
    if (memcmp(found, hex, 8) == 0) return;
    fprintf(stderr, "%s cuts wrong:", name);
    pre_tokenize(pre_tokenizer_find(name, strlen(name)), bytes, len, print_word, NULL);
    fprintf(stderr, "\n");
    fail_msg("%s: '%s' (make_splits.py --show tells what is right)", name, bytes);
}

static void test_published_patterns(void **state) {
    (void)state;
    json_t *corpus = load("corpus.json"), *splits = load("splits.json");
    const json_t *more = json_object_get(splits, "more");
    size_t n_corpus = json_array_size(corpus), n = n_corpus + json_array_size(more), patterns = 0;
    assert_true(n_corpus > 5000 && n > 9000);
    const char *name;
    json_t *hashes;
    json_object_foreach(json_object_get(splits, "hashes"), name, hashes) {
        assert_int_equal(json_string_length(hashes), 8 * n);
        for (size_t i = 0; i < n; i++)
            check(name, i < n_corpus ? json_array_get(corpus, i) : json_array_get(more, i - n_corpus),
                  json_string_value(hashes) + 8 * i);
        patterns++;
    }
    assert_int_equal(patterns, 11);
    json_decref(corpus);
    json_decref(splits);
}

/* Names that share a pattern cut alike. */
static void test_aliases(void **state) {
    (void)state;
    static const char *const alike[][2] = {
        {"llama3", "llama-bpe"}, {"llama-v3", "llama-bpe"}, {"deepseek-r1-qwen", "qwen2"},
        {"starcoder", "smollm"}, {"refact", "smollm"},      {"command-r", "smollm"},
    };
    json_t *corpus = load("corpus.json");
    for (size_t i = 0; i < sizeof alike / sizeof *alike; i++)
        for (size_t at = 0; at < 500; at++) {
            const json_t *text = json_array_get(corpus, at);
            const char *bytes = json_string_value(text);
            assert_int_equal(cut_text(alike[i][0], bytes, json_string_length(text)).hash,
                             cut_text(alike[i][1], bytes, json_string_length(text)).hash);
        }
    json_decref(corpus);
    assert_null(pre_tokenizer_find("", 0));
    assert_null(pre_tokenizer_find("gpt-", 4));
    assert_null(pre_tokenizer_find("gpt-22", 6));
}

static const char *const names[] = {
    "gpt-2",  "smollm", "llama-bpe",    "qwen2",          "qwen35",      "gpt-4o",
    "tekken", "falcon", "deepseek-llm", "deepseek-coder", "deepseek-v3",
};
enum { N_NAMES = sizeof names / sizeof *names };

/* A long run of anything is cut in linear time: a quadratic scanner would take minutes. */
static void test_long_runs(void **state) {
    (void)state;
    static const char *const units[] = {
        "a", "A",  " ", "\n",  ".",        "\xE4\xB8\x80", "\xCC\x81",  "1",   " \n", "a ",  "aA",
        "'", "\t", "/", "\n/", "\xC2\xA0", "\xFF",         "A\xCC\x81", "\r ", "'s",  " \t", "\x01"};
    enum { SIZE = 1 << 20 };
    char *text = xmalloc(SIZE);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t unit = strlen(units[u]), len = SIZE / unit * unit;
        for (size_t at = 0; at < len; at += unit) memcpy(text + at, units[u], unit);
        for (int i = 0; i < N_NAMES; i++) {
            double start = cpu_seconds();
            cut_text(names[i], text, len);
            double seconds = cpu_seconds() - start;
            if (seconds > 5) fail_msg("%s takes %.1f s for 1 MiB of '%s'", names[i], seconds, units[u]);
        }
    }
    free(text);
}

/* Any bytes are cut into words without gaps, whatever they are. */
static void test_random_bytes(void **state) {
    (void)state;
    uint32_t random = 1;
    char text[64];
    for (int round = 0; round < 20000; round++) {
        size_t len = 0, want = (size_t)round % sizeof text;
        while (len < want) {
            random = random * 1664525u + 1013904223u;
            text[len++] = random >> 30 ? (char)(random >> 16) : " '\n\xE2\x81\xCC s"[random >> 24 & 7];
        }
        cut_text(names[round % N_NAMES], text, len);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_patterns),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
