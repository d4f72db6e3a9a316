/* `bench` on a nano model: every row is there, and its JSON is JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "infer/tools.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static char *run(bool json, bool tokenizer, uint32_t depth, int wanted) {
    const uint32_t prompts[] = {8, 20, 0}, predicts[] = {4, 0};
    struct bench_options options = {
        .engine = {.model = TEST_DATA "/nano/qwen2-f32.gguf", .device = "cpu", .n_threads = 1},
        .prompts = prompts,
        .predicts = predicts,
        .depth = depth,
        .repeats = 2,
        .top_k = 5,
        .json = json,
        .tokenizer = tokenizer};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    struct err err = {0};
    int status = tool_bench(&options, out, &err);
    fclose(out);
    if (status != wanted) fail_msg("%d: %s", status, err.text);
    return text;
}

static void rows_are_json(void **state) {
    (void)state;
    char *text = run(true, false, 10, STATUS_OK);
    json_t *root = json_loads(text, 0, NULL), *rows = json_object_get(root, "rows");
    assert_int_equal(json_array_size(rows), 3);
    const char *const kinds[] = {"prefill", "prefill", "decode"};
    const int tokens[] = {8, 20, 4};
    for (size_t i = 0; i < 3; i++) {
        json_t *row = json_array_get(rows, i), *speed = json_object_get(row, "tokens_per_second");
        assert_string_equal(json_string_value(json_object_get(row, "test")), kinds[i]);
        assert_int_equal(json_integer_value(json_object_get(row, "tokens")), tokens[i]);
        assert_int_equal(json_integer_value(json_object_get(row, "depth")), 10);
        double min = json_number_value(json_object_get(speed, "min")),
               max = json_number_value(json_object_get(speed, "max"));
        double median = json_number_value(json_object_get(speed, "median"));
        assert_true(0 < min && min <= median && median <= max);
        assert_true(json_number_value(json_object_get(row, "share_of_read")) > 0);
    }
    assert_true(json_number_value(json_object_get(root, "load_seconds")) > 0);
    assert_true(json_number_value(json_object_get(root, "first_token_seconds")) > 0);
    json_decref(root);
    free(text);
}

static void rows_are_a_table(void **state) {
    (void)state;
    char *text = run(false, false, 0, STATUS_OK);
    assert_non_null(strstr(text, "prefill       8"));
    assert_non_null(strstr(text, "decode        4"));
    free(text);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    free(run(false, false, 100000000, STATUS_CONTEXT_FULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_json),
        cmocka_unit_test(rows_are_a_table),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
