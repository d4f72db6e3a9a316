#include "ui/chat.h"

#include "base/text.h"
#include "ui/keymap.h"
#include "ui/token_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_WIDTH = 6 }; /* " you  " */

void chat_free(struct chat *chat) {
    for (size_t i = 0; i < chat->cap_entries; i++) rows_free(&chat->entries[i]);
    free(chat->entries);
    find_free(&chat->find);
    *chat = (struct chat){0};
}

void chat_scroll(struct chat *chat, long rows) {
    chat->pending += rows;
}

void chat_scroll_page(struct chat *chat, int direction) {
    chat->pending += direction * (chat->page > 2 ? chat->page - 2 : 1);
}

void chat_scroll_top(struct chat *chat) {
    chat->pending_top = true;
}

void chat_follow(struct chat *chat) {
    chat->stays = false;
    chat->pending = 0;
    chat->pending_top = false;
}

/* ---- rows ---- */

/* The model's answers are formatted, unless tokens are looked at: those are of the text as it is. */
static enum rows_form message_form(const struct chat *chat, const struct ui_message *message) {
    return message->role == UI_ROLE_BOT ? chat->form : ROWS_SOURCE;
}

static struct chat_entry *chat_entry(struct chat *chat, const struct ui_model *model, size_t i, int width) {
    struct chat_entry *entry = &chat->entries[i];
    const struct ui_message *message = &model->messages[i];
    chat->n_wrapped += rows_update(entry, message, width, message_form(chat, message));
    return entry;
}

static bool has_note(const struct ui_message *message) {
    return message->note && message->note[0];
}

/* Lines a row of text takes on the screen: with digits below its tokens two. */
static size_t row_lines(const struct chat *chat, const struct ui_message *message) {
    bool digits = chat->digits && chat->form == ROWS_SOURCE && message->tokens && message->n_tokens;
    return digits ? 2 : 1;
}

/* Lines of message i with its note and the blank one below. */
static size_t chat_height(struct chat *chat, const struct ui_model *model, size_t i, int width) {
    const struct ui_message *message = &model->messages[i];
    return chat_entry(chat, model, i, width)->n_shown * row_lines(chat, message) + has_note(message) + 1;
}

static void chat_sync(struct chat *chat, size_t n_messages) {
    size_t old = chat->cap_entries;
    grow_array(&chat->entries, &chat->cap_entries, n_messages, sizeof *chat->entries);
    if (chat->cap_entries > old)
        memset(chat->entries + old, 0, (chat->cap_entries - old) * sizeof *chat->entries);
}

/* ---- where the view is ---- */

struct place {
    size_t message, row;
};

static bool place_before(struct place a, struct place b) {
    return a.message < b.message || (a.message == b.message && a.row < b.row);
}

/* Move back, or on (rows > 0), not beyond the ends. */
static struct place place_move(struct chat *chat, const struct ui_model *model, int width, struct place place,
                               long rows) {
    while (rows < 0) {
        if ((size_t)-rows <= place.row) {
            place.row -= (size_t)-rows;
            return place;
        }
        if (place.message == 0) return (struct place){0, 0};
        rows += (long)place.row;
        place.message--;
        place.row = chat_height(chat, model, place.message, width);
    }
    while (rows > 0 && place.message < model->n_messages) {
        size_t left = chat_height(chat, model, place.message, width) - place.row;
        if ((size_t)rows < left) {
            place.row += (size_t)rows;
            return place;
        }
        rows -= (long)left;
        place = (struct place){place.message + 1, 0};
    }
    return place;
}

/* The first row of a view of `rows` rows at the end. The blank row under the last message is not part of it.
 */
static struct place follow_place(struct chat *chat, const struct ui_model *model, int width, int rows) {
    struct place end = {model->n_messages, 0};
    return place_move(chat, model, width, end, -(long)rows - 1);
}

