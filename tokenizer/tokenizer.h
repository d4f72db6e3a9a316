/* Text to token ids and back, as the model's own tokenizer does it.
 *
 * A tokenizer is built once from the vocabulary of a model file and never changes afterwards: any thread may
 * use it (tokenizer_encode() shares no state; its cache of words lives for one call).
 *
 * Control tokens are recognised only in bytes that a template wrote, never in what a person typed. */
#ifndef LOGITOP_TOKENIZER_H
#define LOGITOP_TOKENIZER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of bytes somebody else owns. */
struct span {
    const char *bytes;
    size_t len;
};

/* tokenizer.ggml.token_type */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE
};

/* What a model file says, as arrays; borrowed during tokenizer_new(), except `tokens`, whose bytes must live
 * as long as the tokenizer. Every field is checked there; nothing is trusted. */
struct tokenizer_source {
    const char *file;          /* for messages */
    struct span model;         /* tokenizer.ggml.model: "gpt2", "llama", "gemma4" */
    struct span pre;           /* tokenizer.ggml.pre; empty if missing */
    const struct span *tokens; /* [n_tokens] */
    size_t n_tokens;
    const int32_t *types; /* [n_types], or NULL */
    size_t n_types;
    const float *scores; /* [n_scores], or NULL */
    size_t n_scores;
    const struct span *merges; /* [n_merges], "left right" */
    size_t n_merges;
    int64_t bos, eos, eot, eom, unknown; /* ids as in the file, -1 where missing */
    int add_bos, add_space_prefix;       /* 0, 1, or -1 where missing */
};

struct tokenizer;

/* STATUS_MODEL or STATUS_UNSUPPORTED (an unknown pre-tokenizer, by name). */
int tokenizer_new(const struct tokenizer_source *source, struct tokenizer **out, struct err *err);
void tokenizer_free(struct tokenizer *tokenizer);

/* A growing list of ids; zero it to begin. */
struct ids {
    int32_t *at;
    size_t n, cap;
};
void ids_add(struct ids *ids, int32_t id);
void ids_free(struct ids *ids);

/* One piece of a prompt. */
struct segment {
    const char *bytes;
    size_t len;
    bool from_template;
};

/* How added tokens in the text are read. */
enum added_tokens {
    ADDED_BY_ORIGIN, /* chat: all kinds in template segments, none in a person's */
    ADDED_ALL,       /* `tokenize`: control and user-defined tokens match anywhere */
    ADDED_PLAIN, /* `tokenize --plain`: control tokens are text, user-defined ones match, as in llama.cpp */
};

/* Append the ids of the segments, read as one text (words may cross the border of two segments). No BOS is
 * added. Bytes need not be valid UTF-8; a byte the vocabulary has no token for is dropped. Any thread. Fails
 * only for texts beyond 1 GiB and words beyond 64 MiB (STATUS_USAGE); `out` may then hold ids of what came
 * before. */
int tokenizer_encode(const struct tokenizer *tokenizer, const struct segment *segments, size_t n_segments,
                     enum added_tokens mode, struct ids *out, struct err *err);

/* Offsets in a text; a growing list, zero it to begin. */
struct offsets {
    uint32_t *at;
    size_t n, cap;
};
struct buf;

/* The form that a text is brought into before it is cut into words, where the tokenizer does that and the
 * text is in another: true, with the form in `out` and, of each byte of it, where in the text ends what it
 * came from in `ends` (both empty before). False: it is read as it is. Any thread. */
bool tokenizer_normal(const struct tokenizer *tokenizer, const char *text, size_t len, struct buf *out,
                      struct offsets *ends);

uint32_t tokenizer_n_vocab(
    const struct tokenizer *tokenizer); /* the real vocabulary, without the padding at its end */
uint32_t tokenizer_n_tokens(const struct tokenizer *tokenizer); /* with it */

/* The bytes an id stands for when it is said: "Ġthe" is " the". Control tokens give their name
 * ("<|im_end|>"). Any id in 0..n_tokens-1; the bytes live as long as the tokenizer. */
struct span tokenizer_bytes(const struct tokenizer *tokenizer, int32_t id);
enum token_type tokenizer_type(const struct tokenizer *tokenizer, int32_t id);
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text,
                       size_t len); /* by its text in the file; -1 */

int32_t tokenizer_bos(const struct tokenizer *tokenizer); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *tokenizer);
bool tokenizer_add_bos(const struct tokenizer *tokenizer); /* a prompt without BOS gets one */
bool tokenizer_is_end(const struct tokenizer *tokenizer,
                      int32_t id); /* eos, eot, eom, <|im_end|>, <|endoftext|>, ... */

/* Decoding as it streams: add ids one by one; `ready` bytes of a text are given out only when they end at a
 * character's border. Bytes that can become no character are given out as they are. Zero it to begin. */
struct decoder {
    char held[16];
    uint8_t n_held;
    bool started; /* SPM: the space before the first word is dropped */
};
void decoder_add(struct decoder *decoder, const struct tokenizer *tokenizer, int32_t id, struct buf *out);
void decoder_finish(struct decoder *decoder, struct buf *out); /* what is still held, as it is */

#endif
