/* The template engine: cases that jinja2 made (tests/data/jinja), limits, and where every byte came from. */
#include "infer/jinja/jinja.h"

#include "base/buf.h"
#include "infer/jinja/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>
#include <jansson.h>

static const struct tm clock_time = {.tm_year = 126,
                                     .tm_mon = 2,
                                     .tm_mday = 5,
                                     .tm_hour = 14,
                                     .tm_min = 7,
                                     .tm_sec = 9,
                                     .tm_wday = 4,
                                     .tm_yday = 63};

/* Render a text with a JSON context (NULL: none). */
static int render(const char *source, size_t len, const char *json, struct jinja_result *out,
                  struct err *err) {
    struct jinja_template *template;
    struct jinja_context *context = jinja_context_new();
    *out = (struct jinja_result){0};
    int status = json ? jinja_context_read(context, json, strlen(json), err) : STATUS_OK;
    if (!status) status = jinja_parse(source, len, &template, err);
    if (!status) {
        status = jinja_render(template, context, &clock_time, out, err);
        jinja_free(template);
    }
    jinja_context_free(context);
    return status;
}

/* Where it is wrong is said once, and not in terms of a template. */
static void wrong_contexts(void **state) {
    (void)state;
    struct jinja_result result;
    struct err err = {0};
    assert_true(render("", 0, "{bad", &result, &err) < 0);
    assert_string_equal(err.text, "JSON, line 1, column 4: string or '}' expected near 'bad'");
}

static void as_jinja2(void **state) {
    (void)state;
    json_error_t error;
    json_t *all = json_load_file(TEST_DATA "/jinja/cases.json", 0, &error),
           *cases = json_object_get(all, "cases");
    if (!all) fail_msg("%s", error.text);
    char *context = json_dumps(json_object_get(all, "context"), 0);
    size_t n = json_array_size(cases), wrong = 0;
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_array_get(cases, i), *source = json_object_get(one, "template");
        const char *output = json_string_value(json_object_get(one, "output"));
        const char *words = json_string_value(json_object_get(one, "words"));
        struct jinja_result result;
        struct err err = {0};
        int status = render(json_string_value(source), json_string_length(source), context, &result, &err);
        bool right =
            output ? status == STATUS_OK && strcmp(result.text, output) == 0
                   : status != STATUS_OK && (words ? result.refused && strcmp(err.text, words) == 0
                                                   : !result.refused && strstr(err.text, "(line ") != NULL);
        if (!right)
            print_message("%s\n  found    %s\n  expected %s\n", json_string_value(source),
                          status ? err.text : result.text,
                          output  ? output
                          : words ? words
                                  : "an error with its place");
        wrong += !right;
        jinja_result_free(&result);
    }
    free(context);
    json_decref(all);
    assert_int_equal(wrong, 0);
    assert_true(n >= 900);
}

/* ---- limits ---- */

static void refused_with(const char *source, size_t len, const char *words) {
    struct jinja_result result;
    struct err err = {0};
    int status = render(source, len, NULL, &result, &err);
    if (status == STATUS_OK) fail_msg("%.60s: worked, expected: %s", source, words);
    if (!strstr(err.text, words)) fail_msg("%.60s: found: %s; expected: %s", source, err.text, words);
}

static void refused_text(const char *source, const char *words) {
    refused_with(source, strlen(source), words);
}

static char *repeated(const char *before, const char *unit, size_t n, const char *after) {
    struct buf text = {0};
    buf_puts(&text, before);
    for (size_t i = 0; i < n; i++) buf_puts(&text, unit);
    buf_puts(&text, after);
    return buf_take(&text);
}

static void refused_repeated(const char *before, const char *unit, size_t n, const char *after,
                             const char *words) {
    char *text = repeated(before, unit, n, after);
    refused_text(text, words);
    free(text);
}

