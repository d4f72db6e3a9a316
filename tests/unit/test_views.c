/* Whole screens of the chat. */
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/golden_screens.h"

#define WIDE "\xE6\xBC\xA2\xE5\xAD\x97"
#define FAMILY "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7"

static const char answer[] =
    "Because air scatters short wavelengths more. The effect grows as 1/lambda^4, so blue light comes from "
    "everywhere.\n\n"
    "    sky = scatter(sun)\n\n" WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE
        WIDE WIDE " end\n"
    "Odd things: \033[31mred\r " FAMILY
    " e\xCC\x81 \xE2\x80\xAEtxt.exe a_very_long_word_that_no_row_of_a_small_screen_could_ever_hold_whole";

/* A token every five bytes, probability by its number. */
static void tokenize(struct ui_token *tokens, size_t *n, const char *text) {
    size_t len = strlen(text);
    *n = 0;
    for (size_t end = 5; end < len + 5; end += 5)
        tokens[(*n)++] = (struct ui_token){.end = (uint32_t)(end < len ? end : len),
                                           .prob = (float)(*n % 10) / 10 + 0.05f,
                                           .entropy = 1,
                                           .rank = 1};
}

struct scene {
    struct screen screen;
    struct ui_model model;
    struct ui_message messages[4];
    struct ui_token tokens[200];
    struct ui_position position;
    struct ui_candidate candidates[24];
    struct ui_token strip[40];
};

static const struct ui_status idle = {
    .state = UI_STATE_IDLE,
    .model = "SmolLM2 135M Instruct Q4_1",
    .chat = "why is the sky blue?",
    .device = "cpu 2 threads",
    .context_used = 412,
    .context_size = 8192,
    .memory_used = 92u << 20,
    .memory_total = 16ull << 30,
    .tps_mean = 41.83,
    .prefill_tps = 1234,
    .prompt_tokens = 64,
    .cached_tokens = 40,
};

static void fill_position(struct scene *scene) {
    static const char wide[] = " " WIDE;
    static const char *const texts[] = {" blue",    " violet", " short",     "\n\n",    "\"",
                                        "\xF0\x9F", wide,      "<|im_end|>", "\033[2J", " long-winded-token"};
    double p = 0.5;
    for (size_t i = 0; i < 24; i++, p /= 2) {
        struct ui_candidate *c = &scene->candidates[i];
        const char *text = texts[i % 10];
        *c = (struct ui_candidate){.id = (int32_t)i,
                                   .text = text,
                                   .len = strlen(text),
                                   .raw = (float)p,
                                   .cut = i > 7   ? "temperature"
                                          : i > 4 ? "top-p"
                                                  : ""};
        c->final = i > 4 ? 0 : (float)(p / 0.96875);
        c->control = i % 10 == 7;
    }
    scene->candidates[23].chosen = true;
    scene->candidates[23].rank = 1234;
    for (size_t i = 0; i < 40; i++) scene->strip[i].prob = (float)(i % 11) / 10;
    scene->position = (struct ui_position){.position = 413,
                                           .chain = "T 0.8  top-k 40  top-p 0.95  min-p 0.05",
                                           .candidates = scene->candidates,
                                           .n = 24,
                                           .n_vocab = 49152,
                                           .entropy = 0.91f,
                                           .rank = 1234,
                                           .ms = 9.84f,
                                           .strip = scene->strip,
                                           .n_strip = 40,
                                           .strip_at = 39};
    scene->model.shown = &scene->position;
}

