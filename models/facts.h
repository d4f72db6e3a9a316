/* What headers said, remembered in a file of JSON: a model is looked into again only when its time or size
 * changed, or when another build of the program asks. A file that cannot be read or written only costs time.
 */
#ifndef LOGITOP_MODELS_FACTS_H
#define LOGITOP_MODELS_FACTS_H

#include "infer/tools.h"

#include <jansson.h>

struct facts_memory {
    json_t *files; /* path: facts */
    bool changed, has_gpu;
};

void facts_open(struct facts_memory *memory, const char *path, const char *program,
                bool has_gpu); /* path NULL: empty */
/* As tool_facts(), from memory where it can be. */
int facts_of(struct facts_memory *memory, const char *path, struct model_facts *out, struct err *err);
/* Writes it back if something is new, and frees. */
void facts_close(struct facts_memory *memory, const char *path, const char *program);

/* ---- small JSON files, shared with used.c ---- */

json_t *json_file_read(const char *path); /* an object: empty where there is none */
/* By a new file that takes the old one's place, mode 0600; the folder must be there. */
int json_file_write(const char *path, const json_t *object, struct err *err);

#endif
