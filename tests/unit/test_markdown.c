/* Markdown on the screen: what each construct looks like, and that a text fed in portions looks like the
 * whole. */
#include "base/mem.h"
#include "ui/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *style_mark(enum style style) {
    switch (style) {
    case STYLE_TEXT: return "";
    case STYLE_STRONG: return "*";
    case STYLE_ITALIC: return "/";
    case STYLE_CODE: return "`";
    case STYLE_CODE_BLOCK: return "#";
    case STYLE_HEADING: return "=";
    case STYLE_DIM: return "-";
    case STYLE_THOUGHT: return "?";
    default: return "!";
    }
}

/* "indent.hang.quote kind|text": runs of a style begin and end with its mark. */
static const char *picture(const struct markdown *markdown) {
    static struct buf out;
    buf_clear(&out);
    buf_puts(&out, "");
    for (size_t i = 0; i < markdown->n_lines; i++) {
        const struct markdown_line *line = &markdown->lines[i];
        size_t end = i + 1 < markdown->n_lines ? line[1].start - 1 : markdown->text.len, run = 0;
        if (line->indent || line->hang) buf_printf(&out, "%u.%u", line->indent, line->hang);
        for (int bar = 0; bar < line->quote; bar++) buf_putc(&out, '>');
        buf_puts(&out, line->kind == MARKDOWN_RULE ? "---" : "|");
        const char *mark = "";
        for (size_t at = line->start; at < end; at++) {
            const char *next = style_mark(markdown_style(markdown, at, &run));
            if (next != mark) buf_printf(&out, "%s%s", mark, next);
            mark = next;
            buf_putc(&out, markdown->text.data[at]);
        }
        buf_printf(&out, "%s\n", mark);
    }
    return out.data;
}

static const char *shown(const char *text) {
    static struct markdown markdown;
    struct ui_message message = {.id = 1, .text = text, .len = strlen(text)};
    markdown_clear(&markdown);
    markdown_feed(&markdown, &message, message.len, false);
    return picture(&markdown);
}

#define BAR "\xE2\x94\x82 "
#define LINE "\xE2\x94\x80"
#define CROSS LINE "\xE2\x94\xBC" LINE