static struct scene *scene_new(void) {
    struct scene *scene = xcalloc(1, sizeof *scene);
    size_t n;
    tokenize(scene->tokens, &n, answer);
    scene->messages[0] =
        (struct ui_message){.id = 1, .role = UI_ROLE_SYSTEM, .text = "You are helpful.", .len = 16};
    scene->messages[1] = (struct ui_message){
        .id = 2, .role = UI_ROLE_YOU, .text = "why is the sky blue?\nin short", .len = 29};
    scene->messages[2] = (struct ui_message){.id = 3,
                                             .role = UI_ROLE_BOT,
                                             .text = answer,
                                             .len = strlen(answer),
                                             .tokens = scene->tokens,
                                             .n_tokens = n,
                                             .note = "[stopped]  86 tokens  41.8 tok/s"};
    scene->model = (struct ui_model){.status = idle,
                                     .messages = scene->messages,
                                     .n_messages = 3,
                                     .hint = "ask something",
                                     .off = UI_OFF(UI_ACTION_FOLD) /* as nearly always */};
    fill_position(scene);
    return scene;
}

static void scene_free(struct scene *scene) {
    screen_free(&scene->screen);
    free(scene);
}

static void idle_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    check_sizes(&scene->screen, &scene->model, "idle");
    scene_free(scene);
}

static void empty_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    scene->model = (struct ui_model){.off = UI_OFF(UI_ACTION_FOLD),
                                     .status = {.state = UI_STATE_LOADING,
                                                .model = "SmolLM2-135M-Instruct.Q4_1.gguf",
                                                .progress_done = 34u << 20,
                                                .progress_total = 94u << 20},
                                     .hint = "the model is loading"};
    check_sizes(&scene->screen, &scene->model, "loading");
    scene_free(scene);
}

static void busy_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    scene->model.status.state = UI_STATE_PREFILL;
    scene->model.status.progress_done = 230;
    scene->model.status.progress_total = 512;
    check_screen(&scene->screen, &scene->model, "prefill", 24, 80);
    scene->model.status.state = UI_STATE_GENERATING;
    scene->model.status.tps_now = 39.94;
    scene->screen.colour = COLOUR_MODE_PROB;
    scene->messages[2].open = true;
    scene->messages[2].note = NULL;
    scene->messages[2].len -= 3;
    check_sizes(&scene->screen, &scene->model, "colour");
    scene->model.status.error = "model.gguf: tensor blk.0: found \033[31m, expected F32";
    check_screen(&scene->screen, &scene->model, "error", 24, 80);
    scene_free(scene);
}

static char *drawn(struct scene *scene, struct canvas *canvas) {
    struct buf picture = {0};
    screen_draw(&scene->screen, &scene->model, canvas);
    canvas_dump(canvas, true, &picture);
    return buf_take(&picture);
}

/* What is drawn on a canvas of its own: nothing of earlier frames is in it. */
static void check_fresh(struct scene *scene, const char *picture) {
    struct canvas canvas = {0};
    bool holds = scene->screen.panel_holds;
    canvas_resize(&canvas, 40, 120);
    scene->screen.panel_holds = false;
    char *fresh = drawn(scene, &canvas);
    assert_string_equal(picture, fresh);
    scene->screen.panel_holds = holds;
    free(fresh);
    canvas_free(&canvas);
}

/* The panel stays as it was while the rest goes on, but where it moved or was covered. */
static void a_panel_that_holds(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct canvas canvas = {0};
    canvas_resize(&canvas, 40, 120);
    scene->messages[2].len -= 30;
    free(drawn(scene, &canvas));
    scene->messages[2].len += 30;
    scene->position.position = 414;
    scene->screen.panel_holds = true;
    char *held = drawn(scene, &canvas);
    assert_non_null(strstr(held, "position 413"));
    assert_null(strstr(held, "position 414"));
    scene->position.position = 413; /* the rest is as if all had been drawn */
    check_fresh(scene, held);
    free(held);
    scene->position.position = 414;
    scene->screen.panel_holds = false;
    free(drawn(scene, &canvas));
    scene->screen.panel_holds = true;
    scene->screen.panel_off = true;
    scene->position.position = 415;
    char *moved = drawn(scene, &canvas);
    check_fresh(scene, moved);
    free(moved);
    scene->screen.panel_off = false;
    moved = drawn(scene, &canvas);
    assert_non_null(strstr(moved, "position 415"));
    check_fresh(scene, moved);
    free(moved);
    pager_open(&scene->screen.pager, "Keys", "words", 5);
    moved = drawn(scene, &canvas);
    check_fresh(scene, moved);
    free(moved);
    pager_close(&scene->screen.pager);
    scene->model.shown = NULL; /* what is said where nothing is known yet does not hold */
    free(drawn(scene, &canvas));
    scene->model.shown = &scene->position;
    moved = drawn(scene, &canvas);
    check_fresh(scene, moved);
    free(moved);
    pager_open(&scene->screen.pager, "Keys", "words", 5);
    free(drawn(scene, &canvas));
    pager_close(&scene->screen.pager);
    scene->position.position = 416;
    moved = drawn(scene, &canvas);
    assert_non_null(strstr(moved, "position 416"));
    free(moved);
    canvas_free(&canvas);
    scene_free(scene);
}

