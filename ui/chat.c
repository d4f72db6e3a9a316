#include "ui/chat.h"

#include "base/text.h"
#include "base/utf8.h"

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

/* Rows of message i with its note and the blank row below. */
static size_t chat_height(struct chat *chat, const struct ui_model *model, size_t i, int width) {
    return chat_entry(chat, model, i, width)->n_shown + has_note(&model->messages[i]) + 1;
}

static void chat_sync(struct chat *chat, size_t n_messages) {
    size_t old = chat->cap_entries;
    grow_array(&chat->entries, &chat->cap_entries, n_messages, sizeof *chat->entries);
    if (chat->cap_entries > old)
        memset(chat->entries + old, 0, (chat->cap_entries - old) * sizeof *chat->entries);
    chat->n_entries = n_messages;
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
    if (rewrapped || reformed) row = rows_find(entry, chat->top_offset);
    size_t height = chat_height(chat, model, i, width);
    return (struct place){i, row < height ? row : height - 1};
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
    chat->top_message = place.message;
    chat->top_row = place.row;
    chat->top_id = model->messages[place.message].id;
    struct chat_entry *entry = chat_entry(chat, model, place.message, width);
    if (moved) /* a resize alone keeps it, so that going back and forth does not creep */
        chat->top_offset = entry->rows[place.row < entry->n_shown ? place.row : entry->n_shown - 1].start;
    return place;
}

/* ---- searching ---- */

/* Go to the match: a third of the view above it. */
static void show_match(struct chat *chat, const struct ui_model *model, size_t i, int width, int rows) {
    struct chat_entry *entry = chat_entry(chat, model, i, width);
    struct place place = {i, rows_find(entry, chat->find.offset)};
    place = place_move(chat, model, width, place, -rows / 3);
    chat->stays = true;
    chat->top_message = place.message;
    chat->top_row = place.row;
    chat->top_id = model->messages[place.message].id;
    entry = chat_entry(chat, model, place.message, width);
    chat->top_offset = entry->rows[place.row < entry->n_shown ? place.row : entry->n_shown - 1].start;
    chat->pending = 0;
    chat->pending_top = false;
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
    show_match(chat, model, i, width, rows);
    return true;
}

/* ---- drawing ---- */

static enum style token_style(const struct ui_token *token, enum colour_mode colour) {
    if (colour == COLOUR_MODE_OFF || !(token->prob >= 0)) return STYLE_TEXT;
    int level = (int)(token->prob * 10);
    return (enum style)(STYLE_PROB0 + (level > 9 ? 9 : level));
}

