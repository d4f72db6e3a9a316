#include "infer/model.h"

#include "base/buf.h"
#include "base/mem.h"
#include "infer/model_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TEMPLATE_MAX = 1 << 20 };

/* ---- names ---- */

/* general.file_type, as llama.cpp's converters number it (enum llama_ftype in include/llama.h). */
static const char *const file_types[] = {
    [0] = "F32",     [1] = "F16",     [2] = "Q4_0",     [3] = "Q4_1",    [7] = "Q8_0",     [8] = "Q5_0",
    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S",  [12] = "Q3_K_M", [13] = "Q3_K_L",  [14] = "Q4_K_S",
    [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",  [18] = "Q6_K",   [19] = "IQ2_XXS", [20] = "IQ2_XS",
    [21] = "Q2_K_S", [22] = "IQ3_XS", [23] = "IQ3_XXS", [24] = "IQ1_S",  [25] = "IQ4_NL",  [26] = "IQ3_S",
    [27] = "IQ3_M",  [28] = "IQ2_S",  [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",   [32] = "BF16",
    [36] = "TQ1_0",  [37] = "TQ2_0",  [38] = "MXFP4",
};

/* The type that most bytes of the tensors have. */
static const char *commonest_type(const struct gguf *gguf) {
    uint64_t bytes[64] = {0};
    uint32_t best = 0;
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        if (tensor->type >= 64) continue;
        bytes[tensor->type] += tensor->size;
        if (bytes[tensor->type] > bytes[best]) best = tensor->type;
    }
    const struct dtype_info *type = dtype_info(best);
    return bytes[best] && type ? type->name : "";
}

/* Where the parts of a model that is split are numbered: "-00001-of-00002" at the end of n bytes; else n. */
static size_t before_shard(const char *name, size_t n) {
    static const char pattern[] = "-ddddd-of-ddddd";
    size_t tail = sizeof pattern - 1;
    if (n <= tail) return n;
    for (size_t i = 0; i < tail; i++) {
        char c = name[n - tail + i];
        if (pattern[i] == 'd' ? c < '0' || c > '9' : c != pattern[i]) return n;
    }
    return n - tail;
}

/* Stores that name files by what is in them: "sha256-...", or the hash alone. */
static bool is_hash(const char *name, size_t n) {
    if (strncmp(name, "sha256", 6) == 0) return true;
    return n >= 40 && strspn(name, "0123456789abcdef") >= n;
}

/* What people call it, who chose the file by its name. */
static char *label_of(const char *file, const char *name) {
    size_t n = strlen(file);
    if (n > 5 && strcasecmp(file + n - 5, ".gguf") == 0) n -= 5;
    return is_hash(file, n) ? xstrdup(name) : xmemdup(file, before_shard(file, n));
}

static void read_names(struct model *m) {
    struct span name = {0};
    uint32_t file_type = UINT32_MAX;
    const char *path = gguf_path(m->gguf), *slash = strrchr(path, '/');
    gguf_string(m->gguf, "general.name", GGUF_OPTIONAL, &name,
                NULL); /* of a wrong type: not shown, nothing depends on it */
    gguf_u32(m->gguf, "general.file_type", GGUF_OPTIONAL, &file_type, NULL);
    m->name = name.len ? xmemdup(name.bytes, name.len) : xstrdup(slash ? slash + 1 : path);
    m->label = label_of(slash ? slash + 1 : path, m->name);
    const char *known = file_type < sizeof file_types / sizeof *file_types ? file_types[file_type] : NULL;
    m->quantisation = xstrdup(known ? known : commonest_type(m->gguf));
}

static int read_template(struct model *m, struct err *err) {
    int status = gguf_string(m->gguf, "tokenizer.chat_template", GGUF_OPTIONAL, &m->chat_template, err);
    if (!status && m->chat_template.len > TEMPLATE_MAX)
        status = err_set(err, STATUS_MODEL,
                         "%s: key tokenizer.chat_template: found %zu bytes, expected at most %d",
                         gguf_path(m->gguf), m->chat_template.len, TEMPLATE_MAX);
    return status;
}

/* ---- open ---- */

const char *model_key(const struct model *m, const char *name, char key[static MODEL_KEY_MAX]) {
    snprintf(key, MODEL_KEY_MAX, "%s.%s", m->architecture->name, name);
    return key;
}

static int read_view(struct model *m, struct faults *faults, struct err *err) {
    int status = model_read_params(m, err);
    if (!status) status = model_read_weights(m, faults, err);
    if (!status) status = model_read_rope(m, err);
    return status;
}

/* More tokens than rows would be read beyond the matrix; fewer is padding. */
static int check_vocabulary(const struct model *m, struct err *err) {
    uint32_t n_tokens = tokenizer_n_tokens(m->tokenizer);
    if (n_tokens <= m->view.n_rows) return STATUS_OK;
    return err_set(err, STATUS_MODEL,
                   "%s: tensor token_embd.weight: found %" PRIu32 " rows, expected one for each of %" PRIu32
                   " tokens",
                   gguf_path(m->gguf), m->view.n_rows, n_tokens);
}

static int read_model(struct model *m, enum model_part part, struct faults *faults, struct err *err) {
    int status = fault_note(faults, read_template(m, err), err);
    if (!status && part == MODEL_WHOLE) status = fault_note(faults, read_view(m, faults, err), err);
    if (!status) status = fault_note(faults, model_read_tokenizer(m, err), err);
    if (status || part != MODEL_WHOLE || !m->tokenizer || !m->view.n_rows) return status;
    m->view.n_vocab = tokenizer_n_vocab(m->tokenizer);
    status = fault_note(faults, check_vocabulary(m, err), err);
    if (!status && !(faults && faults->n)) {
        status = gguf_map(m->gguf, err);
        for (size_t i = 0; i < gguf_n_tensors(m->gguf) && !status; i++)
            m->weights[i].data = gguf_tensor_at(m->gguf, i)->data;
        m->whole = !status;
    }
    return status;
}

int model_open_noting(const char *path, enum model_part part, struct faults *faults, struct model **out,
                      struct err *err) {
    struct err own;
    if (!err) err = &own;
    *out = NULL;
    struct gguf *gguf;
    int status = gguf_open(path, part == MODEL_WHOLE ? GGUF_WHOLE : GGUF_METADATA, faults, &gguf, err);
    if (status) return status;
    struct model *m = xcalloc(1, sizeof *m);
    m->gguf = gguf;
    read_names(m);
    if (!faults || !faults->n) status = read_model(m, part, faults, err);
    if (status)
        model_close(m);
    else
        *out = m;
    return status;
}

int model_open(const char *path, enum model_part part, struct model **out, struct err *err) {
    return model_open_noting(path, part, NULL, out, err);
}

void model_close(struct model *m) {
    if (!m) return;
    tokenizer_free(m->tokenizer);
    gguf_close(m->gguf);
    free(m->tokens);
    free(m->layers);
    free(m->weights);
    free(m->rope_freq);
    free(m->name);
    free(m->label);
    free(m->quantisation);
    arena_free(&m->arena);
    free(m);
}

const struct model_view *model_view(const struct model *m) {
    return m->whole ? &m->view : NULL;
}

const struct tokenizer *model_tokenizer(const struct model *m) {
    return m->tokenizer;
}

const struct gguf *model_gguf(const struct model *m) {
    return m->gguf;
}

int model_check(const struct model *m, struct err *err) {
    return gguf_check(m->gguf, err);
}

const char *model_name(const struct model *m) {
    return m->name;
}

const char *model_label(const struct model *m) {
    return m->label;
}

const char *model_quantisation(const struct model *m) {
    return m->quantisation;
}

struct span model_chat_template(const struct model *m) {
    return m->chat_template;
}
