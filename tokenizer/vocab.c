/* From what a model file says to a tokenizer; everything is checked here and nothing later. */
#include "base/buf.h"
#include "base/mem.h"
#include "tokenizer/chars.h"
#include "tokenizer/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD = 12 }; /* so many are read before their turn, that their misses of the caches overlap */
/* Several times what vocabularies have. What is made of them takes up to 32 bytes for each of theirs, and of
 * a token the square of its length in time. */
enum { TOKENS_MAX = 1 << 22, TOKEN_BYTES_MAX = 1 << 13, VOCAB_BYTES_MAX = 1 << 24 };

__attribute__((format(printf, 3, 4))) static int refuse(const struct tokenizer_source *source,
                                                        struct err *err, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return err_set(err, STATUS_MODEL, "%s: %s", source->file ? source->file : "vocabulary", text);
}

static bool is_text(struct span span, const char *text) {
    return span.len == strlen(text) && memcmp(span.bytes, text, span.len) == 0;
}

/* For messages: at most 60 bytes of a text. */
static int shown(struct span span) {
    return span.len > 60 ? 60 : (int)span.len;
}

static int check_model(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    if (s->model.len == 0)
        return refuse(s, err, "tokenizer.ggml.model: missing or empty, expected gpt2, llama or gemma4");
    if (is_text(s->model, "llama")) {
        t->kind = KIND_SCORES;
    } else if (is_text(s->model, "gemma4")) {
        t->kind = KIND_GEMMA4;
    } else if (is_text(s->model, "gpt2")) {
        t->kind = KIND_BYTES;
        t->pre = pre_tokenizer_find(s->pre.bytes, s->pre.len);
        if (!t->pre)
            return err_set(err, STATUS_UNSUPPORTED,
                           "%s: tokenizer.ggml.pre: found '%.*s', which is not known here",
                           s->file ? s->file : "vocabulary", shown(s->pre), s->pre.bytes ? s->pre.bytes : "");
    } else {
        return err_set(err, STATUS_UNSUPPORTED,
                       "%s: tokenizer.ggml.model: found '%.*s', expected gpt2, llama or gemma4",
                       s->file ? s->file : "vocabulary", shown(s->model), s->model.bytes);
    }
    return STATUS_OK;
}

static int read_tokens(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    if (s->n_tokens == 0)
        return refuse(s, err, "tokenizer.ggml.tokens: missing or empty, expected one text a token");
    if (s->n_tokens > TOKENS_MAX)
        return refuse(s, err, "tokenizer.ggml.tokens: found %zu tokens, expected at most %d", s->n_tokens,
                      TOKENS_MAX);
    t->n_tokens = (uint32_t)s->n_tokens;
    strmap_reserve(&t->by_text, s->n_tokens);
    size_t total = 0;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        struct span text = s->tokens[i];
        if (t->n_tokens - i > AHEAD)
            strmap_prefetch(&t->by_text, s->tokens[i + AHEAD].bytes, s->tokens[i + AHEAD].len);
        if (text.len == 0) return refuse(s, err, "tokenizer.ggml.tokens[%u]: found an empty text", i);
        if (text.len > TOKEN_BYTES_MAX)
            return refuse(s, err, "tokenizer.ggml.tokens[%u]: found %zu bytes, expected at most %d", i,
                          text.len, TOKEN_BYTES_MAX);
        total += text.len;
        if (total > VOCAB_BYTES_MAX)
            return refuse(s, err, "tokenizer.ggml.tokens: found more than %d bytes of text", VOCAB_BYTES_MAX);
        uint32_t other;
        if (strmap_add(&t->by_text, text.bytes, text.len, i)) continue;
        strmap_get(&t->by_text, text.bytes, text.len, &other);
        return refuse(s, err, "tokenizer.ggml.tokens[%u]: found '%.*s' again, which is token %u already", i,
                      shown(text), text.bytes, other);
    }
    return STATUS_OK;
}

