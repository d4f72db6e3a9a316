#include "ui/bars.h"

#include "base/text.h"
#include "ui/format.h"
#include "ui/keymap.h"
#include "ui/tokens.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- header: model, chat on the left; memory, device, context on the right ---- */

enum { CONTEXT_GAUGE = 10, MODEL_MIN = 12, GAP = 2 };

static int width_of(const char *text) {
    return text ? (int)text_width(text, strlen(text)) : 0;
}

/* At the right end, if that leaves `keep` columns from x on. Returns the new limit. */
static int draw_right(const char *text, enum style style, int keep, struct canvas *canvas, int y, int x,
                      int limit) {
    int width = width_of(text);
    if (width == 0 || limit - x - width - GAP < keep) return limit;
    canvas_text(canvas, y, limit - width, limit, style, text, strlen(text));
    return limit - width - GAP;
}

/* How full the context is: with a gauge where there is room for one. */
static int draw_context(const struct ui_status *status, int keep, struct canvas *canvas, int y, int x,
                        int limit) {
    char used[FORMAT_MAX], size[FORMAT_MAX], text[2 * FORMAT_MAX + 8];
    if (status->context_size == 0) return limit;
    snprintf(text, sizeof text, "ctx %s/%s", format_count(status->context_used, used),
             format_count(status->context_size, size));
    int width = (int)strlen(text);
    if (limit - x - width - 1 - CONTEXT_GAUGE - GAP >= keep) {
        gauge_draw(canvas, y, limit - CONTEXT_GAUGE, CONTEXT_GAUGE,
                   (double)status->context_used / status->context_size, STYLE_BAR_STRONG, STYLE_BAR_DIM,
                   0x2591);
        limit -= CONTEXT_GAUGE + 1;
    }
    return draw_right(text, STYLE_BAR, keep < MODEL_MIN ? keep : MODEL_MIN, canvas, y, x, limit);
}

/* What matters most has its place first: the mark, the context, the model's name; then memory and device, and
 * the chat's title has the rest. */
void header_draw(const struct ui_status *status, struct canvas *canvas, struct rect rect) {
    enum { CONTEXT = 28 }; /* "ctx 8.2k/8.2k" with its gauge and gap */
    int y = rect.row, x = rect.column + 1, limit = rect.column + rect.columns - 1;
    canvas_fill(canvas, rect, STYLE_BAR, ' ');
    const char *model = status->model ? status->model : "";
    char memory[FORMAT_MAX] = "";
    if (status->memory_used) format_memory(status->memory_used, status->memory_total, memory);
    int keep = width_of(model) + CONTEXT + GAP + width_of(status->mark) + GAP;
    limit = draw_right(memory, STYLE_BAR, keep, canvas, y, x, limit);
    limit = draw_right(status->device, STYLE_BAR, keep + GAP, canvas, y, x, limit);
    limit = draw_context(status, MODEL_MIN + (status->mark ? width_of(status->mark) + GAP : 0), canvas, y, x,
                         limit);
    limit = draw_right(status->mark, STYLE_BAR_STRONG, 0, canvas, y, x, limit);
    x = canvas_text_end(canvas, y, x, limit, STYLE_BAR_STRONG, model, strlen(model));
    if (status->chat && status->chat[0] && limit - x > 12) {
        x = canvas_printf(canvas, y, x + 2, limit, STYLE_BAR_DIM, "chat: ");
        canvas_text_end(canvas, y, x, limit, STYLE_BAR, status->chat, strlen(status->chat));
    }
}

/* ---- status: what it is doing, how fast ---- */

/* An answer that Esc stops. */
static bool runs(const struct ui_status *status) {
    return status->state == UI_STATE_PREFILL || status->state == UI_STATE_GENERATING;
}

