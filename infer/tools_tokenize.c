#include "infer/model.h"
#include "infer/tools.h"

static void write_ids(struct buf *out, const struct ids *ids) {
    buf_putc(out, '[');
    for (size_t i = 0; i < ids->n; i++) buf_printf(out, i ? ",%d" : "%d", ids->at[i]);
    buf_puts(out, "]\n");
}

int tool_tokenize(const char *path, bool plain, const char *const *texts, const size_t *lens, size_t n,
                  struct buf *out, struct err *err) {
    struct model *model;
    int status = model_open(path, MODEL_VOCABULARY, &model, err);
    if (status) return status;
    struct ids ids = {0};
    for (size_t i = 0; i < n && !status; i++) {
        struct segment segment = {texts[i], lens[i], false};
        ids.n = 0;
        status =
            tokenizer_encode(model_tokenizer(model), &segment, 1, plain ? ADDED_PLAIN : ADDED_ALL, &ids, err);
        if (!status) write_ids(out, &ids);
    }
    ids_free(&ids);
    model_close(model);
    return status;
}
