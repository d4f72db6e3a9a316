/* What the files of infer/model*.c share, and `inspect`, which opens a model with a list of its faults. */
#ifndef LOGITOP_INFER_MODEL_INTERNAL_H
#define LOGITOP_INFER_MODEL_INTERNAL_H

#include "base/arena.h"
#include "infer/fault.h"
#include "infer/gguf.h"
#include "infer/model.h"

/* What sets one architecture apart from the others, as data. */
struct architecture {
    const char *name;
    enum rope_pairing pairing;
    bool biases;           /* q, k and v may have them */
    bool biases_needed;    /* and must */
    bool head_norms;       /* q and k are normalised head by head */
    bool rope_base_needed; /* files without it exist for the others; they mean 10000 */
};

struct model {
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct span *tokens; /* borrowed by the tokenizer */
    const struct architecture *architecture;
    struct model_view view;
    struct layer_view *layers; /* [view.n_layers] */
    struct weight *weights;    /* [tensors of the file] */
    float *rope_freq;          /* [view.rope_dim / 2] */
    char *name, *label, *quantisation;
    struct span chat_template;
    bool whole; /* the view is there */
    struct arena arena;
};

/* As model_open(). With a list the faults are noted and *out is what could be opened (NULL if nothing). */
int model_open_noting(const char *path, enum model_part part, struct faults *faults, struct model **out,
                      struct err *err);

/* The parts of model_open(), in this order; each fills in its fields of the model and its view. */
int model_read_tokenizer(struct model *m, struct err *err);
int model_read_params(struct model *m, struct err *err); /* hyperparameters */
int model_read_weights(struct model *m, struct faults *faults,
                       struct err *err);               /* every tensor has its place and shape */
int model_read_rope(struct model *m, struct err *err); /* frequencies, from keys and rope_freqs.weight */

/* "qwen2.block_count": the architecture's own keys. The caller's buffer. */
enum { MODEL_KEY_MAX = 128 };
const char *model_key(const struct model *m, const char *name, char key[static MODEL_KEY_MAX]);

const struct architecture *architecture_find(struct span name);
void architecture_list(char *out, size_t size); /* "llama, qwen2, qwen3" */

#endif
