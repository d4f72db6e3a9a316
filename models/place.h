/* Files in the layout of the Hugging Face cache: blobs by hash, and links to them by name for each commit. */
#ifndef LOGITOP_MODELS_PLACE_H
#define LOGITOP_MODELS_PLACE_H

#include "models/remote.h"

struct place {
    char *folder; /* ROOT/models--OWNER--NAME */
};

/* Makes the folders. STATUS_FAILED tells which could not be made. */
int place_open(const struct remote_model *remote, struct place *out, struct err *err);
void place_close(struct place *place);

char *place_blob(const struct place *place, const char *digest); /* its path; the caller's */
char *place_snapshot(const struct place *place, const char *commit,
                     const char *path); /* the same of the link */
/* The link to a blob that is there, in place of what was there. */
int place_link(const struct place *place, const struct remote_model *remote, const struct remote_file *file,
               struct err *err);
/* What the revision means now: written when every file is there. */
int place_ref(const struct place *place, const struct remote_model *remote, struct err *err);

#endif
