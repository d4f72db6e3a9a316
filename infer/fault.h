/* What is wrong with a file, one line each. A strict reader passes NULL for the list and stops at the first
 * fault; `inspect` collects them and reads on where that makes sense. */
#ifndef LOGITOP_INFER_FAULT_H
#define LOGITOP_INFER_FAULT_H

#include "base/err.h"

#include <stddef.h>

enum { FAULTS_MAX = 64 };

struct faults { /* zero it to begin */
    char *lines[FAULTS_MAX];
    size_t n;    /* lines kept */
    size_t more; /* found beyond them */
};

/* `status` and its `err` came from a check. Without a list they are handed on. With one, the fault is noted
 * and STATUS_OK returned, so that the caller reads on; other failures (memory) are handed on too. */
int fault_note(struct faults *faults, int status, const struct err *err);
void faults_free(struct faults *faults);

#endif
