#include "base/buf.h"
#include "base/mem.h"
#include "tokenizer/chars.h"
#include "tokenizer/internal.h"
#include "tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_LIMIT = 1 << 30, WORD_LIMIT = 1 << 26, WHOLE_WORD = 1024 };

/* Words met before in this call, with their ids: short ones in few pieces, which is nearly all of a text. A
 * word has one set, which is a cache line: of the words that meet there the last two are kept, the latest
 * first. */
enum { CACHE_WORD = 15, CACHE_IDS = 4, CACHE_MIN = 64, CACHE_MAX = 16384 /* sets: 1 MiB */ };

/* The bytes of a word; in the uppermost byte of `high` its length, and above that, in an entry, how many ids.
 */
struct cache_key {
    uint64_t low, high;
};
enum { LENGTH_SHIFT = 56, COUNT_SHIFT = 60 };
_Static_assert(CACHE_WORD < 1 << (COUNT_SHIFT - LENGTH_SHIFT) && CACHE_IDS < 1 << (64 - COUNT_SHIFT),
               "a length and a count in a byte");

struct cache_entry {
    struct cache_key key; /* 0: free */
    int32_t ids[CACHE_IDS];
};

struct cache_set {
    _Alignas(64) struct cache_entry latest, before;
};

struct encoder {
    const struct tokenizer *tokenizer;
    struct ids *out;
    struct merge_space space;
    struct cache_set *cache; /* NULL: none */
    size_t cache_mask;
    const char *readable_end; /* up to here text may be read beyond the word in hand */
    bool space_first;         /* a space is to be put before the next word */
    bool too_long;            /* a word was beyond WORD_LIMIT */
};

static inline struct cache_key make_key(const char *word, size_t len, const char *readable_end) {
    struct cache_key key = {0};
    if ((size_t)(readable_end - word) >= 16) {
        memcpy(&key, word, 16);
        if (len < 8) {
            key.low &= ((uint64_t)1 << (8 * len)) - 1;
            key.high = 0;
        } else {
            key.high &= ((uint64_t)1 << (8 * (len - 8))) - 1;
        }
    } else {
        memcpy(&key, word, len);
    }
    key.high |= (uint64_t)len << LENGTH_SHIFT;
    return key;
}

static inline size_t key_place(struct cache_key key, size_t mask) {
    __uint128_t p = (__uint128_t)(key.low ^ 0xA0761D6478BD642Fu) * (key.high ^ 0xE7037ED1A0B428DBu);
    return ((uint64_t)p ^ (uint64_t)(p >> 64)) & mask;
}

static inline bool is_word(const struct cache_entry *entry, struct cache_key key) {
    return ((entry->key.low ^ key.low) | (entry->key.high ^ key.high) << (64 - COUNT_SHIFT)) == 0;
}

static size_t byte_symbols(const struct tokenizer *t, const char *word, size_t len, int32_t *symbols) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int32_t id = t->byte_ids[(unsigned char)word[i]];
        if (id >= 0) symbols[n++] = id;
    }
    return n;
}

/* Characters that are tokens, else their bytes. */
static size_t char_symbols(const struct encoder *e, const char *word, size_t len, int32_t *symbols) {
    const struct tokenizer *t = e->tokenizer;
    size_t n = 0, char_len;
    if (e->space_first && t->space_id >= 0) symbols[n++] = t->space_id;
    for (size_t at = 0; at < len; at += char_len) {
        char_decode(word + at, len - at, &char_len);
        int32_t id = (unsigned char)word[at] < 0x80 ? t->ascii_ids[(unsigned char)word[at]]
                                                    : text_token(t, word + at, char_len);
        if (id >= 0)
            symbols[n++] = id;
        else
            n += byte_symbols(t, word + at, char_len, symbols + n);
    }
    return n;
}

