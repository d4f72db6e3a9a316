/* Names of model files, what a name means in a list, sizes and times in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/amount.h"
#include "app/model_choice.h"
#include "base/mem.h"
#include "models/list.h"
#include "models/partial.h"
#include "models/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_quantisation_of_a_name(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"Qwen2.5-7B-Instruct-Q4_K_M.gguf", "Q4_K_M"},
        {"qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"},
        {"SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"},
        {"model-UD-Q4_K_XL.gguf", "Q4_K_XL"},
        {"model-IQ2_XXS.gguf", "IQ2_XXS"},
        {"model.f16.gguf", "F16"},
        {"gpt-oss-20b-MXFP4.gguf", "MXFP4"},
        {"ggml-model-q8_0.gguf", "Q8_0"},
        {"Qwen3-8B.gguf", NULL},
        {"QwQ-32B.gguf", NULL},
        {"q.gguf", NULL},
        {"", NULL},
        {"iq-test-model.gguf", NULL},
        {"Q4_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.gguf", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char quant[QUANT_MAX];
        bool found = model_name_quant(cases[i][0], quant);
        assert_int_equal(found, cases[i][1] != NULL);
        if (found) assert_string_equal(quant, cases[i][1]);
    }
}

static void test_shards_and_hidden(void **state) {
    (void)state;
    unsigned number, count;
    size_t stem;
    assert_true(model_name_shard("a-00002-of-00010.gguf", &number, &count, &stem));
    assert_int_equal(number, 2);
    assert_int_equal(count, 10);
    assert_int_equal(stem, 1);
    static const char *const none[] = {"a.gguf",
                                       "-00001-of-00002.gguf",
                                       "a-0001-of-00002.gguf",
                                       "a-00003-of-00002.gguf",
                                       "a-00000-of-00002.gguf",
                                       "a-00001-of-00002.bin",
                                       "a-00001_of_00002.gguf"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(model_name_shard(none[i], &number, &count, &stem));
    assert_true(model_name_hidden("mmproj-F16.gguf"));
    assert_true(model_name_hidden("Model-mmproj-f16.gguf"));
    assert_true(model_name_hidden("imatrix_unsloth.gguf"));
    assert_true(model_name_hidden("EAGLE3-draft.gguf"));
    assert_true(model_name_hidden("mtp-x.gguf"));
    assert_false(model_name_hidden("smtp-x.gguf"));
    assert_false(model_name_hidden("model.gguf"));
}

/* ---- names to fetch ---- */

static void test_origins(void **state) {
    (void)state;
    static const struct {
        const char *text, *owner, *name, *tag, *file;
        bool is_ollama;
    } cases[] = {
        {"user/repo", "user", "repo", "", NULL, false},
        {"user/Repo-1.5_x:q4_k_m", "user", "Repo-1.5_x", "q4_k_m", NULL, false},
        {"hf.co/user/repo:Q8_0", "user", "repo", "Q8_0", NULL, false},
        {"https://huggingface.co/user/repo", "user", "repo", "", NULL, false},
        {"HTTPS://www.HuggingFace.co/user/repo/tree/main", "user", "repo", "", NULL, false},
        {"https://huggingface.co/user/repo/resolve/main/a/b.gguf?download=true", "user", "repo", "",
         "a/b.gguf", false},
        {"llama3.2", "library", "llama3.2", "", NULL, true},
        {"llama3.2:1b", "library", "llama3.2", "1b", NULL, true},
        {"ollama.com/library/llama3.2:1b", "library", "llama3.2", "1b", NULL, true},
        {"registry.ollama.ai/some/model", "some", "model", "", NULL, true},
    };
    static const char *const refused[] = {"",
                                          "/",
                                          "user/",
                                          "/repo",
                                          "a/b/c",
                                          "../b",
                                          "a/..",
                                          ".a/b",
                                          "a--b/c",
                                          "a/b--c",
                                          "a/b:",
                                          "a:b:c",
                                          "a b",
                                          "a/b\n",
                                          "\033[0m",
                                          "hf.co/repo",
                                          "a/b/blob/main/../x",
                                          "a/b/blob/main/",
                                          "a/b/blob/other/x.gguf",
                                          "a\\b",
                                          "\xC3\xA9/b",
                                          "ollama.com/a/b/blob/main/x"};
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_origin origin;
        if (origin_parse(cases[i].text, &origin, &err) < 0) fail_msg("%s: %s", cases[i].text, err.text);
        assert_string_equal(origin.owner, cases[i].owner);
        assert_string_equal(origin.name, cases[i].name);
        assert_string_equal(origin.tag, cases[i].tag);
        assert_int_equal(origin.is_ollama, cases[i].is_ollama);
        assert_int_equal(!origin.file, !cases[i].file);
        if (origin.file) assert_string_equal(origin.file, cases[i].file);
        free(origin.file);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct model_origin origin;
        if (origin_parse(refused[i], &origin, &err) != STATUS_USAGE) fail_msg("\"%s\" was taken", refused[i]);
        assert_null(origin.file);
    }
}

