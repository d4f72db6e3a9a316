/* The screen with anything that it can be given: messages that grow, change, go and come with any bytes,
 * lists, comparisons, scores, searches, clicks, on screens of any size. What is drawn is the other tests'
 * concern; here nothing may be read or written where nothing is. */
#include "base/mem.h"
#include "ui/screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MESSAGES = 6, TEXT_MAX = 1500, TOKENS_MAX = 200, ROWS = 12, CANDIDATES = 20 };

struct talk { /* a message that lives on between drawings */
    struct ui_message message;
    char text[TEXT_MAX];
    struct ui_token tokens[TOKENS_MAX];
    struct ui_range thinking[2];
};

struct walk {
    uint64_t random, last_id;
    struct screen screen;
    struct canvas canvas;
    struct talk talks[MESSAGES];
    struct ui_message shown[MESSAGES];
    void *exact[2 * MESSAGES]; /* their texts and tokens, not a byte longer than they are */
    struct ui_candidate candidates[CANDIDATES];
    struct ui_position position;
    struct ui_inspect inspect;
    struct ui_picker_row rows[ROWS];
    struct ui_picker picker;
    struct ui_compare compare;
    struct ui_score score;
    struct ui_model model;
    float probs[4 * CANDIDATES];
    struct ui_stages stages;
};

static uint32_t draw(struct walk *walk, uint32_t n) {
    walk->random = walk->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(walk->random >> 33) % n;
}

/* Pieces of markdown, of many scripts, of what is no text at all. */
static const char *any_text(struct walk *walk, size_t *len) {
#define PIECE(text)                                                                                          \
    { text, sizeof text - 1 }
    static const struct {
        const char *text;
        size_t len;
    } pieces[] = {PIECE("plain words "),
                  PIECE("\n"),
                  PIECE("\n\n"),
                  PIECE("```c\nint x;\n"),
                  PIECE("```\n"),
                  PIECE("| a | b |\n|---|---|\n| 1 | 2 |\n"),
                  PIECE("1. one\n   - two\n"),
                  PIECE("> quoted\n"),
                  PIECE("**bold** `code` [a](http://b.c) "),
                  PIECE("\xE6\xBC\xA2\xE5\xAD\x97"),
                  PIECE("\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7"),
                  PIECE("e\xCC\x81\xCC\x82\xCC\x83"),
                  PIECE("\xFF\xFE\xC3"),
                  PIECE("\x1b[31m\x07\0\x7f"),
                  PIECE("\t\t"),
                  PIECE("<think>"),
                  PIECE("a_word_that_is_longer_than_any_row_of_a_small_screen_could_ever_hold_in_one_piece "),
                  PIECE("\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D"),
                  PIECE("---\n"),
                  PIECE("# Head\n"),
                  PIECE(" ")};
    size_t i = draw(walk, sizeof pieces / sizeof *pieces);
    *len = pieces[i].len;
    return pieces[i].text;
}

static void grow(struct walk *walk, struct talk *talk) {
    struct ui_message *message = &talk->message;
    size_t len;
    const char *text = any_text(walk, &len);
    if (message->len + len > TEXT_MAX) return;
    memcpy(talk->text + message->len, text, len);
    message->len += len;
    if (message->n_tokens == TOKENS_MAX || !message->tokens) return;
    talk->tokens[message->n_tokens++] =
        (struct ui_token){.end = (uint32_t)message->len - draw(walk, 2) * (len > 1),
                          .prob = (float)draw(walk, 11) / 10 - 0.1f,
                          .entropy = (float)draw(walk, 12),
                          .ms = (float)draw(walk, 100),
                          .rank = draw(walk, 2000),
                          .picked = draw(walk, 9) == 0};
}

static void begin(struct walk *walk, struct talk *talk) {
    static const char *const notes[] = {NULL, "", "[stopped, /continue]  4 tokens", "\xE6\xBC\xA2\xFF"};
    uint32_t n = draw(walk, 20);
    talk->message = (struct ui_message){.id = ++walk->last_id,
                                        .role = (enum ui_role)draw(walk, 4),
                                        .open = draw(walk, 2),
                                        .text = talk->text,
                                        .sibling = 1,
                                        .n_siblings = 1 + draw(walk, 3),
                                        .note = notes[draw(walk, 4)]};
    if (draw(walk, 2)) talk->message.tokens = talk->tokens;
    for (uint32_t i = 0; i < n; i++) grow(walk, talk);
    if (!talk->message.len && draw(walk, 2)) talk->message.text = NULL;
    if (talk->message.text == NULL) talk->message.tokens = NULL, talk->message.n_tokens = 0;
}