static void foreign_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    scene->position.foreign = true;
    scene->position.n = 0;
    check_screen(&scene->screen, &scene->model, "foreign", 24, 80);
    check_screen(&scene->screen, &scene->model, "foreign", 40, 120);
    scene_free(scene);
}

static void box_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    const char *text = "first line\nsecond " WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE
        WIDE WIDE WIDE WIDE "\n\nlast";
    scene->screen.box = (struct box){.text = text, .len = strlen(text), .cursor = strlen(text)};
    check_screen(&scene->screen, &scene->model, "box", 10, 40);
    check_screen(&scene->screen, &scene->model, "box", 24, 80);
    scene->screen.box = (struct box){.text = "why is", .len = 6, .cursor = 6, .search = "why"};
    scene->screen.notice_on = true;
    strcpy(scene->screen.notice, "press Ctrl-C again to quit");
    check_screen(&scene->screen, &scene->model, "search", 24, 80);
    scene_free(scene);
}

/* A key in a long page costs what is seen of it; another width is another layout. */
static void a_page_is_laid_out_once(void **state) {
    (void)state;
    static struct pager pager, fresh;
    struct canvas canvas = {0}, expected = {0};
    struct rect rect = {0, 0, 24, 80};
    struct buf text = {0}, shown = {0}, wanted = {0};
    for (int i = 1; i <= 5000; i++)
        buf_printf(&text, "Head %d\nF%d          Alt+h      %s\n\n", i, i, "words that go on and on and on");
    pager_open(&pager, "A page", text.data, text.len);
    for (int width = 80; width > 40; width -= 30) {
        rect.columns = width;
        canvas_resize(&canvas, 24, 80);
        pager_draw(&pager, &canvas, rect);
        uint64_t before = pager.n_wrapped;
        for (int i = 0; i < 50; i++) {
            pager.top += 37;
            canvas_clear(&canvas);
            pager_draw(&pager, &canvas, rect);
        }
        assert_int_equal(pager.n_wrapped, before);
        pager_open(&fresh, "A page", text.data, text.len);
        fresh.top = pager.top;
        canvas_resize(&expected, 24, 80);
        pager_draw(&fresh, &expected, rect);
        buf_clear(&shown);
        buf_clear(&wanted);
        canvas_dump(&canvas, true, &shown);
        canvas_dump(&expected, true, &wanted);
        assert_string_equal(shown.data, wanted.data);
    }
    pager_free(&pager);
    pager_free(&fresh);
    canvas_free(&canvas);
    canvas_free(&expected);
    buf_free(&text);
    buf_free(&shown);
    buf_free(&wanted);
}

struct lines {
    int next, end;
};

enum { LINES_A_PART = 100 };

static bool next_lines(void *context, struct buf *text) {
    struct lines *lines = context;
    for (int i = 0; i < LINES_A_PART && lines->next < lines->end; i++, lines->next++)
        buf_printf(text, "%d  words that go on and on, and on\n%s", lines->next,
                   lines->next % 10 ? "" : "\n");
    return lines->next < lines->end;
}