static void test_plain_paths(void **state) {
    (void)state;
    static const char *const plain[] = {"a.gguf", "a/b/c.gguf", "..a/b..", "a b", "\xC3\xA9.gguf"};
    static const char *const others[] = {
        "",      ".",    "..",    "/a",   "a/",       "a//b", "a/../b",           "../a", "a/..", "./a",
        "a/./b", "a\nb", "a\x7F", "a\\b", "\xC2\x9B", "\xFF", "a/b/c/d/e/f/g/h/i"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) assert_true(path_is_plain(plain[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (path_is_plain(others[i])) fail_msg("\"%s\" was taken", others[i]);
}

/* ---- names in a list ---- */

static struct model_entry rows[] = {
    {.name = "acme/Tiny-GGUF:Q4_K_M", .other = "tiny:latest\nold-name", .path = "/a"},
    {.name = "acme/Tiny-GGUF:Q8_0", .path = "/b"},
    {.name = "llama3.2:1b", .path = "/c"},
    {.name = "llama3.2:latest", .path = "/d"},
    {.name = "SmolLM2-135M-Instruct.Q4_1", .path = "/e"},
    {.name = "twin", .path = "/f"},
    {.name = "twin", .path = "/g"},
    {.name = "llama3.2-broken", .path = "/h", .fault = "key x"},
};
static const struct model_list list = {.entries = rows, .n = sizeof rows / sizeof *rows};

static void expect(const char *name, const char *path, const char *says) {
    const struct model_entry *entry = NULL;
    struct err err = {0};
    int status = model_by_name(&list, name, &entry, &err);
    if (path) {
        assert_int_equal(status, STATUS_OK);
        assert_string_equal(entry->path, path);
        return;
    }
    assert_int_equal(status, STATUS_MODEL);
    if (!strstr(err.text, says)) fail_msg("\"%s\" says: %s\nexpected: %s", name, err.text, says);
}

static void test_names_mean_models(void **state) {
    (void)state;
    expect("acme/tiny-gguf:q4_k_m", "/a", NULL);
    expect("tiny", "/a", NULL); /* tiny:latest, its other name */
    expect("OLD-name", "/a", NULL);
    expect("q8_0", "/b", NULL);
    expect("llama3.2:1b", "/c", NULL);
    expect("llama3.2", "/d", NULL); /* exactly that and :latest; not a part of two names */
    expect("smol", "/e", NULL);
    expect("acme/", NULL, "\"acme/\" may be 2 models: acme/Tiny-GGUF:Q4_K_M, acme/Tiny-GGUF:Q8_0");
    expect("twin", NULL, "\"twin\" may be 2 models: /f, /g");
    expect("broken", NULL, "llama3.2-broken: key x");
    expect("smolm2", NULL, "there is no model \"smolm2\", did you mean SmolLM2-135M-Instruct.Q4_1?");
    expect("lama3.1", NULL, "did you mean llama3.2:");
    expect("gemma", NULL, "there is no model \"gemma\"; `logitop list` (or F2) shows");
}

static void test_the_best_fits(void **state) {
    (void)state;
    struct model_entry some[] = {
        {.name = "huge", .size = 900, .facts.has_template = true, .fit = MODEL_FIT_NOT},
        {.name = "cpu", .size = 500, .facts.has_template = true, .fit = MODEL_FIT_CPU},
        {.name = "base", .size = 600, .fit = MODEL_FIT_CPU},
        {.name = "card", .size = 100, .facts.has_template = true, .fit = MODEL_FIT_GPU},
        {.name = "larger card", .size = 200, .facts.has_template = true, .fit = MODEL_FIT_GPU},
    };
    assert_string_equal(models_best(&(struct model_list){.entries = some, .n = 5})->name, "larger card");
    assert_string_equal(models_best(&(struct model_list){.entries = some, .n = 3})->name, "cpu");
    assert_string_equal(models_best(&(struct model_list){.entries = some + 2, .n = 1})->name, "base");
    assert_null(models_best(&(struct model_list){.entries = some, .n = 1}));
}

static void test_amounts(void **state) {
    (void)state;
    char out[AMOUNT_MAX];
    assert_string_equal(amount_bytes(0, out), "0 B");
    assert_string_equal(amount_bytes(999, out), "999 B");
    assert_string_equal(amount_bytes(98362432, out), "98.4 MB");
    assert_string_equal(amount_bytes(999960, out), "1.0 MB");
    assert_string_equal(amount_bytes(4683073184, out), "4.7 GB");
    assert_string_equal(amount_bytes(123456789012, out), "123 GB");
    assert_string_equal(amount_bytes(UINT64_MAX, out), "18.4 EB");
    assert_string_equal(amount_duration(0, out), "0 s");
    assert_string_equal(amount_duration(200, out), "3 min 20 s");
    assert_string_equal(amount_duration(3600, out), "1 h");
    assert_string_equal(amount_duration(187200, out), "2 d 4 h");
    assert_string_equal(amount_tokens(131072, out), "128k");
    assert_string_equal(amount_tokens(1000, out), "1000");
    assert_string_equal(amount_tokens(0, out), "-");
    assert_string_equal(amount_age(0, 1000, out), "-");
    assert_string_equal(amount_age(990, 1000, out), "just now");
    assert_string_equal(amount_age(1000, 1000 + 7500, out), "2 h ago");
    assert_string_equal(amount_age(2000, 1000, out), "just now");
    assert_non_null(strstr(amount_age(INT64_MIN, 1000, out), " d ago"));
}

/* What a server says of a file's size is compared with the disk before anything is made of it. */
static void test_a_size_that_no_disk_holds(void **state) {
    (void)state;
    static const uint64_t sizes[] = {(uint64_t)1 << 50, (uint64_t)1 << 60, INT64_MAX};
    char folder[] = "/tmp/logitop-partial-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/blob", folder);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct partial partial;
        struct err err = {0};
        assert_int_equal(partial_open(&partial, path, sizes[i], &err), STATUS_FAILED);
        assert_non_null(strstr(err.text, "are still needed"));
        assert_null(partial.done);
        unlink(partial.path);
        partial_close(&partial);
    }
    assert_int_equal(rmdir(folder), 0);
}

/* Between the opening of the part and its lock another program may be done with it. */
static char finished_part[80], finished_target[80];
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __wrap_flock(int fd, int operation) {
    if (*finished_part) assert_int_equal(rename(finished_part, finished_target), 0);
    *finished_part = '\0';
    return __real_flock(fd, operation);
}

static void test_a_part_that_is_finished_meanwhile(void **state) {
    (void)state;
    char folder[] = "/tmp/logitop-partial-XXXXXX";
    struct partial partial;
    struct err err = {0};
    struct stat st;
    assert_non_null(mkdtemp(folder));
    snprintf(finished_target, sizeof finished_target, "%s/blob", folder);
    snprintf(finished_part, sizeof finished_part, "%s/blob.logitop-part", folder);
    FILE *file = fopen(finished_part, "w");
    assert_int_equal(fputs("the model", file) >= 0, 1);
    fclose(file);
    assert_int_equal(partial_open(&partial, finished_target, 9, &err), STATUS_BUSY);
    partial_close(&partial);
    assert_int_equal(stat(finished_target, &st), 0);
    assert_int_equal(st.st_size, 9); /* nobody writes into it */
    unlink(finished_target);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantisation_of_a_name),
        cmocka_unit_test(test_shards_and_hidden),
        cmocka_unit_test(test_names_mean_models),
        cmocka_unit_test(test_the_best_fits),
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_plain_paths),
        cmocka_unit_test(test_a_size_that_no_disk_holds),
        cmocka_unit_test(test_a_part_that_is_finished_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
