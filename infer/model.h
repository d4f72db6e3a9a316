/* A model file, opened and checked: the mapping, the hyperparameters and weights as the view a backend takes,
 * and the tokenizer. Immutable after model_open(): any thread may read. Everything a hostile file can say is
 * refused there with one line (file, key or tensor or offset, found, expected). */
#ifndef LOGITOP_INFER_MODEL_H
#define LOGITOP_INFER_MODEL_H

#include "base/err.h"
#include "kernels/backend.h"
#include "tokenizer/tokenizer.h"

struct model;
struct gguf;

enum model_part {
    MODEL_VOCABULARY, /* the tokenizer alone: weights need not be there */
    MODEL_WHOLE,
};

int model_open(const char *path, enum model_part part, struct model **out, struct err *err);
void model_close(struct model *model); /* NULL is fine */

const struct model_view *model_view(const struct model *model); /* NULL for MODEL_VOCABULARY */
const struct tokenizer *model_tokenizer(const struct model *model);
const struct gguf *model_gguf(const struct model *model);
/* The file is still whole. Weights that were in a file which shrank read as zeros, so ask after work that
 * read them. Cheap. */
int model_check(const struct model *model, struct err *err);
const char *
model_name(const struct model *model); /* general.name, else the file's name; may hold any bytes */
const char *model_label(const struct model *model); /* the file's name without its ending, and of a split
                                                       model its number; general.name where that is a hash */
const char *
model_quantisation(const struct model *model); /* "Q4_K_M", from general.file_type, else the commonest type */
struct span model_chat_template(const struct model *model); /* empty if missing */

#endif
