/* Inspect mode and colours: the cursor on tokens, candidates stage by stage, levels as digits, following. */
#include "base/mem.h"
#include "base/text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/golden_screens.h"

#define WIDE "\xE6\xBC\xA2\xE5\xAD\x97"
#define FAMILY "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7"
#define ARABIC "\xD8\xA7\xD9\x84\xD8\xB3\xD9\x84\xD8\xA7\xD9\x85"

/* A message made of tokens. */
struct said {
    struct buf text;
    struct ui_token tokens[400];
    size_t n;
};

static void say(struct said *said, const char *token) {
    size_t i = said->n++;
    buf_puts(&said->text, token);
    said->tokens[i] = (struct ui_token){.end = (uint32_t)said->text.len,
                                        .prob = (float)((i * 7) % 11) / 10 - (i % 11 == 3 ? 1e-4f : 0),
                                        .entropy = (float)(i % 9) / 2,
                                        .rank = (uint32_t[]){1, 1, 2, 1, 3, 7, 1, 1500, 40}[i % 9],
                                        .ms = 8 + (float)((i * 5) % 7)};
    if (said->tokens[i].prob > 1) said->tokens[i].prob = 1;
}

static void say_words(struct said *said, const char *words) {
    while (*words) {
        char token[64];
        size_t n = strcspn(words + 1, " \n") + 1;
        snprintf(token, sizeof token, "%.*s", (int)n, words);
        say(said, token);
        words += n;
    }
}

static const char *const stage_names[] = {"penalties", "top-k", "top-p", "min-p", "temperature"};
enum { STAGES = 5, CANDIDATES = 12 };

struct scene {
    struct screen screen;
    struct ui_model model;
    struct ui_message messages[3];
    struct said answer, question;
    struct ui_position position;
    struct ui_candidate candidates[CANDIDATES];
    float probs[STAGES][CANDIDATES];
    struct ui_stages stages;
    struct ui_inspect inspect;
};

/* Of 12 candidates, top-k leaves 8, top-p 5, min-p 4. */
static void fill_position(struct scene *scene) {
    static const char *const texts[] = {" blue", " violet", " short", "\n\n", "\xF0\x9F", (" " WIDE)};
    static const size_t left[STAGES] = {CANDIDATES, 8, 5, 4, 4};
    double raw[CANDIDATES], p = 0.5;
    for (size_t i = 0; i < CANDIDATES; i++, p *= 0.55) raw[i] = p;
    for (size_t s = 0; s < STAGES; s++) {
        double sum = 0;
        for (size_t i = 0; i < left[s]; i++) sum += raw[i];
        for (size_t i = 0; i < left[s]; i++) scene->probs[s][i] = (float)(s == 0 ? raw[i] : raw[i] / sum);
    }
    for (size_t i = 0; i < CANDIDATES; i++)
        scene->candidates[i] = (struct ui_candidate){.id = (int32_t)(100 + i),
                                                     .text = texts[i % 6],
                                                     .len = strlen(texts[i % 6]),
                                                     .raw = (float)raw[i],
                                                     .final = scene->probs[STAGES - 1][i],
                                                     .cut = i >= 8   ? "top-k"
                                                            : i >= 5 ? "top-p"
                                                            : i == 4 ? "min-p"
                                                                     : ""};
    scene->candidates[1].chosen = true;
    scene->candidates[1].rank = 2;
    scene->stages = (struct ui_stages){STAGES, CANDIDATES, stage_names, &scene->probs[0][0]};
    scene->position = (struct ui_position){.position = 412,
                                           .chain = "T 0.8  top-k 40  top-p 0.95  min-p 0.05",
                                           .candidates = scene->candidates,
                                           .n = CANDIDATES,
                                           .n_vocab = 49152,
                                           .entropy = 0.91f,
                                           .rank = 2,
                                           .ms = 9.84f,
                                           .strip = scene->answer.tokens,
                                           .n_strip = scene->answer.n};
}

/* The cursor on this token of the answer. */
static void point(struct scene *scene, size_t token) {
    uint32_t start = token ? scene->answer.tokens[token - 1].end : 0;
    scene->inspect = (struct ui_inspect){.message = 3,
                                         .token = token,
                                         .index = token + 20,
                                         .n_tokens = scene->answer.n + 21,
                                         .id = 1234,
                                         .text = scene->answer.text.data + start,
                                         .len = scene->answer.tokens[token].end - start,
                                         .selected = 2,
                                         .stages = &scene->stages,
                                         .sibling = 2,
                                         .n_siblings = 3,
                                         .next = "take \" short\": a new branch"};
    scene->position.strip_at = token;
    scene->model.inspect = &scene->inspect;
}

