/* What export.c copies of a chat and export_write.c writes down. */
#ifndef LOGITOP_APP_EXPORT_INTERNAL_H
#define LOGITOP_APP_EXPORT_INTERNAL_H

#include "app/export.h"
#include "app/new_file.h"

#include <stdatomic.h>

struct export_message {  /* of a struct said, what does not change any more */
    uint64_t id, parent; /* parent 0: none, or a root without a text */
    int64_t born;
    enum said_by by;
    bool dropped;
    struct buf text, note;
    struct kept_token *tokens; /* [n_tokens]; candidates only where the model that speaks knows them */
    uint32_t *ends;            /* [n_tokens] of its bytes in the text */
    size_t n_tokens;
    kept_candidate *candidates; /* that the tokens point to */
};

struct export_texts { /* what ids stand for; none where there is no model */
    struct buf bytes;
    size_t *ends; /* [n] */
    uint32_t n;
};

struct export_copy {
    enum export_format format;
    char *title;                   /* NULL: none */
    struct buf model, model_title; /* empty: none */
    uint64_t seed, leaf;
    struct export_message *messages; /* [n] */
    size_t n;
    struct export_texts texts;
};

/* STATUS_STOPPED once *stop is true. */
int export_write(const struct export_copy *copy, struct new_file *file, const atomic_bool *stop,
                 struct err *err);

#endif
