/* The conversation: what drawing costs, scrolling, growing, resizing. */
#include "base/mem.h"
#include "ui/chat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 20, COLUMNS = 60 };

struct talk {
    struct chat chat;
    struct canvas canvas;
    struct ui_model model;
    struct ui_message *messages;
    struct buf last; /* text of the last message */
};

static const char *picture(struct talk *talk) {
    static struct buf out;
    buf_clear(&out);
    canvas_clear(&talk->canvas);
    chat_draw(&talk->chat, &talk->model, COLOUR_MODE_PROB, &talk->canvas,
              (struct rect){0, 0, talk->canvas.rows, talk->canvas.columns});
    canvas_dump(&talk->canvas, false, &out);
    return out.data;
}

static struct talk *talk_new(size_t n) {
    struct talk *talk = xcalloc(1, sizeof *talk);
    talk->messages = xcalloc(n, sizeof *talk->messages);
    for (size_t i = 0; i < n; i++) {
        char *text = xmalloc(32);
        snprintf(text, 32, "message %zu", i);
        talk->messages[i] =
            (struct ui_message){.id = i + 1, .role = UI_ROLE_YOU, .text = text, .len = strlen(text)};
    }
    talk->model = (struct ui_model){.messages = talk->messages, .n_messages = n};
    canvas_resize(&talk->canvas, ROWS, COLUMNS);
    return talk;
}

static void talk_free(struct talk *talk) {
    for (size_t i = 0; i < talk->model.n_messages; i++)
        if (talk->messages[i].text != talk->last.data) free((char *)talk->messages[i].text);
    buf_free(&talk->last);
    free(talk->messages);
    chat_free(&talk->chat);
    canvas_free(&talk->canvas);
    free(talk);
}

/* Append to the last message, which becomes an answer that is still being said. */
static void say(struct talk *talk, const char *text) {
    struct ui_message *message = &talk->messages[talk->model.n_messages - 1];
    if (message->text != talk->last.data || !talk->last.data) free((char *)message->text);
    buf_puts(&talk->last, text);
    message->role = UI_ROLE_BOT;
    message->open = true;
    message->text = talk->last.data;
    message->len = talk->last.len;
}

/* 100,000 tokens in one answer, drawn after each of the last thousand: what a frame breaks into rows and
 * writes does not depend on how much was said before. */
static void a_frame_costs_what_is_visible(void **state) {
    (void)state;
    struct talk *talk = talk_new(3);
    for (int i = 0; i < 99000; i++) say(talk, i % 40 == 39 ? ".\n" : " word");
    picture(talk);
    uint64_t before = talk->chat.n_wrapped;
    for (int i = 0; i < 1000; i++) {
        say(talk, i % 40 == 39 ? ".\n" : " word");
        uint64_t wrapped = talk->chat.n_wrapped;
        picture(talk);
        assert_true(talk->chat.n_wrapped - wrapped <= 6 * COLUMNS);
        assert_true(talk->canvas.n_put <= 2 * ROWS * COLUMNS);
    }
    assert_true(talk->chat.n_wrapped - before <= 1000 * 6 * COLUMNS);
    talk_free(talk);
}

/* The cursor of inspect mode over 100,000 tokens: nothing is broken into rows again, wherever it goes. */
static void the_cursor_costs_what_is_visible(void **state) {
    (void)state;
    enum { N = 100000 };
    struct talk *talk = talk_new(3);
    struct ui_token *tokens = xcalloc(N, sizeof *tokens);
    for (uint32_t i = 0; i < N; i++) {
        say(talk, i % 40 == 39 ? ".\n" : " word");
        tokens[i] = (struct ui_token){.end = (uint32_t)talk->last.len, .prob = 0.5f, .rank = 1};
    }
    struct ui_message *message = &talk->messages[2];
    message->open = false;
    message->tokens = tokens;
    message->n_tokens = N;
    struct ui_inspect inspect = {.message = message->id};
    talk->model.inspect = &inspect;
    picture(talk);
    uint64_t before = talk->chat.n_wrapped;
    for (size_t i = 0; i < 500; i++) {
        inspect.token = i % 2 ? (i * 7919) % N : N - 1 - i; /* far away and back */
        picture(talk);
        assert_true(talk->canvas.n_put <= 3 * ROWS * COLUMNS);
        assert_true(talk->canvas.cursor_row >= 0);
    }
    assert_int_equal(talk->chat.n_wrapped, before);
    talk_free(talk);
    free(tokens);
}