static void constructs(void **state) {
    (void)state;
    static const struct {
        const char *text, *looks;
    } cases[] = {
        {"plain words", "|plain words\n"},
        {"a **bold** and *slanted* word, `x = *y*`", "|a *bold* and /slanted/ word, `x = *y*`\n"},
        {"one\ntwo\n\n\n\nthree", "|one\n|two\n|\n|three\n"},
        {"# Title\ntext", "|=Title=\n|text\n"},
        {"text\n\n## Title\n\ntext", "|text\n|\n|=Title=\n|\n|text\n"},
        {"```python\nx = 1\n\n  y = '*'\n```\nafter",
         "|-[1] python-\n2.4|#x = 1#\n2.2|\n2.6|#  y = '*'#\n|after\n"},
        {"so:\n\n```\nopen", "|so:\n|\n|-[1] code-\n2.4|#open#\n"},
        {"- one\n- two\n  more\n  - inner\n- three",
         "0.2|-\xE2\x80\xA2 -one\n0.2|-\xE2\x80\xA2 -two\n2.2|more\n2.4|-\xE2\x80\xA2 "
         "-inner\n0.2|-\xE2\x80\xA2 -three\n"},
        {"9. nine\n10. ten\n\nafter", "0.3|-9. -nine\n0.4|-10. -ten\n|\n|after\n"},
        {"- [x] done\n- [ ] not", "0.6|-\xE2\x80\xA2 [x] -done\n0.6|-\xE2\x80\xA2 [ ] -not\n"},
        {"1. do:\n   ```sh\n   ls\n   ```\n2. end", "0.3|-1. -do:\n3.3|-[1] sh-\n5.7|#ls#\n0.3|-2. -end\n"},
        {"> said\n> twice\n> > deeper", "2.2>|said\n2.2>|twice\n4.4>>|deeper\n"},
        {"a\n\n---\n\nb", "|a\n|\n---\n|\n|b\n"},
        {"| a | b |\n|---|---|\n| **1** | 2 |\n\nend",
         "0.4|*a*- " BAR "-*b*\n|-" LINE CROSS LINE "-\n0.4|*1*- " BAR "-2\n|\n|end\n"},
        {"| n | left | mid |\n|--:|:--|:-:|\n| 1 | `x|y` \\| z | m |\n| 22 | |\n| 333 | "
         "\xE6\xBC\xA2\xE5\xAD\x97 | wide |\n",
         "0.16|-  -*n*- " BAR "-*left*-    " BAR
         "-*mid*\n|-" LINE LINE LINE CROSS LINE LINE LINE LINE LINE LINE LINE CROSS LINE LINE LINE
         "-\n0.16|-  -1- " BAR "-`x|y` | z- " BAR " -m\n0.16|- -22- " BAR "        " BAR "  -\n0.16|333- " BAR
         "-\xE6\xBC\xA2\xE5\xAD\x97-    " BAR "-wide\n"},
        {"| a | b |\n|---|--", "|| a | b |\n||---|--\n"}, /* not yet */
        {"| no | table |\n| at | all |", "|| no | table |\n|| at | all |\n"},
        {"see [here](http://x.y/z) and <http://a.b>", "|see here- (http://x.y/z)- and http://a.b\n"},
        {"![alt](p.png)", "|alt- (p.png)-\n"},
        {"a &lt; b &amp;&nbsp;c &unknown; <b>x</b>", "|a < b & c &unknown; <b>x</b>\n"},
        {"2 * 3 * 4 and snake_case_word", "|2 * 3 * 4 and snake_case_word\n"},
        {"\\*not\\* 1\\. a", "|*not* 1. a\n"},
        {"", ""},
        {"\n\n\n", ""},
        {"-", "0.2|-\xE2\x80\xA2 -\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(shown(cases[i].text), cases[i].looks))
            fail_msg("%s\nfound\n%s\nexpected\n%s", cases[i].text, shown(cases[i].text), cases[i].looks);
}

static void thinking(void **state) {
    (void)state;
    static const char text[] = "<think>\nlet me *see*\nnow\n</think>\n\nThe **answer**.";
    struct ui_range range = {0, (uint32_t)(strstr(text, "</think>") + 8 - text)};
    struct ui_message message = {.id = 1, .text = text, .thinking = &range, .n_thinking = 1};
    struct markdown markdown = {0};
    uint32_t end = range.end;
    range.end = 12;
    markdown_feed(&markdown, &message, 12, true);
    assert_string_equal(picture(&markdown), "|?(thinking, 1 word; Alt+k shows it; Alt+a answers now)?\n");
    range.end = end;
    markdown_feed(&markdown, &message, strlen(text), true);
    assert_string_equal(picture(&markdown), "|?(thought, 4 words; Alt+k shows it)?\n|\n|The *answer*.\n");
    markdown_clear(&markdown);
    markdown.unfolded = true;
    markdown_feed(&markdown, &message, strlen(text), false);
    assert_string_equal(picture(&markdown),
                        "|?(thought, 4 words)?\n2.2>|?let me *see*?\n2.2>|?now?\n|\n|The *answer*.\n");
    static const char none[] = "<think>\n\n</think>\n\nHello";
    range = (struct ui_range){0, 17};
    message.text = none;
    markdown_clear(&markdown);
    markdown_feed(&markdown, &message, strlen(none), false);
    assert_string_equal(picture(&markdown), "|Hello\n");
    markdown_free(&markdown);
}

/* Where the prompt opened the thought, only its end tells: what was shown as an answer becomes one. */
static void a_thought_is_found_late(void **state) {
    (void)state;
    static const char text[] = "let me see\n\nit is\n\nso\n</think>\n\nThe **answer**.";
    struct ui_range range = {0, 0};
    struct ui_message message = {.id = 1, .role = UI_ROLE_BOT, .open = true, .text = text, .len = 22};
    struct chat_entry entry = {0};
    rows_update(&entry, &message, 40, ROWS_MARKDOWN);
    assert_int_equal(entry.markdown.settled.taken, 19);
    assert_string_equal(picture(&entry.markdown), "|let me see\n|\n|it is\n|\n|so\n");
    range.end = (uint32_t)(strstr(text, "</think>") + 8 - text);
    message.thinking = &range;
    message.n_thinking = 1;
    message.len = strlen(text);
    rows_update(&entry, &message, 40, ROWS_MARKDOWN);
    assert_string_equal(picture(&entry.markdown),
                        "|?(thought, 6 words; Alt+k shows it)?\n|\n|The *answer*.\n");
    assert_int_equal(entry.n_rows, 3);
    rows_free(&entry);
}

static const char *const bits[] = {
    "\n",   "\n\n",  "```\n", "```c\n",   "~~~",      "- ",           "1. ",   "> ",
    "# ",   "word ", "**",    "*",        "`",        "    ",         "| a |", "|-|",
    "[x](", ")",     "\\",    "<b>",      "---",      "\t",           "\r\n",  "&lt;",
    "====", "_",     "!",     "\xF0\x9F", "\x91\xA9", "\xE6\xBC\xA2", " ",     "long_word_without_an_end"};

static void same(const struct markdown *a, const struct markdown *b, const char *text) {
    bool equal = a->text.len == b->text.len && a->n_lines == b->n_lines && a->n_runs == b->n_runs &&
                 (!a->text.len || !memcmp(a->text.data, b->text.data, a->text.len)) &&
                 (!a->n_lines || !memcmp(a->lines, b->lines, a->n_lines * sizeof *a->lines));
    for (size_t i = 0; equal && i < a->n_runs; i++)
        equal = a->runs[i].end == b->runs[i].end && a->runs[i].style == b->runs[i].style;
    if (!equal) {
        char *whole = xstrdup(picture(b));
        fail_msg("%s\nin portions\n%s\nwhole\n%s", text, picture(a), whole);
    }
}

/* Any portions give what the whole gives; what was settled stays. */
static void portions_equal_the_whole(void **state) {
    (void)state;
    uint32_t seed = 7;
    struct markdown grown = {0}, whole = {0};
    for (int round = 0; round < 400; round++) {
        struct buf text = {0};
        size_t wanted = round % 8 ? 300 : 12000, fed = 0;
        markdown_clear(&grown);
        while (text.len < wanted) {
            seed = seed * 1664525 + 1013904223;
            buf_puts(&text, bits[(seed >> 16) % (sizeof bits / sizeof *bits)]);
            if ((seed >> 8) % 16 > (wanted > 1000 ? 0 : 8)) continue;
            struct ui_message message = {.id = 1, .text = text.data, .len = text.len, .open = true};
            struct markdown_mark before = grown.settled;
            struct buf kept = {0};
            buf_append(&kept, grown.text.data, before.text);
            markdown_feed(&grown, &message, text.len, true);
            assert_true(grown.settled.text >= before.text && grown.settled.taken >= before.taken);
            assert_true(text.len - grown.settled.taken <= MARKDOWN_CHUNK);
            if (kept.len) assert_memory_equal(kept.data, grown.text.data, kept.len);
            buf_free(&kept);
            fed++;
        }
        assert_true(fed > 0);
        struct ui_message message = {.id = 1, .text = text.data, .len = text.len};
        markdown_feed(&grown, &message, text.len, false);
        markdown_clear(&whole);
        markdown_feed(&whole, &message, text.len, false);
        same(&grown, &whole, text.data);
        buf_free(&text);
    }
    markdown_free(&grown);
    markdown_free(&whole);
}

static void rows_of(struct buf *out, const char *text, int width) {
    struct chat_entry entry = {0};
    struct ui_message message = {.id = 1, .role = UI_ROLE_BOT, .text = text, .len = strlen(text)};
    rows_update(&entry, &message, width, ROWS_MARKDOWN);
    for (size_t i = 0; i < entry.n_shown; i++) {
        buf_printf(out, "%*s", entry.rows[i].indent, "");
        buf_append(out, entry.markdown.text.data + entry.rows[i].start,
                   entry.rows[i].end - entry.rows[i].start);
        buf_putc(out, '\n');
    }
    rows_free(&entry);
}

static void rows_hang(void **state) {
    (void)state;
    struct buf out = {0};
    rows_of(&out,
            "- one two three four five\n\n> a b c d e f g h i j k l m n\n\n```\nlong code line here\n```",
            14);
    assert_string_equal(
        out.data, "\xE2\x80\xA2 one two\n  three four\n  five\n\n  a b c d e f\n  g h i j k l\n  m n\n\n"
                  "[1] code\n  long code\n    line here\n");
    buf_free(&out);
}

static void code_blocks(void **state) {
    (void)state;
    static const char text[] = "a\n```c\nint x;\n\n```\nb\n\n    indented\n\n~~~\ntwo *stars*\n~~~\n";
    struct buf out = {0};
    assert_int_equal(ui_code_block(text, strlen(text), 0, NULL), 3);
    assert_int_equal(ui_code_block(text, strlen(text), 1, &out), 3);
    assert_string_equal(out.data, "int x;\n\n");
    buf_clear(&out);
    ui_code_block(text, strlen(text), 3, &out);
    assert_string_equal(out.data, "two *stars*\n");
    buf_clear(&out);
    ui_code_block(text, strlen(text), 4, &out);
    assert_int_equal(out.len, 0);
    assert_int_equal(ui_code_block("", 0, 1, &out), 0);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constructs),
        cmocka_unit_test(thinking),
        cmocka_unit_test(a_thought_is_found_late),
        cmocka_unit_test(portions_equal_the_whole),
        cmocka_unit_test(rows_hang),
        cmocka_unit_test(code_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
