/* The input line: libedit, with its keys fed by us and its drawing thrown away.
 *
 * libedit only edits when its output is a terminal, so it gets a private pseudo-terminal of its own; the real
 * one it never touches. It asks for characters through a callback, which is where the program's loop runs
 * (editor_run). Keys that are not characters reach it as the codes 0x80..0x9F, bound to functions in every
 * mode, so that no escape sequence has to be told from an Escape key again. */
#ifndef LOGITOP_UI_EDITOR_H
#define LOGITOP_UI_EDITOR_H

#include "base/buf.h"
#include "base/err.h"
#include "ui/keys.h"

#include <stdbool.h>
#include <stddef.h>

struct editor;

/* A paste of so many characters or lines is shown, moved over and deleted as one chip. */
enum { EDITOR_CHIP_CHARACTERS = 1000, EDITOR_CHIP_LINES = 8 };

struct editor_host {
    bool (*wait)(void *context); /* the editor has nothing to do; false: leave editor_run() */
    void (*submit)(void *context, const char *text, size_t len); /* a line was entered: not empty, UTF-8 */
    void *context;
};

/* The locale must be set. history_path: NULL keeps it in memory. */
int editor_open(struct editor **out, const struct editor_host *host, const char *history_path,
                struct err *err);
void editor_close(struct editor *editor); /* saves the history; NULL is fine */
void editor_run(struct editor *editor);

/* From within wait(): what the editor does as soon as wait() returns, in this order. Texts are copied. */
void editor_key(struct editor *editor, const struct key *key);
void editor_paste(struct editor *editor, const char *text, size_t len); /* as one insertion, never submits; a
                                                                           long one as a chip */
void editor_set(struct editor *editor, const char *text, size_t len);   /* instead of what is there */
void editor_clear(struct editor *editor, bool keep);                    /* keep: into the history */

bool editor_empty(struct editor *editor);          /* and nothing is waiting to be put in */
bool editor_begins(struct editor *editor, char c); /* with this character, whatever follows */
bool editor_waiting(struct editor *editor);        /* something was put into its queue that is not done yet */
bool editor_searching(struct editor *editor);
bool editor_is_vi(struct editor *editor);
/* The whole of it as UTF-8, pastes written out: what would be sent. Replaces what is in `text`. */
void editor_text(struct editor *editor, struct buf *text);
/* What is shown, as UTF-8 into `text`, the cursor as an offset in it: long pastes are one chip each, "[pasted
 * 120 lines]". While searching, `search` gets the pattern. */
void editor_line(struct editor *editor, struct buf *text, size_t *cursor, struct buf *search);

#endif
