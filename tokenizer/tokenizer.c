#include "tokenizer/tokenizer.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>

void tokenizer_free(struct tokenizer *t) {
    if (!t) return;
    strmap_free(&t->by_text);
    merges_free(&t->merges);
    added_free(&t->added);
    free(t->types);
    free(t->flags);
    free(t->bytes);
    free(t->bytes_at);
    free(t);
}

void ids_add(struct ids *ids, int32_t id) {
    if (ids->n == ids->cap) grow_array(&ids->at, &ids->cap, ids->n + 1, sizeof *ids->at);
    ids->at[ids->n++] = id;
}

void ids_free(struct ids *ids) {
    free(ids->at);
    *ids = (struct ids){0};
}

uint32_t tokenizer_n_vocab(const struct tokenizer *t) {
    return t->n_vocab;
}
uint32_t tokenizer_n_tokens(const struct tokenizer *t) {
    return t->n_tokens;
}
int32_t tokenizer_bos(const struct tokenizer *t) {
    return t->bos;
}
int32_t tokenizer_eos(const struct tokenizer *t) {
    return t->eos;
}
bool tokenizer_add_bos(const struct tokenizer *t) {
    return t->add_bos && t->bos >= 0;
}

static bool is_id(const struct tokenizer *t, int32_t id) {
    return id >= 0 && (uint32_t)id < t->n_tokens;
}

struct span tokenizer_bytes(const struct tokenizer *t, int32_t id) {
    if (!is_id(t, id)) return (struct span){"", 0};
    return (struct span){t->bytes + t->bytes_at[id], t->bytes_at[id + 1] - t->bytes_at[id]};
}

enum token_type tokenizer_type(const struct tokenizer *t, int32_t id) {
    return is_id(t, id) ? (enum token_type)t->types[id] : TOKEN_UNUSED;
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t id) {
    return is_id(t, id) && (t->flags[id] & FLAG_END);
}

int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t len) {
    uint32_t id;
    return strmap_get(&t->by_text, text, len, &id) ? (int32_t)id : -1;
}

int32_t text_token(const struct tokenizer *t, const char *text, size_t len) {
    uint32_t id;
    if (!strmap_get(&t->by_text, text, len, &id) || id >= t->n_vocab) return -1;
    if (t->types[id] == TOKEN_NORMAL) return (int32_t)id;
    if (t->types[id] != TOKEN_USER_DEFINED) return -1;
    for (size_t at = 0; at < len;) {
        if (text[at] == '\n' || text[at] == '\t' || text[at] == ' ')
            at++;
        else if (len - at >= 3 && memcmp(text + at, SPACE_MARK, 3) == 0)
            at += 3;
        else
            return -1;
    }
    return (int32_t)id;
}

void decoder_add(struct decoder *d, const struct tokenizer *t, int32_t id, struct buf *out) {
    struct span said = tokenizer_bytes(t, id);
    if (!d->started && t->space_prefix && said.len > 0 && t->types[id] != TOKEN_CONTROL) {
        d->started = true;
        if (said.bytes[0] == ' ') {
            said.bytes++;
            said.len--;
        }
    }
    size_t from = out->len;
    buf_append(out, d->held, d->n_held);
    buf_append(out, said.bytes, said.len);
    if (out->len == from) return;
    size_t tail = utf8_incomplete_tail(out->data + from, out->len - from);
    memcpy(d->held, out->data + out->len - tail, tail);
    d->n_held = (uint8_t)tail;
    out->len -= tail;
    out->data[out->len] = 0;
}

void decoder_finish(struct decoder *d, struct buf *out) {
    buf_append(out, d->held, d->n_held);
    d->n_held = 0;
}