static int read_types(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    t->types = xmalloc(t->n_tokens);
    memset(t->types, TOKEN_NORMAL, t->n_tokens);
    if (!s->types) return STATUS_OK;
    if (s->n_types != s->n_tokens)
        return refuse(s, err,
                      "tokenizer.ggml.token_type: found %zu types, expected one for each of %zu tokens",
                      s->n_types, s->n_tokens);
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        if (s->types[i] < TOKEN_NORMAL || s->types[i] > TOKEN_BYTE)
            return refuse(s, err, "tokenizer.ggml.token_type[%u]: found %" PRId32 ", expected 1 to 6", i,
                          s->types[i]);
        t->types[i] = (uint8_t)s->types[i];
    }
    return STATUS_OK;
}

/* "[PAD123]" where 123 is the id: rows that pad a vocabulary, whatever their type says. */
static bool is_pad(struct span text, uint32_t id) {
    char pad[32];
    snprintf(pad, sizeof pad, "[PAD%u]", id);
    return is_text(text, pad);
}

static int find_real_vocabulary(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    t->n_vocab = t->n_tokens;
    while (t->n_vocab > 0 &&
           (t->types[t->n_vocab - 1] == TOKEN_UNUSED || is_pad(s->tokens[t->n_vocab - 1], t->n_vocab - 1)))
        t->n_vocab--;
    if (t->n_vocab == 0) return refuse(s, err, "tokenizer.ggml.token_type: found no token that is in use");
    return STATUS_OK;
}

/* An id of the file, -1 where missing. */
static int read_id(const struct tokenizer *t, const struct tokenizer_source *s, const char *name, int64_t id,
                   int32_t *out, struct err *err) {
    if (id < -1 || id >= (int64_t)t->n_tokens)
        return refuse(s, err, "tokenizer.ggml.%s_token_id: found %" PRId64 ", expected 0 to %u", name, id,
                      t->n_tokens - 1);
    *out = (int32_t)id;
    return STATUS_OK;
}