static void hostile_sources_end(void **state) {
    (void)state;
    refused_repeated("{{ ", "(", 100000, "", "more than 128 brackets");
    refused_repeated("{{ ", "[", 90000, "", "more than 128 brackets");
    refused_repeated("{{ ", "not ", 99000, "x }}", "more than 128 levels of nesting");
    refused_repeated("{{ ", "-", 99000, "1 }}", "more than 128 levels of nesting");
    refused_repeated("{{ ", "1 if 1 else ", 20000, "1 }}", "more than 128 levels of nesting");
    refused_repeated("", "{% if 1 %}", 20000, "", "more than 128 levels of nesting");
    refused_repeated("", "{% for x in y %}", 9000, "", "more than 128 levels of nesting");
    refused_repeated("{{ 1", " + 1", 40000, " }}", "more than 1000 levels in one expression");
    refused_repeated("{{ a", ".b", 40000, " }}", "more than 1000 levels in one expression");
    refused_repeated("{{ a", "|e", 40000, " }}", "more than 1000 levels in one expression");
    refused_repeated("", "{", 1 << 20, "", "more than");
    refused_repeated("", "{{1}}", 60000, "", "more than 100000 tokens");
    refused_repeated("", " ", (1 << 20) + 1, "", "more than 1048576 bytes of template");
    refused_repeated("{# ", "#", 1000000, "", "missing end of comment");
    refused_repeated("{% raw %}", "{%-  ", 200000, "", "missing end of raw");
    refused_repeated("{{ '", "\\", 1000000, "", "string without its closing");
}

