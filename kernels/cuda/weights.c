/* Weights from the file to chunks of planes on the device. Readers fill a ring of pinned buffers with pread while the copy engine and
 * the packing kernel empty it: page faults of a mapping would read one page at a time. */
#include "kernels/cuda/device.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <pthread.h>

enum { ALIGN = 256, SLOTS = 24, SLOT_SIZE = 4 << 20 };

static size_t aligned(size_t size) { return (size + ALIGN - 1) / ALIGN * ALIGN; }

static bool is_float(enum dtype type) { return type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16; }

/* ---- what there is: every tensor visited in one order, for sizes and for loading ---- */

struct place { /* a matrix (and where its 16-bit copy goes) or a vector */
    const struct weight *weight;
    struct device_matrix *matrix;
    void **copy;
    device_vector *vector;
    const struct place *lead; /* NULL, or the first of two matrices whose rows lie in turns: itself or the one before */
};

typedef int (*visit_fn)(void *ctx, const struct place *place, struct err *err);

static struct place vector_place(const struct weight *weight, device_vector *to) { return (struct place){.weight = weight, .vector = to}; }
static struct place matrix_place(const struct weight *weight, struct device_matrix *to, void **copy) {
    return (struct place){.weight = weight, .matrix = to, .copy = copy};
}

static int visit_layer(const struct layer_view *from, struct device_layer *to, visit_fn visit, void *ctx, struct err *err) {
    struct place places[] = {
        vector_place(from->attn_norm, &to->attn_norm),
        matrix_place(from->attn_q, &to->q, &to->q16),
        matrix_place(from->attn_k, &to->k, &to->k16),
        matrix_place(from->attn_v, &to->v, &to->v16),
        vector_place(from->attn_q_bias, &to->q_bias),
        vector_place(from->attn_k_bias, &to->k_bias),
        vector_place(from->attn_v_bias, &to->v_bias),
        vector_place(from->attn_q_norm, &to->q_norm),
        vector_place(from->attn_k_norm, &to->k_norm),
        matrix_place(from->attn_output, &to->o, &to->o16),
        vector_place(from->ffn_norm, &to->ffn_norm),
        matrix_place(from->ffn_gate, &to->gate, &to->gate16),
        matrix_place(from->ffn_up, &to->up, &to->up16),
        matrix_place(from->ffn_down, &to->down, &to->down16),
    };
    struct place *gate = &places[11], *up = &places[12];
    if (from->ffn_gate->type == from->ffn_up->type) gate->lead = up->lead = gate;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int status = places[i].weight ? visit(ctx, &places[i], err) : STATUS_OK;
        if (status != STATUS_OK) return status;
    }
    return STATUS_OK;
}

/* Where `backend` is NULL the places point into a scratch layer: only the weights count. */
static int visit_all(const struct model_view *model, struct backend *backend, visit_fn visit, void *ctx, struct err *err) {
    struct device_layer scratch;
    struct device_matrix embd, output;
    device_vector norm;
    struct place ends[] = {
        matrix_place(model->token_embd, backend ? &backend->token_embd : &embd, NULL),
        vector_place(model->output_norm, backend ? &backend->output_norm : &norm),
        matrix_place(model->output == model->token_embd ? NULL : model->output, backend ? &backend->output : &output, NULL),
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        int status = ends[i].weight ? visit(ctx, &ends[i], err) : STATUS_OK;
        if (status != STATUS_OK) return status;
    }
    for (uint32_t i = 0; i < model->n_layers; i++) {
        int status = visit_layer(&model->layers[i], backend ? &backend->layers[i] : &scratch, visit, ctx, err);
        if (status != STATUS_OK) return status;
    }
    return STATUS_OK;
}

static struct device_matrix matrix_shape(const struct weight *w) {
    struct device_matrix m = {.type = (int)w->type, .rows = (uint32_t)w->rows, .cols = (uint32_t)w->cols};
    m.blocks = (m.cols + 31) / 32;
    m.pitch = (uint32_t)row_bytes(m.type, m.blocks);
    return m;
}