static int draw_progress(const struct ui_status *status, const char *what, bool bytes, struct canvas *canvas,
                         int y, int x, int limit) {
    double share =
        status->progress_total ? (double)status->progress_done / (double)status->progress_total : 0;
    char amount[3 * FORMAT_MAX], done[FORMAT_MAX], total[FORMAT_MAX];
    if (bytes)
        format_memory(status->progress_done, status->progress_total, amount);
    else
        snprintf(amount, sizeof amount, "%s/%s tokens", format_count((double)status->progress_done, done),
                 format_count((double)status->progress_total, total));
    x = canvas_printf(canvas, y, x, limit, STYLE_TEXT, "%s ", what);
    if (status->progress_total == 0) return x;
    int width = limit - x > 60 ? 20 : limit - x > 36 ? 10 : 0;
    if (width) gauge_draw(canvas, y, x, width, share, STYLE_GAUGE, STYLE_GAUGE_REST, 0x2591);
    x = canvas_printf(canvas, y, x + width, limit, STYLE_TEXT, " %3.0f%%", share * 100);
    return canvas_printf(canvas, y, x, limit, STYLE_DIM, "  %s", amount);
}

static int draw_speeds(const struct ui_status *status, struct canvas *canvas, int y, int x, int limit) {
    char number[FORMAT_MAX], other[FORMAT_MAX];
    double now = status->state == UI_STATE_GENERATING ? status->tps_now : 0;
    if (now > 0) x = phrase_draw(canvas, y, x, limit, STYLE_STRONG, "%.1f tok/s", now);
    if (status->tps_mean > 0)
        x = phrase_draw(canvas, y, x, limit, STYLE_TEXT, now > 0 ? "mean %.1f" : "%.1f tok/s",
                        status->tps_mean);
    if (status->prefill_tps > 0)
        x = phrase_draw(canvas, y, x, limit, STYLE_DIM, "prefill %s tok/s",
                        format_count(status->prefill_tps, number));
    if (status->prompt_tokens > 0)
        x = phrase_draw(canvas, y, x, limit, STYLE_DIM, "prompt %s, %s cached",
                        format_count(status->prompt_tokens, number),
                        format_count(status->cached_tokens, other));
    return x;
}

/* In inspect mode: what Enter would do. */
static void draw_next(const char *next, struct canvas *canvas, int y, int x, int limit) {
    x = canvas_printf(canvas, y, x, limit, STYLE_PROMPT, "Enter ");
    canvas_text_end(canvas, y, x, limit, STYLE_TEXT, next, strlen(next));
}

/* What is searched for, and how far. The cursor stands behind it while it is typed. */
static void draw_find(const struct find *find, struct canvas *canvas, int y, int x, int limit) {
    x = canvas_printf(canvas, y, x, limit, STYLE_PROMPT, "find: ");
    x = canvas_text(canvas, y, x, limit, STYLE_TEXT, find->pattern.data ? find->pattern.data : "",
                    find->pattern.len);
    if (find->state == FIND_TYPING && x < limit) canvas->cursor_row = y, canvas->cursor_column = x;
    if (find->count)
        canvas_printf(canvas, y, x + 2, limit, STYLE_DIM, "%zu of %zu", find->n, find->count);
    else if (find->pattern.len)
        canvas_printf(canvas, y, x + 2, limit, STYLE_NOTICE, "not found");
}

/* ---- words in place of the figures, as many rows as they need ---- */

/* What is told: a notice, what could be typed, an error. NULL: nothing is. */
static const char *words_of(const struct screen *screen, const struct ui_model *model, enum style *style) {
    const char *error = model->status.error;
    if (screen->notice_on) return *style = STYLE_NOTICE, screen->notice;
    if (screen->chat.find.state != FIND_OFF) return NULL;
    bool command =
        screen->box.len && !screen->box.search && !screen->typing && screen_keys(screen) == KEY_BOX;
    if (command && model->commands && model->commands[0]) return *style = STYLE_DIM, model->commands;
    return *style = STYLE_ERROR, error && error[0] ? error : NULL;
}

int status_rows(const struct screen *screen, const struct ui_model *model, int columns, int most) {
    enum style style;
    const char *words = words_of(screen, model, &style);
    int n = words ? canvas_words_rows(words, columns - 2) : 1;
    return n > most ? most : n;
}

enum { TASK_MIN = 24 }; /* columns beside the speeds */

