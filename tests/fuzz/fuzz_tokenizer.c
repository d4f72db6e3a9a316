/* Any bytes as a vocabulary and a text: built and used, or refused with one line.
 *
 * Input: a byte of choices, then lines. A line "= token", "! control token", "~ user-defined token", "#
 * unused token" adds a token, "+ left right" a merge; an empty line ends the vocabulary and what follows is
 * the text. The 256 letters of bytes are there unless a choice leaves them out. */
#include "base/buf.h"
#include "base/mem.h"
#include "tokenizer/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS_MAX = 1000 };

static const char *const pres[] = {"gpt-2",        "smollm",         "llama-bpe",   "qwen2",
                                   "qwen35",       "gpt-4o",         "tekken",      "falcon",
                                   "deepseek-llm", "deepseek-coder", "deepseek-v3", "unknown"};

struct input {
    struct tokenizer_source source;
    struct span tokens[ITEMS_MAX], merges[ITEMS_MAX];
    int32_t types[ITEMS_MAX];
    float scores[ITEMS_MAX];
};

static void add(struct input *in, struct span text, int32_t type) {
    size_t at = in->source.n_tokens;
    if (at == ITEMS_MAX) return;
    in->tokens[at] = text;
    in->types[at] = type;
    in->scores[at] = -(float)(at % 7); /* some alike */
    in->source.n_tokens = in->source.n_types = in->source.n_scores = at + 1;
}

static void add_line(struct input *in, const char *line, size_t len) {
    if (len < 2) return;
    struct span rest = {line + 2, len - 2};
    if (line[0] == '=') add(in, rest, TOKEN_NORMAL);
    if (line[0] == '!') add(in, rest, TOKEN_CONTROL);
    if (line[0] == '~') add(in, rest, TOKEN_USER_DEFINED);
    if (line[0] == '#') add(in, rest, TOKEN_UNUSED);
    if (line[0] == '*') add(in, rest, TOKEN_BYTE);
    if (line[0] == '+' && in->source.n_merges < ITEMS_MAX) in->merges[in->source.n_merges++] = rest;
}

static void add_bytes(struct input *in, bool letters) {
    static char names[256][8];
    for (int i = 0; i < 256; i++) {
        size_t len = letters ? byte_letter((unsigned char)i, names[i])
                             : (size_t)snprintf(names[i], sizeof names[i], "<0x%02X>", (unsigned)i);
        add(in, (struct span){names[i], len}, letters ? TOKEN_NORMAL : TOKEN_BYTE);
    }
}

static void must(bool holds) {
    if (!holds) abort();
}

/* Cut the text in three, of the template, a person and the template; encode it in each mode; decode what
 * comes out. */
static void use(const struct tokenizer *t, const char *text, size_t len) {
    size_t third = len / 3;
    struct segment segments[] = {
        {text, third, true}, {text + third, third, false}, {text + 2 * third, len - 2 * third, true}};
    struct ids ids = {0};
    struct buf out = {0};
    struct decoder decoder = {0};
    for (int mode = ADDED_BY_ORIGIN; mode <= ADDED_PLAIN; mode++) {
        ids.n = 0;
        must(tokenizer_encode(t, segments, 3, (enum added_tokens)mode, &ids, NULL) == STATUS_OK);
        for (size_t i = 0; i < ids.n; i++) {
            must(ids.at[i] >= 0 && (uint32_t)ids.at[i] < tokenizer_n_vocab(t));
            if (mode == ADDED_PLAIN) must(tokenizer_type(t, ids.at[i]) != TOKEN_CONTROL);
            decoder_add(&decoder, t, ids.at[i], &out);
        }
    }
    decoder_finish(&decoder, &out);
    /* a person's text alone holds no control token */
    struct segment person = {text, len, false};
    ids.n = 0;
    must(tokenizer_encode(t, &person, 1, ADDED_BY_ORIGIN, &ids, NULL) == STATUS_OK);
    for (size_t i = 0; i < ids.n; i++) must(tokenizer_type(t, ids.at[i]) != TOKEN_CONTROL);
    ids_free(&ids);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    static struct input in;
    memset(&in.source, 0, sizeof in.source);
    unsigned choice = data[0];
    const char *model = choice & 0x40 ? choice & 0x10 ? "llama" : "gemma4" : "gpt2";
    const char *pre = pres[(choice & 0x0F) % (sizeof pres / sizeof *pres)];
    in.source = (struct tokenizer_source){.file = "fuzz",
                                          .model = {model, strlen(model)},
                                          .pre = {pre, strlen(pre)},
                                          .tokens = in.tokens,
                                          .types = in.types,
                                          .scores = in.scores,
                                          .merges = in.merges,
                                          .bos = -1,
                                          .eos = 0,
                                          .eot = -1,
                                          .eom = -1,
                                          .unknown = -1,
                                          .add_bos = -1,
                                          .add_space_prefix = -1};
    if (!(choice & 0x80)) add_bytes(&in, !(choice & 0x40));
    const char *at = (const char *)data + 1, *end = (const char *)data + size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = newline ? (size_t)(newline - at) : (size_t)(end - at);
        add_line(&in, at, len);
        at += newline ? len + 1 : len;
        if (len == 0) break;
    }
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (tokenizer_new(&in.source, &t, &err) == STATUS_OK)
        use(t, at, (size_t)(end - at));
    else
        must(err.code != STATUS_OK && err.text[0]);
    tokenizer_free(t);
    return 0;
}
