/* The places where models are: each function adds what one kind of store holds. What is wrong with a store is
 * noted or left out, never an error. */
#ifndef LOGITOP_MODELS_STORES_H
#define LOGITOP_MODELS_STORES_H

#include "base/buf.h"
#include "models/list.h"

/* Takes name, path and digest over; fault is copied, NULL where there is none. */
void list_add(struct model_list *list, enum model_source source, char *name, char *path, char *digest,
              const char *fault);
__attribute__((format(printf, 2, 3))) void list_note(struct model_list *list, const char *fmt, ...);

void store_ollama(struct model_list *list);
char *ollama_blob(const char *digest); /* where it keeps these bytes, if it does; the caller's */
void store_hub(struct model_list *list, const char *root); /* models--USER--REPO folders */
void store_lm_studio(struct model_list *list);
/* All *.gguf up to `depth` folders down. */
void store_folder(struct model_list *list, enum model_source source, const char *folder, int depth);

/* The Hugging Face cache alone, without looking into the files: entries have no facts. */
void models_scan_hub(const char *root, struct model_list *list);

/* ---- files ---- */

/* Calls back for each name of a folder but "." and "..", in the order of names. False if it cannot be read.
 */
bool folder_each(const char *folder, void (*visit)(void *ctx, const char *folder, const char *name),
                 void *ctx);
char *path_join(const char *folder, const char *name); /* the caller's */
bool is_folder(const char *path);
bool is_file(const char *path);
/* A small file of text, without white space at its end; NULL if it cannot be read. The caller's. */
char *read_small(const char *path);
bool is_digest(const char *text); /* 64 digits of lower-case hexadecimal, and nothing more */
const char *home_folder(void);    /* NULL without one */

/* Where the Hugging Face cache is: HF_HUB_CACHE and so on, in their order. The caller's; NULL without a home.
 */
char *hub_root(void);

/* The owner under which models of the Ollama registry lie in the Hugging Face cache's layout: no name there
 * has dots. */
#define OLLAMA_HOST "registry.ollama.ai"

#endif