/* The token that a whole word is, where that counts before any merge. */
static int32_t whole_word(const struct tokenizer *t, const char *word, size_t len) {
    char letters[2 * WHOLE_WORD];
    if (t->kind == KIND_GEMMA4) return word[0] == '\n' ? text_token(t, word, len) : -1;
    if (t->kind != KIND_BYTES || !t->pre->ignore_merges || len > WHOLE_WORD) return -1;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += byte_letter((unsigned char)word[i], letters + n);
    return text_token(t, letters, n);
}

static void encode_uncached(struct encoder *e, const char *word, size_t len) {
    const struct tokenizer *t = e->tokenizer;
    int32_t whole = whole_word(t, word, len);
    if (whole >= 0) {
        ids_add(e->out, whole);
        return;
    }
    if (len > WORD_LIMIT) {
        e->too_long = true;
        return;
    }
    int32_t *symbols = merge_symbols(&e->space, len + 1);
    size_t n =
        t->kind == KIND_BYTES ? byte_symbols(t, word, len, symbols) : char_symbols(e, word, len, symbols);
    n = merge_run(&t->merges, &e->space, n);
    for (size_t i = 0; i < n; i++) ids_add(e->out, e->space.id[i]);
}

static void encode_word(void *context, const char *word, size_t len) {
    struct encoder *e = context;
    if (len > CACHE_WORD || !e->cache || e->space_first) {
        encode_uncached(e, word, len);
        return;
    }
    struct cache_key key = make_key(word, len, e->readable_end);
    struct cache_set *set = &e->cache[key_place(key, e->cache_mask)];
    struct ids *out = e->out;
    if (!is_word(&set->latest, key)) {
        struct cache_entry latest = set->before;
        if (!is_word(&latest, key)) {
            size_t before = out->n;
            encode_uncached(e, word, len);
            size_t n = out->n - before;
            if (n > CACHE_IDS) return;
            key.high |= (uint64_t)n << COUNT_SHIFT;
            latest.key = key;
            if (n > 0) memcpy(latest.ids, out->at + before, n * sizeof *latest.ids);
            out->n = before;
        }
        set->before = set->latest;
        set->latest = latest;
    }
    grow_array(&out->at, &out->cap, out->n + CACHE_IDS, sizeof *out->at);
    memcpy(out->at + out->n, set->latest.ids, sizeof set->latest.ids);
    out->n += set->latest.key.high >> COUNT_SHIFT;
}

static bool is_space_mark(const char *text) {
    return memcmp(text, SPACE_MARK, 3) == 0;
}

/* Text whose tokens may hold spaces: cut only where no token could reach across. */
static void encode_spaced(struct encoder *e, const char *text, size_t len) {
    const struct tokenizer *t = e->tokenizer;
    size_t from = 0;
    unsigned char before = (unsigned char)text[0];
    for (size_t at = 1; at < len; at++) {
        unsigned char byte = (unsigned char)text[at], first = byte;
        if (byte == 0xE2 && len - at >= 3 && is_space_mark(text + at)) first = ' ';
        if (before == 0x81 && at >= 3 && is_space_mark(text + at - 3)) before = ' ';
        if ((byte & 0xC0) != 0x80 && !t->joins[before][first]) {
            encode_word(e, text + from, at - from);
            e->space_first = false;
            from = at;
        }
        before = byte;
    }
    encode_word(e, text + from, len - from);
    e->space_first = false;
}

/* gemma4: lines and runs of newlines. */
static void encode_lines(struct encoder *e, const char *text, size_t len) {
    for (size_t at = 0, end; at < len; at = end) {
        const char *newline = memchr(text + at, '\n', len - at);
        end = newline ? (size_t)(newline - text) : len;
        if (end > at) {
            encode_spaced(e, text + at, end - at);
        } else {
            while (end < len && text[end] == '\n') end++;
            encode_word(e, text + at, end - at);
        }
    }
}

