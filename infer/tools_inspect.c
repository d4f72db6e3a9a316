/* `inspect`: what is in a model file, and everything that is wrong with it, as text or as JSON. Strings of
 * the file are shown so that a terminal cannot be made to obey them. */
#include "base/mem.h"
#include "base/text.h"
#include "infer/json_write.h"
#include "infer/model_internal.h"
#include "infer/tools.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ITEMS_TEXT = 6, /* elements of an array that are shown */
    ITEMS_JSON = 32,
    STRING_CELLS = 64,
    CHUNK = 1 << 14,     /* elements converted at a time, a multiple of every block */
    BLOCK_BYTES_MAX = 8, /* bytes an element at most */
};

struct range {
    double min, max, mean; /* of the finite values */
    uint64_t nans, infs;
    bool read;
};

struct inspection {
    const char *path;
    const struct inspect_options *options;
    struct model *model;
    const struct gguf *gguf;
    struct faults faults;
    struct range *ranges; /* [tensors], or NULL */
};

/* ---- ranges ---- */

static void add_values(struct range *range, const float *values, size_t n, double *sum, uint64_t *finite) {
    for (size_t i = 0; i < n; i++) {
        float value = values[i];
        if (isnan(value)) {
            range->nans++;
        } else if (isinf(value)) {
            range->infs++;
        } else {
            if (value < range->min) range->min = value;
            if (value > range->max) range->max = value;
            *sum += value;
            ++*finite;
        }
    }
}

/* One pass over a tensor, a piece at a time. */
static int read_range(const struct gguf *gguf, const struct gguf_tensor *tensor, struct range *range,
                      unsigned char *bytes, float *values, struct err *err) {
    const struct dtype_info *type = dtype_info(tensor->type);
    *range = (struct range){.min = INFINITY, .max = -INFINITY};
    if (!type || !type->computable || tensor->size == 0) return STATUS_OK;
    double sum = 0;
    uint64_t finite = 0;
    for (uint64_t at = 0; at < tensor->n_elements; at += CHUNK) {
        uint64_t left = tensor->n_elements - at;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;
        int status = gguf_read(gguf, tensor, at / type->block * type->block_size, bytes,
                               n / type->block * type->block_size, err);
        if (status) return status;
        dtype_to_f32((enum dtype)tensor->type, bytes, values, n);
        add_values(range, values, n, &sum, &finite);
    }
    range->mean = finite ? sum / (double)finite : NAN;
    range->read = true;
    if (range->nans + range->infs == 0) return STATUS_OK;
    return err_set(err, STATUS_MODEL,
                   "%s: tensor %s: found %" PRIu64 " NaN and %" PRIu64 " Inf, expected finite numbers",
                   gguf_path(gguf), tensor->name, range->nans, range->infs);
}

static int read_ranges(struct inspection *in, struct err *err) {
    size_t n = gguf_n_tensors(in->gguf);
    unsigned char *bytes = xmalloc(CHUNK * BLOCK_BYTES_MAX);
    float *values = xmalloc(CHUNK * sizeof *values);
    int status = STATUS_OK;
    in->ranges = xcalloc(n + 1, sizeof *in->ranges);
    for (size_t i = 0; i < n && !status; i++) {
        status = read_range(in->gguf, gguf_tensor_at(in->gguf, i), &in->ranges[i], bytes, values, err);
        status = fault_note(&in->faults, status, err);
    }
    free(bytes);
    free(values);
    return status;
}

/* ---- text ---- */

static void put_item(struct buf *out, const struct gguf_value *value, uint64_t *at) {
    struct gguf_item item = gguf_item(value, at);
    switch (value->type) {
    case GGUF_TYPE_STRING: text_quote(out, item.string.bytes, item.string.len, STRING_CELLS); break;
    case GGUF_TYPE_BOOL: buf_puts(out, item.integer ? "true" : "false"); break;
    case GGUF_TYPE_F32: buf_printf(out, "%.9g", item.number); break;
    case GGUF_TYPE_F64: buf_printf(out, "%.17g", item.number); break;
    case GGUF_TYPE_U8:
    case GGUF_TYPE_U16:
    case GGUF_TYPE_U32:
    case GGUF_TYPE_U64: buf_printf(out, "%" PRIu64, item.natural); break;
    default: buf_printf(out, "%" PRId64, item.integer); break;
    }
}

