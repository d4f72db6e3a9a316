/* The memory of a step: one piece, cut into the arrays of struct work. Pages that no prompt was long enough for are never
 * touched and cost nothing. */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Cut `bytes` off at *at. With memory NULL it only counts. */
static void *cut(char *memory, uint64_t *at, uint64_t bytes) {
    char *piece = memory ? memory + *at : NULL;
    *at += (bytes + 63) / 64 * 64;
    return piece;
}

static uint32_t widest_input(const struct model_view *model) {
    uint32_t widest = model->n_embd > model->n_ff ? model->n_embd : model->n_ff;
    uint32_t heads = model->n_heads * model->head_dim;
    return heads > widest ? heads : widest;
}

static uint64_t lay_out(const struct backend *backend, struct work *work, char *memory, uint32_t n, uint32_t keys) {
    const struct model_view *model = backend->model;
    uint64_t at = 0, position = (uint64_t)n * sizeof(float);
    work->n = n;
    work->keys = keys;
    work->x = cut(memory, &at, position * model->n_embd);
    work->y = cut(memory, &at, position * model->n_embd);
    work->q = cut(memory, &at, position * model->n_heads * model->head_dim);
    work->k = cut(memory, &at, position * model->n_kv_heads * model->head_dim);
    work->v = cut(memory, &at, position * model->n_kv_heads * model->head_dim);
    work->attn = cut(memory, &at, position * model->n_heads * model->head_dim);
    work->gate = cut(memory, &at, position * model->n_ff);
    work->up = cut(memory, &at, position * model->n_ff);
    work->cosines = cut(memory, &at, position * (model->rope_dim / 2));
    work->sines = cut(memory, &at, position * (model->rope_dim / 2));
    uint32_t columns = n > OUTPUT_CHUNK ? n : OUTPUT_CHUNK;
    int forms = ACTIVATION_F32 | ACTIVATION_Q8;
    work->shared = cut(memory, &at, activations_size(columns, (widest_input(model) + 31) / 32 * 32, forms));
    work->part_size = attention_part_size(backend, keys);
    work->parts = cut(memory, &at, work->part_size * sizeof(float) * backend->n_threads);
    work->splits = cut(memory, &at, attention_splits_size(backend, keys) * sizeof(float));
    work->logits_stride = ((size_t)model->n_vocab + MATRIX_ROWS - 1) / MATRIX_ROWS * MATRIX_ROWS;
    work->logits = cut(memory, &at, OUTPUT_CHUNK * work->logits_stride * sizeof(float));
    return at;
}

uint64_t work_bytes(const struct backend *backend, uint32_t n, uint32_t keys) {
    struct work work;
    return lay_out(backend, &work, NULL, n, keys);
}

int work_reserve(struct backend *backend, uint32_t n, uint32_t keys, struct err *err) {
    struct work *work = &backend->work;
    if (work->memory && n <= work->n && keys <= work->keys) return STATUS_OK;
    if (n < work->n) n = work->n;
    if (keys < work->keys) keys = work->keys;
    size_t size = work_bytes(backend, n, keys);
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return err_set(err, STATUS_MEMORY, "no memory for a step of %u tokens: %.1f MiB", n, (double)size / 1048576);
    work_free(backend);
    work->memory = memory;
    work->size = size;
    lay_out(backend, work, memory, n, keys);
    return STATUS_OK;
}

void work_free(struct backend *backend) {
    if (backend->work.memory) munmap(backend->work.memory, backend->work.size);
    backend->work = (struct work){0};
}
