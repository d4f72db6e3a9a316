#include "infer/fault.h"

#include "base/mem.h"

#include <stdlib.h>

int fault_note(struct faults *faults, int status, const struct err *err) {
    if (!faults || (status != STATUS_MODEL && status != STATUS_UNSUPPORTED)) return status;
    if (faults->n < FAULTS_MAX)
        faults->lines[faults->n++] = xstrdup(err->text);
    else
        faults->more++;
    return STATUS_OK;
}

void faults_free(struct faults *faults) {
    for (size_t i = 0; i < faults->n; i++) free(faults->lines[i]);
    *faults = (struct faults){0};
}
