/* Text files of `[section]` and `name = value` lines, as the configuration and themes are. # and ; begin a
 * comment line. A value goes to the end of its line; blanks around it are dropped, and so are quotes around
 * all of it. */
#ifndef LOGITOP_APP_INI_H
#define LOGITOP_APP_INI_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { INI_MAX = 1 << 20 }; /* bytes of a file; a larger one is refused */

struct ini_line {
    const char *section, *name, *value; /* section: "" before the first one */
    unsigned number;
};

/* Calls back for each name, in order. Texts lie in `text` (text[len] must be writable), which is cut up for
 * them, and live as long. What is wrong - a line that is none, a callback's failure - becomes a line of
 * `problems`, "label:number: ..."; the rest is read all the same. */
void ini_read(const char *label, char *text, size_t len,
              int (*take)(void *context, const struct ini_line *line, struct err *err), void *context,
              struct buf *problems);

/* The file's bytes into `out`. STATUS_FAILED with the reason; `missing` is set where there simply is no file.
 */
int ini_load(const char *path, struct buf *out, bool *missing, struct err *err);

#endif