static void let_go(void *context) {
    ((struct lines *)context)->end = -1;
}

/* A page that comes in parts: a frame costs one of them, and all of it looks as if it had come at once. */
static void a_page_in_parts(void **state) {
    (void)state;
    static struct pager pager, whole;
    struct canvas canvas = {0}, expected = {0};
    struct rect rect = {0, 0, 24, 80};
    struct lines lines = {0, 1050}, all = {0, 1050};
    struct buf text = {0}, shown = {0}, wanted = {0};
    while (next_lines(&all, &text)) continue;
    canvas_resize(&canvas, 24, 80);
    canvas_resize(&expected, 24, 80);
    pager_open(&pager, "A page", "", 0);
    pager.parts = (struct ui_parts){next_lines, let_go, &lines};
    pager_open(&whole, "A page", text.data, text.len);
    uint64_t before = 0;
    for (int frame = 1; pager.parts.next; frame++) {
        if (frame == 3) pager.top = 1L << 40; /* End: as far as there is anything */
        if (frame == 5) rect.columns = 20;
        if (frame == 6) before = pager.n_wrapped;
        pager_draw(&pager, &canvas, rect);
        assert_true(lines.end < 0 || lines.next == frame * LINES_A_PART);
        if (frame != 5) assert_true(pager.n_wrapped - before < LINES_A_PART * 45);
        before = pager.n_wrapped;
    }
    assert_int_equal(lines.end, -1);
    whole.top = 1L << 40;
    for (int i = 0; i < 2; i++, whole.top = pager.top = 500) {
        canvas_clear(&canvas);
        canvas_clear(&expected);
        pager_draw(&pager, &canvas, rect);
        pager_draw(&whole, &expected, rect);
        buf_clear(&shown);
        buf_clear(&wanted);
        canvas_dump(&canvas, true, &shown);
        canvas_dump(&expected, true, &wanted);
        assert_string_equal(shown.data, wanted.data);
    }
    lines = (struct lines){0, 1050}; /* what is not needed any more is let go */
    pager_open(&pager, "A page", "", 0);
    pager.parts = (struct ui_parts){next_lines, let_go, &lines};
    pager_draw(&pager, &canvas, rect);
    pager_close(&pager);
    assert_int_equal(lines.end, -1);
    pager_free(&pager);
    pager_free(&whole);
    canvas_free(&canvas);
    canvas_free(&expected);
    buf_free(&text);
    buf_free(&shown);
    buf_free(&wanted);
}

static void page_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct buf text = {0};
    for (int i = 1; i <= 50; i++) buf_printf(&text, "line %d of a page\n", i);
    pager_open(&scene->screen.pager, "A page", text.data, text.len);
    scene->screen.pager.top = 1L << 40;
    check_screen(&scene->screen, &scene->model, "page", 24, 80);
    assert_true(scene->screen.pager.top > 0 && scene->screen.pager.top < 50);
    pager_close(&scene->screen.pager);
    buf_clear(&text);
    buf_puts(&text, "Keys\nF1          Alt+h      what is too long goes on below its own column\nwhat is no "
                    "row of a table "
                    "goes on at the left\n");
    pager_open(&scene->screen.pager, "A table", text.data, text.len);
    check_screen(&scene->screen, &scene->model, "table", 10, 60);
    pager_close(&scene->screen.pager);
    scene->screen.panel_off = true;
    chat_scroll_page(&scene->screen.chat, -1);
    check_screen(&scene->screen, &scene->model, "scrolled", 16, 60);
    scene_free(scene);
    buf_free(&text);
}

/* Row `n` of the screen, counted from its end if negative. */
static const char *drawn_row(struct scene *scene, int columns, int n) {
    static char row[1024];
    struct canvas canvas = {0};
    struct buf picture = {0};
    canvas_resize(&canvas, 24, columns);
    screen_draw(&scene->screen, &scene->model, &canvas);
    canvas_dump(&canvas, false, &picture);
    const char *at = picture.data;
    for (int i = n < 0 ? 24 + n : n; i > 0; i--) at = strchr(at, '\n') + 1;
    snprintf(row, sizeof row, "%.*s", (int)strcspn(at, "\n"), at);
    buf_free(&picture);
    canvas_free(&canvas);
    return row;
}

