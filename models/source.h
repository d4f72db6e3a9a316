/* Where a model can be fetched from, as people write it.
 *
 * Of the Hugging Face hub: user/repo[:QUANT], hf.co/user/repo[:QUANT],
 * https://huggingface.co/user/repo[/blob/main/FILE].
 *
 * Of the Ollama registry: name[:tag], registry.ollama.ai/[namespace/]name[:tag], ollama.com/... */
#ifndef LOGITOP_MODELS_SOURCE_H
#define LOGITOP_MODELS_SOURCE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { SOURCE_PART_MAX = 97 };

struct model_origin {
    bool is_ollama;
    char owner[SOURCE_PART_MAX], name[SOURCE_PART_MAX]; /* "user" and "repo"; "library" and "llama3.2" */
    char tag[SOURCE_PART_MAX];                          /* QUANT or tag; "" if none was written */
    char *file;                                         /* a file of the repository, or NULL; free() it */
};

/* STATUS_USAGE with what was expected. Every part is made of letters, digits and . _ - alone. */
int origin_parse(const char *text, struct model_origin *out, struct err *err);

/* A relative path of plain names: no empty one, no "..", no control character, nothing absolute. */
bool path_is_plain(const char *path);

#endif