/* Find the row again that was on top, after the width or the messages changed. */
static struct place kept_place(struct chat *chat, const struct ui_model *model, int width) {
    size_t i = chat->top_message;
    if (i >= model->n_messages || model->messages[i].id != chat->top_id) {
        for (i = 0; i < model->n_messages && model->messages[i].id != chat->top_id; i++) {}
        if (i == model->n_messages) {
            chat->stays = false;
            return (struct place){0, 0};
        }
    }
    const struct ui_message *message = &model->messages[i];
    size_t old_len, len, row = chat->top_row;
    bool rewrapped = chat->entries[i].width != width,
         reformed = chat->entries[i].form != message_form(chat, message);
    rows_text(&chat->entries[i], message, &old_len);
    struct chat_entry *entry = chat_entry(chat, model, i, width);
    rows_text(entry, message, &len);
    if (reformed && old_len) chat->top_offset = chat->top_offset * len / old_len; /* as far down as before */
    size_t lines = row_lines(chat, message);
    if (rewrapped || reformed || lines != chat->top_lines) row = rows_find(entry, chat->top_offset) * lines;
    size_t height = chat_height(chat, model, i, width);
    return (struct place){i, row < height ? row : height - 1};
}

/* From now on the view begins here. */
static void keep_place(struct chat *chat, const struct ui_model *model, int width, struct place place,
                       bool offset_too) {
    const struct ui_message *message = &model->messages[place.message];
    struct chat_entry *entry = chat_entry(chat, model, place.message, width);
    chat->top_message = place.message;
    chat->top_row = place.row;
    chat->top_lines = row_lines(chat, message);
    chat->top_id = message->id;
    size_t row = place.row / chat->top_lines;
    if (offset_too) chat->top_offset = entry->rows[row < entry->n_shown ? row : entry->n_shown - 1].start;
}

static struct place chat_place(struct chat *chat, const struct ui_model *model, int width, int rows) {
    struct place end = follow_place(chat, model, width, rows);
    struct place place = chat->stays ? kept_place(chat, model, width) : end;
    if (chat->pending_top) place = (struct place){0, 0};
    if (chat->pending) place = place_move(chat, model, width, place, chat->pending);
    bool moved = chat->pending_top || chat->pending || !chat->stays;
    chat->pending = 0;
    chat->pending_top = false;
    chat->stays = place_before(place, end);
    if (!chat->stays) return end;
    /* a resize alone keeps the offset, so that going back and forth does not creep */
    keep_place(chat, model, width, place, moved);
    return place;
}

/* ---- searching ---- */

/* Go there: a third of the view above it. */
static void show_place(struct chat *chat, const struct ui_model *model, struct place place, int width,
                       int rows) {
    place = place_move(chat, model, width, place, -rows / 3);
    chat->stays = true;
    chat->pending = 0;
    chat->pending_top = false;
    keep_place(chat, model, width, place, true);
}

/* Where the byte is, as the message is shown. */
static struct place place_of(struct chat *chat, const struct ui_model *model, size_t i, size_t offset,
                             int width) {
    struct chat_entry *entry = chat_entry(chat, model, i, width);
    size_t row = rows_find(entry, offset);
    if (row >= entry->n_shown) row = entry->n_shown - 1;
    return (struct place){i, row * row_lines(chat, &model->messages[i])};
}

/* Do what was asked of the search. True if the view moved. */
static bool chat_find(struct chat *chat, const struct ui_model *model, int width, int rows) {
    struct find *find = &chat->find;
    if (find->state == FIND_OFF || (!find->changed && !find->step)) return false;
    for (size_t i = 0; i < model->n_messages; i++)
        rows_update_text(&chat->entries[i], &model->messages[i], message_form(chat, &model->messages[i]));
    struct place view = chat_place(chat, model, width, rows);
    size_t i = find_go(find, chat->entries, model, view.message);
    if (i == SIZE_MAX) return false;
    show_place(chat, model, place_of(chat, model, i, find->offset, width), width, rows);
    return true;
}

/* ---- the cursor of inspect mode ---- */

/* The message the cursor lies in, or that a template's token stands in front of; the last one for those at
 * the end. n_messages: there is none. */
static size_t cursor_message(const struct ui_model *model) {
    const struct ui_inspect *inspect = model->inspect;
    uint64_t id = inspect->message ? inspect->message : inspect->before;
    size_t i = 0;
    if (id == 0) return model->n_messages ? model->n_messages - 1 : 0;
    while (i < model->n_messages && model->messages[i].id != id) i++;
    return i;
}