static bool shows(struct scene *scene, int columns, const char *text) {
    for (int row = 0; row < 24; row++)
        if (strstr(drawn_row(scene, columns, row), text)) return true;
    return false;
}

/* Below an answer a figure is there whole or not at all. */
static void figures_are_whole(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    scene->messages[2].note = "[stopped, /continue]  110 tokens  75.2 tok/s  prompt 253 (238 cached)";
    assert_true(shows(scene, 80, "75.2 tok/s  prompt 253 (238 cached)"));
    for (int columns = 79; columns >= SCREEN_MIN_COLUMNS; columns--) {
        assert_true(shows(scene, columns, "[stopped, /continue]"));
        assert_int_equal(shows(scene, columns, "prompt 253"), shows(scene, columns, "(238 cached)"));
        assert_int_equal(shows(scene, columns, "  75"), shows(scene, columns, "  75.2 tok/s"));
    }
    scene->messages[2].note = "[the_device_failed_and_more_words_than_a_row_holds]";
    assert_true(shows(scene, 40, "[the_device_failed_and_more_word\xE2\x80\xA6"));
    scene_free(scene);
}

static const char *header_row(struct scene *scene, int columns) {
    return drawn_row(scene, columns, 0);
}

/* Whoever has the keys, the bar has theirs and no others. */
static void the_key_bar_is_true(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct ui_inspect inspect = {.message = 3, .next = "take \" violet\": a new branch"};
    assert_non_null(strstr(drawn_row(scene, 80, -1), "F1Help F2Model"));
    pager_open(&scene->screen.pager, "A page", "text", 4);
    assert_string_equal(drawn_row(scene, 80, -1), "EscBack \xE2\x86\x91\xE2\x86\x93Line PgDnPage");
    pager_close(&scene->screen.pager);
    find_begin(&scene->screen.chat.find);
    assert_string_equal(drawn_row(scene, 80, -1), "EnterWalk EscBack");
    find_end(&scene->screen.chat.find);
    scene->model.editing = true;
    assert_string_equal(drawn_row(scene, 80, -1), "EnterBranch EscBack");
    scene->model.editing = false;
    scene->model.inspect = &inspect;
    assert_non_null(strstr(drawn_row(scene, 80, -1), "EnterTake sStep"));
    assert_non_null(strstr(drawn_row(scene, 80, -3), "Enter take \" violet\""));
    find_begin(&scene->screen.chat.find);
    assert_string_equal(drawn_row(scene, 80, -1), "EnterWalk EscBack");
    find_end(&scene->screen.chat.find);
    scene->model.status.state = UI_STATE_GENERATING; /* Esc stops it first */
    assert_int_equal(strncmp(drawn_row(scene, 80, -1), "EscStop ", 8), 0);
    scene->model.status.state = UI_STATE_IDLE;
    scene->screen.typing = true; /* Enter takes what is typed now */
    assert_string_equal(drawn_row(scene, 80, -1), "EnterTake EscBack");
    assert_null(strstr(drawn_row(scene, 80, -3), "violet"));
    scene->screen.typing = false;
    scene->model.compare = &(struct ui_compare){{{.title = "1 of 2"}, {.title = "2 of 2"}}};
    assert_null(strstr(drawn_row(scene, 80, -3), "violet"));
    scene_free(scene);
}