/* Something happens to a message. */
static void change(struct walk *walk, struct talk *talk) {
    struct ui_message *message = &talk->message;
    switch (draw(walk, 8)) {
    case 0: begin(walk, talk); break;
    case 1: message->open = !message->open; break;
    case 2:
        message->version++;
        message->len = message->n_tokens = message->n_thinking = 0;
        break;
    case 3:
        if (message->role != UI_ROLE_BOT || !message->len) break;
        talk->thinking[0] = (struct ui_range){0, 1 + draw(walk, (uint32_t)message->len)};
        message->thinking = talk->thinking;
        message->n_thinking = 1;
        break;
    default:
        if (message->text) grow(walk, talk);
    }
}

static const void *exactly(void **slot, const void *bytes, size_t size) {
    free(*slot);
    *slot = size ? memcpy(xmalloc(size), bytes, size) : NULL;
    return size ? *slot : bytes;
}

static void show_messages(struct walk *walk) {
    for (int i = 0; i < MESSAGES; i++) {
        struct ui_message *to = &walk->shown[i];
        *to = walk->talks[i].message;
        to->text = exactly(&walk->exact[2 * i], to->text, to->len);
        to->tokens = exactly(&walk->exact[2 * i + 1], to->tokens, to->n_tokens * sizeof *to->tokens);
    }
}

static void fill_position(struct walk *walk) {
    static const char *const cuts[] = {"", "top-k", "repetition-of-some-kind"};
    const struct ui_message *message = &walk->shown[draw(walk, MESSAGES)];
    for (size_t i = 0; i < CANDIDATES; i++) {
        struct ui_candidate *to = &walk->candidates[i];
        *to = (struct ui_candidate){.id = (int32_t)i,
                                    .chosen = draw(walk, 5) == 0,
                                    .control = draw(walk, 9) == 0,
                                    .rank = draw(walk, 3000000),
                                    .raw = (float)draw(walk, 1000) / 999,
                                    .final = (float)draw(walk, 3) / 2,
                                    .cut = cuts[draw(walk, 3)]};
        to->text = any_text(walk, &to->len);
    }
    walk->position = (struct ui_position){.position = draw(walk, 100000),
                                          .chain = draw(walk, 2) ? "T 0.8 top-k 40" : NULL,
                                          .candidates = walk->candidates,
                                          .n = draw(walk, CANDIDATES + 1),
                                          .n_vocab = 49152,
                                          .entropy = (float)draw(walk, 9),
                                          .rank = draw(walk, 3),
                                          .ms = (float)draw(walk, 50),
                                          .foreign = draw(walk, 9) == 0};
    if (!message->n_tokens) return;
    walk->position.strip = message->tokens;
    walk->position.n_strip = message->n_tokens;
    walk->position.strip_at = draw(walk, (uint32_t)message->n_tokens);
}

static void fill_inspect(struct walk *walk) {
    static const char *const names[] = {"top-k", "typical", "top-p", "min-p"};
    const struct ui_message *message = &walk->shown[draw(walk, MESSAGES)];
    for (size_t i = 0; i < sizeof walk->probs / sizeof *walk->probs; i++)
        walk->probs[i] = (float)draw(walk, 3) / 2;
    walk->stages = (struct ui_stages){draw(walk, 5), walk->position.n, names, walk->probs};
    walk->inspect = (struct ui_inspect){.message = draw(walk, 3) ? message->id : 0,
                                        .before = draw(walk, 2) ? message->id : draw(walk, 2) * 999999,
                                        .token = draw(walk, TOKENS_MAX),
                                        .index = draw(walk, 400),
                                        .n_tokens = 400,
                                        .id = (int32_t)draw(walk, 49152) - 1,
                                        .control = draw(walk, 5) == 0,
                                        .selected = draw(walk, CANDIDATES),
                                        .stages = draw(walk, 2) ? &walk->stages : NULL,
                                        .computing = draw(walk, 3) == 0,
                                        .sibling = 1,
                                        .n_siblings = draw(walk, 3),
                                        .next = draw(walk, 2) ? "take \" violet\": a new branch" : NULL};
    walk->inspect.text = any_text(walk, &walk->inspect.len);
}

