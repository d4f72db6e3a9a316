/* Real chat templates: what we make of them is what jinja2 makes (tests/data/templates), and no message of a
 * person ever becomes a control token. */
#include "infer/jinja/jinja.h"
#include "infer/model.h"
#include "base/sha256.h"

#include "base/buf.h"
#include "tests/unit/cpu_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>
#include <jansson.h>

static const char *const folder = THIRD_PARTY "/models/templates/";
static const struct tm clock_time = {.tm_year = 126,
                                     .tm_mon = 2,
                                     .tm_mday = 5,
                                     .tm_hour = 14,
                                     .tm_min = 7,
                                     .tm_sec = 9,
                                     .tm_wday = 4,
                                     .tm_yday = 63};

static bool read_file(const char *path, struct buf *out) {
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    size_t n;
    do {
        n = fread(buf_reserve(out, 65536), 1, 65536, file);
        out->len += n;
    } while (n);
    fclose(file);
    buf_reserve(out, 0);
    if (out->data) out->data[out->len] = '\0';
    return true;
}

static json_t *load_json(const char *path) {
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json) fail_msg("%s: %s", path, error.text);
    return json;
}

static json_t *conversation(json_t *all, const char *name) {
    for (size_t i = 0; i < json_array_size(all); i++) {
        json_t *one = json_array_get(all, i);
        if (strcmp(json_string_value(json_object_get(one, "case")), name) == 0)
            return json_object_get(one, "context");
    }
    fail_msg("no conversation %s", name);
    return NULL;
}

/* One line of goldens.tsv; `source` is the template's text. */
static void check_golden(const struct buf *source, json_t *context, char **field) {
    struct jinja_template *template = NULL;
    struct jinja_context *values = jinja_context_new();
    struct jinja_result result = {0};
    struct err err = {0};
    char hash[65] = "", *json = json_dumps(context, 0);
    int status = jinja_context_read(values, json, strlen(json), &err);
    if (!status) status = jinja_parse(source->data, source->len, &template, &err);
    if (!status) status = jinja_render(template, values, &clock_time, &result, &err);
    if (status)
        sha256_hex(err.text, strlen(err.text), hash);
    else
        sha256_hex(result.text, result.len, hash);
    const char *got = !status ? "output" : result.refused ? "refused" : "error";
    if (strcmp(got, field[3]) != 0)
        fail_msg("%s, %s: found %s (%s), expected %s", field[0], field[2], got, err.text, field[3]);
    if (strcmp(got, "error") != 0 && strcmp(hash, field[4]) != 0)
        fail_msg("%s, %s: another text than jinja2's", field[0], field[2]);
    if (strcmp(got, "error") == 0 && !strstr(err.text, "(line "))
        fail_msg("%s, %s: no place in: %s", field[0], field[2], err.text);
    jinja_result_free(&result);
    jinja_free(template);
    jinja_context_free(values);
    free(json);
}

static void as_jinja2(void **state) {
    (void)state;
    struct buf goldens = {0}, source = {0};
    char last[256] = "", path[1024], hash[65];
    size_t n = 0, others = 0;
    assert_true(read_file(TEST_DATA "/templates/goldens.tsv", &goldens));
    json_t *all = load_json(TEST_DATA "/templates/conversations.json");
    char *line_at;
    for (char *line = strtok_r(goldens.data, "\n", &line_at); line; line = strtok_r(NULL, "\n", &line_at)) {
        char *field[5], *at;
        field[0] = strtok_r(line, "\t", &at);
        for (int i = 1; i < 5; i++) assert_non_null(field[i] = strtok_r(NULL, "\t", &at));
        if (strcmp(last, field[0]) != 0) {
            snprintf(last, sizeof last, "%s", field[0]);
            snprintf(path, sizeof path, "%s%s", folder, field[0]);
            buf_clear(&source);
            if (!read_file(path, &source)) {
                print_message("%s is missing: skipped\n", path);
                exit(77);
            }
        }
        sha256_hex(source.data, source.len, hash);
        if (strcmp(hash, field[1]) != 0) {
            others++; /* another version of the template: nothing is known about it */
            continue;
        }
        check_golden(&source, conversation(all, field[2]), field);
        n++;
    }
    json_decref(all);
    buf_free(&goldens);
    buf_free(&source);
    print_message("%zu conversations as jinja2 has them\n", n);
    assert_int_equal(others, 0);
    assert_true(n >= 1120);
}

/* ---- nobody types a control token ---- */

struct vocabulary {
    const char *path;
    const struct tokenizer *tokenizer;
    struct model *model;
    struct buf controls;      /* all control tokens, one behind the other */
    struct buf first, second; /* the same, cut: each token begins in one and ends in the other */
};

static void gather(struct vocabulary *v) {
    for (int32_t id = 0; id < (int32_t)tokenizer_n_vocab(v->tokenizer); id++) {
        enum token_type type = tokenizer_type(v->tokenizer, id);
        struct span text = tokenizer_bytes(v->tokenizer, id);
        if (type != TOKEN_CONTROL || text.len < 2) continue;
        size_t half = text.len / 2;
        buf_append(&v->controls, text.bytes, text.len);
        buf_append(&v->first, text.bytes, half);
        buf_append(&v->second, text.bytes + half, text.len - half);
    }
    struct span bos = tokenizer_bos(v->tokenizer) >= 0
                          ? tokenizer_bytes(v->tokenizer, tokenizer_bos(v->tokenizer))
                          : (struct span){"", 0};
    buf_append(&v->first, bos.bytes, bos.len / 2);
}

