/* `logits` and `trace`: what the model answers at each position, and every named tensor on the way, in a GGUF
 * container. */
#include "base/mem.h"
#include "infer/gguf_write.h"
#include "infer/runner.h"
#include "infer/tools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct traced { /* one tensor of a trace, kept until the header can be written */
    char *name;
    uint64_t dims[4]; /* fastest first, as the file has it */
    uint32_t n_dims;
    float *values;
    size_t n;
};

struct collector {
    const int32_t *positions; /* [n_positions], ascending */
    size_t n_positions, next; /* the next one whose logits are wanted */
    uint32_t n_vocab;
    struct gguf_writer *writer; /* logits go straight to the file */
    float *logits;              /* or, with a trace, here: [n_positions][n_vocab] */
    struct traced *traces;
    size_t n_traces, cap_traces;
    bool too_many_dims;
};

/* ---- positions ---- */

static int by_value(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int parse_list(const char *text, size_t n_ids, int32_t **out, size_t *n, struct err *err) {
    size_t cap = 0;
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        long long position = strtoll(at, &end, 10);
        if (end == at || errno || (*end && *end != ',') || position < 0 || position >= (long long)n_ids)
            return err_set(err, STATUS_USAGE,
                           "--positions %.60s: expected all, last or numbers below %zu with commas", text,
                           n_ids);
        grow_array(out, &cap, *n + 1, sizeof **out);
        (*out)[(*n)++] = (int32_t)position;
        at = end;
        if (!*at) break;
    }
    qsort(*out, *n, sizeof **out, by_value);
    size_t kept = 1;
    for (size_t i = 1; i < *n; i++)
        if ((*out)[i] != (*out)[kept - 1]) (*out)[kept++] = (*out)[i];
    *n = kept;
    return STATUS_OK;
}

/* "all" (also NULL), "last", or a list; each position once, ascending. */
static int parse_positions(const char *text, size_t n_ids, int32_t **out, size_t *n, struct err *err) {
    bool all = !text || strcmp(text, "all") == 0;
    if (!all && strcmp(text, "last") != 0) return parse_list(text, n_ids, out, n, err);
    *n = all ? n_ids : 1;
    *out = xmalloc(*n * sizeof **out);
    for (size_t i = 0; i < *n; i++) (*out)[i] = (int32_t)(all ? i : n_ids - 1);
    return STATUS_OK;
}

/* ---- what the steps give ---- */

static int keep_logits(void *ctx, const struct step_result *result, const float *logits) {
    struct collector *c = ctx;
    if (c->next == c->n_positions || result->position != (uint32_t)c->positions[c->next]) return 0;
    if (c->writer)
        writer_values(c->writer, logits, c->n_vocab);
    else
        memcpy(c->logits + c->next * c->n_vocab, logits, c->n_vocab * sizeof *logits);
    c->next++;
    return 0;
}

static void keep_trace(void *ctx, const char *name, const uint64_t *shape, int n_dims, const float *values) {
    struct collector *c = ctx;
    if (n_dims < 1 || n_dims > 4) {
        c->too_many_dims = true;
        return;
    }
    struct traced t = {.name = xmalloc(strlen(name) + 7), .n_dims = (uint32_t)n_dims, .n = 1};
    memcpy(t.name, "trace.", 6);
    memcpy(t.name + 6, name, strlen(name) + 1);
    for (int i = 0; i < n_dims; i++) {
        t.dims[n_dims - 1 - i] = shape[i];
        t.n *= shape[i];
    }
    t.values = (float *)xmemdup(values, t.n * sizeof *values);
    grow_array(&c->traces, &c->cap_traces, c->n_traces + 1, sizeof *c->traces);
    c->traces[c->n_traces++] = t;
}

static enum wanted what_is_wanted(const struct collector *c, uint32_t first, uint32_t n) {
    if (c->next == c->n_positions || (uint32_t)c->positions[c->next] >= first + n) return WANT_NOTHING;
    return (uint32_t)c->positions[c->next] == first + n - 1 ? WANT_LAST : WANT_ALL;
}

