/* Messages to prompts: the file's template, ChatML, refusals and what can be done about them. */
#include "infer/chat_template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char strict[] =
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}"
    "{% if add_generation_prompt %}<model>{% if tall %}tall {% endif %}{% endif %}";

static struct message said(const char *role, const char *text) {
    return (struct message){.role = role, .text = text, .len = strlen(text)};
}

static struct chat_template *make(const char *text, bool has_chatml) {
    return chat_template_new(&(struct chat_template_source){.file = "m.gguf",
                                                            .text = {text, strlen(text)},
                                                            .bos = {"<s>", 3},
                                                            .eos = {"</s>", 4},
                                                            .has_chatml = has_chatml});
}

static struct chat_template_input input(const struct message *messages, size_t n, bool go_on) {
    return (struct chat_template_input){.messages = messages, .n = n, .continue_last = go_on};
}

/* The prompt with a person's parts in brackets. */
static void expect_input(const struct chat_template *t, const struct chat_template_input *in,
                         const char *wanted) {
    struct prompt prompt;
    struct err err = {0};
    struct buf text = {0};
    if (chat_template_render(t, in, &prompt, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < prompt.n; i++) {
        if (!prompt.pieces[i].from_template) buf_putc(&text, '[');
        buf_append(&text, prompt.text.data + prompt.pieces[i].begin, prompt.pieces[i].len);
        if (!prompt.pieces[i].from_template) buf_putc(&text, ']');
    }
    buf_puts(&text, "");
    assert_string_equal(text.data, wanted);
    buf_free(&text);
    prompt_free(&prompt);
}

static void expect(const struct chat_template *t, const struct message *messages, size_t n, bool go_on,
                   const char *wanted) {
    struct chat_template_input in = input(messages, n, go_on);
    expect_input(t, &in, wanted);
}

static void expect_refusal(const struct chat_template *t, const struct message *messages, size_t n,
                           enum status status, const char *words) {
    struct prompt prompt;
    struct err err = {0};
    struct chat_template_input in = input(messages, n, false);
    assert_int_equal(chat_template_render(t, &in, &prompt, &err), status);
    if (!strstr(err.text, words)) fail_msg("found: %s; expected: %s", err.text, words);
    assert_int_equal(prompt.n, 0);
}

static void file_template_is_used(void **state) {
    (void)state;
    struct message chat[] = {said("user", " hi "), said("assistant", "yo"), said("user", "<s>")};
    struct chat_template *t = make(strict, true);
    assert_string_equal(chat_template_name(t), "file");
    expect(t, chat, 3, false, "<s><user>[hi]</><assistant>[yo]</><user>[<s>]</><model>");
    expect(t, chat, 2, true, "<s><user>[hi]</><model>[yo]"); /* goes on right behind the generation prompt */
    chat_template_free(t);
    struct chat_template_input in = input(chat, 1, false);
    t = make(strict, true);
    in.variables =
        "{\"tall\": true, \"bos_token\": \"x\", \"messages\": [], \"add_generation_prompt\": false}";
    expect_input(t, &in, "<s><user>[hi]</><model>tall ");
    in.variables = "{\"tall\": false}"; /* each prompt has its own */
    expect_input(t, &in, "<s><user>[hi]</><model>");
    chat_template_free(t);
}

static void chatml_is_the_fallback(void **state) {
    (void)state;
    struct message chat[] = {said("system", "s"), said("user", "<|im_end|>"), said("assistant", "an")};
    struct chat_template *t = make("", true);
    assert_string_equal(chat_template_name(t), "ChatML");
    expect(t, chat, 2, false,
           "<|im_start|>system\n[s]<|im_end|>\n<|im_start|>user\n[<|im_end|>]<|im_end|>\n<|im_start|>"
           "assistant\n");
    expect(t, chat, 3, true,
           "<|im_start|>system\n[s]<|im_end|>\n<|im_start|>user\n[<|im_end|>]<|im_end|>\n<|im_start|>"
           "assistant\n[an]");
    chat_template_free(t);
    t = make("", false);
    assert_string_equal(chat_template_name(t), "none");
    expect_refusal(t, chat, 2, STATUS_UNSUPPORTED, "--chat-template FILE");
    chat_template_free(t);
}

static void refusals_are_told_apart(void **state) {
    (void)state;
    struct message chat[] = {said("system", "be brief"), said("user", "hi"), said("assistant", "yo")};
    struct message stranger[] = {said("<|im_end|>", "x")};
    struct chat_template *t = make(strict, false);
    expect_refusal(t, chat, 2, STATUS_USAGE, "System role not supported");
    expect_refusal(t, stranger, 1, STATUS_USAGE, "expected system, user or assistant");
    struct chat_template_input both = input(chat, 2, false), alone = input(chat + 1, 1, false);
    assert_true(chat_template_wants_fold(t, &both));
    assert_false(chat_template_wants_fold(t, &alone));
    struct folded folded;
    messages_fold(chat, 3, &folded);
    expect(t, folded.messages, folded.n, true, "<s><user>[be brief\n\nhi]</><model>[yo]");
    folded_free(&folded);
    chat_template_free(t);
    t = make("{{ raise_exception('never') }}", false);
    assert_false(chat_template_wants_fold(t, &both));
    chat_template_free(t);
    t = make("{{ messages[0].nope.x }}", false);
    expect_refusal(t, chat, 1, STATUS_FAILED,
                   "m.gguf: chat template: 'dict object' has no attribute 'nope' (line 1, column 20)");
    chat_template_free(t);
    t = make("{% include 'x' %}", true);
    expect_refusal(t, chat, 1, STATUS_UNSUPPORTED,
                   "m.gguf: chat template: the statement 'include' is not supported");
    chat_template_free(t);
}

static void bad_variables_are_refused(void **state) {
    (void)state;
    struct message chat[] = {said("system", "be brief"), said("user", "hi")};
    static const char *const wrong[] = {"[1]", "{", "3"};
    struct chat_template *t = make("x", false);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct prompt prompt;
        struct err err = {0};
        struct chat_template_input in = input(chat, 2, false);
        in.variables = wrong[i];
        assert_int_equal(chat_template_render(t, &in, &prompt, &err), STATUS_USAGE);
        assert_non_null(strstr(err.text, "template variables"));
        assert_int_equal(prompt.n, 0);
        assert_false(chat_template_wants_fold(t, &in)); /* folding would not help */
    }
    chat_template_free(t);
}

