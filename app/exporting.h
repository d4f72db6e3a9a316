/* The chat that is being written to a file beside the screen: one at a time. */
#ifndef LOGITOP_APP_EXPORTING_H
#define LOGITOP_APP_EXPORTING_H

#include "app/export.h"

struct exporting {
    struct export *export; /* NULL: none */
};

/* STATUS_BUSY: another one is not written yet. path empty: by the chat's title. */
int exporting_begin(struct exporting *exporting, const struct chat *chat, enum export_format format,
                    const char *path, struct err *err);
/* Once it is written: true, and `line` tells where, or err why it is not. */
bool exporting_done(struct exporting *exporting, struct buf *line, struct err *err);
const char *
exporting_mark(const struct exporting *exporting); /* what takes long is told; NULL: nothing to tell */
int exporting_timeout_ms(const struct exporting *exporting); /* until there is; -1: nothing will be */
/* Before the program ends: waits for it, unless a signal comes: that gives it up. True if there was one; line
 * and err as above. */
bool exporting_finish(struct exporting *exporting, struct buf *line, struct err *err);

#endif
