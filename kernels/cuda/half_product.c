/* Products by cuBLASLt of matrices and vectors in 16 bits: which ones a layer makes, and their making.
 * Matrices that meet the same vectors and lie together are one, which takes less time than each apart. */
#include "kernels/cuda/device.h"

bool gate_up_in_turns(const struct device_layer *l) {
    return l->gate16 && (char *)l->up16 == (char *)l->gate16 + (size_t)l->gate.blocks * 64;
}

/* One more. What lies directly behind the last of them becomes part of it. */
static void add(struct half_products *to, const struct device_matrix *w, const void *w16) {
    struct half_product *last = to->n ? &to->product[to->n - 1] : NULL;
    const size_t pitch = (size_t)w->blocks * 32;
    if (last && last->w16 && (const char *)w16 == (const char *)last->w16 + last->rows * pitch * 2)
        last->rows += w->rows;
    else
        to->product[to->n++] =
            (struct half_product){.w = w, .w16 = w16, .pitch = pitch, .rows = w->rows, .first_row = to->rows};
    to->rows += w->rows;
}

struct half_products half_products(const struct device_layer *l, enum layer_product which) {
    struct half_products made = {0};
    switch (which) {
    case PRODUCT_QKV:
        add(&made, &l->q, l->q16);
        add(&made, &l->k, l->k16);
        add(&made, &l->v, l->v16);
        break;
    case PRODUCT_OUT: add(&made, &l->o, l->o16); break;
    case PRODUCT_GATE_UP:
        add(&made, &l->gate, l->gate16);
        if (gate_up_in_turns(l))
            made.rows = made.product[0].rows *= 2;
        else
            add(&made, &l->up, l->up16);
        break;
    case PRODUCT_DOWN: add(&made, &l->down, l->down16); break;
    }
    return made;
}

struct blas_shape half_shape(const struct half_products *p, uint32_t i) {
    return (struct blas_shape){.rows = p->product[i].rows,
                               .stride = p->product[i].w->blocks * 32,
                               .pitch = p->product[i].pitch,
                               .y_pitch = p->rows};
}

int half_multiply(struct backend *b, const struct half_products *p, uint32_t n, float *y, struct err *err) {
    warm_end(b);
    for (uint32_t i = 0; i < p->n; i++) {
        const struct half_product *one = &p->product[i];
        const struct blas_shape shape = half_shape(p, i);
        if (!one->w16) /* no room for copies: this matrix, now */
            CUDA_TRY(launch_to_16bit(b->stream, *one->w, b->scratch16, one->pitch));
        int code = blas_product(b->blas, b->stream, &shape, one->w16 ? one->w16 : b->scratch16, b->narrow, n,
                                y + one->first_row);
        if (code)
            return err_set(err, STATUS_DEVICE,
                           "cuBLASLt failed with code %d for a product of %u x %u with %u columns", code,
                           one->rows, one->w->cols, n);
    }
    return STATUS_OK;
}