/* The text between two added tokens. */
static void encode_text(struct encoder *e, const char *text, size_t len) {
    const struct tokenizer *t = e->tokenizer;
    if (len == 0) return;
    if (t->kind != KIND_BYTES) {
        if (t->kind == KIND_GEMMA4)
            encode_lines(e, text, len);
        else
            encode_spaced(e, text, len);
        return;
    }
    struct buf normal = {0};
    if (t->pre->nfc && normalize_nfc(text, len, &normal, NULL)) {
        const char *end = e->readable_end;
        e->readable_end = normal.data + normal.len;
        pre_tokenize(t->pre, normal.data, normal.len, encode_word, e);
        e->readable_end = end;
    } else {
        pre_tokenize(t->pre, text, len, encode_word, e);
    }
    buf_free(&normal);
}

/* A stretch of the whole text where added tokens may be, or not. */
struct stretch {
    size_t end;
    bool added;
};

static void encode_stretches(struct encoder *e, const char *text, const struct stretch *stretches, size_t n,
                             bool control) {
    const struct tokenizer *t = e->tokenizer;
    size_t at = 0, from = 0, matched;
    e->space_first = t->space_prefix;
    for (size_t i = 0; i < n; at = stretches[i++].end) {
        size_t end = stretches[i].end;
        if (!stretches[i].added) continue;
        for (; (at = added_next(&t->added, text, at, end)) < end; at++) {
            int32_t id = added_match(t, text + at, end - at, control, &matched);
            if (id < 0) continue;
            encode_text(e, text + from, at - from);
            ids_add(e->out, id);
            e->space_first = t->space_prefix;
            from = at + matched;
            if (t->flags[id] & FLAG_STRIP)
                while (from < end && strchr(" \t\n\v\f\r", text[from]) && text[from]) from++;
            at = from - 1;
        }
    }
    encode_text(e, text + from, at - from);
}

static void make_cache(struct encoder *e, size_t len) {
    size_t n = CACHE_MIN;
    while (n < CACHE_MAX && n < len / 16) n *= 2;
    if (len < 2 * CACHE_WORD) return;
    e->cache = aligned_alloc(_Alignof(struct cache_set), n * sizeof *e->cache);
    if (!e->cache) return; /* slower, and right */
    memset(e->cache, 0, n * sizeof *e->cache);
    e->cache_mask = n - 1;
}

int tokenizer_encode(const struct tokenizer *tokenizer, const struct segment *segments, size_t n_segments,
                     enum added_tokens mode, struct ids *out, struct err *err) {
    struct stretch *stretches = xcalloc(n_segments + 1, sizeof *stretches);
    struct buf joined = {0};
    size_t n = 0, len = 0;
    for (size_t i = 0; i < n_segments; i++) {
        if (segments[i].len > TEXT_LIMIT - len) {
            free(stretches);
            return err_set(err, STATUS_USAGE, "the text is longer than %d bytes", TEXT_LIMIT);
        }
        if (segments[i].len == 0) continue;
        len += segments[i].len;
        bool added = mode != ADDED_BY_ORIGIN || segments[i].from_template;
        if (n == 0 || stretches[n - 1].added != added) stretches[n++].added = added;
        stretches[n - 1].end = len;
    }
    const char *text = n_segments == 1 ? segments[0].bytes : NULL;
    if (n_segments > 1) {
        buf_reserve(&joined, len);
        for (size_t i = 0; i < n_segments; i++)
            if (segments[i].len) buf_append(&joined, segments[i].bytes, segments[i].len);
        text = joined.data;
    }
    struct encoder e = {.tokenizer = tokenizer, .out = out, .readable_end = text ? text + len : NULL};
    make_cache(&e, len);
    if (len > 0) encode_stretches(&e, text, stretches, n, mode != ADDED_PLAIN);
    merge_space_free(&e.space);
    free(e.cache);
    free(stretches);
    buf_free(&joined);
    if (e.too_long)
        return err_set(err, STATUS_USAGE, "a word of the text is longer than %d bytes", WORD_LIMIT);
    return STATUS_OK;
}

bool tokenizer_normal(const struct tokenizer *tokenizer, const char *text, size_t len, struct buf *out,
                      struct offsets *ends) {
    return tokenizer->kind == KIND_BYTES && tokenizer->pre->nfc && normalize_nfc(text, len, out, ends);
}