static void fill_picker(struct walk *walk) {
    static const char *const texts[] = {
        NULL,       "",
        "word",     "\xE6\xBC\xA2\xE5\xAD\x97 word\nanother",
        "\xFF\xFE", "a name so long that no column of a small screen could ever hold it whole"};
    uint32_t n = draw(walk, ROWS + 1);
    for (uint32_t i = 0; i < n; i++) {
        walk->rows[i] = (struct ui_picker_row){.id = 1 + draw(walk, 20),
                                               .why = draw(walk, 5) ? NULL : "it cannot be run here",
                                               .depth = draw(walk, 3) ? draw(walk, 4) : draw(walk, 100000),
                                               .current = draw(walk, 6) == 0};
        for (size_t c = 0; c < UI_PICKER_COLUMNS; c++) walk->rows[i].columns[c] = texts[draw(walk, 6)];
    }
    walk->picker = (struct ui_picker){.id = 1 + draw(walk, 2),
                                      .title = texts[draw(walk, 6)],
                                      .n_columns = 1 + draw(walk, UI_PICKER_COLUMNS),
                                      .right = draw(walk, 64),
                                      .rows = walk->rows,
                                      .n_rows = n,
                                      .empty = texts[draw(walk, 6)],
                                      .verb = draw(walk, 2) ? "open" : NULL,
                                      .deletes = draw(walk, 2),
                                      .searches = draw(walk, 3) == 0};
    for (size_t c = 0; c < UI_PICKER_COLUMNS; c++) walk->picker.heads[c] = texts[draw(walk, 6)];
}

static void fill_branch(struct walk *walk, struct ui_branch *branch) {
    size_t first = draw(walk, MESSAGES);
    branch->title = draw(walk, 2) ? "2 of 3, 86 tokens" : NULL;
    branch->messages = walk->shown + first;
    branch->n_messages = 1 + draw(walk, (uint32_t)(MESSAGES - first));
    branch->parts_at = draw(walk, (uint32_t)walk->shown[first].len + 2);
}

static void fill_model(struct walk *walk) {
    struct ui_model *model = &walk->model;
    bool other = draw(walk, 12) == 0; /* another view than before, or the same again */
    show_messages(walk);
    fill_position(walk);
    const struct ui_picker *picker = model->picker;
    const struct ui_compare *compare = model->compare;
    const struct ui_score *score = model->score;
    uint32_t which = other ? draw(walk, 6) : 6;
    *model = (struct ui_model){.messages = walk->shown,
                               .n_messages = draw(walk, 20) ? MESSAGES : draw(walk, MESSAGES + 1),
                               .shown = draw(walk, 4) ? &walk->position : NULL,
                               .waits = draw(walk, 5) == 0,
                               .hint = draw(walk, 2) ? "ask something" : NULL,
                               .off = draw(walk, 2) ? walk->random : 0};
    model->picker = which == 6 ? picker : which == 0 ? &walk->picker : NULL;
    model->compare = which == 6 ? compare : which == 1 ? &walk->compare : NULL;
    model->score = which == 6 ? score : which == 2 ? &walk->score : NULL;
    if (draw(walk, 3) == 0 || other) fill_picker(walk);
    for (int i = 0; i < 2; i++) fill_branch(walk, &walk->compare.branches[i]);
    walk->score = (struct ui_score){walk->shown[0], draw(walk, 100), draw(walk, 3), draw(walk, 2)};
    if (draw(walk, 2)) {
        fill_inspect(walk);
        model->inspect = &walk->inspect;
    }
    model->status =
        (struct ui_status){.state = (enum ui_state)draw(walk, 5),
                           .model = draw(walk, 4) ? "SmolLM2 135M Instruct Q4_1" : NULL,
                           .chat = draw(walk, 2) ? "a chat \xE6\xBC\xA2" : NULL,
                           .device = draw(walk, 2) ? "cpu 2 threads" : NULL,
                           .context_used = draw(walk, 9000),
                           .context_size = draw(walk, 2) * 8192,
                           .memory_used = draw(walk, 2) * (uint64_t)draw(walk, INT32_MAX) * 99,
                           .progress_done = draw(walk, 1000),
                           .progress_total = draw(walk, 1000),
                           .tps_now = draw(walk, 3) * 100,
                           .tps_mean = draw(walk, 3) * 1e9,
                           .prefill_tps = draw(walk, 3),
                           .prompt_tokens = draw(walk, 1000),
                           .mark = draw(walk, 3) ? NULL : "incognito",
                           .task = draw(walk, 3) ? NULL : "tiny-Q4_K_M.gguf  42 %  1.9/4.7 GB",
                           .error = draw(walk, 5) ? NULL : "what went wrong, in a line that is long"};
}