static void put_value(struct buf *out, const struct gguf_value *value) {
    uint64_t at = 0;
    buf_puts(out, "  ");
    text_sanitize_line(out, value->key.bytes, value->key.len);
    if (!value->is_array) {
        buf_printf(out, " (%s) = ", gguf_type_name(value->type));
        put_item(out, value, &at);
        buf_putc(out, '\n');
        return;
    }
    buf_printf(out, " (%s[%" PRIu64 "]) = [", gguf_type_name(value->type), value->n);
    for (uint64_t i = 0; i < value->n && i < ITEMS_TEXT; i++) {
        if (i) buf_puts(out, ", ");
        put_item(out, value, &at);
    }
    buf_puts(out, value->n > ITEMS_TEXT ? ", ...]\n" : "]\n");
}

static const char *type_name(uint32_t type, char unknown[static 16]) {
    const struct dtype_info *info = dtype_info(type);
    if (info) return info->name;
    snprintf(unknown, 16, "type %" PRIu32, type);
    return unknown;
}

static void put_tensor(struct buf *out, const struct inspection *in, size_t i) {
    const struct gguf_tensor *tensor = gguf_tensor_at(in->gguf, i);
    char unknown[16];
    struct buf shape = {0}, name = {0};
    for (uint32_t d = 0; d < tensor->n_dims; d++)
        buf_printf(&shape, d ? " x %" PRIu64 : "%" PRIu64, tensor->dims[d]);
    text_sanitize_line(&name, tensor->name, strlen(tensor->name));
    buf_printf(out, "  %-28s %-7s %16s %12" PRIu64 " B", name.data ? name.data : "",
               type_name(tensor->type, unknown), shape.data ? shape.data : "", tensor->size);
    if (in->ranges) {
        const struct range *r = &in->ranges[i];
        if (r->read)
            buf_printf(out, "  min %-12.5g max %-12.5g mean %-12.5g NaN %" PRIu64 " Inf %" PRIu64, r->min,
                       r->max, r->mean, r->nans, r->infs);
        else
            buf_puts(out, "  values not read");
    }
    buf_putc(out, '\n');
    buf_free(&shape);
    buf_free(&name);
}

/* How many tensors and bytes there are of each type. */
struct type_sums {
    uint64_t tensors[64], bytes[64], elements;
};

static void sum_types(const struct gguf *gguf, struct type_sums *sums) {
    *sums = (struct type_sums){0};
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        sums->elements += tensor->n_elements;
        if (tensor->type >= 64) continue;
        sums->tensors[tensor->type]++;
        sums->bytes[tensor->type] += tensor->size;
    }
}

static void put_text_line(struct buf *out, const char *label, const char *text) {
    buf_printf(out, "%-14s", label);
    text_sanitize_line(out, text, strlen(text));
    buf_putc(out, '\n');
}

static void put_summary(struct buf *out, const struct inspection *in) {
    const struct gguf *g = in->gguf;
    struct type_sums sums;
    struct span architecture = {0};
    sum_types(g, &sums);
    gguf_string(g, "general.architecture", GGUF_OPTIONAL, &architecture, NULL);
    put_text_line(out, "file", in->path);
    buf_printf(out,
               "%-14sGGUF version %" PRIu32 ", %" PRIu64 " bytes in %" PRIu32 " file%s, alignment %" PRIu32
               "\n",
               "format", gguf_version(g), gguf_size(g), gguf_n_files(g), gguf_n_files(g) == 1 ? "" : "s",
               gguf_alignment(g));
    put_text_line(out, "name", model_name(in->model));
    buf_printf(out, "%-14s", "architecture");
    text_sanitize_line(out, architecture.bytes, architecture.len);
    buf_putc(out, '\n');
    const struct model_view *v = model_view(in->model);
    if (v)
        buf_printf(out,
                   "%-14s%" PRIu32 " layers of %" PRIu32 ", feed-forward %" PRIu32 ", heads %" PRIu32
                   " on %" PRIu32 " of %" PRIu32 ", context %" PRIu32 ", %" PRIu32 " tokens in %" PRIu32
                   " rows%s\n",
                   "shape", v->n_layers, v->n_embd, v->n_ff, v->n_heads, v->n_kv_heads, v->head_dim,
                   v->n_ctx_train, v->n_vocab, v->n_rows, v->output == v->token_embd ? ", tied" : "");
    put_text_line(out, "quantisation", model_quantisation(in->model));
    buf_printf(out, "%-14s%" PRIu64 " in %zu tensors", "parameters", sums.elements, gguf_n_tensors(g));
    for (uint32_t type = 0; type < 64; type++)
        if (sums.tensors[type]) {
            char unknown[16];
            buf_printf(out, "; %" PRIu64 " %s of %" PRIu64 " bytes", sums.tensors[type],
                       type_name(type, unknown), sums.bytes[type]);
        }
    buf_putc(out, '\n');
}