static struct place cursor_place(struct chat *chat, const struct ui_model *model, size_t i, int width) {
    const struct ui_inspect *inspect = model->inspect;
    const struct ui_message *message = &model->messages[i];
    if (inspect->message && message->tokens && inspect->token < message->n_tokens)
        return place_of(chat, model, i, token_range(message, inspect->token).start, width);
    return place_of(chat, model, i, inspect->message || inspect->before ? 0 : message->len, width);
}

/* Bring the cursor into view when it moved; else the person may scroll as they like. True if the view moved.
 */
static bool follow_cursor(struct chat *chat, const struct ui_model *model, int width, int rows) {
    const struct ui_inspect *inspect = model->inspect;
    if (!inspect) {
        chat->cursor = (struct chat_cursor){0};
        return false;
    }
    size_t i = cursor_message(model);
    if (i == model->n_messages) return false;
    size_t lines = row_lines(chat, &model->messages[i]);
    struct chat_cursor now = {inspect->message, inspect->before, inspect->token, lines, width, rows},
                       *last = &chat->cursor;
    bool same = now.message == last->message && now.before == last->before && now.token == last->token &&
                now.lines == last->lines && now.width == last->width && now.rows == last->rows;
    *last = now;
    if (same) return false;
    struct place top = chat_place(chat, model, width, rows), place = cursor_place(chat, model, i, width);
    struct place end = place_move(chat, model, width, top, rows - chat->stays - (long)lines);
    if (!place_before(place, top) && !place_before(end, place)) return false;
    show_place(chat, model, place, width, rows);
    return true;
}

/* ---- drawing ---- */

static struct find_marks row_marks(const struct chat *chat, const struct ui_message *message,
                                   const struct chat_entry *entry, size_t start) {
    struct find_marks marks = {.find = &chat->find, .message = message->id};
    marks.text = rows_text(entry, message, &marks.len);
    find_marks_begin(&marks, start);
    return marks;
}

/* A row of what its markdown looks like. */
static void draw_formatted_row(const struct chat_entry *entry, const struct chat_row *row,
                               struct find_marks *marks, struct canvas *canvas, int y, int x, int limit) {
    enum { BAR = 0x2502, RULE = 0x2500, RULE_MAX = 40 };
    const char *text = entry->markdown.text.data;
    size_t run = 0;
    for (int i = 0; i < row->quote; i++)
        canvas_fill(canvas, (struct rect){y, x + 2 * i, 1, x + 2 * i < limit}, STYLE_DIM, BAR);
    x += row->indent;
    if (row->kind == MARKDOWN_RULE)
        canvas_fill(canvas, (struct rect){y, x, 1, limit - x < RULE_MAX ? limit - x : RULE_MAX}, STYLE_DIM,
                    RULE);
    if (row->kind == MARKDOWN_CODE) { /* from where its block begins, however deep the row goes on */
        size_t line = markdown_line_at(&entry->markdown, row->start);
        int left = x - row->indent + entry->markdown.lines[line].indent - 1;
        canvas_fill(canvas, (struct rect){y, left, 1, limit - left}, STYLE_CODE_BLOCK, ' ');
    }
    int start = x;
    for (size_t at = row->start; at < row->end && x < limit;) {
        struct text_piece piece;
        size_t from = at;
        at += text_next(text + at, row->end - at, false, (unsigned)(x - start), &piece);
        enum style style = markdown_style(&entry->markdown, from, &run);
        if (piece.kind == TEXT_KIND_STAND_IN && style == STYLE_TEXT) style = STYLE_STAND_IN;
        x = canvas_piece(canvas, y, x, limit, find_marks_style(marks, from, style), &piece);
    }
}

static struct token_pen pen_of(const struct chat *chat, const struct ui_model *model,
                               const struct ui_message *message, enum colour_mode colour) {
    const struct ui_inspect *inspect = model->inspect;
    struct token_pen pen = {.colour = colour, .text = true, .digits = row_lines(chat, message) > 1};
    pen.has_cursor =
        inspect && inspect->message == message->id && message->tokens && inspect->token < message->n_tokens;
    if (pen.has_cursor) pen.here = token_range(message, inspect->token);
    return pen;
}

