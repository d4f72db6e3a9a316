/* What the list of models shows of a file: its header, whether it can be run, and the memory that takes. */
#include "base/text.h"
#include "infer/device.h"
#include "infer/model_internal.h"
#include "infer/tools.h"

#include <stdio.h>
#include <string.h>

/* Cut where it does not fit; never in the middle of a character. */
static void put_clean(char *out, size_t size, const char *text, size_t len) {
    struct buf clean = {0};
    text_sanitize_line(&clean, text, len);
    size_t n = clean.len < size ? clean.len : size - 1;
    while (n < clean.len && n > 0 && ((unsigned char)clean.data[n] & 0xC0) == 0x80) n--;
    memcpy(out, clean.data ? clean.data : "", n);
    out[n] = '\0';
    buf_free(&clean);
}

/* A message without the file's name in front: the list names it already. */
static void put_fault(struct model_facts *facts, const char *path, const char *text) {
    size_t n = strlen(path);
    if (strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0) text += n + 2;
    put_clean(facts->fault, sizeof facts->fault, text, strlen(text));
}

/* The bytes a backend needs, 0 if it cannot run the model; why not is kept in err. */
static uint64_t need_of(const struct backend_ops *ops, const struct model_view *view, uint64_t *kv_position, struct err *err) {
    struct backend_options options = {.n_ctx = FACTS_CONTEXT};
    struct memory_estimate estimate;
    if (view->n_ctx_train && view->n_ctx_train < options.n_ctx) options.n_ctx = view->n_ctx_train;
    if (ops->estimate(view, &options, &estimate, err) < 0) return 0;
    uint64_t kv = estimate.kv / options.n_ctx;
    if (kv > *kv_position) *kv_position = kv;
    return estimate.total;
}

static void fill_needs(struct model_facts *facts, const char *path, const struct model_view *view) {
    const struct backend_ops *gpu = device_gpu();
    struct err err = {0};
    facts->cpu_need = need_of(&backend_cpu, view, &facts->kv_position, &err);
    if (gpu) facts->gpu_need = need_of(gpu, view, &facts->kv_position, NULL);
    if (!facts->cpu_need && !facts->gpu_need) put_fault(facts, path, err.text);
}

static void fill_names(struct model_facts *facts, const struct model *model) {
    const struct gguf *gguf = model_gguf(model);
    struct span architecture = {0};
    gguf_string(gguf, "general.architecture", GGUF_OPTIONAL, &architecture, NULL);
    put_clean(facts->name, sizeof facts->name, model_name(model), strlen(model_name(model)));
    put_clean(facts->architecture, sizeof facts->architecture, architecture.bytes, architecture.len);
    put_clean(facts->quantisation, sizeof facts->quantisation, model_quantisation(model),
              strlen(model_quantisation(model)));
    facts->size = gguf_size(gguf);
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++)
        facts->n_parameters += gguf_tensor_at(gguf, i)->n_elements;
    char key[96];
    snprintf(key, sizeof key, "%.60s.context_length", facts->architecture);
    gguf_u32(gguf, key, GGUF_OPTIONAL, &facts->context, NULL);
    facts->has_template = model_chat_template(model).len > 0;
}

int tool_facts(const char *path, struct model_facts *out, struct err *err) {
    struct faults faults = {0};
    struct model *model = NULL;
    *out = (struct model_facts){0};
    int status = model_open_noting(path, MODEL_WHOLE, &faults, &model, err);
    if (status == STATUS_OK && model) {
        fill_names(out, model);
        if (model_view(model)) fill_needs(out, gguf_path(model_gguf(model)), model_view(model));
    }
    if (faults.n) put_fault(out, model ? gguf_path(model_gguf(model)) : path, faults.lines[0]);
    model_close(model);
    faults_free(&faults);
    return status;
}

void tool_memory_free(struct memory_free *out) {
    struct backend_options options = {0};
    const struct backend_ops *gpu = device_gpu();
    out->cpu = backend_cpu.memory_free(&options);
    out->gpu = gpu ? gpu->memory_free(&options) : 0;
}