/* What a person does between two drawings. */
static void act(struct walk *walk) {
    struct screen *screen = &walk->screen;
    struct picker *picker = &screen->picker;
    size_t len;
    const char *text = any_text(walk, &len);
    switch (draw(walk, 22)) {
    case 0: chat_scroll(&screen->chat, (long)draw(walk, 60) - 30); break;
    case 1: chat_scroll_page(&screen->chat, draw(walk, 2) ? 1 : -1); break;
    case 2: chat_scroll_top(&screen->chat); break;
    case 3: chat_follow(&screen->chat); break;
    case 4: chat_click(&screen->chat, (int)draw(walk, 60), (int)draw(walk, 220)); break;
    case 5: screen->colour = (enum colour_mode)draw(walk, COLOUR_MODE_COUNT); break;
    case 6: screen->digits = !screen->digits; break;
    case 7: screen->chat.raw = !screen->chat.raw; break;
    case 8: screen->chat.unfolded = !screen->chat.unfolded; break;
    case 9: screen->panel_off = !screen->panel_off; break;
    case 10: find_begin(&screen->chat.find); break;
    case 11:
        if (screen->chat.find.state == FIND_TYPING) find_type(&screen->chat.find, draw(walk, 3) ? 'o' : 0);
        break;
    case 12:
        if (draw(walk, 2)) text = "o", len = 1;
        find_set(&screen->chat.find, text, len);
        break;
    case 13: screen->chat.find.step += (int)draw(walk, 5) - 2; break;
    case 14: find_end(&screen->chat.find); break;
    case 15: picker_move(picker, (long)draw(walk, 40) - 20); break;
    case 16:
        if (picker->id) picker_type(picker, text, len);
        break;
    case 17: picker_erase(picker, draw(walk, 3) == 0); break;
    case 18: screen_scroll_view(screen, UI_ACTION_PAGE_UP + (int)draw(walk, 6)); break;
    case 19: pager_open(&screen->pager, "A page", text, len); break;
    case 20: screen->pager.top += (long)draw(walk, 9) - 4; break;
    default: pager_close(&screen->pager); break;
    }
}

static void size_canvas(struct walk *walk) {
    static const int sizes[][2] = {{1, 1},   {2, 300}, {60, 3},   {9, 20},
                                   {24, 80}, {24, 81}, {40, 120}, {60, 220}};
    size_t i = draw(walk, sizeof sizes / sizeof *sizes);
    bool exact = draw(walk, 2);
    canvas_resize(&walk->canvas, exact ? sizes[i][0] : 1 + (int)draw(walk, 60),
                  exact ? sizes[i][1] : 1 + (int)draw(walk, 220));
    walk->canvas.glyphs = (enum glyphs)draw(walk, 3);
}

static void any_walk(void **state) {
    (void)state;
    static struct walk walk;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        walk = (struct walk){.random = seed * 0x9E3779B97F4A7C15u};
        for (int i = 0; i < MESSAGES; i++) begin(&walk, &walk.talks[i]);
        size_canvas(&walk);
        for (int step = 0; step < 150; step++) {
            if (draw(&walk, 10) == 0) size_canvas(&walk);
            change(&walk, &walk.talks[draw(&walk, MESSAGES)]);
            act(&walk);
            size_t len;
            walk.screen.box.text = any_text(&walk, &len);
            walk.screen.box.len = draw(&walk, 2) ? len : 0;
            walk.screen.box.cursor = draw(&walk, (uint32_t)walk.screen.box.len + 1);
            walk.screen.box.search = draw(&walk, 9) ? NULL : "sea\xFFrch";
            walk.screen.notice_on = draw(&walk, 3) == 0;
            strcpy(walk.screen.notice, "a notice \xE6\xBC\xA2");
            fill_model(&walk);
            screen_draw(&walk.screen, &walk.model, &walk.canvas);
            assert_true(walk.canvas.cursor_row < walk.canvas.rows &&
                        walk.canvas.cursor_column < walk.canvas.columns);
            walk.screen.chat.clicked = 0;
            walk.screen.chat.click_row = 0;
        }
        for (int i = 0; i < 2 * MESSAGES; i++) free(walk.exact[i]);
        screen_free(&walk.screen);
        canvas_free(&walk.canvas);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_walk)};
    return cmocka_run_group_tests_name("views_walk", tests, NULL, NULL);
}