/* First token that ends behind `offset`. */
static size_t token_find(const struct ui_message *message, size_t offset) {
    size_t low = 0, high = message->tokens ? message->n_tokens : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (message->tokens[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Where the matches of a search lie in a row: asked for offset by offset, from its start on. */
struct marks {
    const struct find *find;
    const char *text;
    size_t len, end; /* end of the newest match */
    bool here;       /* it is the one the view was moved to */
    uint64_t message;
};

static void marks_begin(struct marks *marks, size_t start) {
    size_t reach = marks->find->pattern.len * 4; /* a match may have begun in the row before */
    for (size_t at = start > reach ? start - reach : 0; at < start; at++) {
        size_t n = at >= marks->end ? find_match(marks->find, marks->text + at, marks->len - at) : 0;
        if (n)
            marks->end = at + n,
            marks->here = marks->find->message == marks->message && marks->find->offset == at;
    }
}

static enum style marks_style(struct marks *marks, size_t at, enum style style) {
    if (marks->find->state == FIND_OFF) return style;
    size_t n = at >= marks->end ? find_match(marks->find, marks->text + at, marks->len - at) : 0;
    if (n)
        marks->end = at + n,
        marks->here = marks->find->message == marks->message && marks->find->offset == at;
    return at >= marks->end ? style : marks->here ? STYLE_MATCH_HERE : STYLE_MATCH;
}

static struct marks row_marks(const struct chat *chat, const struct ui_message *message,
                              const struct chat_entry *entry, size_t start) {
    struct marks marks = {.find = &chat->find, .message = message->id};
    marks.text = rows_text(entry, message, &marks.len);
    if (chat->find.state != FIND_OFF) marks_begin(&marks, start);
    return marks;
}

/* A row of the text as it is, with its tokens' colours. */
static void draw_source_row(const struct ui_message *message, const struct chat_row *row, struct marks *marks,
                            enum colour_mode colour, struct canvas *canvas, int y, int x, int limit) {
    size_t n_tokens = message->tokens && colour != COLOUR_MODE_OFF ? message->n_tokens : 0;
    size_t token = n_tokens ? token_find(message, row->start) : 0;
    enum style plain = message->role == UI_ROLE_NOTE ? STYLE_DIM : STYLE_TEXT;
    int start = x;
    for (size_t at = row->start; at < row->end && x < limit;) {
        struct text_piece piece;
        size_t from = at;
        at += text_next(message->text + at, row->end - at, false, (unsigned)(x - start), &piece);
        while (token < n_tokens && message->tokens[token].end < at)
            token++; /* a cluster has its last token's colour */
        enum style style = token < n_tokens ? token_style(&message->tokens[token], colour) : plain;
        if (piece.kind == TEXT_KIND_STAND_IN && style == STYLE_TEXT) style = STYLE_STAND_IN;
        x = canvas_piece(canvas, y, x, limit, marks_style(marks, from, style), &piece);
    }
}

/* A row of what its markdown looks like. */
static void draw_formatted_row(const struct chat_entry *entry, const struct chat_row *row,
                               struct marks *marks, struct canvas *canvas, int y, int x, int limit) {
    enum { BAR = 0x2502, RULE = 0x2500, RULE_MAX = 40 };
    const char *text = entry->markdown.text.data;
    size_t run = 0;
    for (int i = 0; i < row->quote; i++)
        canvas_fill(canvas, (struct rect){y, x + 2 * i, 1, x + 2 * i < limit}, STYLE_DIM, BAR);
    x += row->indent;
    if (row->kind == MARKDOWN_RULE)
        canvas_fill(canvas, (struct rect){y, x, 1, limit - x < RULE_MAX ? limit - x : RULE_MAX}, STYLE_DIM,
                    RULE);
    if (row->kind == MARKDOWN_CODE)
        canvas_fill(canvas, (struct rect){y, x - 1, 1, limit - x + 1}, STYLE_CODE_BLOCK, ' ');
    int start = x;
    for (size_t at = row->start; at < row->end && x < limit;) {
        struct text_piece piece;
        size_t from = at;
        at += text_next(text + at, row->end - at, false, (unsigned)(x - start), &piece);
        enum style style = markdown_style(&entry->markdown, from, &run);
        if (piece.kind == TEXT_KIND_STAND_IN && style == STYLE_TEXT) style = STYLE_STAND_IN;
        x = canvas_piece(canvas, y, x, limit, marks_style(marks, from, style), &piece);
    }
}

static void draw_row(const struct chat *chat, const struct ui_message *message,
                     const struct chat_entry *entry, const struct chat_row *row, enum colour_mode colour,
                     struct canvas *canvas, int y, int x, int limit) {
    struct marks marks = row_marks(chat, message, entry, row->start);
    if (entry->form == ROWS_SOURCE)
        draw_source_row(message, row, &marks, colour, canvas, y, x, limit);
    else
        draw_formatted_row(entry, row, &marks, canvas, y, x, limit);
}

static void draw_label(const struct ui_message *message, struct canvas *canvas, int y, int x, int limit) {
    static const char *const names[] = {"you", "bot", "sys", ""};
    static const enum style styles[] = {STYLE_YOU, STYLE_BOT, STYLE_SYSTEM, STYLE_DIM};
    canvas_printf(canvas, y, x + 1, limit, styles[message->role], "%s", names[message->role]);
}

/* Draw rows of one message from `skip` on; returns the row on the canvas after them. */
static int draw_message(struct chat *chat, const struct ui_model *model, size_t i, size_t skip,
                        enum colour_mode colour, struct canvas *canvas, struct rect rect, int y) {
    const struct ui_message *message = &model->messages[i];
    int x = rect.column + LABEL_WIDTH, limit = rect.column + rect.columns - 1;
    struct chat_entry *entry = chat_entry(chat, model, i, limit - x);
    size_t height = entry->n_shown + has_note(message) + 1;
    for (size_t row = skip; row < height && y < rect.row + rect.rows; row++, y++) {
        if (row == 0) draw_label(message, canvas, y, rect.column, limit);
        if (row < entry->n_shown)
            draw_row(chat, message, entry, &entry->rows[row], colour, canvas, y, x, limit);
        else if (row == entry->n_shown && has_note(message))
            canvas_text_end(canvas, y, x, limit, STYLE_DIM, message->note, strlen(message->note));
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

void chat_draw(struct chat *chat, const struct ui_model *model, enum colour_mode colour,
               struct canvas *canvas, struct rect rect) {
    int width = rect.columns - LABEL_WIDTH - 1;
    bool source = colour != COLOUR_MODE_OFF || model->inspect || chat->raw;
    bool moved = chat->pending || chat->pending_top || !chat->stays;
    chat->form = source ? ROWS_SOURCE : chat->unfolded ? ROWS_UNFOLDED : ROWS_MARKDOWN;
    chat->page = rect.rows;
    chat->rows_below = 0;
    chat_sync(chat, model->n_messages);
    if (model->n_messages == 0 || rect.rows < 1 || width < 2) return;
    if (chat_find(chat, model, width, rect.rows)) moved = true;
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