static struct scene *scene_new(void) {
    struct scene *scene = xcalloc(1, sizeof *scene);
    say_words(&scene->answer,
              "Because air scatters short wavelengths more.\nThe effect grows as 1/lambda^4, so blue light "
              "comes from everywhere.\n");
    const char *odd[] = {"\n",
                         WIDE,
                         " fam",
                         "\xF0\x9F\x91\xA9\xE2\x80",
                         "\x8D\xF0\x9F\x91\xA9",
                         " e",
                         "\xCC\x81",
                         (" " ARABIC),
                         "\n\n",
                         "<|im_end|>"};
    for (size_t i = 0; i + 1 < sizeof odd / sizeof *odd; i++) say(&scene->answer, odd[i]);
    say(&scene->answer, ""); /* the end token has no text */
    say_words(&scene->question, "why is the sky blue?");
    for (size_t i = 0; i < scene->question.n; i++) scene->question.tokens[i].prob = i ? 0.3f : -1;
    scene->messages[0] =
        (struct ui_message){.id = 1, .role = UI_ROLE_SYSTEM, .text = "You are helpful.", .len = 16};
    scene->messages[1] = (struct ui_message){.id = 2, .role = UI_ROLE_YOU, .sibling = 1, .n_siblings = 2};
    scene->messages[2] = (struct ui_message){
        .id = 3, .role = UI_ROLE_BOT, .note = "86 tokens  41.8 tok/s", .sibling = 2, .n_siblings = 3};
    for (int i = 1; i < 3; i++) {
        struct said *said = i == 1 ? &scene->question : &scene->answer;
        scene->messages[i].text = said->text.data;
        scene->messages[i].len = said->text.len;
        scene->messages[i].tokens = said->tokens;
        scene->messages[i].n_tokens = said->n;
    }
    scene->model = (struct ui_model){.status = {.state = UI_STATE_IDLE,
                                                .model = "SmolLM2 135M Instruct Q4_1",
                                                .context_used = 412,
                                                .context_size = 8192,
                                                .tps_mean = 41.8},
                                     .messages = scene->messages,
                                     .n_messages = 3,
                                     .shown = &scene->position,
                                     .off = UI_OFF(UI_ACTION_FOLD),
                                     .hint = "ask something"};
    fill_position(scene);
    return scene;
}

static void scene_free(struct scene *scene) {
    screen_free(&scene->screen);
    buf_free(&scene->answer.text);
    buf_free(&scene->question.text);
    free(scene);
}

static void inspect_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    point(scene, 12);
    check_sizes(&scene->screen, &scene->model, "inspect");
    check_screen(&scene->screen, &scene->model, "inspect", 18, 60);
    scene->inspect.selected = 11; /* below what fits */
    check_screen(&scene->screen, &scene->model, "inspect-scrolled", 24, 80);
    scene->inspect.stages = NULL;
    scene->inspect.computing = true;
    check_screen(&scene->screen, &scene->model, "inspect-computing", 24, 80);
    scene->inspect = (struct ui_inspect){
        .before = 3, .text = "<|im_start|>", .len = 12, .control = true, .index = 5, .n_tokens = 40};
    scene->position.n = 0;
    check_screen(&scene->screen, &scene->model, "inspect-unknown", 24, 80);
    scene->inspect.waits = true; /* for the answer that runs */
    check_screen(&scene->screen, &scene->model, "inspect-waits", 24, 80);
    check_screen(&scene->screen, &scene->model, "inspect-waits", 10, 40);
    scene->inspect.waits = false;
    scene->model.shown = NULL;
    check_screen(&scene->screen, &scene->model, "inspect-template", 24, 80);
    check_screen(&scene->screen, &scene->model, "inspect-template", 40, 120);
    scene->inspect = (struct ui_inspect){.id = -1}; /* no model is there */
    check_screen(&scene->screen, &scene->model, "inspect-nothing", 30, 120);
    scene_free(scene);
}