void status_draw(const struct screen *screen, const struct ui_model *model, struct canvas *canvas,
                 struct rect rect) {
    const struct ui_status *status = &model->status;
    int y = rect.row, x = rect.column + 1, limit = rect.column + rect.columns - 1;
    enum style style;
    const char *words = words_of(screen, model, &style);
    if (words) {
        canvas_words(canvas, (struct rect){y, x, rect.rows, limit - x}, style, words);
        return;
    }
    if (screen->chat.find.state != FIND_OFF) {
        draw_find(&screen->chat.find, canvas, y, x, limit);
        return;
    }
    const char *stop = status->state == UI_STATE_LOADING ? "[Esc cancel]" : runs(status) ? "[Esc stop]" : "";
    int stop_width = (int)strlen(stop);
    if (stop_width && limit - stop_width > x + 20) {
        canvas_printf(canvas, y, limit - stop_width, limit, STYLE_PROMPT, "%s", stop);
        limit -= stop_width + 1;
    }
    bool choosing = model->inspect && screen_keys(screen) == KEY_INSPECT && status->state == UI_STATE_IDLE;
    const char *next = choosing ? model->inspect->next : NULL;
    int kept = next ? (int)text_width(next, strlen(next)) + 8 : 0; /* the legend gets shorter for it */
    enum colour_mode colour =
        screen->scoring && screen->colour == COLOUR_MODE_OFF ? COLOUR_MODE_PROB : screen->colour;
    if (colour != COLOUR_MODE_OFF)
        limit = legend_draw(colour, screen->digits, canvas, y, x + kept, limit) - 2;
    if (next)
        draw_next(next, canvas, y, x, limit);
    else if (status->state == UI_STATE_LOADING)
        draw_progress(status, "loading", true, canvas, y, x, limit);
    else if (status->state == UI_STATE_PREFILL) {
        x = draw_progress(status, "reading", false, canvas, y, x, limit);
        char number[FORMAT_MAX];
        if (status->prefill_tps > 0)
            phrase_draw(canvas, y, x + 2, limit, STYLE_DIM, "%s tok/s",
                        format_count(status->prefill_tps, number));
    } else if (status->task && status->state == UI_STATE_IDLE)
        canvas_text_end(canvas, y, x, limit, STYLE_TEXT, status->task, strlen(status->task));
    else {
        x = draw_speeds(status, canvas, y, x, limit);
        if (status->task && limit - x > TASK_MIN)
            canvas_text_end(canvas, y, x + 2, limit, STYLE_DIM, status->task, strlen(status->task));
    }
}

/* ---- the input box ---- */

enum { PROMPT_WIDTH = 2 };

/* Row and column of the cursor in rows of `width`, and how many rows there are. */
static int box_layout(const struct box *box, int width, int *cursor_row, int *cursor_column) {
    struct text_row row = {.newline = true};
    const char *text = box->text ? box->text : "";
    int n = 0;
    *cursor_row = *cursor_column = 0;
    while (row.next < box->len || row.newline) {
        text_wrap(text, box->len, row.next, (unsigned)width, &row);
        if (box->cursor >= row.start) {
            unsigned column =
                text_width(text + row.start, (box->cursor < row.end ? box->cursor : row.end) - row.start);
            if (box->cursor > row.end &&
                box->cursor < row.next + (row.next == box->len)) /* among blanks at the edge */
                column += (unsigned)(box->cursor - row.end);
            *cursor_row = n;
            *cursor_column = (int)column < width ? (int)column : width - 1;
            if (row.next == box->len && !row.newline &&
                (int)column >= width) { /* a full last row: the next one */
                *cursor_row = n + 1;
                *cursor_column = 0;
                n++;
            }
        }
        n++;
    }
    return n;
}

int box_rows(const struct box *box, int columns, int most) {
    int row, column, n = box_layout(box, columns - PROMPT_WIDTH - 1, &row, &column);
    return n < 1 ? 1 : n > most ? most : n;
}

/* What an empty box says: whose the keys are. */
static const char *box_hint(const struct screen *screen, const struct ui_model *model) {
    if (screen->chat.find.state != FIND_OFF) return NULL;
    if (screen->typing) return "what comes here instead, blanks count; Enter takes it, Esc leaves it";
    switch (screen_keys(screen)) {
    case KEY_BOX: return model->hint;
    case KEY_INSPECT: return "t types what comes here instead, Esc goes back to the chat";
    default: return NULL;
    }
}