static void the_date_is_the_conversations(void **state) {
    (void)state;
    struct message chat[] = {said("user", "hi")};
    struct chat_template *t = make("{{ strftime_now('%d %b %Y') }}", false);
    struct chat_template_input in = input(chat, 1, false);
    in.now = (struct tm){.tm_year = 126, .tm_mon = 2, .tm_mday = 5};
    for (int i = 0; i < 2; i++) expect_input(t, &in, "05 Mar 2026");
    in.now.tm_mday++;
    expect_input(t, &in, "06 Mar 2026");
    chat_template_free(t);
}

/* More than a template can put together is told as what it is: no context holds it. */
static void what_no_context_holds_is_refused(void **state) {
    (void)state;
    static const size_t sizes[] = {9 << 20, 17 << 20, 33 << 20, 70 << 20};
    char *text = malloc(sizes[3]);
    memset(text, 'a', sizes[3]);
    struct chat_template *t = make("", true);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct message chat[] = {said("user", "hi"), {.role = "user", .text = text, .len = sizes[i]}};
        expect_refusal(t, chat, 2, STATUS_CONTEXT_FULL, "the messages have");
        struct message many[9];
        for (size_t k = 0; k < 9; k++)
            many[k] = (struct message){.role = "user", .text = text, .len = sizes[i] / 9};
        expect_refusal(t, many, 9, STATUS_CONTEXT_FULL, "the messages have");
    }
    struct prompt prompt;
    struct err err = {0};
    struct message largest[] = {{.role = "user", .text = text, .len = 8 << 20}};
    struct chat_template_input in = input(largest, 1, false);
    if (chat_template_render(t, &in, &prompt, &err)) fail_msg("%s", err.text);
    assert_int_equal(prompt.pieces[1].len, largest[0].len);
    prompt_free(&prompt);
    chat_template_free(t);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_template_is_used),         cmocka_unit_test(chatml_is_the_fallback),
        cmocka_unit_test(refusals_are_told_apart),       cmocka_unit_test(bad_variables_are_refused),
        cmocka_unit_test(the_date_is_the_conversations), cmocka_unit_test(what_no_context_holds_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
