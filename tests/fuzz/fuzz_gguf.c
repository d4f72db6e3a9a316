/* Any bytes as a model file: opened whole, as a vocabulary and by inspect. Each opens or is refused with one
 * line that names the file, and what opened can be read to its end. */
#include "infer/gguf.h"
#include "infer/model.h"
#include "infer/tools.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_refusal(int status, const struct err *err) {
    if (!status) return;
    if (status != STATUS_MODEL && status != STATUS_UNSUPPORTED) abort();
    if (!strstr(err->text, "/proc/self/fd/") || strchr(err->text, '\n')) abort();
}

static void use_model(const char *path, enum model_part part) {
    struct model *model;
    struct err err = {0};
    int status = model_open(path, part, &model, &err);
    check_refusal(status, &err);
    if (status) return;
    const struct model_view *v = model_view(model);
    if (v) {
        if (v->n_vocab > v->n_rows || v->rope_dim > v->head_dim || v->n_heads % v->n_kv_heads) abort();
        volatile unsigned char sum = 0;
        const struct gguf *g = model_gguf(model);
        for (size_t i = 0; i < gguf_n_tensors(g); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, i);
            sum = (unsigned char)(sum + ((const unsigned char *)t->data)[0] +
                                  ((const unsigned char *)t->data)[t->size - 1]);
        }
        for (uint32_t i = 0; i < v->rope_dim / 2; i++)
            if (!(v->rope_freq[i] < 1e38f)) abort();
    }
    for (uint32_t id = 0; id < tokenizer_n_tokens(model_tokenizer(model)); id++)
        (void)tokenizer_bytes(model_tokenizer(model), (int32_t)id);
    model_close(model);
}

static void inspect(const char *path, bool json) {
    struct inspect_options options = {.tensors = true, .ranges = true, .json = json};
    struct buf report = {0};
    struct err err = {0};
    check_refusal(tool_inspect(path, &options, &report, &err), &err);
    for (size_t i = 0; i < report.len; i++)
        if ((unsigned char)report.data[i] < 0x20 && report.data[i] != '\n') abort();
    buf_free(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memfd_create("model", MFD_CLOEXEC);
    if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size)) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    use_model(path, MODEL_WHOLE);
    use_model(path, MODEL_VOCABULARY);
    inspect(path, false);
    inspect(path, true);
    close(fd);
    return 0;
}