static size_t matrix_bytes(const struct weight *w) { return aligned((size_t)w->rows * matrix_shape(w).pitch); }
static size_t copy_bytes(const struct weight *w) { return aligned((size_t)w->rows * matrix_shape(w).blocks * 32 * 2); }

/* ---- sizes and refusals ---- */

struct sizes {
    size_t planes, copies;
};

static int add_size(void *ctx, const struct place *p, struct err *err) {
    struct sizes *sizes = ctx;
    const struct weight *w = p->weight;
    if (!p->matrix) {
        sizes->planes += aligned(w->cols * sizeof(float));
        return STATUS_OK;
    }
    if (w->rows > INT32_MAX || w->cols > INT32_MAX)
        return err_set(err, STATUS_UNSUPPORTED, "tensor %s: found %llu x %llu, expected sides below 2^31", w->name,
                       (unsigned long long)w->rows, (unsigned long long)w->cols);
    if (w->size / w->rows > SLOT_SIZE)
        return err_set(err, STATUS_UNSUPPORTED, "tensor %s: found rows of %llu bytes, expected at most %d", w->name,
                       (unsigned long long)(w->size / w->rows), SLOT_SIZE);
    sizes->planes += matrix_bytes(w);
    if (p->copy && w->type != DTYPE_F16) sizes->copies += copy_bytes(w);
    return STATUS_OK;
}

static int check_type(void *ctx, const struct place *p, struct err *err) {
    (void)ctx;
    const struct weight *w = p->weight;
    const struct dtype_info *info = dtype_info((uint32_t)w->type);
    if (p->vector && !is_float(w->type))
        return err_set(err, STATUS_UNSUPPORTED, "tensor %s: found type %s, expected F32, F16 or BF16 for a vector", w->name,
                       info ? info->name : "?");
    if (p->matrix && !row_bytes((int)w->type, 1))
        return err_set(err, STATUS_UNSUPPORTED, "tensor %s: the CUDA backend cannot compute with type %s", w->name, info ? info->name : "?");
    return STATUS_OK;
}

int weights_check(const struct model_view *model, struct err *err) {
    int status = visit_all(model, NULL, check_type, NULL, err);
    if (status != STATUS_OK) return status;
    if (model->head_dim > 256 || model->head_dim % 2)
        return err_set(err, STATUS_UNSUPPORTED, "head dimension: found %u, expected an even number up to 256", model->head_dim);
    return STATUS_OK;
}

int weights_size(const struct model_view *model, bool exact, size_t *planes, size_t *copies, struct err *err) {
    struct sizes sizes = {0};
    int status = visit_all(model, NULL, add_size, &sizes, err);
    if (status != STATUS_OK) return status;
    *planes = sizes.planes + aligned(model->rope_dim / 2 * sizeof(float));
    *copies = exact ? 0 : sizes.copies;
    return STATUS_OK;
}

/* ---- loading ---- */

struct piece { /* rows of one matrix that fit into a slot, or a whole vector */
    struct place place;
    uint32_t first_row, n_rows;
    uint64_t offset; /* in the file */
    size_t size;
};

struct loader {
    struct backend *backend;
    bool copies;
    struct piece *pieces;
    size_t n_pieces, cap;
    uint64_t total;
    /* Shared with the readers: piece i goes through slot i % SLOTS. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next_to_read, emptied; /* pieces taken by readers; pieces whose slot may be used again */
    size_t n_slots;               /* that are there: each is used as soon as it is */
    bool *full;                   /* [n_pieces] */
    bool stop;
    const struct weight *broken; /* a read that failed, and why */
    int error_number;
    char *slots[SLOTS];
    void *staging[SLOTS]; /* on the device */
    cudaEvent_t done[SLOTS];
};

static void *cut(struct backend *b, size_t size) {
    void *at = (char *)b->weights + b->weights_used;
    b->weights_used += aligned(size);
    return at;
}

static void add_piece(struct loader *l, struct piece piece) {
    if (l->n_pieces == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 256;
        l->pieces = xrealloc(l->pieces, l->cap * sizeof *l->pieces);
    }
    l->pieces[l->n_pieces++] = piece;
    l->total += piece.size;
}