static void draw_row(const struct chat *chat, const struct ui_message *message,
                     const struct chat_entry *entry, const struct chat_row *row, const struct token_pen *pen,
                     struct canvas *canvas, int y, int x, int limit) {
    struct find_marks marks = row_marks(chat, message, entry, row->start);
    if (entry->form == ROWS_SOURCE)
        token_row_draw(message, row, &marks, pen, canvas, y, x, limit);
    else
        draw_formatted_row(entry, row, &marks, canvas, y, x, limit);
}

/* The name, and below it which of its siblings this is. */
static void draw_label(const struct ui_message *message, size_t line, struct canvas *canvas, int y, int x,
                       int limit) {
    static const char *const names[] = {"you", "bot", "sys", ""};
    static const enum style styles[] = {STYLE_YOU, STYLE_BOT, STYLE_SYSTEM, STYLE_DIM};
    if (line == 0) canvas_printf(canvas, y, x + 1, limit, styles[message->role], "%s", names[message->role]);
    if (line == 1 && message->n_siblings > 1)
        canvas_printf(canvas, y, x + 1, limit, STYLE_DIM, "%u/%u", message->sibling, message->n_siblings);
}

void chat_click(struct chat *chat, int row, int column) {
    chat->click_row = row;
    chat->click_column = column;
}

/* The click fell on this row, which begins at column x: what is there? */
static void answer_click(struct chat *chat, const struct ui_message *message, const struct chat_entry *entry,
                         const struct chat_row *row, int x) {
    size_t len, at = row->start;
    const char *text = rows_text(entry, message, &len);
    for (int start = x += row->indent; at < row->end;) {
        struct text_piece piece;
        size_t n = text_next(text + at, row->end - at, false, (unsigned)(x - start), &piece);
        x += piece.width;
        if (x > chat->click_column) break;
        at += n;
    }
    if (at >= row->end && row->end > row->start) at = row->end - 1;
    size_t source = entry->form == ROWS_SOURCE ? at : markdown_source(&entry->markdown, at);
    chat->clicked = message->id;
    chat->clicked_at = source < message->len ? source : message->len ? message->len - 1 : 0;
}

/* As many of its figures as fit, two blanks between them: half a figure is a wrong one. */
static size_t note_len(const char *note, int width) {
    size_t len = strlen(note);
    while (text_width(note, len) > (unsigned)width) {
        size_t at = len;
        while (at > 1 && !(note[at - 1] == ' ' && note[at - 2] == ' ')) at--;
        if (at < 3) return strlen(note); /* one long word: its beginning */
        len = at - 2;
    }
    return len;
}

/* Draw lines of one message from `skip` on; returns the row on the canvas after them. */
static int draw_message(struct chat *chat, const struct ui_model *model, size_t i, size_t skip,
                        enum colour_mode colour, struct canvas *canvas, struct rect rect, int y) {
    const struct ui_message *message = &model->messages[i];
    int x = rect.column + LABEL_WIDTH, limit = rect.column + rect.columns - 1, end = rect.row + rect.rows;
    struct chat_entry *entry = chat_entry(chat, model, i, limit - x);
    struct token_pen pen = pen_of(chat, model, message, colour);
    size_t lines = row_lines(chat, message), n_text = entry->n_shown * lines;
    size_t height = n_text + has_note(message) + 1;
    for (size_t line = skip; line < height && y < end; line++, y++) {
        draw_label(message, line, canvas, y, rect.column, x);
        if (line < n_text) {
            bool below = line % lines > 0; /* the digits of a row above the view */
            if (below && line > skip) continue;
            struct token_pen used = pen;
            used.text = !below;
            used.last = line / lines + 1 == entry->n_shown;
            used.digits = pen.digits && (below || y + 1 < end);
            bool click = chat->click_row == y && chat->click_column < limit;
            if (click) answer_click(chat, message, entry, &entry->rows[line / lines], x);
            draw_row(chat, message, entry, &entry->rows[line / lines], &used, canvas, y, x, limit);
        } else if (line == n_text && has_note(message))
            canvas_text_end(canvas, y, x, limit, STYLE_DIM, message->note,
                            note_len(message->note, limit - x));
    }
    return y;
}

