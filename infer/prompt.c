#include "infer/prompt.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static bool is_text(const struct buf *said, const struct message *message) {
    return said->len == message->len && (said->len == 0 || memcmp(said->data, message->text, said->len) == 0);
}

/* Ids of the message without end tokens at its end; 0 if they do not say its text. */
static size_t usable_ids(const struct tokenizer *tokenizer, const struct message *message) {
    size_t n = message->ids ? message->n_ids : 0;
    while (n > 0 && message->ids[n - 1] >= 0 &&
           (uint32_t)message->ids[n - 1] < tokenizer_n_vocab(tokenizer) &&
           tokenizer_is_end(tokenizer, message->ids[n - 1]))
        n--;
    struct buf said = {0}, joined = {0}; /* as it streams; the bytes of the ids one after the other */
    struct decoder decoder = {0};
    bool known = true;
    for (size_t i = 0; i < n && known; i++) {
        known = message->ids[i] >= 0 && (uint32_t)message->ids[i] < tokenizer_n_vocab(tokenizer);
        if (!known) break;
        struct span bytes = tokenizer_bytes(tokenizer, message->ids[i]);
        decoder_add(&decoder, tokenizer, message->ids[i], &said);
        buf_append(&joined, bytes.bytes, bytes.len);
    }
    decoder_finish(&decoder, &said);
    bool same = known && (is_text(&said, message) || is_text(&joined, message));
    buf_free(&said);
    buf_free(&joined);
    return same ? n : 0;
}

/* The message that this piece is, looking from *next on, since a template keeps their order. */
static const struct message *message_of(const struct message *messages, size_t n, size_t *next,
                                        const char *bytes, size_t len) {
    for (size_t i = *next; i < n; i++) {
        if (messages[i].len != len || memcmp(messages[i].text, bytes, len) != 0) continue;
        *next = i + 1;
        return &messages[i];
    }
    return NULL;
}

static void add_bos(const struct tokenizer *tokenizer, struct ids *ids, size_t begin, struct token_places *places) {
    int32_t bos = tokenizer_bos(tokenizer);
    if (!tokenizer_add_bos(tokenizer) || bos < 0) return;
    if (ids->n > begin && ids->at[begin] == bos) return;
    ids_add(ids, bos);
    memmove(ids->at + begin + 1, ids->at + begin, (ids->n - begin - 1) * sizeof *ids->at);
    ids->at[begin] = bos;
    if (!places) return;
    grow_array(&places->at, &places->cap, places->n + 1, sizeof *places->at);
    memmove(places->at + 1, places->at, places->n++ * sizeof *places->at);
    places->at[0] = (struct token_place){-1, 0};
}

/* A prompt on its way to ids. */
struct encoding {
    const struct tokenizer *tokenizer;
    const struct prompt *prompt;
    const struct message *messages;
    size_t n_messages;
    struct segment *segments; /* [n_segments] of the pieces from `first` on, not encoded yet */
    size_t first, n_segments;
    struct ids *ids;
    struct token_places *places;
};

/* Encode the pieces that wait. */
static int flush(struct encoding *e, struct err *err) {
    size_t before = e->ids->n;
    int status = tokenizer_encode(e->tokenizer, e->segments, e->n_segments, ADDED_BY_ORIGIN, e->ids, err);
    if (status == STATUS_OK && e->places && e->n_segments)
        token_places_of_pieces(e->tokenizer, e->prompt, e->first, e->first + e->n_segments, e->messages, e->n_messages,
                         e->ids->at + before, e->ids->n - before, e->places);
    e->first += e->n_segments;
    e->n_segments = 0;
    return status;
}

static int add_said(struct encoding *e, const struct message *message, size_t n_ids, struct err *err) {
    int status = flush(e, err);
    if (status < 0) return status;
    for (size_t k = 0; k < n_ids; k++) ids_add(e->ids, message->ids[k]);
    if (e->places)
        token_places_of_message(e->tokenizer, message, (int32_t)(message - e->messages), message->ids, n_ids, e->places);
    e->first++;
    return STATUS_OK;
}

int prompt_to_ids(const struct tokenizer *tokenizer, const struct prompt *prompt,
                  const struct message *messages, size_t n_messages, struct ids *ids, struct token_places *places,
                  struct err *err) {
    struct encoding e = {.tokenizer = tokenizer,
                         .prompt = prompt,
                         .messages = messages,
                         .n_messages = n_messages,
                         .segments = xmalloc((prompt->n + 1) * sizeof *e.segments),
                         .ids = ids,
                         .places = places};
    size_t next = 0, begin = ids->n;
    int status = STATUS_OK;
    for (size_t i = 0; i < prompt->n && status == STATUS_OK; i++) {
        const struct prompt_piece *piece = &prompt->pieces[i];
        const char *bytes = prompt->text.data + piece->begin;
        const struct message *message =
            piece->from_template ? NULL : message_of(messages, n_messages, &next, bytes, piece->len);
        size_t n_ids = message ? usable_ids(tokenizer, message) : 0;
        if (n_ids)
            status = add_said(&e, message, n_ids, err);
        else
            e.segments[e.n_segments++] = (struct segment){bytes, piece->len, piece->from_template};
    }
    if (status == STATUS_OK) status = flush(&e, err);
    if (status == STATUS_OK)
        add_bos(tokenizer, ids, begin, places);
    else
        ids->n = begin;
    free(e.segments);
    return status;
}