static void report_text(const struct inspection *in, struct buf *out) {
    put_summary(out, in);
    buf_printf(out, "\n%zu keys\n", gguf_n_values(in->gguf));
    for (size_t i = 0; i < gguf_n_values(in->gguf); i++) put_value(out, gguf_value_at(in->gguf, i));
    if (in->options->tensors || in->options->ranges) {
        buf_printf(out, "\n%zu tensors\n", gguf_n_tensors(in->gguf));
        for (size_t i = 0; i < gguf_n_tensors(in->gguf); i++) put_tensor(out, in, i);
    }
    if (!in->faults.n) return;
    buf_printf(out, "\n%zu fault%s\n", in->faults.n + in->faults.more,
               in->faults.n + in->faults.more == 1 ? "" : "s");
    for (size_t i = 0; i < in->faults.n; i++) {
        buf_puts(out, "  ");
        text_sanitize_line(out, in->faults.lines[i], strlen(in->faults.lines[i]));
        buf_putc(out, '\n');
    }
    if (in->faults.more) buf_printf(out, "  and %zu more\n", in->faults.more);
}

/* ---- JSON ---- */

static void json_item(struct json_writer *w, const struct gguf_value *value, uint64_t *at) {
    struct gguf_item item = gguf_item(value, at);
    switch (value->type) {
    case GGUF_TYPE_STRING: json_write_bytes(w, item.string.bytes, item.string.len); break;
    case GGUF_TYPE_BOOL: json_write_bool(w, item.integer != 0); break;
    case GGUF_TYPE_F32:
    case GGUF_TYPE_F64: json_write_real(w, item.number); break;
    case GGUF_TYPE_U8:
    case GGUF_TYPE_U16:
    case GGUF_TYPE_U32:
    case GGUF_TYPE_U64: json_write_natural(w, item.natural); break;
    default: json_write_integer(w, item.integer); break;
    }
}

static void json_value(struct json_writer *w, const struct gguf_value *value) {
    uint64_t at = 0;
    json_write_open(w, '{');
    json_write_key(w, "key");
    json_write_bytes(w, value->key.bytes, value->key.len);
    json_write_key(w, "type");
    json_write_text(w, gguf_type_name(value->type));
    if (value->is_array) {
        json_write_key(w, "length");
        json_write_natural(w, value->n);
        json_write_key(w, value->n > ITEMS_JSON ? "first" : "value");
        json_write_open(w, '[');
        for (uint64_t i = 0; i < value->n && i < ITEMS_JSON; i++) json_item(w, value, &at);
        json_write_close(w, ']');
    } else {
        json_write_key(w, "value");
        json_item(w, value, &at);
    }
    json_write_close(w, '}');
}

static void json_range(struct json_writer *w, const struct range *range) {
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"min", range->min}, {"max", range->max}, {"mean", range->mean}};
    for (size_t i = 0; i < 3; i++) {
        json_write_key(w, numbers[i].key);
        json_write_real(w, range->read ? numbers[i].value : NAN);
    }
    if (!range->read) return;
    json_write_key(w, "nan");
    json_write_natural(w, range->nans);
    json_write_key(w, "inf");
    json_write_natural(w, range->infs);
}