static void draw_below(struct chat *chat, struct canvas *canvas, struct rect rect) {
    char text[64];
    bool new = chat->rows_below > chat->rows_seen;
    size_t rows = new ? chat->rows_below - chat->rows_seen : chat->rows_below;
    int n = snprintf(text, sizeof text, " %zu %sline%s%s, End to follow ", rows, new ? "new " : "",
                     rows == 1 ? "" : "s", new ? "" : " below");
    int y = rect.row + rect.rows - 1, x = rect.column + 1, limit = rect.column + rect.columns - 1;
    canvas_fill(canvas, (struct rect){y, x, 1, limit - x}, STYLE_DIM, 0x2500);
    canvas_text(canvas, y, x + 2, limit, STYLE_NOTICE, text, (size_t)n);
}

/* Where nothing was said yet: what one may not find by oneself. */
static void draw_welcome(struct canvas *canvas, struct rect rect) {
    static const struct {
        int action;
        const char *does;
    } lines[] = {{ACTION_EDITOR, "the commands"}, /* no key: what is typed */
                 {UI_ACTION_HELP, "the keys, and what the numbers mean"},
                 {UI_ACTION_ESCAPE, "stops an answer"},
                 {UI_ACTION_INSPECT, "walks over the tokens: take what else could have come"},
                 {UI_ACTION_COLOUR, "colours them by how sure the model was"},
                 {UI_ACTION_CHATS, "opens a kept chat"}};
    enum { N = sizeof lines / sizeof *lines, KEY_WIDTH = 8, LEAST = 48 };
    int x = rect.column + LABEL_WIDTH, y = rect.row + 1, limit = rect.column + rect.columns - 1;
    if (rect.rows < N + 2 || rect.columns < LEAST) return;
    for (int i = 0; i < N; i++) {
        char key[KEY_NAME_MAX] = "/";
        if (lines[i].action != ACTION_EDITOR) keymap_key(lines[i].action, key);
        if (!*key) continue; /* it was taken away */
        canvas_text(canvas, y, x, limit, STYLE_TEXT, key, strlen(key));
        canvas_text_end(canvas, y++, x + KEY_WIDTH, limit, STYLE_DIM, lines[i].does, strlen(lines[i].does));
    }
}

void chat_draw(struct chat *chat, const struct ui_model *model, enum colour_mode colour,
               struct canvas *canvas, struct rect rect) {
    int width = rect.columns - LABEL_WIDTH - 1;
    bool source = colour != COLOUR_MODE_OFF || model->inspect || chat->raw;
    bool moved = chat->pending || chat->pending_top || !chat->stays;
    chat->form = source ? ROWS_SOURCE : chat->unfolded ? ROWS_UNFOLDED : ROWS_MARKDOWN;
    chat->page = rect.rows;
    chat->rows_below = 0;
    chat_sync(chat, model->n_messages);
    if (model->n_messages == 0) draw_welcome(canvas, rect);
    if (model->n_messages == 0 || rect.rows < 1 || width < 2) return;
    if (chat_find(chat, model, width, rect.rows)) moved = true;
    if (follow_cursor(chat, model, width, rect.rows)) moved = true;
    struct place place = chat_place(chat, model, width, rect.rows);
    struct rect body = rect;
    if (chat->stays && rect.rows > 1) body.rows--;
    int y = body.row;
    size_t last = 0;
    for (size_t i = place.message; i < model->n_messages && y < body.row + body.rows; i++) {
        y = draw_message(chat, model, i, i == place.message ? place.row : 0, colour, canvas, body, y);
        last = i;
    }
    if (!chat->stays) return;
    struct place bottom = place_move(chat, model, width, place, body.rows);
    for (size_t i = last; i < model->n_messages; i++) chat->rows_below += chat_height(chat, model, i, width);
    size_t shown = bottom.message > last ? chat_height(chat, model, last, width) : bottom.row;
    chat->rows_below -=
        shown + 1 <= chat->rows_below ? shown + 1 : chat->rows_below; /* the last blank row is no line */
    if (moved) chat->rows_seen = chat->rows_below;
    draw_below(chat, canvas, rect);
}
