#include "ui/rows.h"

#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

void rows_free(struct chat_entry *entry) {
    free(entry->rows);
    markdown_free(&entry->markdown);
    *entry = (struct chat_entry){0};
}

static size_t usable(const struct ui_message *message) {
    return message->open ? message->len - utf8_incomplete_tail(message->text, message->len) : message->len;
}

const char *rows_text(const struct chat_entry *entry, const struct ui_message *message, size_t *len) {
    if (entry->form == ROWS_SOURCE) {
        *len = entry->len;
        return message->text;
    }
    *len = entry->markdown.text.len;
    return entry->markdown.text.data ? entry->markdown.text.data : "";
}

/* Is what is kept the beginning of this? Otherwise start afresh. */
static bool keeps(struct chat_entry *entry, const struct ui_message *message, enum rows_form form,
                  size_t len) {
    bool same = entry->id == message->id && entry->version == message->version && entry->form == form &&
                entry->len <= len && (form == ROWS_SOURCE || markdown_keeps(&entry->markdown, message));
    if (same) return true;
    entry->id = message->id;
    entry->version = message->version;
    entry->form = form;
    entry->len = entry->n_rows = entry->n_final = 0;
    entry->complete = false;
    markdown_clear(&entry->markdown);
    entry->markdown.unfolded = form == ROWS_UNFOLDED;
    return false;
}

void rows_update_text(struct chat_entry *entry, const struct ui_message *message, enum rows_form form) {
    size_t len = usable(message);
    bool same = keeps(entry, message, form, len);
    if (same && entry->len == len && entry->complete == !message->open && len) return;
    if (form != ROWS_SOURCE) markdown_feed(&entry->markdown, message, len, message->open);
    entry->len = len;
    entry->complete = !message->open;
    entry->n_rows = entry->n_final; /* the others are of an older text */
}

static void add_row(struct chat_entry *entry, const struct text_row *row, const struct markdown_line *line) {
    grow_array(&entry->rows, &entry->cap_rows, entry->n_rows + 1, sizeof *entry->rows);
    struct chat_row *to = &entry->rows[entry->n_rows++];
    *to = (struct chat_row){.start = (uint32_t)row->start,
                            .end = (uint32_t)row->end,
                            .next = (uint32_t)row->next,
                            .newline = row->newline};
    if (!line) return;
    to->indent = row->start == line->start ? line->indent : line->hang;
    to->quote = line->quote;
    to->kind = line->kind;
}

static int row_width(const struct markdown_line *line, size_t at, int width) {
    enum { LEAST = 8 };
    int indent = !line ? 0 : at == line->start ? line->indent : line->hang;
    return width - indent > LEAST ? width - indent : width < LEAST ? width : LEAST;
}

size_t rows_update(struct chat_entry *entry, const struct ui_message *message, int width,
                   enum rows_form form) {
    rows_update_text(entry, message, form);
    if (entry->width != width) entry->n_rows = entry->n_final = 0;
    if (entry->n_rows && entry->n_rows > entry->n_final) return 0;
    const struct markdown *markdown = form == ROWS_SOURCE ? NULL : &entry->markdown;
    size_t len, n_settled;
    const char *text = rows_text(entry, message, &len);
    n_settled = markdown ? markdown->settled.text : len;
    size_t at = entry->n_final ? entry->rows[entry->n_final - 1].next : 0;
    size_t i = markdown ? markdown_line_at(markdown, at) : 0, from = at;
    struct text_row row = {.next = at, .newline = true};
    while (row.next < len || row.newline) {
        at = row.next;
        while (markdown && i + 1 < markdown->n_lines && markdown->lines[i + 1].start <= at) i++;
        const struct markdown_line *line = markdown && markdown->n_lines ? &markdown->lines[i] : NULL;
        text_wrap(text, len, at, (unsigned)row_width(line, at, width), &row);
        add_row(entry, &row, line);
        if (entry->n_final + 1 == entry->n_rows && row.seen + TEXT_WRAP_TAIL <= n_settled) entry->n_final++;
    }
    entry->width = width;
    entry->n_shown = entry->n_rows;
    while (entry->n_shown > 1 &&
           entry->rows[entry->n_shown - 1].start == entry->rows[entry->n_shown - 1].end &&
           entry->rows[entry->n_shown - 1].kind == MARKDOWN_TEXT)
        entry->n_shown--;
    return len - from;
}

size_t rows_find(const struct chat_entry *entry, size_t offset) {
    size_t low = 0, high = entry->n_rows;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entry->rows[middle].next > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low < entry->n_rows ? low : entry->n_rows ? entry->n_rows - 1 : 0;
}
