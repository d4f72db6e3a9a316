#include "kernels/cpu/matmul.h"
#include "base/mem.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGN_UP(n, to) (((n) + (to) - 1) / (to) * (to))
#define HUGE_PAGE ((size_t)2 << 20)

/* ---- weights ---- */

static bool group_size_of(const struct weight *weight, size_t *out) {
    const struct dtype_info *info = dtype_info(weight->type);
    return info && size_mul(weight->cols / info->block, (size_t)info->block_size * MATRIX_ROWS, out);
}

size_t matrix_size(const struct weight *weight) {
    size_t group, size;
    uint64_t groups = weight->rows / MATRIX_ROWS + (weight->rows % MATRIX_ROWS != 0);
    if (!group_size_of(weight, &group) || !size_mul(group, groups, &size) || !size_add(size, 63, &size)) return 0;
    return size / 64 * 64;
}

static const struct matmul_kernels *kernels_of(enum isa isa) {
#ifdef __x86_64__
    if (isa == ISA_avx2) return &matmul_avx2;
    if (isa == ISA_avx512) return &matmul_avx512;
#endif
    (void)isa;
    return &matmul_portable;
}

static bool is_plain(enum dtype type) { return type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16; }

int matrix_init(struct matrix *m, const struct weight *weight, bool exact, enum isa isa, void *memory, struct err *err) {
    const struct dtype_info *info = dtype_info(weight->type);
    size_t size = matrix_size(weight), row, file = 0;
    if (!info || !info->computable)
        return err_set(err, STATUS_UNSUPPORTED, "%s: type %s (%d) cannot be computed with", weight->name,
                       info ? info->name : "unknown", (int)weight->type);
    if (!size || weight->cols == 0 || weight->cols % info->block || weight->cols > UINT32_MAX)
        return err_set(err, STATUS_UNSUPPORTED, "%s: %llu rows of %llu %s cannot be multiplied with", weight->name,
                       (unsigned long long)weight->rows, (unsigned long long)weight->cols, info->name);
    if (!size_mul(weight->cols / info->block, info->block_size, &row) || !size_mul(row, weight->rows, &file) || weight->size < file)
        return err_set(err, STATUS_MODEL, "%s: %zu bytes, expected %zu", weight->name, weight->size, file);
    *m = (struct matrix){.type = weight->type, .rows = weight->rows, .cols = weight->cols, .weight = weight, .packed = memory,
                         .form = exact || is_plain(weight->type) ? ACTIVATION_F32 : ACTIVATION_Q8, .kernels = kernels_of(isa)};
    group_size_of(weight, &m->group_size);
    return STATUS_OK;
}

/* 16 rows of 2- or 4-byte elements, transposed; rows from n on are zero. */
static void pack_elements(const uint8_t *from, size_t row_size, size_t size, int n, uint8_t *out) {
    for (size_t at = 0; at < row_size; at += size, out += MATRIX_ROWS * size)
        for (int r = 0; r < MATRIX_ROWS; r++)
            for (size_t i = 0; i < size; i++) out[r * size + i] = r < n ? from[r * row_size + at + i] : 0;
}

static void pack_blocks(enum dtype type, const uint8_t *from, size_t row_size, size_t size, int n, uint8_t *out) {
    static const uint8_t zeros[256];
    const uint8_t *rows[MATRIX_ROWS];
    for (size_t at = 0; at < row_size; at += size, out += MATRIX_ROWS * size) {
        for (int r = 0; r < MATRIX_ROWS; r++) rows[r] = r < n ? from + r * row_size + at : zeros;
        pack_unit(type, rows, out);
    }
}

/* Give back the whole pages of [from, from + size) of a file's mapping. */
static void release_pages(const uint8_t *from, size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ALIGN_UP((uintptr_t)from, page), end = ((uintptr_t)from + size) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void matrix_pack(const struct matrix *m, uint64_t row_begin, uint64_t row_end) {
    const size_t row_size = m->group_size / MATRIX_ROWS, size = dtype_info(m->type)->block_size;
    const uint8_t *data = m->weight->data;
    uint64_t done = row_begin; /* rows whose pages are given back */
    for (uint64_t row = row_begin; row < row_end; row += MATRIX_ROWS) {
        int n = m->rows - row < MATRIX_ROWS ? (int)(m->rows - row) : MATRIX_ROWS;
        uint8_t *out = m->packed + row / MATRIX_ROWS * m->group_size;
        const uint8_t *from = data + row * row_size;
        if (is_plain(m->type)) pack_elements(from, row_size, size, n, out);
        else pack_blocks(m->type, from, row_size, size, n, out);
        uint64_t end = row + (uint64_t)n;
        if (m->weight->fd >= 0 && ((end - done) * row_size >= HUGE_PAGE || end >= row_end)) {
            release_pages(data + done * row_size, (end - done) * row_size);
            done = end;
        }
    }
}

void matrix_row(const struct matrix *m, uint64_t row, float *out) {
    enum { PART = 256 };
    _Alignas(64) float wide[PART * MATRIX_ROWS];
    const uint8_t *group = m->packed + row / MATRIX_ROWS * m->group_size;
    for (size_t k = 0; k < m->cols; k += PART) {
        size_t n = m->cols - k < PART ? m->cols - k : PART;
        m->kernels->widen(m->type, group, k, n, wide);
        for (size_t i = 0; i < n; i++) out[k + i] = wide[i * MATRIX_ROWS + row % MATRIX_ROWS];
    }
}

void *weights_alloc(size_t size) {
    size_t whole;
    if (!size_add(size, 2 * HUGE_PAGE, &whole)) return NULL;
    whole = ALIGN_UP(size, HUGE_PAGE) + HUGE_PAGE;
    uint8_t *all = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) return NULL;
    uint8_t *memory = (uint8_t *)ALIGN_UP((uintptr_t)all, HUGE_PAGE);
    size_t before = (size_t)(memory - all);
    if (before) munmap(all, before);
    if (HUGE_PAGE - before) munmap(memory + ALIGN_UP(size, HUGE_PAGE), HUGE_PAGE - before);
    madvise(memory, ALIGN_UP(size, HUGE_PAGE), MADV_HUGEPAGE);
    return memory;
}