/* The number of "<0x41>": 0..255, or -1. */
static int byte_of_text(struct span text) {
    if (text.len != 6 || memcmp(text.bytes, "<0x", 3) != 0 || text.bytes[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = text.bytes[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0 && c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The tokens of single bytes: "<0x41>", or in a vocabulary of bytes GPT-2's letter. */
static int read_bytes(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    for (int i = 0; i < 256; i++) t->byte_ids[i] = -1;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        int byte = byte_of_text(s->tokens[i]);
        if (t->types[i] == TOKEN_BYTE && byte < 0)
            return refuse(s, err,
                          "tokenizer.ggml.tokens[%u]: found '%.*s' for a byte, expected <0x00> to <0xFF>", i,
                          shown(s->tokens[i]), s->tokens[i].bytes);
        bool plain = !s->types && t->kind == KIND_SCORES;
        if (byte >= 0 && (t->types[i] == TOKEN_BYTE || plain)) {
            t->types[i] = TOKEN_BYTE;
            t->byte_ids[byte] = (int32_t)i;
        }
    }
    if (t->kind != KIND_BYTES) {
        t->space_id = text_token(t, SPACE_MARK, 3);
        return STATUS_OK;
    }
    for (int i = 0; i < 256; i++) {
        char letter[2];
        size_t len = byte_letter((unsigned char)i, letter);
        t->byte_ids[i] = text_token(t, letter, len);
    }
    return STATUS_OK;
}

/* The token whose text is `left` and `right` together. Most files list what merges make in the order of their
 * ids, so `likely` is looked at before the table, whose every look is a miss of the processor's cache. */
static bool find_joined(const struct tokenizer *t, const struct tokenizer_source *s, struct span left,
                        struct span right, uint32_t likely, uint32_t *id) {
    char joined[TOKEN_BYTES_MAX];
    size_t len = left.len + right.len;
    if (likely < t->n_tokens && s->tokens[likely].len == len &&
        memcmp(s->tokens[likely].bytes, left.bytes, left.len) == 0 &&
        memcmp(s->tokens[likely].bytes + left.len, right.bytes, right.len) == 0) {
        *id = likely;
        return true;
    }
    if (len > sizeof joined) return false;
    memcpy(joined, left.bytes, left.len);
    memcpy(joined + left.len, right.bytes, right.len);
    return strmap_get(&t->by_text, joined, len, id);
}

/* "left right"; `likely` is the id that may come of it, and then the one that may come of the next. */
static int read_merge(struct tokenizer *t, const struct tokenizer_source *s, uint32_t rank, uint32_t *likely,
                      struct err *err) {
    struct span merge = s->merges[rank];
    const char *space = merge.len ? memchr(merge.bytes, ' ', merge.len) : NULL;
    size_t left = space ? (size_t)(space - merge.bytes) : 0, right = space ? merge.len - left - 1 : 0;
    if (left == 0 || right == 0 || memchr(space + 1, ' ', right))
        return refuse(s, err,
                      "tokenizer.ggml.merges[%u]: found '%.*s', expected two tokens with one space between",
                      rank, shown(merge), merge.bytes);
    uint32_t left_id, right_id, id = 0;
    bool known =
        strmap_get(&t->by_text, merge.bytes, left, &left_id) &&
        strmap_get(&t->by_text, space + 1, right, &right_id) &&
        find_joined(t, s, (struct span){merge.bytes, left}, (struct span){space + 1, right}, *likely, &id);
    if (!known)
        return refuse(s, err, "tokenizer.ggml.merges[%u]: found '%.*s', whose sides or result are no tokens",
                      rank, shown(merge), merge.bytes);
    *likely = id + 1;
    /* Text never becomes a control token, whatever a file says, nor padding, which no model takes. */
    if (t->types[id] == TOKEN_CONTROL || t->types[id] == TOKEN_UNKNOWN || id >= t->n_vocab) return STATUS_OK;
    if (!merges_add(&t->merges, (int32_t)left_id, (int32_t)right_id, rank, (int32_t)id))
        return refuse(s, err, "tokenizer.ggml.merges[%u]: found '%.*s' again", rank, shown(merge),
                      merge.bytes);
    return STATUS_OK;
}

static void prefetch_merge(const struct tokenizer *t, struct span merge) {
    const char *space = merge.len ? memchr(merge.bytes, ' ', merge.len) : NULL;
    if (!space) return;
    strmap_prefetch(&t->by_text, merge.bytes, (size_t)(space - merge.bytes));
    strmap_prefetch(&t->by_text, space + 1, (size_t)(merge.bytes + merge.len - space - 1));
}

static int read_merges(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    if (!s->merges || s->n_merges == 0)
        return refuse(s, err, "tokenizer.ggml.merges: missing or empty, which a %.*s vocabulary needs",
                      shown(s->model), s->model.bytes);
    if (s->n_merges > UINT32_MAX / 4)
        return refuse(s, err, "tokenizer.ggml.merges: found %zu, expected at most %u", s->n_merges,
                      UINT32_MAX / 4);
    merges_init(&t->merges, s->n_merges);
    for (uint32_t i = 0, likely = 0; i < s->n_merges; i++) {
        if (s->n_merges - i > AHEAD) prefetch_merge(t, s->merges[i + AHEAD]);
        int status = read_merge(t, s, i, &likely, err);
        if (status) return status;
    }
    return STATUS_OK;
}

struct scored {
    float score;
    int32_t id;
};

static int by_score(const void *a, const void *b) {
    const struct scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Every way to make a token of two others, at its borders of characters. */
static void add_halves(struct tokenizer *t, struct span text, uint32_t rank, int32_t id) {
    size_t n;
    for (size_t at = 0; at < text.len; at += n) {
        char_decode(text.bytes + at, text.len - at, &n);
        if (at == 0) continue;
        int32_t left = text_token(t, text.bytes, at);
        int32_t right = left < 0 ? -1 : text_token(t, text.bytes + at, text.len - at);
        if (right >= 0) merges_add(&t->merges, left, right, rank, id);
    }
}

/* SentencePiece: of all pairs that make a token, the one with the highest score is merged first. */
static int read_scores(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    if (!s->scores || s->n_scores != s->n_tokens)
        return refuse(s, err, "tokenizer.ggml.scores: found %zu scores, expected one for each of %zu tokens",
                      s->n_scores, s->n_tokens);
    struct scored *order = xmalloc(s->n_tokens * sizeof *order);
    size_t n = 0, chars = 0;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        if (!isfinite(s->scores[i])) {
            free(order);
            return refuse(s, err, "tokenizer.ggml.scores[%u]: found %f, expected a finite number", i,
                          (double)s->scores[i]);
        }
        if (text_token(t, s->tokens[i].bytes, s->tokens[i].len) < 0) continue;
        order[n++] = (struct scored){s->scores[i], (int32_t)i};
        chars += s->tokens[i].len;
    }
    qsort(order, n, sizeof *order, by_score);
    merges_init(&t->merges, chars);
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && order[i].score < order[i - 1].score) rank++;
        add_halves(t, s->tokens[order[i].id], rank, order[i].id);
    }
    free(order);
    return STATUS_OK;
}

/* See `joins` in internal.h. */
static void note_joins(struct tokenizer *t, const struct tokenizer_source *s) {
    size_t n;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        struct span text = s->tokens[i];
        if (t->types[i] == TOKEN_CONTROL || t->types[i] == TOKEN_UNKNOWN || t->types[i] == TOKEN_BYTE)
            continue;
        int before = -1;
        for (size_t at = 0; at < text.len; at += n) {
            bool space = char_decode(text.bytes + at, text.len - at, &n) == 0x2581;
            if (before >= 0) t->joins[before][space ? ' ' : (unsigned char)text.bytes[at]] = true;
            before = space ? ' ' : (unsigned char)text.bytes[at + n - 1];
        }
    }
    for (int i = 0; i < 128; i++)
        t->ascii_ids[i] = i == ' ' ? t->space_id : text_token(t, &(char){(char)i}, 1);
}

