/* Whole vocabularies against the ids of their own tokenizers: llama.cpp's .inp and .out, and data/tokenizer
 * (made with Hugging Face tokenizers) for the two vocabularies it was made for. The vocabulary files are
 * third parties'; where they are missing the test is skipped. */
#include "base/buf.h"
#include "base/mem.h"
#include "infer/model.h"
#include "tokenizer/tokenizer.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char *read_file(const char *name, size_t *len) {
    char path[512];
    snprintf(path, sizeof path, THIRD_PARTY "/models/ggml-vocab-%s", name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    struct buf buf = {0};
    size_t got;
    while ((got = fread(buf_reserve(&buf, 65536), 1, 65536, file)) > 0) buf.len += got;
    fclose(file);
    *len = buf.len;
    return buf_take(&buf);
}

static struct model *open_vocabulary(const char *name) {
    char path[512];
    struct err err = {0};
    struct model *model;
    snprintf(path, sizeof path, THIRD_PARTY "/models/ggml-vocab-%s.gguf", name);
    if (model_open(path, MODEL_VOCABULARY, &model, &err)) fail_msg("%s", err.text);
    return model;
}

static void encode(const struct tokenizer *tokenizer, const char *text, size_t len, struct ids *ids) {
    struct segment segment = {text, len, true};
    struct err err;
    ids->n = 0;
    assert_int_equal(tokenizer_encode(tokenizer, &segment, 1, ADDED_ALL, ids, &err), STATUS_OK);
}

static void fail_with(const char *what, const char *text, const struct ids *found,
                      const struct ids *expected) {
    fprintf(stderr, "%s: '%s'\nfound   ", what, text);
    for (size_t i = 0; i < found->n && i < 100; i++) fprintf(stderr, " %d", found->at[i]);
    fprintf(stderr, "\nexpected");
    for (size_t i = 0; i < expected->n && i < 100; i++) fprintf(stderr, " %d", expected->at[i]);
    fprintf(stderr, "\n");
    fail_msg("%s", what);
}

static void check(const char *what, const struct tokenizer *tokenizer, const char *text, size_t len,
                  const struct ids *expected) {
    struct ids found = {0};
    encode(tokenizer, text, len, &found);
    if (found.n != expected->n ||
        (found.n && memcmp(found.at, expected->at, found.n * sizeof *found.at) != 0))
        fail_with(what, text, &found, expected);
    ids_free(&found);
}

/* Where a tokenizer has NFC, llama.cpp's .out does not know it: these are the ids that Hugging Face gives. */
struct correction {
    const char *name;
    int at;
    int32_t ids[8];
    size_t n, repeat;
};
static const struct correction corrections[] = {
    {"qwen35", 46, {963}, 1, 1},              /* e + U+0301 */
    {"qwen35", 47, {42611, 1242, 963}, 3, 1}, /* resume with the same twice */
    {"qwen35", 48, {6362}, 1, 200},           /* a + U+0300, 200 times */
};

static bool correct(const char *name, int at, struct ids *expected) {
    for (size_t i = 0; i < sizeof corrections / sizeof *corrections; i++) {
        const struct correction *c = &corrections[i];
        if (strcmp(c->name, name) != 0 || c->at != at) continue;
        expected->n = 0;
        for (size_t r = 0; r < c->repeat; r++)
            for (size_t k = 0; k < c->n; k++) ids_add(expected, c->ids[k]);
        return true;
    }
    return false;
}

static const char *read_ids(const char *line, struct ids *ids) {
    char *end;
    ids->n = 0;
    while (*line && *line != '\n') {
        long id = strtol(line, &end, 10);
        if (end == line) break; /* a space at the end of the line */
        ids_add(ids, (int32_t)id);
        line = end;
        while (*line == ' ') line++;
    }
    return *line ? line + 1 : line;
}

static void check_inp_out(const char *name, int n_expected) {
    static const char border[] = "\n__ggml_vocab_test__\n";
    char file[64];
    size_t inp_len, out_len;
    snprintf(file, sizeof file, "%s.gguf.inp", name);
    char *inp = read_file(file, &inp_len);
    snprintf(file, sizeof file, "%s.gguf.out", name);
    char *out = read_file(file, &out_len);
    struct model *model = open_vocabulary(name);
    struct ids expected = {0};
    const char *text = inp, *line = out, *end;
    int at = 0, corrected = 0;
    while (*line) {
        end = strstr(text, border);
        if (!end) end = inp + inp_len; /* gemma-4 has no border after its last text */
        line = read_ids(line, &expected);
        corrected += correct(name, at++, &expected);
        check(name, model_tokenizer(model), text, (size_t)(end - text), &expected);
        text = end + strlen(border);
    }
    assert_int_equal(at, n_expected);
    assert_int_equal(corrected, strcmp(name, "qwen35") == 0 ? 3 : 0);
    ids_free(&expected);
    model_close(model);
    free(inp);
    free(out);
}

