/* One message broken into rows of a width: as it is written, or as its markdown looks.
 *
 * Rows are kept until text, width or form change. Of a message that grows only those are made anew that more
 * text could change: the last few, in markdown those of the last chunk (ui/markdown.h). */
#ifndef LOGITOP_UI_ROWS_H
#define LOGITOP_UI_ROWS_H

#include "ui/markdown.h"
#include "ui/ui.h"

enum rows_form { ROWS_SOURCE, ROWS_MARKDOWN, ROWS_UNFOLDED /* markdown, and thinking whole */ };

struct chat_row {
    uint32_t start, end, next; /* offsets in the shown text */
    bool newline;
    uint8_t indent, quote, kind; /* as in struct markdown_line; indent: of this row */
};

struct chat_entry { /* what is kept of one message */
    uint64_t id;
    uint32_t version;
    bool complete; /* rows of a text that was not open */
    size_t len;    /* bytes of the message the rows cover */
    int width;
    enum rows_form form;
    struct markdown markdown; /* empty in ROWS_SOURCE */
    struct chat_row *rows;
    size_t n_rows, cap_rows, n_final; /* n_final: more text does not change these */
    size_t n_shown;                   /* without blank rows at the end, at least 1 */
};

/* Bring the rows up to date. Returns how many bytes were broken into rows: what it cost. */
size_t rows_update(struct chat_entry *entry, const struct ui_message *message, int width,
                   enum rows_form form);
/* Only what is shown, without rows: for a search. */
void rows_update_text(struct chat_entry *entry, const struct ui_message *message, enum rows_form form);
/* What rows are offsets in: the message's text, or what its markdown shows. */
const char *rows_text(const struct chat_entry *entry, const struct ui_message *message, size_t *len);
size_t rows_find(const struct chat_entry *entry, size_t offset); /* the row that holds this offset */
void rows_free(struct chat_entry *entry);

#endif