static int plan_place(void *ctx, const struct place *p, struct err *err) {
    (void)err;
    struct loader *l = ctx;
    struct backend *b = l->backend;
    const struct weight *w = p->weight;
    if (p->vector) {
        *p->vector = cut(b, w->cols * sizeof(float));
        add_piece(l, (struct piece){.place = *p, .offset = w->offset, .size = w->size});
        return STATUS_OK;
    }
    struct device_matrix m = matrix_shape(w);
    size_t row_size = w->size / w->rows;
    if (!p->lead) {
        m.data = cut(b, matrix_bytes(w));
    } else {
        m.data = p->lead == p ? cut(b, 2 * matrix_bytes(w)) : (char *)p->lead->matrix->data + m.pitch;
        m.pitch *= 2;
    }
    *p->matrix = m;
    uint32_t most = (uint32_t)(SLOT_SIZE / row_size);
    for (uint32_t row = 0; row < m.rows; row += most) {
        uint32_t n = m.rows - row < most ? m.rows - row : most;
        add_piece(l, (struct piece){*p, row, n, w->offset + (uint64_t)row * row_size, (size_t)n * row_size});
    }
    return STATUS_OK;
}

/* The 16-bit copies, after everything else and side by side: matrices that meet the same vector can be multiplied as one. */
static int plan_copy(void *ctx, const struct place *p, struct err *err) {
    (void)err;
    struct loader *l = ctx;
    if (!p->copy) return STATUS_OK;
    const struct weight *w = p->weight;
    if (w->type == DTYPE_F16) *p->copy = p->matrix->data; /* is one already */
    else if (!l->copies) *p->copy = NULL;
    else if (!p->lead) *p->copy = cut(l->backend, copy_bytes(w));
    else *p->copy = p->lead == p ? cut(l->backend, 2 * copy_bytes(w)) : (char *)*p->lead->copy + (size_t)p->matrix->blocks * 64;
    return STATUS_OK;
}