static void colour_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    scene->position.strip_at = scene->answer.n - 1;
    scene->screen.colour = COLOUR_MODE_RANK;
    check_screen(&scene->screen, &scene->model, "rank", 24, 80);
    scene->screen.colour = COLOUR_MODE_ENTROPY;
    scene->screen.digits = true;
    check_sizes(&scene->screen, &scene->model, "digits");
    point(scene, 12);
    check_screen(&scene->screen, &scene->model, "inspect-digits", 24, 80);
    scene_free(scene);
}

/* The other branch says the same up to its eighth token. */
static void compare_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct said other = {0};
    say_words(&other,
              "Because air scatters short waves more. And then there is much more to say of it, "
              "which this branch does at some length, so that its lines go further than the other's.\n");
    struct ui_message messages[2] = {{.id = 7,
                                      .role = UI_ROLE_BOT,
                                      .text = other.text.data,
                                      .len = other.text.len,
                                      .tokens = other.tokens,
                                      .n_tokens = other.n},
                                     {.id = 8, .role = UI_ROLE_YOU, .text = "and " WIDE WIDE "?", .len = 17}};
    struct ui_compare compare = {
        {{"2 of 3  42 tokens", &scene->messages[2], 1, 26}, {"3 of 3  31 tokens", messages, 2, 26}}};
    scene->model.compare = &compare;
    check_sizes(&scene->screen, &scene->model, "compare");
    scene->screen.colour = COLOUR_MODE_PROB;
    check_screen(&scene->screen, &scene->model, "compare-colour", 24, 80);
    scene->screen.digits = true;
    check_screen(&scene->screen, &scene->model, "compare-digits", 24, 80);
    scene->screen.digits = false;
    assert_true(screen_scroll_view(&scene->screen, UI_ACTION_BOTTOM));
    check_screen(&scene->screen, &scene->model, "compare-end", 10, 40);
    assert_true(screen_scroll_view(&scene->screen, UI_ACTION_PAGE_UP));
    assert_false(screen_scroll_view(&scene->screen, UI_ACTION_COLOUR));
    scene->model.compare = NULL;
    struct canvas canvas = {0};
    canvas_resize(&canvas, 24, 80);
    screen_draw(&scene->screen, &scene->model, &canvas);
    assert_false(screen_scroll_view(&scene->screen, UI_ACTION_LINE_UP));
    canvas_free(&canvas);
    buf_free(&other.text);
    scene_free(scene);
}

static void score_screens(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct ui_score score = {.message = scene->messages[2], .nats = 87.3, .perplexity = 12.34};
    score.message.note = NULL;
    scene->answer.tokens[0].prob = -1; /* the first has none */
    scene->answer.tokens[5].prob = 0;
    scene->model.score = &score;
    check_sizes(&scene->screen, &scene->model, "score");
    scene->screen.colour = COLOUR_MODE_RANK;
    scene->screen.digits = true;
    score.computing = true;
    check_screen(&scene->screen, &scene->model, "score-digits", 24, 80);
    score = (struct ui_score){.message = scene->messages[2]};
    score.message.n_tokens = 0;
    score.message.note = "36390 tokens to be looked at, the context holds 8192";
    check_screen(&scene->screen, &scene->model, "score-failed", 24, 80);
    scene_free(scene);
}

static bool is_wide_whole(const struct canvas *canvas) {
    for (int i = 0; i < canvas->rows * canvas->columns; i++) {
        const struct cell *cell = &canvas->cells[i];
        bool right = cell->c == 0, edge = i % canvas->columns == 0;
        if (right && (edge || cell[-1].width != 2)) return false;
        if (cell->width == 2 && ((i + 1) % canvas->columns == 0 || cell[1].c != 0)) return false;
    }
    return true;
}

/* Whatever the tokens are made of and wherever rows break, each of them is seen when the cursor is on it, and
 * the terminal's cursor stands on its first cell. CJK, families, flags, combining marks, right to left,
 * halves of characters, line ends, blanks at the edge, control characters. */