static void only_visible_messages_are_broken(void **state) {
    (void)state;
    struct talk *talk = talk_new(20000);
    picture(talk);
    assert_true(talk->chat.n_wrapped < 16 * (ROWS + 2));
    uint64_t before = talk->chat.n_wrapped;
    picture(talk);
    assert_int_equal(talk->chat.n_wrapped, before);
    canvas_resize(&talk->canvas, ROWS, COLUMNS - 7); /* a new width: again only what is visible */
    picture(talk);
    assert_true(talk->chat.n_wrapped - before < 16 * (ROWS + 2));
    talk_free(talk);
}

/* Rows kept while an answer grows are the rows of the whole answer. */
static void growing_equals_whole(void **state) {
    (void)state;
    static const char *const bits[] = {" a",
                                       "word",
                                       "\n",
                                       "\xF0\x9F\x91",
                                       "\xA9",
                                       "\xE2\x80\x8D",
                                       " \xE6\xBC\xA2",
                                       "\r",
                                       "e\xCC",
                                       "\x81",
                                       "  ",
                                       "\xF0\x9F\x8F\xB4\xF3\xA0\x81\xA7",
                                       "\xF3\xA0\x81\xA2",
                                       "\xF3\xA0\x81\xBF"};
    uint32_t seed = 3;
    struct talk *talk = talk_new(2), *fresh = talk_new(2);
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1664525 + 1013904223;
        const char *bit = bits[(seed >> 16) % (sizeof bits / sizeof *bits)];
        say(talk, bit);
        say(fresh, bit);
        char *grown = xstrdup(picture(talk));
        if (i % 10 == 0) {
            chat_free(&fresh->chat);
            assert_string_equal(grown, picture(fresh));
        }
        free(grown);
    }
    talk_free(talk);
    talk_free(fresh);
}

static void follows_until_scrolled(void **state) {
    (void)state;
    struct talk *talk = talk_new(100);
    assert_non_null(strstr(picture(talk), "message 99\n"));
    assert_false(talk->chat.stays);
    chat_scroll(&talk->chat, -10);
    const char *view = picture(talk);
    assert_null(strstr(view, "message 99"));
    assert_non_null(strstr(view, "11 lines below, End to follow"));
    char *before = xstrdup(view);
    before[strcspn(before, "\n")] = 0;
    say(talk, "\nnew\nnew"); /* it stays where it is while more is said */
    view = picture(talk);
    assert_memory_equal(view, before, strlen(before));
    assert_int_equal(talk->chat.rows_below, 13);
    free(before);
    chat_scroll(&talk->chat, 1000);
    picture(talk);
    assert_false(talk->chat.stays);
    chat_scroll_top(&talk->chat);
    assert_non_null(strstr(picture(talk), "message 0\n"));
    chat_scroll(&talk->chat, -5);
    assert_memory_equal(picture(talk), " you  message 0\n", 16);
    chat_follow(&talk->chat);
    assert_non_null(strstr(picture(talk), "new\n"));
    talk_free(talk);
}

static void the_top_row_stays_on_resize(void **state) {
    (void)state;
    struct talk *talk = talk_new(50);
    struct buf long_text = {0};
    for (int i = 0; i < 200; i++) buf_printf(&long_text, "w%d ", i);
    free((char *)talk->messages[20].text);
    talk->messages[20].len = long_text.len;
    talk->messages[20].text = buf_take(&long_text);
    picture(talk);
    chat_scroll_top(&talk->chat);
    picture(talk);
    chat_scroll(&talk->chat, 40 + 8); /* into the long one */
    picture(talk);
    size_t offset = talk->chat.top_offset;
    assert_true(offset > 0);
    for (int columns = 100; columns > 20; columns -= 13) {
        canvas_resize(&talk->canvas, ROWS, columns);
        picture(talk);
        const struct chat_row *row = &talk->chat.entries[20].rows[talk->chat.top_row];
        assert_int_equal(talk->chat.top_message, 20);
        assert_true(row->start <= offset && offset < row->next);
    }
    talk_free(talk);
}

