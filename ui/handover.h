/* The terminal lent to others for a while, and text that leaves through it: a text editor, a reply as plain
 * lines on the normal screen, the clipboard. */
#ifndef LOGITOP_UI_HANDOVER_H
#define LOGITOP_UI_HANDOVER_H

#include "base/buf.h"
#include "base/err.h"
#include "ui/capture.h"
#include "ui/term.h"

struct handover {
    struct term *term;
    const struct capture *capture;
    int in_fd, out_fd;
};

/* $VISUAL, $EDITOR or vi on a file with this text; then the text is what the file holds, less one LF at its
 * end. On failure (no such program, it said that it failed) the text is unchanged. Returns when the editor
 * ended. */
int handover_edit(const struct handover *handover, struct buf *text, struct err *err);

/* Sanitised, on the normal screen, so that the terminal breaks the lines and copying gives them whole.
 * Returns when a key was pressed. */
void handover_show(const struct handover *handover, const char *text, size_t len);

/* Into the clipboard of the terminal a person sits at, over any number of hops: OSC 52; within tmux, which
 * ignores it by default, through tmux itself. No answer tells whether it arrived. Refuses what terminals
 * would drop. */
enum { HANDOVER_COPY_MAX = 74000 }; /* bytes in base64 form that all common terminals take */
int handover_copy(const struct handover *handover, const char *text, size_t len, struct err *err);

#endif