static void every_token_has_its_cursor(void **state) {
    (void)state;
    static const char *const tokens[] = {WIDE WIDE,
                                         " ",
                                         "\n",
                                         FAMILY,
                                         "\xF0\x9F\x91",
                                         "\xA9",
                                         "\xE2\x80\x8D",
                                         "e",
                                         "\xCC\x81",
                                         "\xCC\x82",
                                         ARABIC,
                                         " \xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D",
                                         "\xF0\x9F\x87\xA9",
                                         "\xF0\x9F\x87\xAA",
                                         "     ",
                                         "\t",
                                         "\r",
                                         "\n\n",
                                         "\033[2J",
                                         "\xE2\x80\xAE",
                                         "longer_than_any_row_of_the_smallest_screens_there_are",
                                         "\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7",
                                         "\xEA\xB0\x80",
                                         "\xEF\xBC\xA1",
                                         "x",
                                         "\n"};
    struct scene *scene = scene_new();
    struct said odd = {0};
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
            say(&odd, tokens[(i * (size_t)(2 * round + 1)) % (sizeof tokens / sizeof *tokens)]);
    say(&odd, ""); /* an end token */
    struct ui_message *message = &scene->messages[2];
    message->text = odd.text.data;
    message->len = odd.text.len;
    message->tokens = odd.tokens;
    message->n_tokens = odd.n;
    struct canvas canvas = {0};
    for (int columns = 30; columns <= 80; columns += 5)
        for (size_t token = 0; token < odd.n; token++) {
            scene->inspect = (struct ui_inspect){
                .message = 3, .token = token, .text = "", .index = token, .n_tokens = odd.n};
            scene->model.inspect = &scene->inspect;
            scene->model.shown = NULL;
            scene->screen.colour = token % 2 ? COLOUR_MODE_PROB : COLOUR_MODE_OFF;
            scene->screen.digits = token % 3 == 0;
            canvas_resize(&canvas, 12, columns);
            screen_draw(&scene->screen, &scene->model, &canvas);
            bool seen = false;
            for (int i = 0; i < (canvas.rows - 4) * columns; i++)
                seen |= canvas.cells[i].style == STYLE_CURSOR;
            if (!seen) fail_msg("token %zu is not seen at %d columns", token, columns);
            if (!is_wide_whole(&canvas))
                fail_msg("half a character, token %zu at %d columns", token, columns);
            assert_true(canvas.cursor_row >= 1 && canvas.cursor_row < canvas.rows - 4);
            assert_int_equal(canvas.cells[canvas.cursor_row * columns + canvas.cursor_column].style,
                             STYLE_CURSOR);
        }
    canvas_free(&canvas);
    buf_free(&odd.text);
    scene_free(scene);
}

/* Left and right over a long answer: the view follows only when it has to, and scrolling away stays possible.
 */
static void the_view_follows_the_cursor(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct said talk = {0};
    for (int i = 0; i < 300; i++) say(&talk, i % 6 == 5 ? " word.\n" : " word");
    struct ui_message *message = &scene->messages[2];
    *message = (struct ui_message){.id = 3,
                                   .role = UI_ROLE_BOT,
                                   .text = talk.text.data,
                                   .len = talk.text.len,
                                   .tokens = talk.tokens,
                                   .n_tokens = talk.n};
    struct canvas canvas = {0};
    canvas_resize(&canvas, 24, 80);
    size_t top = 0, moves = 0;
    for (size_t token = talk.n; token-- > 0;) {
        scene->inspect = (struct ui_inspect){.message = 3, .token = token, .text = ""};
        scene->model.inspect = &scene->inspect;
        screen_draw(&scene->screen, &scene->model, &canvas);
        assert_true(canvas.cursor_row > 0);
        if (scene->screen.chat.top_row != top) moves++;
        top = scene->screen.chat.top_row;
    }
    assert_true(moves >= 4 && moves < 20); /* not with every token */
    for (int i = 0; i < 4; i++) {          /* scrolled away, it stays away */
        chat_scroll_page(&scene->screen.chat, 1);
        screen_draw(&scene->screen, &scene->model, &canvas);
    }
    assert_int_equal(canvas.cursor_row, -1);
    screen_draw(&scene->screen, &scene->model, &canvas);
    assert_int_equal(canvas.cursor_row, -1);
    scene->inspect.token++; /* the next step brings it back */
    screen_draw(&scene->screen, &scene->model, &canvas);
    assert_true(canvas.cursor_row > 0);
    scene->screen.colour = COLOUR_MODE_PROB;
    for (size_t token = 0; token < 150; token++) { /* rows that take two lines do not push it out of view */
        scene->inspect.token = token;
        screen_draw(&scene->screen, &scene->model, &canvas);
        scene->screen.digits = !scene->screen.digits;
        screen_draw(&scene->screen, &scene->model, &canvas);
        assert_true(canvas.cursor_row > 0);
    }
    canvas_free(&canvas);
    buf_free(&talk.text);
    scene_free(scene);
}