void box_draw(const struct screen *screen, const struct ui_model *model, struct canvas *canvas,
              struct rect rect) {
    const struct box *box = &screen->box;
    int x = rect.column + PROMPT_WIDTH, limit = rect.column + rect.columns - 1, width = limit - x;
    int cursor_row, cursor_column, n = box_layout(box, width, &cursor_row, &cursor_column);
    int first = cursor_row >= rect.rows ? cursor_row - rect.rows + 1 : 0;
    if (first > n - rect.rows) first = n > rect.rows ? n - rect.rows : 0;
    canvas_printf(canvas, rect.row, rect.column, limit, STYLE_PROMPT, first ? "^" : ">");
    struct text_row row = {.newline = true};
    for (int i = 0; row.next < box->len || row.newline; i++) {
        text_wrap(box->text ? box->text : "", box->len, row.next, (unsigned)width, &row);
        if (i >= first && i < first + rect.rows)
            canvas_text(canvas, rect.row + i - first, x, limit, STYLE_TEXT, box->text + row.start,
                        row.end - row.start);
    }
    if (screen_keys(screen) == KEY_BOX) {
        canvas->cursor_row = rect.row + cursor_row - first;
        canvas->cursor_column = x + cursor_column;
    }
    if (box->search)
        canvas_printf(canvas, rect.row, limit - (limit - x) / 3, limit, STYLE_NOTICE, " search: %s ",
                      box->search);
    const char *hint = box->len || box->search ? NULL : box_hint(screen, model);
    if (hint) canvas_text_end(canvas, rect.row, x, limit, STYLE_DIM, hint, strlen(hint));
}

/* ---- the key bar ---- */

/* Arrows are shorter than their names. */
static void bar_name(const struct key *key, char name[32]) {
    static const char *const arrows[] = {[KEY_CODE_UP - KEY_CODE_UP] = "\xE2\x86\x91",
                                         [KEY_CODE_DOWN - KEY_CODE_UP] = "\xE2\x86\x93",
                                         [KEY_CODE_RIGHT - KEY_CODE_UP] = "\xE2\x86\x92",
                                         [KEY_CODE_LEFT - KEY_CODE_UP] = "\xE2\x86\x90"};
    if (key->code >= KEY_CODE_UP && key->code <= KEY_CODE_LEFT && key->mods == 0)
        strcpy(name, arrows[key->code - KEY_CODE_UP]);
    else
        key_name(key, name);
}

/* What the context's own keys are called, and without a context of its own those that hold anywhere. */
static const char *bar_word(const struct binding *binding, const struct screen *screen,
                            const struct ui_model *model) {
    enum key_context context = screen_keys(screen);
    bool holds = context == KEY_BOX ? binding->context <= KEY_BOX : binding->context == context;
    bool of_app = binding->action != ACTION_EDITOR && binding->action < UI_ACTION_COUNT_APP;
    if (!holds || binding->key.code == KEY_CODE_NONE || (of_app && model->off & UI_OFF(binding->action)))
        return NULL;
    if (context == KEY_VIEW && binding->action == UI_ACTION_COMPARE && !screen->comparing) return NULL;
    if (context == KEY_VIEW && screen->pager.on &&
        (binding->action == UI_ACTION_COLOUR || binding->action == UI_ACTION_DIGITS))
        return NULL;
    if (context == KEY_INSPECT && binding->action == UI_ACTION_ESCAPE && runs(&model->status)) return "Stop";
    if (context != KEY_PICKER) return binding->bar;
    if (binding->action == UI_ACTION_PICK_DELETE && !model->picker->deletes) return NULL;
    return binding->action == UI_ACTION_PICK && model->picker->verb ? model->picker->verb : binding->bar;
}

/* What Enter does with what is typed, where that is not to send it; NULL: that. */
static const char *enter_word(const struct screen *screen, const struct ui_model *model) {
    enum key_context context = screen_keys(screen);
    bool finding = screen->chat.find.state == FIND_TYPING;
    if (finding && (context == KEY_BOX || context == KEY_INSPECT)) return "Walk";
    if (context != KEY_BOX) return NULL;
    if (screen->typing) return "Take";
    return model->editing ? "Branch" : NULL;
}