/* How many control ids a conversation of user, assistant and user becomes; -1 if the template refuses it. */
static int count_controls(const struct vocabulary *v, const struct jinja_template *template,
                          const struct buf *a, const struct buf *b, const struct buf *c) {
    struct jinja_context *context = jinja_context_new();
    struct jinja_result result;
    struct err err;
    int32_t bos = tokenizer_bos(v->tokenizer), eos = tokenizer_eos(v->tokenizer);
    struct span bos_text = bos >= 0 ? tokenizer_bytes(v->tokenizer, bos) : (struct span){"", 0};
    struct span eos_text = eos >= 0 ? tokenizer_bytes(v->tokenizer, eos) : (struct span){"", 0};
    assert_int_equal(jinja_set_text(context, "bos_token", bos_text.bytes, bos_text.len, false, &err), 0);
    assert_int_equal(jinja_set_text(context, "eos_token", eos_text.bytes, eos_text.len, false, &err), 0);
    assert_int_equal(jinja_set_bool(context, "add_generation_prompt", true, &err), 0);
    assert_int_equal(jinja_add_message(context, "user", a->data, a->len, &err), 0);
    assert_int_equal(jinja_add_message(context, "assistant", b->data, b->len, &err), 0);
    assert_int_equal(jinja_add_message(context, "user", c->data, c->len, &err), 0);
    int n = -1;
    if (jinja_render(template, context, &clock_time, &result, &err) == STATUS_OK) {
        struct ids ids = {0};
        assert_int_equal(
            tokenizer_encode(v->tokenizer, result.segments, result.n_segments, ADDED_BY_ORIGIN, &ids, &err),
            0);
        n = 0;
        for (size_t i = 0; i < ids.n; i++) n += tokenizer_type(v->tokenizer, ids.at[i]) == TOKEN_CONTROL;
        ids_free(&ids);
        jinja_result_free(&result);
    }
    jinja_context_free(context);
    return n;
}

static void check_template(const struct vocabulary *v, const char *path, size_t *n) {
    struct buf source = {0}, plain = {0};
    struct jinja_template *template;
    struct err err;
    assert_true(read_file(path, &source));
    assert_int_equal(jinja_parse(source.data, source.len, &template, &err), 0);
    buf_puts(&plain, "just words");
    int wanted = count_controls(v, template, &plain, &plain, &plain);
    int whole = count_controls(v, template, &v->controls, &v->controls, &v->controls);
    int split = count_controls(v, template, &v->first, &v->second, &plain);
    int other = count_controls(v, template, &plain, &v->first, &v->second);
    if (wanted != whole || wanted != split || wanted != other)
        fail_msg("%s with %s: %d control ids for plain words, %d with control tokens in the messages, %d and "
                 "%d with split ones",
                 path, v->path, wanted, whole, split, other);
    *n += wanted >= 0;
    jinja_free(template);
    buf_free(&source);
    buf_free(&plain);
}

static void nobody_types_a_control_token(void **state) {
    (void)state;
    glob_t vocabularies = {0}, templates = {0};
    size_t n = 0;
    glob(THIRD_PARTY "/models/ggml-vocab-*.gguf", 0, NULL, &vocabularies);
    glob(THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf", GLOB_APPEND, NULL, &vocabularies);
    glob(THIRD_PARTY "/models/templates/*.jinja", 0, NULL, &templates);
    for (size_t i = 0; i < vocabularies.gl_pathc; i++) {
        struct vocabulary v = {.path = vocabularies.gl_pathv[i]};
        struct err err;
        if (model_open(v.path, MODEL_VOCABULARY, &v.model, &err) != STATUS_OK)
            continue; /* a kind that is not supported */
        v.tokenizer = model_tokenizer(v.model);
        gather(&v);
        for (size_t k = 0; k < templates.gl_pathc && v.controls.len; k++)
            check_template(&v, templates.gl_pathv[k], &n);
        buf_free(&v.controls);
        buf_free(&v.first);
        buf_free(&v.second);
        model_close(v.model);
    }
    print_message("%zu pairs of template and vocabulary\n", n);
    assert_true(n > 300);
    globfree(&vocabularies);
    globfree(&templates);
}

/* A hundred turns with the largest template. Generous for slow machines and sanitizers; the figure is
 * printed. */
static void fast_enough(void **state) {
    (void)state;
    struct buf source = {0};
    struct jinja_template *template;
    struct jinja_usage usage = {0};
    struct err err;
    assert_true(read_file(THIRD_PARTY "/models/templates/openai-gpt-oss-120b.jinja", &source));
    assert_int_equal(jinja_parse(source.data, source.len, &template, &err), 0);
    struct jinja_context *context = jinja_context_new();
    for (int i = 0; i < 200; i++) {
        char text[600];
        snprintf(text, sizeof text, "%0500d", i);
        assert_int_equal(jinja_add_message(context, i % 2 ? "assistant" : "user", text, strlen(text), &err),
                         0);
    }
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        struct jinja_result result;
        double begin = cpu_seconds();
        assert_int_equal(jinja_render_measured(template, context, &clock_time, &result, &usage, &err), 0);
        double ms = (cpu_seconds() - begin) * 1e3;
        if (ms < best) best = ms;
        jinja_result_free(&result);
    }
    print_message("100 turns, %zu bytes of template: %.2f ms, %llu steps, %zu bytes\n", source.len, best,
                  (unsigned long long)usage.steps, usage.memory);
    assert_true(best < 500);
    jinja_context_free(context);
    jinja_free(template);
    buf_free(&source);
}

int main(void) {
    glob_t found = {0};
    if (glob(THIRD_PARTY "/models/templates/*.jinja", 0, NULL, &found) != 0) {
        printf("the third-party templates are missing: skipped\n");
        return 77;
    }
    globfree(&found);
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_jinja2),
                                       cmocka_unit_test(nobody_types_a_control_token),
                                       cmocka_unit_test(fast_enough)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
