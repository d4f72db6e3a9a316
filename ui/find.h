/* Search in the conversation, in what is shown of it. Small letters match capitals too; a capital in the
 * pattern makes them differ.
 *
 *     off --F7--> typing (each letter searches) --Enter--> on (n, N walk over the matches) --Esc--> off
 *
 * What a key asks for is noted here and done at the next drawing, when the messages are at hand. */
#ifndef LOGITOP_UI_FIND_H
#define LOGITOP_UI_FIND_H

#include "base/buf.h"
#include "ui/rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum find_state { FIND_OFF, FIND_TYPING, FIND_ON };

struct find {
    enum find_state state;
    struct buf pattern; /* UTF-8 */
    bool changed;       /* the pattern: search from the view on */
    int step;           /* so many matches on, or back */
    uint64_t message;   /* of the match we are at; 0: there is none */
    size_t offset;      /* in its shown text */
    size_t n, count;    /* it is the n-th of so many */
};

void find_begin(struct find *find);
void find_type(struct find *find, uint32_t c); /* to the pattern's end; 0 takes the last character away */
void find_set(struct find *find, const char *pattern, size_t len);
void find_end(struct find *find);
void find_free(struct find *find);

/* The first match that begins in [from, len): its offset, or SIZE_MAX. */
size_t find_first(const struct find *find, const char *text, size_t len, size_t from);

/* What was asked for: choose a match of these messages, whose entries' texts are up to date. Without one to
 * go on from, the first one from message `from` on. Returns the message it lies in; SIZE_MAX: the view stays.
 */
size_t find_go(struct find *find, const struct chat_entry *entries, const struct ui_model *model,
               size_t from);

/* Where the matches lie in a row that is drawn: asked for offset by offset, from the row's start on. */
struct find_marks {
    const struct find *find;
    const char *text; /* [len] of the whole message, as it is shown */
    size_t len, end;  /* end of the newest match */
    bool here;        /* it is the one the view was moved to */
    uint64_t message;
};
void find_marks_begin(struct find_marks *marks, size_t start);
enum style find_marks_style(struct find_marks *marks, size_t at, enum style style);

#endif