void weights_free(void *memory, size_t size) {
    if (memory) munmap(memory, ALIGN_UP(size, HUGE_PAGE));
}

/* ---- activations ---- */

static bool form_sizes(uint32_t n, uint32_t cols, int forms, size_t *f32, size_t *q8, size_t *facts) {
    size_t elements, blocks;
    *f32 = *q8 = *facts = 0;
    if (!size_mul(n, cols, &elements)) return false;
    if (forms & ACTIVATION_F32 && (!size_mul(elements, sizeof(float), f32) || !size_add(*f32, 63, f32))) return false;
    if (!(forms & ACTIVATION_Q8)) return true;
    return size_add(elements, 63, q8) && size_mul(n, cols / ACTIVATION_BLOCK, &blocks) &&
           size_mul(blocks, ACTIVATION_FACTS * sizeof(union activation_fact), facts) && size_add(*facts, 63, facts);
}

size_t activations_size(uint32_t n, uint32_t cols, int forms) {
    size_t f32, q8, facts, size;
    if (!form_sizes(n, cols, forms, &f32, &q8, &facts)) return 0;
    size = f32 / 64 * 64;
    if (!size_add(size, q8 / 64 * 64, &size) || !size_add(size, facts / 64 * 64, &size)) return 0;
    return size;
}

void activations_init(struct activations *a, uint32_t n, uint32_t cols, int forms, void *memory) {
    size_t f32, q8, facts;
    form_sizes(n, cols, forms, &f32, &q8, &facts);
    uint8_t *at = memory;
    *a = (struct activations){.n = n, .cols = cols, .forms = forms, .f32 = memory};
    at += f32 / 64 * 64;
    a->q8 = (int8_t *)at;
    a->facts = (union activation_fact *)(at + q8 / 64 * 64);
}

size_t activations_units(const struct activations *a) {
    return ALIGN_UP((size_t)a->n, ACTIVATION_PANEL) / ACTIVATION_PANEL * (ALIGN_UP((size_t)a->cols, ACTIVATION_BLOCK) / ACTIVATION_BLOCK);
}

static void fill_f32(const struct activations *a, const float *x, size_t stride, size_t begin, size_t end) {
    const size_t blocks = ALIGN_UP((size_t)a->cols, ACTIVATION_BLOCK) / ACTIVATION_BLOCK;
    for (size_t unit = begin; unit < end; unit++) {
        size_t panel = unit / blocks * ACTIVATION_PANEL, k = unit % blocks * ACTIVATION_BLOCK;
        size_t width = a->n - panel < ACTIVATION_PANEL ? a->n - panel : ACTIVATION_PANEL;
        size_t n = a->cols - k < ACTIVATION_BLOCK ? a->cols - k : ACTIVATION_BLOCK;
        float *out = a->f32 + panel * a->cols + k * width;
        for (size_t c = 0; c < width; c++)
            for (size_t i = 0; i < n; i++) out[i * width + c] = x[(panel + c) * stride + k + i];
    }
}

void activations_fill(const struct activations *a, enum isa isa, const float *x, size_t stride, size_t begin, size_t end) {
    if (a->forms & ACTIVATION_F32) fill_f32(a, x, stride, begin, end);
    if (a->forms & ACTIVATION_Q8) kernels_of(isa)->fill_q8(a, x, stride, begin, end);
}

/* ---- the product ---- */

void matmul_slice(const struct matrix *m, const struct activations *a, float *y, size_t stride, uint64_t row_begin,
                  uint64_t row_end) {
    if (m->form == ACTIVATION_F32) m->kernels->product_f32(m, a, y, stride, row_begin, row_end);
    else m->kernels->product_q8(m, a, y, stride, row_begin, row_end);
}