static void test_llama_cpp_cases(void **state) {
    (void)state;
    static const char *const names[] = {"command-r", "deepseek-coder", "deepseek-llm", "falcon",
                                        "gpt-2",     "llama-bpe",      "llama-spm",    "phi-3",
                                        "qwen2",     "refact",         "starcoder"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_inp_out(names[i], 46);
    check_inp_out("gemma-4", 46);
    check_inp_out("qwen35", 50);
}

static void json_ids(const json_t *list, struct ids *ids) {
    ids->n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        ids_add(ids, (int32_t)json_integer_value(json_array_get(list, i)));
}

static json_t *load(const char *name) {
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, TEST_DATA "/tokenizer/%s", name);
    json_t *data = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!data) fail_msg("%s:%d: %s", path, error.line, error.text);
    return data;
}

/* The vocabulary file may lack added tokens of the tokenizer that made the ids, or have others in their
 * place. */
static bool has_added_tokens(const struct tokenizer *tokenizer, int32_t first_added, const char *text,
                             const struct ids *ids) {
    for (size_t i = 0; i < ids->n; i++) {
        if (ids->at[i] < first_added) continue;
        struct span name = tokenizer_bytes(tokenizer, ids->at[i]);
        if (!memmem(text, strlen(text), name.bytes, name.len)) return false;
    }
    return true;
}

static void check_hugging_face(const char *vocabulary, const char *golden, int32_t first_added,
                               size_t least_added) {
    json_t *corpus = load("corpus.json"), *data = load(golden);
    struct model *model = open_vocabulary(vocabulary);
    const struct tokenizer *tokenizer = model_tokenizer(model);
    struct ids expected = {0};
    const json_t *lists = json_object_get(data, "ids"), *added = json_object_get(data, "with_added_tokens");
    assert_int_equal(json_array_size(corpus), 5212);
    assert_int_equal(json_array_size(lists), 5212);
    for (size_t i = 0; i < json_array_size(corpus); i++) {
        const json_t *text = json_array_get(corpus, i);
        json_ids(json_array_get(lists, i), &expected);
        check(golden, tokenizer, json_string_value(text), json_string_length(text), &expected);
    }
    size_t tried = 0;
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *text = json_object_get(json_array_get(added, i), "text");
        json_ids(json_object_get(json_array_get(added, i), "ids"), &expected);
        if (!has_added_tokens(tokenizer, first_added, json_string_value(text), &expected)) continue;
        check(golden, tokenizer, json_string_value(text), json_string_length(text), &expected);
        tried++;
    }
    if (tried < least_added)
        fail_msg("%s: only %zu of the texts with added tokens fit the vocabulary", golden, tried);
    ids_free(&expected);
    model_close(model);
    json_decref(corpus);
    json_decref(data);
}

static void test_qwen_corpus(void **state) {
    (void)state;
    check_hugging_face("qwen2", "qwen2_5.json", 151643, 40);
}

static void test_llama_corpus(void **state) {
    (void)state;
    check_hugging_face("llama-bpe", "llama3_2.json", 128000, 80);
}

/* What was encoded is said again, as it streams and as a whole; but for NFC. */
static void test_decoding(void **state) {
    (void)state;
    static const char *const names[] = {"gpt-2", "llama-bpe", "llama-spm", "gemma-4", "deepseek-llm"};
    json_t *corpus = load("corpus.json");
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        struct model *model = open_vocabulary(names[n]);
        struct ids ids = {0};
        for (size_t i = 0; i < json_array_size(corpus); i++) {
            const json_t *text = json_array_get(corpus, i);
            struct segment segment = {json_string_value(text), json_string_length(text), false};
            struct err err;
            struct buf said = {0};
            struct decoder decoder = {0};
            ids.n = 0;
            assert_int_equal(
                tokenizer_encode(model_tokenizer(model), &segment, 1, ADDED_BY_ORIGIN, &ids, &err), 0);
            for (size_t k = 0; k < ids.n; k++)
                decoder_add(&decoder, model_tokenizer(model), ids.at[k], &said);
            decoder_finish(&decoder, &said);
            if (said.len != segment.len || (said.len && memcmp(said.data, segment.bytes, said.len) != 0))
                fail_msg("%s: '%s' is said '%s'", names[n], segment.bytes, said.data ? said.data : "");
            buf_free(&said);
        }
        ids_free(&ids);
        model_close(model);
    }
    json_decref(corpus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_cpp_cases),
        cmocka_unit_test(test_qwen_corpus),
        cmocka_unit_test(test_llama_corpus),
        cmocka_unit_test(test_decoding),
    };
    if (access(THIRD_PARTY "/models/ggml-vocab-qwen2.gguf", R_OK) != 0) {
        fprintf(stderr, "skipped: no vocabulary files in %s\n", THIRD_PARTY "/models");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