/* What a token says, appended to `out`. */
static void say(const struct tokenizer *t, uint32_t id, struct span text, struct buf *out) {
    size_t n;
    if (t->types[id] == TOKEN_BYTE) {
        buf_putc(out, (char)byte_of_text(text));
        return;
    }
    bool raw = t->types[id] == TOKEN_CONTROL || t->types[id] == TOKEN_UNKNOWN ||
               (t->kind == KIND_BYTES && t->types[id] == TOKEN_USER_DEFINED);
    for (size_t at = 0; at < text.len; at += n) {
        uint32_t c = char_decode(text.bytes + at, text.len - at, &n);
        int byte = t->kind == KIND_BYTES ? letter_byte(c) : c == 0x2581 ? ' ' : -1;
        if (raw || byte < 0)
            buf_append(out, text.bytes + at, n);
        else
            buf_putc(out, (char)byte);
    }
}

static void write_bytes(struct tokenizer *t, const struct tokenizer_source *s) {
    struct buf out = {0};
    t->bytes_at = xmalloc((t->n_tokens + (size_t)1) * sizeof *t->bytes_at);
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        t->bytes_at[i] = (uint32_t)out.len;
        say(t, i, s->tokens[i], &out);
    }
    t->bytes_at[t->n_tokens] = (uint32_t)out.len;
    t->bytes = buf_take(&out);
}

/* Texts that end an answer in the vocabularies that have them. */
static const char *const end_texts[] = {
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|END_OF_TURN_TOKEN|>",
    "</s>",
    "<eos>",
    "<turn|>",
    "<EOT>",
    "[EOS]",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
};