/* What is told is told whole, above the box, and what is shown there otherwise makes room. */
static void words_have_the_rows_they_need(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    scene->model.status.error =
        "the prompt takes 36871 tokens, the context holds 8192; /new starts over, /drop "
        "forgets the oldest turns and goes on";
    assert_string_equal(drawn_row(scene, 80, -4),
                        " the prompt takes 36871 tokens, the context holds 8192; /new starts over, /drop");
    assert_string_equal(drawn_row(scene, 80, -3), " forgets the oldest turns and goes on");
    scene->screen.box = (struct box){.text = "/s", .len = 2, .cursor = 2};
    scene->model.commands = "stop  system  set";
    assert_string_equal(drawn_row(scene, 80, -3), " stop  system  set");
    assert_null(strstr(drawn_row(scene, 80, -4), "the prompt"));
    scene->screen.typing = scene->screen.inspecting = true; /* a token that looks like a command */
    scene->model.inspect = &(struct ui_inspect){.message = 3};
    assert_null(strstr(drawn_row(scene, 80, -3), "stop"));
    scene->screen.typing = false;
    scene->model.inspect = NULL;
    assert_non_null(strstr(drawn_row(scene, 80, -3), "stop"));
    scene->screen.box.search = "s"; /* Ctrl-R: what is found is no command that is typed */
    assert_null(strstr(drawn_row(scene, 80, -3), "stop"));
    check_screen(&scene->screen, &scene->model, "words", 10, 40);
    scene_free(scene);
}

/* However long the names are: that nothing is kept, how full the context is and the beginning of the model's
 * name stay in sight. */
static void the_header_keeps_what_matters(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct ui_status *status = &scene->model.status;
    status->model = "DeepSeek R1 Distill Qwen 32B Instruct " WIDE WIDE " abliterated by somebody Q4_K_M";
    status->mark = "incognito";
    status->memory_used = 19ull << 30;
    status->memory_total = 139ull << 30;
    status->context_used = 31999;
    status->context_size = 131072;
    for (int columns = SCREEN_MIN_COLUMNS + 10; columns <= 220; columns += 7) {
        const char *row = header_row(scene, columns);
        if (!strstr(row, "ctx 32k/131k") || !strstr(row, "incognito") || !strstr(row, "DeepSeek"))
            fail_msg("%d columns: %s", columns, row);
        if (columns >= 120 && !strstr(row, "Q4_K_M")) fail_msg("%d columns: %s", columns, row);
        if (columns >= 160 && !strstr(row, "19/139 GiB")) fail_msg("%d columns: %s", columns, row);
    }
    assert_string_equal(header_row(scene, 40), " DeepSeek R1 \xE2\x80\xA6  incognito  ctx 32k/131k");
    status->mark = NULL;
    assert_non_null(strstr(header_row(scene, 80), "ctx 32k/131k \xE2\x96\x88"));
    scene_free(scene);
}

static void every_size_is_survived(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct canvas canvas = {0};
    scene->model.status.error = answer; /* several rows of it where there is room */
    for (int rows = 1; rows <= 64; rows++)
        for (int columns = 1; columns <= 210; columns += rows % 3 + 1) {
            canvas_resize(&canvas, rows, columns);
            if (columns % 5 == 0) chat_scroll(&scene->screen.chat, rows % 2 ? -3 : 2);
            screen_draw(&scene->screen, &scene->model, &canvas);
            assert_true(canvas.cursor_row < rows && canvas.cursor_column < columns);
        }
    canvas_free(&canvas);
    scene_free(scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_screens),
        cmocka_unit_test(empty_screens),
        cmocka_unit_test(busy_screens),
        cmocka_unit_test(a_panel_that_holds),
        cmocka_unit_test(foreign_screens),
        cmocka_unit_test(box_screens),
        cmocka_unit_test(page_screens),
        cmocka_unit_test(a_page_is_laid_out_once),
        cmocka_unit_test(a_page_in_parts),
        cmocka_unit_test(the_key_bar_is_true),
        cmocka_unit_test(figures_are_whole),
        cmocka_unit_test(words_have_the_rows_they_need),
        cmocka_unit_test(the_header_keeps_what_matters),
        cmocka_unit_test(every_size_is_survived),
    };
    return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