static void json_tensor(struct json_writer *w, const struct inspection *in, size_t i) {
    const struct gguf_tensor *tensor = gguf_tensor_at(in->gguf, i);
    char unknown[16];
    json_write_open(w, '{');
    json_write_key(w, "name");
    json_write_text(w, tensor->name);
    json_write_key(w, "type");
    json_write_text(w, type_name(tensor->type, unknown));
    json_write_key(w, "shape");
    json_write_open(w, '[');
    for (uint32_t d = 0; d < tensor->n_dims; d++) json_write_natural(w, tensor->dims[d]);
    json_write_close(w, ']');
    json_write_key(w, "bytes");
    json_write_natural(w, tensor->size);
    json_write_key(w, "file");
    json_write_natural(w, tensor->file);
    json_write_key(w, "offset");
    json_write_natural(w, tensor->offset);
    if (in->ranges) json_range(w, &in->ranges[i]);
    json_write_close(w, '}');
}

static void json_summary(struct json_writer *w, const struct inspection *in) {
    const struct gguf *g = in->gguf;
    struct span architecture = {"", 0};
    struct type_sums sums;
    sum_types(g, &sums);
    gguf_string(g, "general.architecture", GGUF_OPTIONAL, &architecture, NULL);
    json_write_key(w, "file");
    json_write_text(w, in->path);
    json_write_key(w, "name");
    json_write_text(w, model_name(in->model));
    json_write_key(w, "architecture");
    json_write_bytes(w, architecture.bytes, architecture.len);
    json_write_key(w, "quantisation");
    json_write_text(w, model_quantisation(in->model));
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"version", gguf_version(g)}, {"alignment", gguf_alignment(g)},
                   {"files", gguf_n_files(g)},   {"bytes", gguf_size(g)},
                   {"n_keys", gguf_n_values(g)}, {"n_tensors", gguf_n_tensors(g)},
                   {"parameters", sums.elements}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        json_write_key(w, numbers[i].key);
        json_write_natural(w, numbers[i].value);
    }
}

static void report_json(const struct inspection *in, struct buf *out) {
    struct json_writer w = {.out = out};
    json_write_open(&w, '{');
    json_summary(&w, in);
    json_write_key(&w, "metadata");
    json_write_open(&w, '[');
    for (size_t i = 0; i < gguf_n_values(in->gguf); i++) json_value(&w, gguf_value_at(in->gguf, i));
    json_write_close(&w, ']');
    if (in->options->tensors || in->options->ranges) {
        json_write_key(&w, "tensors");
        json_write_open(&w, '[');
        for (size_t i = 0; i < gguf_n_tensors(in->gguf); i++) json_tensor(&w, in, i);
        json_write_close(&w, ']');
    }
    json_write_key(&w, "faults");
    json_write_open(&w, '[');
    for (size_t i = 0; i < in->faults.n; i++) json_write_text(&w, in->faults.lines[i]);
    json_write_close(&w, ']');
    json_write_close(&w, '}');
    buf_putc(out, '\n');
}

/* A file that holds a vocabulary and no weights is whole as such. */
static int open_model(struct inspection *in, struct err *err) {
    struct gguf *gguf;
    int status = gguf_open(in->path, GGUF_WHOLE, &in->faults, &gguf, err);
    if (status) return status;
    bool vocabulary = !in->faults.n && gguf_n_tensors(gguf) == 0;
    if (in->faults.n &&
        !gguf_version(gguf)) /* its first bytes are of something else: nothing to tell of it */
        status = err_set(err, STATUS_MODEL, "%s", in->faults.lines[0]);
    gguf_close(gguf);
    if (status < 0) return status;
    faults_free(&in->faults);
    return model_open_noting(in->path, vocabulary ? MODEL_VOCABULARY : MODEL_WHOLE, &in->faults, &in->model,
                             err);
}

int tool_inspect(const char *path, const struct inspect_options *options, struct buf *report,
                 struct err *err) {
    struct inspection in = {.path = path, .options = options};
    struct err own;
    if (!err) err = &own;
    int status = open_model(&in, err);
    if (!status) {
        in.gguf = model_gguf(in.model);
        if (options->ranges) status = read_ranges(&in, err);
        if (!status) (options->json ? report_json : report_text)(&in, report);
    }
    if (!status && in.faults.n) {
        size_t others = in.faults.n - 1 + in.faults.more;
        status = err_set(err, STATUS_MODEL, "%s", in.faults.lines[0]);
        if (others) status = err_set(err, STATUS_MODEL, "%.700s (and %zu more)", in.faults.lines[0], others);
    }
    model_close(in.model);
    free(in.ranges);
    faults_free(&in.faults);
    return status;
}