static void levels_tell_how_sure_it_was(void **state) {
    (void)state;
    static const struct {
        struct ui_token token;
        int prob, rank, bits;
    } cases[] = {{{.prob = 1, .rank = 1, .entropy = 0}, 9, 9, 9},
                 {{.prob = 0.7f, .rank = 2, .entropy = 0.5f}, 7, 8, 7},
                 {{.prob = 0.0999f, .rank = 1000, .entropy = 3}, 0, 1, 1},
                 {{.prob = 0, .rank = 1001, .entropy = 9}, 0, 0, 0},
                 {{.prob = -1, .rank = 3, .entropy = 1}, -1, -1, -1},
                 {{.prob = NAN, .rank = 0, .entropy = 0}, -1, -1, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(token_level(&cases[i].token, COLOUR_MODE_PROB), cases[i].prob);
        assert_int_equal(token_level(&cases[i].token, COLOUR_MODE_RANK), cases[i].rank);
        assert_int_equal(token_level(&cases[i].token, COLOUR_MODE_ENTROPY), cases[i].bits);
        assert_int_equal(token_level(&cases[i].token, COLOUR_MODE_OFF), -1);
    }
}

/* What a terminal lacks is drawn with what it has: nothing beyond ASCII of our own is left. */
static void plain_terminals_get_plain_characters(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct canvas canvas = {.glyphs = GLYPHS_ASCII};
    say(&scene->question, "\n");
    scene->messages[2] = scene->messages[1];
    scene->messages[2].id = 3;
    for (size_t i = 0; i < CANDIDATES; i++) scene->candidates[i].text = "a", scene->candidates[i].len = 1;
    point(scene, 2);
    scene->screen.colour = COLOUR_MODE_PROB;
    static const int sizes[][2] = {{24, 80}, {40, 120}, {10, 40}};
    for (size_t k = 0; k < 6; k++) {
        int rows = sizes[k / 2][0], columns = sizes[k / 2][1];
        canvas.glyphs = k % 2 ? GLYPHS_ASCII : GLYPHS_BOXES;
        canvas_resize(&canvas, rows, columns);
        screen_draw(&scene->screen, &scene->model, &canvas);
        for (int i = 0; i < rows * columns; i++) {
            uint32_t c = canvas.cells[i].c;
            bool eighths = (c >= 0x2581 && c <= 0x2587) || c == 0x2026 || c == 0x21B5;
            if (canvas.glyphs == GLYPHS_ASCII ? c >= 0x7F : eighths)
                fail_msg("U+%04X at %dx%d", c, columns, rows);
        }
    }
    canvas_free(&canvas);
    scene_free(scene);
}

static void every_size_is_survived(void **state) {
    (void)state;
    struct scene *scene = scene_new();
    struct canvas canvas = {0};
    struct ui_compare compare = {{{"a", scene->messages, 3, 5}, {"b", scene->messages + 1, 2, 1000}}};
    struct ui_score score = {.message = scene->messages[2]};
    for (int round = 0; round < 4; round++)
        for (int rows = 1; rows <= 44; rows += 1 + round)
            for (int columns = 1; columns <= 130; columns += rows % 3 + 3) {
                canvas_resize(&canvas, rows, columns);
                point(scene, (size_t)(rows * columns) % scene->answer.n);
                scene->inspect.selected = (size_t)rows % CANDIDATES;
                scene->model.compare = round == 1 ? &compare : NULL;
                scene->model.score = round == 2 ? &score : NULL;
                scene->screen.digits = columns % 2;
                scene->screen.colour = (enum colour_mode)(rows % COLOUR_MODE_COUNT);
                canvas.glyphs = (enum glyphs)(columns % 3);
                screen_draw(&scene->screen, &scene->model, &canvas);
                assert_true(canvas.cursor_row < rows && canvas.cursor_column < columns);
            }
    canvas_free(&canvas);
    scene_free(scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inspect_screens),
        cmocka_unit_test(colour_screens),
        cmocka_unit_test(compare_screens),
        cmocka_unit_test(score_screens),
        cmocka_unit_test(every_token_has_its_cursor),
        cmocka_unit_test(the_view_follows_the_cursor),
        cmocka_unit_test(levels_tell_how_sure_it_was),
        cmocka_unit_test(plain_terminals_get_plain_characters),
        cmocka_unit_test(every_size_is_survived),
    };
    return cmocka_run_group_tests_name("views_inspect", tests, NULL, NULL);
}
