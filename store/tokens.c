#include "store/tokens.h"

#include <string.h>

enum { VERSION = 1, FLAG_ENDED = 1, FLAG_PICKED = 2 };

/* ---- writing ---- */

static void put_unsigned(struct buf *out, uint32_t value) {
    for (; value >= 0x80; value >>= 7) buf_putc(out, (char)(value | 0x80));
    buf_putc(out, (char)value);
}

static void put_signed(struct buf *out, int32_t value) {
    put_unsigned(out, (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0));
}

static void put_float(struct buf *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    char bytes[4] = {(char)bits, (char)(bits >> 8), (char)(bits >> 16), (char)(bits >> 24)};
    buf_append(out, bytes, sizeof bytes);
}

static void put_word(struct buf *out, uint64_t word) {
    char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (char)(word >> 8 * i);
    buf_append(out, bytes, sizeof bytes);
}

void tokens_encode(struct buf *out, const struct store_token *tokens, size_t n) {
    if (!out->len) buf_putc(out, VERSION);
    for (const struct store_token *t = tokens; t < tokens + n; t++) {
        buf_putc(out, (char)((t->ended ? FLAG_ENDED : 0) | (t->picked ? FLAG_PICKED : 0)));
        put_signed(out, t->id);
        put_unsigned(out, t->position);
        put_unsigned(out, t->rank);
        put_unsigned(out, t->end);
        put_float(out, t->ms);
        put_float(out, t->logit);
        put_float(out, t->prob);
        put_float(out, t->log_sum_exp);
        put_float(out, t->entropy);
        put_unsigned(out, t->n_top);
        for (uint32_t i = 0; i < t->n_top; i++) put_word(out, t->top[i]);
    }
}

/* ---- reading ---- */

struct reader {
    const unsigned char *at, *end;
    bool bad;
};

static uint8_t get_byte(struct reader *reader) {
    if (reader->at < reader->end) return *reader->at++;
    reader->bad = true;
    return 0;
}

static uint32_t get_unsigned(struct reader *reader) {
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        uint8_t byte = get_byte(reader);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            reader->bad |= value > UINT32_MAX;
            return (uint32_t)value;
        }
    }
    reader->bad = true;
    return 0;
}

static int32_t get_signed(struct reader *reader) {
    uint32_t value = get_unsigned(reader);
    return (int32_t)(value >> 1 ^ (value & 1 ? UINT32_MAX : 0));
}

static float get_float(struct reader *reader) {
    uint32_t bits = 0;
    for (int shift = 0; shift < 32; shift += 8) bits |= (uint32_t)get_byte(reader) << shift;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t get_word(struct reader *reader) {
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) word |= (uint64_t)get_byte(reader) << 8 * i;
    return word;
}

static struct store_token get_token(struct reader *reader, struct arena *arena) {
    uint8_t flags = get_byte(reader);
    struct store_token token = {.ended = flags & FLAG_ENDED, .picked = flags & FLAG_PICKED};
    token.id = get_signed(reader);
    token.position = get_unsigned(reader);
    token.rank = get_unsigned(reader);
    token.end = get_unsigned(reader);
    token.ms = get_float(reader);
    token.logit = get_float(reader);
    token.prob = get_float(reader);
    token.log_sum_exp = get_float(reader);
    token.entropy = get_float(reader);
    uint32_t n = get_unsigned(reader);
    if (n > (size_t)(reader->end - reader->at) / sizeof *token.top) reader->bad = true;
    if (reader->bad || !n) return token;
    uint64_t *top = arena_alloc(arena, n * sizeof *top);
    for (uint32_t i = 0; i < n; i++) top[i] = get_word(reader);
    token.top = top;
    token.n_top = n;
    return token;
}

int tokens_decode(const void *blob, size_t len, struct arena *arena, struct store_token **tokens, size_t *n,
                  size_t *cap, struct err *err) {
    struct reader reader = {blob, (const unsigned char *)blob + len, false};
    uint8_t version = len ? get_byte(&reader) : 0;
    if (version != VERSION)
        return err_set(err, STATUS_FAILED, "token records: found version %u, expected %d", version, VERSION);
    while (reader.at < reader.end) {
        struct store_token token = get_token(&reader, arena);
        if (reader.bad)
            return err_set(err, STATUS_FAILED, "token records: found damage after %zu tokens", *n);
        grow_array(tokens, cap, *n + 1, sizeof **tokens);
        (*tokens)[(*n)++] = token;
    }
    return STATUS_OK;
}