static void changed_and_vanished_messages(void **state) {
    (void)state;
    struct talk *talk = talk_new(30);
    picture(talk);
    memcpy((char *)talk->messages[29].text, "MESSAGE", 7);
    talk->messages[29].version++;
    assert_non_null(strstr(picture(talk), "MESSAGE 29"));
    chat_scroll(&talk->chat, -30);
    picture(talk);
    size_t n = talk->model.n_messages;
    talk->model.n_messages = 2; /* a new chat: what was on top is gone, so it follows */
    assert_non_null(strstr(picture(talk), "message 1\n"));
    assert_false(talk->chat.stays);
    talk->model.n_messages = 0;
    picture(talk);
    talk->model.n_messages = n;
    assert_non_null(strstr(picture(talk), "MESSAGE 29"));
    talk_free(talk);
}

static void found(struct talk *talk, int step, size_t n, uint64_t message, const char *row) {
    talk->chat.find.step = step;
    const char *shown = picture(talk);
    assert_int_equal(talk->chat.find.n, n);
    assert_int_equal(talk->chat.find.message, message);
    if (!strstr(shown, row)) fail_msg("%s is not in view:\n%s", row, shown);
}

/* Matches one after another, around the ends; the view goes along; what is marked is what matched. */
static void a_search_walks_over_its_matches(void **state) {
    (void)state;
    struct talk *talk = talk_new(200);
    say(talk, "two **message** words, and Message\nthree");
    picture(talk);
    find_set(&talk->chat.find, "message", 7);
    picture(talk);
    assert_int_equal(talk->chat.find.count, 201);
    found(talk, 0, talk->chat.find.n, talk->chat.find.message, "message 19");
    find_set(&talk->chat.find, "message 42", 10);
    found(talk, 0, 1, 43, "message 42");
    find_set(&talk->chat.find, "message 1", 9); /* 1, 10..19, 100..198: from where we are */
    found(talk, 0, 12, 101, "message 100");
    found(talk, 1, 13, 102, "message 101");
    found(talk, -1, 12, 101, "message 100");
    found(talk, -1, 11, 20, "message 19");
    for (int i = 0; i < 10; i++)
        found(talk, -1, 10u - (unsigned)i, 19u - (unsigned)i - (i == 9 ? 8 : 0), "message 1");
    found(talk, -1, 110, 199, "message 198");
    found(talk, 1, 1, 2, "message 1");
    find_set(&talk->chat.find, "Message", 7); /* a capital is meant */
    found(talk, 0, 1, 200, "Message");
    size_t marked = 0;
    for (int i = 0; i < talk->canvas.rows * talk->canvas.columns; i++)
        marked += talk->canvas.cells[i].style == STYLE_MATCH_HERE;
    assert_int_equal(marked, 7);
    find_set(&talk->chat.find, "nowhere", 7);
    found(talk, 0, 0, 0, "Message"); /* the view stays */
    find_end(&talk->chat.find);
    chat_follow(&talk->chat);
    assert_non_null(strstr(picture(talk), "three"));
    talk_free(talk);
}

/* While the view stays, what is said below is counted. */
static void new_lines_are_counted(void **state) {
    (void)state;
    struct talk *talk = talk_new(40);
    say(talk, "an answer");
    picture(talk);
    chat_scroll_page(&talk->chat, -1);
    assert_non_null(strstr(picture(talk), "lines below, End to follow"));
    say(talk, "\none\ntwo\nthree");
    assert_non_null(strstr(picture(talk), " 3 new lines, End to follow"));
    chat_scroll(&talk->chat, 1);
    assert_non_null(strstr(picture(talk), "lines below, End to follow"));
    talk_free(talk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_costs_what_is_visible),
        cmocka_unit_test(the_cursor_costs_what_is_visible),
        cmocka_unit_test(only_visible_messages_are_broken),
        cmocka_unit_test(growing_equals_whole),
        cmocka_unit_test(follows_until_scrolled),
        cmocka_unit_test(the_top_row_stays_on_resize),
        cmocka_unit_test(changed_and_vanished_messages),
        cmocka_unit_test(a_search_walks_over_its_matches),
        cmocka_unit_test(new_lines_are_counted),
    };
    return cmocka_run_group_tests_name("views_chat", tests, NULL, NULL);
}