static int find_ends(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    int32_t eot = -1, eom = -1, unknown = -1;
    int status = read_id(t, s, "bos", s->bos, &t->bos, err);
    if (!status) status = read_id(t, s, "eos", s->eos, &t->eos, err);
    if (!status) status = read_id(t, s, "eot", s->eot, &eot, err);
    if (!status) status = read_id(t, s, "eom", s->eom, &eom, err);
    if (!status) status = read_id(t, s, "unknown", s->unknown, &unknown, err);
    if (status) return status;
    if (t->bos < 0 && t->kind == KIND_SCORES) t->bos = tokenizer_find(t, "<s>", 3);
    if (t->eos < 0 && t->kind == KIND_SCORES) t->eos = tokenizer_find(t, "</s>", 4);
    t->flags = xcalloc(t->n_tokens, 1);
    bool any = t->eos >= 0 || eot >= 0 || eom >= 0;
    if (t->eos >= 0) t->flags[t->eos] = FLAG_END;
    if (eot >= 0) t->flags[eot] = FLAG_END;
    if (eom >= 0) t->flags[eom] = FLAG_END;
    for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++) {
        int32_t id = tokenizer_find(t, end_texts[i], strlen(end_texts[i]));
        if (id < 0) continue;
        /* Old files call them normal; "</s>" may be a word of HTML, what has bars is no word. */
        if (t->types[id] == TOKEN_NORMAL && memcmp(end_texts[i], "<|", 2) != 0) continue;
        t->types[id] = TOKEN_CONTROL;
        t->flags[id] = FLAG_END;
        any = true;
    }
    if (!any)
        return refuse(s, err, "tokenizer.ggml.eos_token_id: missing, and no token is known to end an answer");
    return STATUS_OK;
}

/* Files do not say so, but the tokens of phi-3's tokenizer strip what follows them; its vocabulary is known
 * by its names. */
static bool is_phi3(const struct tokenizer *t) {
    return t->kind == KIND_SCORES && tokenizer_find(t, "<|assistant|>", 13) >= 0 &&
           tokenizer_find(t, "<|placeholder1|>", 16) >= 0;
}

static bool strips(struct span text) {
    return !is_text(text, "<unk>") && !is_text(text, "<s>") && !is_text(text, "<|endoftext|>");
}

static void add_added(struct tokenizer *t, const struct tokenizer_source *s) {
    bool phi3 = is_phi3(t);
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        uint8_t type = t->types[i];
        if (type != TOKEN_CONTROL && type != TOKEN_USER_DEFINED && type != TOKEN_UNKNOWN) continue;
        if (is_pad(s->tokens[i], i)) continue;
        added_add(&t->added, s->tokens[i].bytes, s->tokens[i].len, (int32_t)i);
        if (phi3 && strips(s->tokens[i])) t->flags[i] |= FLAG_STRIP;
    }
}

static int build(struct tokenizer *t, const struct tokenizer_source *s, struct err *err) {
    int status = check_model(t, s, err);
    if (!status) status = read_tokens(t, s, err);
    if (!status) status = read_types(t, s, err);
    if (!status) status = find_ends(t, s, err); /* may change types: before what depends on them */
    if (!status) status = find_real_vocabulary(t, s, err);
    if (!status) status = read_bytes(t, s, err);
    if (!status) status = t->kind == KIND_SCORES ? read_scores(t, s, err) : read_merges(t, s, err);
    if (status) return status;
    if (t->kind != KIND_BYTES) note_joins(t, s);
    write_bytes(t, s);
    add_added(t, s);
    t->add_bos = s->add_bos >= 0 ? s->add_bos : t->kind == KIND_SCORES || (t->pre && t->pre->add_bos);
    t->space_prefix =
        s->add_space_prefix >= 0 ? s->add_space_prefix && t->kind != KIND_BYTES : t->kind == KIND_SCORES;
    return STATUS_OK;
}

int tokenizer_new(const struct tokenizer_source *source, struct tokenizer **out, struct err *err) {
    struct tokenizer *t = xcalloc(1, sizeof *t);
    int status = build(t, source, err);
    if (status) {
        tokenizer_free(t);
        return status;
    }
    *out = t;
    return STATUS_OK;
}