static void hostile_renders_end(void **state) {
    (void)state;
    refused_text("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "more than 64 macros");
    refused_text("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
                 "more than 64 macros");
    refused_text("{% macro m() %}{% call m() %}{% endcall %}{{ caller }}{% endmacro %}{{ m() }}",
                 "more than 64 macros");
    refused_text("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "more than 64 macros");
    refused_text("{{ range(10**9) }}", "more than 100000 items in a range");
    refused_text("{% set l = range(99999) | list %}{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}",
                 "more than 1000000 loop items");
    refused_text(
        "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "bytes in a string");
    refused_text("{{ 'x' * 10**12 }}", "bytes in a string");
    refused_text("{{ [0] * 10**12 }}", "items in a list");
    refused_text("{{ 'ab' | replace('', 'x' * 9000000) }}", "bytes in a string");
    refused_text("{{ '%99999d' % 1 ~ '%999999999d' % 1 }}", "width beyond");
    refused_text("{{ 'x' | center(10**10) }}", "bytes in a string");
    refused_text("{% set s = 'x' * 1000000 %}{% for i in range(99999) %}{{ s }}{% endfor %}",
                 "bytes of output");
    refused_text(
        "{% set s = 'x' * 1000000 %}{% for i in range(99999) %}{% if s | upper %}{% endif %}{% endfor %}",
        "more than");
    refused_text(
        "{% set s = 'x' * 9000000 %}{% for i in range(99999) %}{% if 'y' in s %}{% endif %}{% endfor %}",
        "steps");
    refused_text("{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor "
                 "%}{{ ns.l }}",
                 "levels of evaluation");
    refused_text("{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor "
                 "%}{{ ns.l == [ns.l] }}{{ ns.l | tojson }}",
                 "levels of evaluation");
    refused_text("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "levels of evaluation");
    refused_text("{{ '{:>99999}' * 9000 }}{{ ('{0:>99999}' * 9000).format(1) }}", "bytes");
    refused_text(
        "{% for a in range(9999) %}{% for b in range(99) %}{{ range(99999) | sum }}{% endfor %}{% endfor %}",
        "more than");
    refused_text("{{ 2 ** 64 }}", "does not fit in 64 bits");
    refused_text("{{ 9223372036854775808 }}", "does not fit in 64 bits");
    refused_repeated("{{ range(0, 1)", "[::2]", 70, " }}", "does not fit in 64 bits");
    refused_text("{{ 9223372036854775807 + 1 }}", "does not fit in 64 bits");
    refused_text("{{ -9223372036854775807 - 2 }}", "does not fit in 64 bits");
    refused_text("{{ '99999999999999999999' | int }}", "does not fit in 64 bits");
}

/* Deep recursion within the limits must not overflow the stack of a thread. */
/* No string grows beyond the limit, however long what is put to it. */
static void long_texts_are_refused(void **state) {
    (void)state;
    static const char *const sources[] = {"{{ 'x' + text }}",
                                          "{{ text + text }}",
                                          "{{ 'x' ~ text }}",
                                          "{{ text }}",
                                          "{% set t = 'a' + 'b' %}{{ (t + 'c') + text }}",
                                          "{{ '%s' | format(text) }}",
                                          "{{ text * 2 }}",
                                          "{{ [text, text] | join('-') }}",
                                          "{{ text | upper }}"};
    size_t len = (size_t)JINJA_MAX_STRING + (1 << 20);
    char *text = malloc(len);
    memset(text, 'y', len);
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        for (int person = 0; person < 2; person++) {
            struct jinja_template *template;
            struct jinja_context *context = jinja_context_new();
            struct jinja_result result;
            struct err err = {0};
            assert_int_equal(jinja_set_text(context, "text", text, len, person, &err), STATUS_OK);
            assert_int_equal(jinja_parse(sources[i], strlen(sources[i]), &template, &err), STATUS_OK);
            assert_int_equal(jinja_render(template, context, &clock_time, &result, &err), STATUS_FAILED);
            if (!strstr(err.text, "template stopped: more than")) fail_msg("%s: %s", sources[i], err.text);
            jinja_free(template);
            jinja_context_free(context);
        }
    free(text);
}

static void legal_depth_works(void **state) {
    (void)state;
    struct jinja_result result;
    struct err err = {0};
    char *nested = repeated("{{ ", "(", 100, "");
    char *closed = repeated(nested, ")", 0, "1");
    char *whole = repeated(closed, ")", 100, " }}");
    assert_int_equal(render(whole, strlen(whole), NULL, &result, &err), STATUS_OK);
    assert_string_equal(result.text, "1");
    jinja_result_free(&result);
    free(nested), free(closed), free(whole);
    const char *deep = "{% macro m(n) %}{% if n %}{% for x in [1] %}{{ m(n - 1) }}{% endfor %}{% endif %}x{% "
                       "endmacro %}{{ m(62) }}";
    if (render(deep, strlen(deep), NULL, &result, &err)) fail_msg("%s", err.text);
    assert_int_equal(result.len, 63);
    jinja_result_free(&result);
}

static void missing_features_have_names(void **state) {
    (void)state;
    refused_text("\n  {% include 'x' %}", "the statement 'include' is not supported (line 2, column 6)");
    refused_text("{% import 'x' as y %}", "'import' is not supported (line 1, column 4)");
    refused_text("{% extends 'x' %}", "'extends' is not supported");
    refused_text("{% block x %}{% endblock %}", "'block' is not supported");
    refused_text("a\n{{ x | urlize }}", "no filter named 'urlize' (line 2, column 8)");
    refused_text("{{ x | random }}", "no filter named 'random'");
    refused_text("{{ x is nosuch }}", "no test named 'nosuch' (line 1, column 9)");
    refused_text("{{ 'x'.encode() }}", "the method 'encode' of 'str' is not supported");
    refused_text("{{ lipsum() }}", "the function 'lipsum' is not supported");
    refused_text("{{ ok }}\n{% if 1 %}\n{{ é.x }}{% endif %}", "is undefined (line 3, column 5)");
    refused_text("{% if x %}",
                 "unexpected end of the template; 'elif' was looked for, to close 'if' of line 1");
}

/* ---- origins ---- */

/* The result with a person's parts in brackets. */
static void origins(const char *source, const char *wanted) {
    static const char context[] = "{\"messages\":[{\"role\":\"user\",\"content\":\" P<|q|> "
                                  "\"},{\"role\":\"boss\",\"content\":\"x,y\"}],\"n\":12,"
                                  "\"bos_token\":\"<s>\",\"d\":{\"k\":[1,\"v\"]},\"u\":\"\\u00e9\\u00df\"}";
    struct jinja_result result;
    struct err err = {0};
    if (render(source, strlen(source), context, &result, &err)) fail_msg("%s: %s", source, err.text);
    struct buf text = {0};
    for (size_t i = 0; i < result.n_segments; i++) {
        if (!result.segments[i].from_template) buf_putc(&text, '[');
        buf_append(&text, result.segments[i].bytes, result.segments[i].len);
        if (!result.segments[i].from_template) buf_putc(&text, ']');
    }
    buf_puts(&text, "");
    if (strcmp(text.data ? text.data : "", wanted) != 0)
        fail_msg("%s\n  found    %s\n  expected %s", source, text.data, wanted);
    buf_free(&text);
    jinja_result_free(&result);
}

static void every_byte_knows_its_origin(void **state) {
    (void)state;
    origins("a{{ messages[0].content }}b", "a[ P<|q|> ]b");
    origins("{{ '<|' + messages[0].role + '|>' }}", "<|user|>");
    origins("{{ '<|' + messages[1].role + '|>' }}", "<|[boss]|>");
    origins("{{ bos_token }}{{ '<s>' }}", "<s><s>");
    origins("{{ messages[0].content | trim ~ '!' }}", "[P<|q|>]!");
    origins("{{ (messages[0].content ~ '!')[1:] }}", "[P<|q|> ]!");
    origins("{{ ('a' ~ messages[1].content ~ 'b') | upper }}", "A[X,Y]B");
    origins("{{ ('a' ~ u ~ 'b') | upper }}", "A[\xC3\x89SS]B");
    origins("{{ ('a' ~ u ~ 'b') | reverse }}", "b[\xC3\x9F\xC3\xA9]a");
    origins("{{ messages[1].content.split(',') | join('-') }}", "[x]-[y]");
    origins("{{ messages[1].content.replace(',', '<|') }}", "[x]<|[y]");
    origins("{{ 'a,b'.replace(',', messages[1].content) }}", "a[x,y]b");
    origins("{{ '%s|%5s|%d' % (messages[1].content, 'a', n) }}", "[x,y]|    a|[12]");
    origins("{{ '{}:{}'.format(messages[1].content, 'z') }}", "[x,y]:z");
    origins("{{ d | tojson }}", "[{\"k\": [1, \"v\"]}]");
    origins("{{ {'k': messages[1].content} | tojson }}", "{\"k\": [\"x,y\"]}");
    origins("{{ [messages[1].content, 'a'] }}", "[['x,y'], 'a']"); /* the first bracket is the list's own */
    origins("{{ n }}{{ n + 1 }}{{ 5 }}", "[1213]5");
    origins("{{ messages | length }}", "2");
    origins("{% set x %}a{{ messages[1].content }}b{% endset %}{{ x }}{{ x | length }}", "a[x,y]b5");
    origins("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(messages[1].content) }}", "<[x,y]>");
    origins("{% for c in messages[1].content %}{{ c }}.{% endfor %}", "[x].[,].[y].");
    origins("{{ messages[1].content | indent(2, true) }}", "  [x,y]");
    origins("{{ messages[1].content[::-1] }}{{ messages[1].content * 2 }}", "[y,xx,yx,y]");
    origins("{{ messages[1].content.partition(',')[0] }}{{ messages[1].content | e }}", "[xx,y]");
    origins("{{ messages[1].content | string | safe | trim | capitalize | title }}", "[X,y]");
    origins("{{ messages[1].content.center(7, '*') }}", "**[x,y]**");
    origins("{{ ['a', messages[1].content] | map('upper') | join }}", "A[X,Y]");
    origins("{{ ('{\"a\": \"' ~ messages[1].content ~ '\"}') | from_json }}", "[{'a': 'x,y'}]");
    origins("{{ messages[1].content | list | first }}{{ messages[1].content | last }}", "[xy]");
    origins("{% set s = 'a' %}{% set t = s ~ messages[1].content %}{% set v = s ~ 'b' %}{{ t }}{{ v }}{{ t ~ "
            "'c' }}",
            "a[x,y]aba[x,y]c");
}

/* ---- contexts ---- */

static void variables_are_read(void **state) {
    (void)state;
    static const char source[] =
        "{{ a is true }}{{ b is none }}{{ c + 1 }}{{ d }}{{ e[0] }}{{ add_generation_prompt }}{{ messages }}";
    struct jinja_template *template;
    struct jinja_result result;
    struct err err = {0};
    struct jinja_context *context = jinja_context_new();
    assert_int_equal(jinja_set_variable(context, "a", "True", &err), 0);
    assert_int_equal(jinja_set_variable(context, "b", "none", &err), 0);
    assert_int_equal(jinja_set_variable(context, "c", "41", &err), 0);
    assert_int_equal(jinja_set_variable(context, "d", "plain words", &err), 0);
    assert_int_equal(jinja_set_variable(context, "e", "[\"x\"]", &err), 0);
    assert_int_equal(jinja_set_bool(context, "add_generation_prompt", false, &err), 0);
    assert_int_equal(jinja_add_message(context, "user", "\xFF\xFE", 2, &err), 0);
    assert_int_equal(jinja_parse(source, sizeof source - 1, &template, &err), 0);
    for (int i = 0; i < 2; i++) { /* a second render finds everything as it was */
        assert_int_equal(jinja_render(template, context, &clock_time, &result, &err), 0);
        assert_string_equal(result.text,
                            "TrueTrue42plain wordsxFalse[{'role': 'user', 'content': '\\udcff\\udcfe'}]");
        jinja_result_free(&result);
    }
    jinja_free(template);
    jinja_context_free(context);
}

static void bad_contexts_are_refused(void **state) {
    (void)state;
    struct jinja_result result;
    struct err err = {0};
    assert_int_not_equal(render("x", 1, "[1]", &result, &err), 0);
    assert_non_null(strstr(err.text, "must be a JSON object"));
    assert_int_not_equal(render("x", 1, "{\"a\":", &result, &err), 0);
    char *deep = repeated("{\"a\":", "[", 500, "");
    char *whole = repeated(deep, "]", 500, "}");
    assert_int_not_equal(render("x", 1, whole, &result, &err), 0);
    assert_non_null(strstr(err.text, "levels of data"));
    free(deep), free(whole);
}

/* What the fuzzers found worth keeping: no sanitizer may speak, and segments are the text. */
static void corpus_is_quiet(void **state) {
    (void)state;
    glob_t found = {0};
    assert_int_equal(glob(TEST_DATA "/../fuzz/corpus/jinja_*/*", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        static char source[1 << 17];
        FILE *file = fopen(found.gl_pathv[i], "rb");
        assert_non_null(file);
        size_t len = fread(source, 1, sizeof source, file), at = 0;
        fclose(file);
        struct jinja_result result;
        struct err err = {0};
        if (render(source, len, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"list\":[1,\"b\"]}",
                   &result, &err) == STATUS_OK)
            for (size_t k = 0; k < result.n_segments; at += result.segments[k++].len)
                assert_ptr_equal(result.segments[k].bytes, result.text + at);
        assert_int_equal(at, result.len);
        jinja_result_free(&result);
    }
    assert_true(found.gl_pathc > 100);
    globfree(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_contexts),
        cmocka_unit_test(as_jinja2),
        cmocka_unit_test(hostile_sources_end),
        cmocka_unit_test(hostile_renders_end),
        cmocka_unit_test(long_texts_are_refused),
        cmocka_unit_test(legal_depth_works),
        cmocka_unit_test(missing_features_have_names),
        cmocka_unit_test(every_byte_knows_its_origin),
        cmocka_unit_test(variables_are_read),
        cmocka_unit_test(bad_contexts_are_refused),
        cmocka_unit_test(corpus_is_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