static int read_whole(int fd, char *to, size_t size, uint64_t offset) {
    while (size) {
        ssize_t n = pread(fd, to, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : ENODATA;
        to += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static void *reader(void *ctx) {
    struct loader *l = ctx;
    pthread_mutex_lock(&l->lock);
    while (!l->stop && l->next_to_read < l->n_pieces) {
        size_t i = l->next_to_read++;
        while (!l->stop && i >= l->emptied + l->n_slots) pthread_cond_wait(&l->changed, &l->lock);
        if (l->stop) break;
        const struct piece *p = &l->pieces[i];
        pthread_mutex_unlock(&l->lock);
        int code = p->size > SLOT_SIZE ? E2BIG : read_whole(p->place.weight->fd, l->slots[i % SLOTS], p->size, p->offset);
        pthread_mutex_lock(&l->lock);
        if (code && !l->broken) {
            l->broken = p->place.weight;
            l->error_number = code;
        }
        l->full[i] = true;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Elements from a row of the 16-bit copy to the next. */
static size_t copy_stride(const struct place *p) { return (size_t)p->matrix->blocks * 32 * (p->lead ? 2 : 1); }

/* Enqueue what is to be done with a piece that lies in its slot. */
static int upload(struct loader *l, const struct piece *p, size_t slot, struct err *err) {
    struct backend *b = l->backend;
    const struct weight *w = p->place.weight;
    if (p->place.vector) {
        float *values = xmalloc(w->cols * sizeof *values);
        dtype_to_f32(w->type, l->slots[slot], values, w->cols);
        cudaError_t code = cudaMemcpy(*p->place.vector, values, w->cols * sizeof *values, cudaMemcpyHostToDevice);
        free(values);
        CUDA_TRY(code);
    } else {
        CUDA_TRY(cudaMemcpyAsync(l->staging[slot], l->slots[slot], p->size, cudaMemcpyHostToDevice, b->stream));
        CUDA_TRY(launch_pack(b->stream, *p->place.matrix, l->staging[slot], p->first_row, p->n_rows));
        bool last = p->first_row + p->n_rows == p->place.matrix->rows;
        if (last && p->place.copy && *p->place.copy && *p->place.copy != p->place.matrix->data)
            CUDA_TRY(launch_to_16bit(b->stream, *p->place.matrix, *p->place.copy, copy_stride(&p->place)));
    }
    CUDA_TRY(cudaEventRecord(l->done[slot], b->stream));
    return STATUS_OK;
}

static int run_loader(struct loader *l, progress_fn progress, void *ctx, struct err *err) {
    uint64_t done = 0;
    for (size_t i = 0; i < l->n_pieces; i++) {
        if (i >= SLOTS / 2) { /* the slots of the older half are empty by now, or soon */
            CUDA_TRY(cudaEventSynchronize(l->done[(i - SLOTS / 2) % SLOTS]));
            pthread_mutex_lock(&l->lock);
            l->emptied = i - SLOTS / 2 + 1;
            pthread_cond_broadcast(&l->changed);
            pthread_mutex_unlock(&l->lock);
        }
        pthread_mutex_lock(&l->lock);
        while (!l->full[i]) pthread_cond_wait(&l->changed, &l->lock);
        const struct weight *broken = l->broken;
        pthread_mutex_unlock(&l->lock);
        if (broken)
            return err_set(err, STATUS_MODEL, "tensor %s: could not be read: %s", broken->name, strerror(l->error_number));
        int status = upload(l, &l->pieces[i], i % SLOTS, err);
        if (status != STATUS_OK) return status;
        done += l->pieces[i].size;
        if (progress && progress(ctx, done, l->total)) return err_set(err, STATUS_STOPPED, "loading was cancelled");
    }
    CUDA_TRY(cudaStreamSynchronize(l->backend->stream));
    return STATUS_OK;
}

static int allocate_slots(struct loader *l, struct err *err) {
    for (int i = 0; i < SLOTS; i++) {
        CUDA_TRY(cudaHostAlloc((void **)&l->slots[i], SLOT_SIZE, cudaHostAllocDefault));
        CUDA_TRY(cudaMalloc(&l->staging[i], SLOT_SIZE));
        CUDA_TRY(cudaEventCreateWithFlags(&l->done[i], cudaEventDisableTiming));
        pthread_mutex_lock(&l->lock);
        l->n_slots = (size_t)i + 1;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
    }
    return STATUS_OK;
}

static void free_slots(struct loader *l) {
    for (int i = 0; i < SLOTS; i++) {
        cudaFreeHost(l->slots[i]);
        cudaFree(l->staging[i]);
        if (l->done[i]) cudaEventDestroy(l->done[i]);
    }
}

size_t weights_staging(void) { return (size_t)SLOTS * SLOT_SIZE; }

int weights_load(struct backend *backend, bool copies, progress_fn progress, void *ctx, struct err *err) {
    struct loader l = {.backend = backend, .copies = copies};
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.changed, NULL);
    pthread_t threads[SLOTS / 2];
    int n_threads = 0, status = visit_all(backend->model, backend, plan_place, &l, err);
    if (status == STATUS_OK) status = visit_all(backend->model, backend, plan_copy, &l, err);
    backend->small = status == STATUS_OK && small_batch_can(backend);
    if (status == STATUS_OK) warm_begin(backend);
    if (status == STATUS_OK) {
        l.full = xcalloc(l.n_pieces, sizeof *l.full);
        while (n_threads < SLOTS / 2 && pthread_create(&threads[n_threads], NULL, reader, &l) == 0) n_threads++;
        if (!n_threads) status = err_set(err, STATUS_FAILED, "no thread could be started to read the weights");
    }
    if (status == STATUS_OK) status = allocate_slots(&l, err);
    if (status == STATUS_OK) status = run_loader(&l, progress, ctx, err);
    pthread_mutex_lock(&l.lock);
    l.stop = true;
    pthread_cond_broadcast(&l.changed);
    pthread_mutex_unlock(&l.lock);
    for (int i = 0; i < n_threads; i++) pthread_join(threads[i], NULL);
    if (backend->stream) cudaStreamSynchronize(backend->stream);
    free_slots(&l);
    pthread_cond_destroy(&l.changed);
    pthread_mutex_destroy(&l.lock);
    free(l.full);
    free(l.pieces);
    if (status == STATUS_OK && backend->model->output == backend->model->token_embd) backend->output = backend->token_embd;
    return status;
}