static int feed(struct runner *runner, struct collector *c, const struct logits_options *o, struct err *err) {
    uint32_t n_ids = (uint32_t)o->n_ids, chunk = o->chunk && !o->trace ? o->chunk : n_ids;
    int status = STATUS_OK;
    for (uint32_t at = 0; at < n_ids && !status; at += chunk) {
        uint32_t n = n_ids - at < chunk ? n_ids - at : chunk;
        struct step_request request = {.ids = o->ids + at,
                                       .n = n,
                                       .wanted = what_is_wanted(c, at, n),
                                       .logits = true,
                                       .on_result = keep_logits,
                                       .on_trace = o->trace ? keep_trace : NULL,
                                       .ctx = c};
        status = runner_step(runner, &request, err);
        if (n == n_ids) break; /* at + chunk may wrap */
    }
    if (!status && c->next != c->n_positions)
        status = err_set(err, STATUS_FAILED, "found logits of %zu positions, expected %zu", c->next,
                         c->n_positions);
    if (!status && c->too_many_dims)
        status = err_set(err, STATUS_FAILED, "a traced tensor has more than 4 dimensions");
    return status;
}

/* ---- the file ---- */

static void declare(struct gguf_writer *w, const struct collector *c, const struct logits_options *o) {
    writer_string(w, "general.architecture", "golden");
    writer_i32s(w, "golden.prompt", o->ids, o->n_ids);
    writer_i32s(w, "golden.positions", c->positions, c->n_positions);
    writer_u32(w, "golden.n_vocab", c->n_vocab);
    writer_tensor(w, "logits", (uint64_t[]){c->n_vocab, c->n_positions}, 2);
    for (size_t i = 0; i < c->n_traces; i++)
        writer_tensor(w, c->traces[i].name, c->traces[i].dims, c->traces[i].n_dims);
}

static int write_logits(struct runner *runner, struct collector *c, const struct logits_options *o,
                        const char *path, struct err *err) {
    int status = writer_begin(path, &c->writer, err);
    if (status) return status;
    declare(c->writer, c, o);
    status = feed(runner, c, o, err);
    if (!status) return writer_end(c->writer, err);
    writer_abandon(c->writer);
    return status;
}

static int write_trace(struct runner *runner, struct collector *c, const struct logits_options *o,
                       const char *path, struct err *err) {
    struct gguf_writer *writer;
    c->logits = xcalloc(c->n_positions, c->n_vocab * sizeof *c->logits);
    int status = feed(runner, c, o, err);
    if (!status) status = writer_begin(path, &writer, err);
    if (status) return status;
    declare(writer, c, o);
    writer_values(writer, c->logits, c->n_positions * c->n_vocab);
    for (size_t i = 0; i < c->n_traces; i++) writer_values(writer, c->traces[i].values, c->traces[i].n);
    return writer_end(writer, err);
}

static int check_ids(const struct logits_options *o, uint32_t n_vocab, struct err *err) {
    if (!o->n_ids) return err_set(err, STATUS_USAGE, "found no ids, expected at least one");
    for (size_t i = 0; i < o->n_ids; i++)
        if (o->ids[i] < 0 || (uint32_t)o->ids[i] >= n_vocab)
            return err_set(err, STATUS_USAGE, "id number %zu: found %d, expected 0 to %u", i, o->ids[i],
                           n_vocab - 1);
    return STATUS_OK;
}

int tool_logits(const struct logits_options *o, const char *out_path, struct err *err) {
    struct runner runner = {0};
    struct collector c = {0};
    int32_t *positions = NULL;
    int status = runner_open(&runner, &o->engine, err);
    if (!status) c.n_vocab = model_view(runner.model)->n_vocab;
    if (!status) status = check_ids(o, c.n_vocab, err);
    if (!status) status = parse_positions(o->positions, o->n_ids, &positions, &c.n_positions, err);
    c.positions = positions;
    if (!status) status = runner_begin(&runner, &o->engine, o->n_ids, err);
    if (!status) status = (o->trace ? write_trace : write_logits)(&runner, &c, o, out_path, err);
    runner_close(&runner);
    for (size_t i = 0; i < c.n_traces; i++) {
        free(c.traces[i].name);
        free(c.traces[i].values);
    }
    free(c.traces);
    free(c.logits);
    free(positions);
    return status;
}
