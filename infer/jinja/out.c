#include "infer/jinja/value.h"

void jout_bytes(struct jrun *run, struct jout *out, const char *bytes, size_t len, bool person) {
    jout_str(run, out, &(struct jstr){.bytes = bytes, .len = len, .person = person});
}

void jout_copy(struct jrun *run, struct jout *out, const char *bytes, size_t len, bool person) {
    char *copy = jalloc(run, len);
    memcpy(copy, bytes, len);
    jout_bytes(run, out, copy, len, person);
}

void jout_text(struct jrun *run, struct jout *out, const char *text, bool person) {
    jout_bytes(run, out, text, strlen(text), person);
}

void jout_fill(struct jrun *run, struct jout *out, char c, size_t n, bool person) {
    if (!n) return;
    if (n > JINJA_MAX_STRING) jfail_limit(run, "bytes in a string", JINJA_MAX_STRING);
    jout_bytes(run, out, memset(jalloc(run, n), c, n), n, person);
}

/* The piece goes on where the last one ended, in memory and in origin. */
static bool piece_extends(const struct jpiece *last, const struct jstr *s) {
    if (last->bytes + last->len != s->bytes) return false;
    if (s->shadow) return last->shadow && last->shadow + last->len == s->shadow;
    return !last->shadow && last->person == s->person;
}

void jout_str(struct jrun *run, struct jout *out, const struct jstr *s) {
    if (!s->len) return;
    if (s->len > JINJA_MAX_STRING - out->len)
        jfail_limit(run, out->what ? out->what : "bytes in a string", JINJA_MAX_STRING);
    out->len += s->len;
    struct jout_block *block = out->last;
    if (block && piece_extends(&block->pieces[block->n - 1], s)) {
        block->pieces[block->n - 1].len += s->len;
        return;
    }
    if (!block || block->n == JOUT_BLOCK) {
        block = jalloc(run, sizeof *block);
        if (out->last)
            out->last->next = block;
        else
            out->first = block;
        out->last = block;
    }
    block->pieces[block->n++] = (struct jpiece){s->bytes, s->shadow, s->len, s->person};
}

void jout_value(struct jrun *run, struct jout *out, struct jvalue value) {
    if (value.type == JTYPE_STRING)
        jout_str(run, out, value.str);
    else
        jout_str(run, out, jstr_of(run, value));
}

struct jstr *jout_finish(struct jrun *run, struct jout *out) {
    struct jstr *s = jalloc(run, sizeof *s);
    s->n_chars = -1;
    s->bytes = "";
    s->len = out->len;
    if (!out->len) return s;
    const struct jpiece *one = &out->first->pieces[0];
    if (one->len == out->len) {
        s->bytes = one->bytes;
        s->shadow = one->shadow;
        s->person = one->person;
        return s;
    }
    bool mixed = false;
    for (const struct jout_block *b = out->first; b; b = b->next)
        for (size_t i = 0; i < b->n; i++) mixed |= b->pieces[i].shadow || b->pieces[i].person != one->person;
    char *bytes = jalloc(run, out->len);
    uint8_t *shadow = mixed ? jalloc(run, out->len) : NULL;
    size_t at = 0;
    for (const struct jout_block *b = out->first; b; b = b->next) {
        for (size_t i = 0; i < b->n; i++) {
            const struct jpiece *p = &b->pieces[i];
            memcpy(bytes + at, p->bytes, p->len);
            if (p->shadow)
                memcpy(shadow + at, p->shadow, p->len);
            else if (shadow)
                memset(shadow + at, p->person, p->len);
            at += p->len;
        }
    }
    jstep(run, out->len / 64);
    s->bytes = bytes;
    s->shadow = shadow;
    s->person = one->person;
    return s;
}