/* A place in the bar: a key, or two, and what it does. */
struct bar_entry {
    char keys[2 * 32];
    const char *word;
    size_t binding; /* NO_BINDING: the Enter key */
    int first;      /* cells of the first of two keys, which is that of the binding before; 0: it is one */
};
enum { NO_BINDING = -1 };

static int entry_width(const struct bar_entry *entry) {
    return width_of(entry->keys) + (int)strlen(entry->word);
}

/* Of binding i and, where that shares its word with the next, of both: then i goes on to that. False: it is
 * not in the bar. */
static bool bar_entry(size_t *i, const struct screen *screen, const struct ui_model *model,
                      struct bar_entry *out) {
    char name[32], second[32] = "";
    out->word = bar_word(&keymap[*i], screen, model);
    if (!out->word) return false;
    bar_name(&keymap[*i].key, name);
    out->first = 0;
    if (!out->word[0]) { /* two keys, one word */
        bar_name(&keymap[++*i].key, second);
        out->word = keymap[*i].bar;
        out->first = width_of(name);
    }
    out->binding = *i;
    snprintf(out->keys, sizeof out->keys, "%s%s", name, second);
    return true;
}

/* The key that this action has in the chat. */
static struct bar_entry entry_of(int action, const char *word) {
    struct bar_entry entry = {.word = word};
    while (entry.binding < n_keymap - 1 &&
           (keymap[entry.binding].action != action || keymap[entry.binding].context > KEY_BOX))
        entry.binding++;
    key_name(&keymap[entry.binding].key, entry.keys);
    return entry;
}

/* The column after it. */
static int draw_entry(const struct bar_entry *entry, struct canvas *canvas, int y, int x, int limit) {
    struct rect rect = {y, x + entry->first, 1, entry_width(entry) - entry->first};
    if (entry->first) canvas_area(canvas, (struct rect){y, x, 1, entry->first}, AREA_KEY, entry->binding - 1);
    canvas_area(canvas, rect, entry->binding == (size_t)NO_BINDING ? AREA_ENTER : AREA_KEY, entry->binding);
    x = canvas_printf(canvas, y, x, limit, STYLE_KEY, "%s", entry->keys);
    int first = toupper((unsigned char)entry->word[0]); /* verbs of lists too */
    return 1 + canvas_printf(canvas, y, x, limit, STYLE_KEY_LABEL, "%c%s", first, entry->word + 1);
}

/* What leads to all keys, where it is not the first of them already and they do not fit. */
static bool needs_help(const struct screen *screen, const struct ui_model *model, int columns,
                       struct bar_entry *help) {
    int all = -1;
    struct bar_entry entry;
    if (screen_keys(screen) == KEY_BOX || screen->pager.on) return false;
    for (size_t i = 0; i < n_keymap; i++)
        if (bar_entry(&i, screen, model, &entry)) all += entry_width(&entry) + 1;
    *help = entry_of(UI_ACTION_HELP, "Help");
    return all > columns && help->keys[0];
}

/* The most useful keys come first. */
void keys_draw(const struct screen *screen, const struct ui_model *model, struct canvas *canvas,
               struct rect rect) {
    int x = rect.column, y = rect.row, limit = rect.column + rect.columns;
    struct bar_entry entry, help;
    canvas_fill(canvas, rect, STYLE_KEY_LABEL, ' ');
    entry.word = enter_word(screen, model);
    if (entry.word) {
        entry.binding = (size_t)NO_BINDING;
        entry.first = 0;
        strcpy(entry.keys, "Enter");
        x = draw_entry(&entry, canvas, y, x, limit);
        entry = entry_of(UI_ACTION_ESCAPE, "Back");
        draw_entry(&entry, canvas, y, x, limit);
        return;
    }
    bool helps = needs_help(screen, model, rect.columns, &help);
    int end = helps ? limit - entry_width(&help) - 1 : limit;
    for (size_t i = 0; i < n_keymap; i++) {
        if (!bar_entry(&i, screen, model, &entry)) continue;
        if (x + entry_width(&entry) > end) break;
        x = draw_entry(&entry, canvas, y, x, limit);
    }
    if (helps) draw_entry(&help, canvas, y, x, limit);
}
