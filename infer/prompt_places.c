/* Which bytes of which message a token of a prompt stands for. */
#include "infer/prompt.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

/* The tokens of a message lie in it one behind the other, whatever the template says twice or in another
 * order: what is behind already takes no room. */
static void add(struct token_places *places, int32_t message, size_t end) {
    const struct token_place *last = places->n ? &places->at[places->n - 1] : NULL;
    if (last && last->message == message && last->end > end) end = last->end;
    grow_array(&places->at, &places->cap, places->n + 1, sizeof *places->at);
    places->at[places->n++] = (struct token_place){message, (uint32_t)end};
}

void token_places_of_template(struct token_places *places) {
    add(places, -1, 0);
}

void token_places_free(struct token_places *places) {
    free(places->at);
    *places = (struct token_places){0};
}

void token_places_of_message(const struct tokenizer *tokenizer, const struct message *message, int32_t index,
                             const int32_t *ids, size_t n, struct token_places *places) {
    size_t end = 0;
    for (size_t i = 0; i < n; i++) {
        end += tokenizer_bytes(tokenizer, ids[i]).len;
        add(places, index, end < message->len ? end : message->len);
    }
}

/* Where a person's piece lies in the messages: whole ones first, then as a part of one (templates trim and
 * split). They come in order: the search goes on from *next. -1: nowhere. */
static int32_t find_piece(const struct message *messages, size_t n, size_t *next, const char *bytes,
                          size_t len, size_t *offset) {
    for (size_t i = *next; i < n; i++)
        if (messages[i].len == len && memcmp(messages[i].text, bytes, len) == 0) {
            *next = i + 1;
            *offset = 0;
            return (int32_t)i;
        }
    for (size_t i = *next ? *next - 1 : 0; i < n; i++) {
        const char *found = memmem(messages[i].text, messages[i].len, bytes, len);
        if (!found) continue;
        *next = i + 1;
        *offset = (size_t)(found - messages[i].text);
        return (int32_t)i;
    }
    return -1;
}

static bool stands_at(const char *at, const char *end, const char *bytes, size_t len) {
    return (size_t)(end - at) >= len && memcmp(at, bytes, len) == 0;
}

/* The end of a token's bytes in the text that begins at `at`. A first word may have lost its space, bytes
 * without a token and white space around control tokens are passed over; what is not found takes no room. */
static const char *token_end(const char *at, const char *end, struct span token) {
    enum { PASSED_OVER = 16 };
    if (stands_at(at, end, token.bytes, token.len)) return at + token.len;
    if (token.len > 1 && token.bytes[0] == ' ' && stands_at(at, end, token.bytes + 1, token.len - 1))
        return at + token.len - 1;
    for (const char *later = at + 1; later < end && later <= at + PASSED_OVER; later++)
        if (token.len && stands_at(later, end, token.bytes, token.len)) return later + token.len;
    return at;
}

/* Where the next control token of ids[from..n) stands, at or after `at`, and which of the ids it is; NULL and
 * n: none is left. The template alone writes them, and all that stand there are tokens: from one to the next
 * nothing gets lost. */
static const char *next_control(const struct tokenizer *tokenizer, const struct prompt *prompt, size_t piece,
                                size_t end, const char *at, const int32_t *ids, size_t n, size_t *which) {
    while (*which < n && tokenizer_type(tokenizer, ids[*which]) != TOKEN_CONTROL) ++*which;
    struct span name = *which < n ? tokenizer_bytes(tokenizer, ids[*which]) : (struct span){0};
    for (; name.len && piece < end; piece++) {
        const char *begin = prompt->text.data + prompt->pieces[piece].begin;
        const char *stop = begin + prompt->pieces[piece].len;
        if (!prompt->pieces[piece].from_template || stop <= at) continue;
        if (begin < at) begin = at;
        const char *found = memmem(begin, (size_t)(stop - begin), name.bytes, name.len);
        if (found) return found;
    }
    *which = n;
    return NULL;
}

/* The text between two control tokens, which tokens take from its beginning on: as it stands in the prompt,
 * or in the form that the tokenizer reads it in. */
struct stretch {
    const char *from, *at, *end;
    struct buf normal; /* empty: as it stands */
    struct offsets ends;
};

static void stretch_begin(struct stretch *s, const struct tokenizer *tokenizer, const char *from,
                          const char *end) {
    s->from = from;
    s->ends.n = 0;
    buf_clear(&s->normal);
    bool other = end > from && tokenizer_normal(tokenizer, from, (size_t)(end - from), &s->normal, &s->ends);
    s->at = other ? s->normal.data : from;
    s->end = other ? s->normal.data + s->normal.len : end;
}

/* Where in the prompt the next token of it ends. */
static const char *stretch_take(struct stretch *s, struct span token) {
    s->at = token_end(s->at, s->end, token);
    if (!s->normal.len) return s->at;
    size_t n = (size_t)(s->at - s->normal.data);
    return s->from + (n ? s->ends.at[n - 1] : 0);
}

/* The pieces of a prompt lie one behind the other, and so do its tokens. */
void token_places_of_pieces(const struct tokenizer *tokenizer, const struct prompt *prompt, size_t first,
                            size_t end, const struct message *messages, size_t n_messages, const int32_t *ids,
                            size_t n, struct token_places *places) {
    const struct prompt_piece *pieces = prompt->pieces;
    const char *text = prompt->text.data, *at = text + pieces[first].begin;
    const char *text_end = text + pieces[end - 1].begin + pieces[end - 1].len;
    size_t piece = first, next = 0, offset = 0, which = 0;
    for (size_t i = places->n; i > 0 && !next; i--) /* messages that were passed already */
        if (places->at[i - 1].message >= 0) next = (size_t)places->at[i - 1].message + 1;
    int32_t message = -1;
    bool looked = false;
    struct stretch stretch = {0};
    const char *control = next_control(tokenizer, prompt, first, end, at, ids, n, &which);
    stretch_begin(&stretch, tokenizer, at, control ? control : text_end);
    for (size_t i = 0; i < n; i++) {
        struct span token = tokenizer_bytes(tokenizer, ids[i]);
        at = i == which ? control + token.len : stretch_take(&stretch, token);
        while (piece + 1 < end && at > text + pieces[piece].begin + pieces[piece].len) {
            piece++;
            looked = false;
        }
        if (i == which) {
            which++;
            control = next_control(tokenizer, prompt, piece, end, at, ids, n, &which);
            stretch_begin(&stretch, tokenizer, at, control ? control : text_end);
        }
        if (!looked)
            message = pieces[piece].from_template
                          ? -1
                          : find_piece(messages, n_messages, &next, text + pieces[piece].begin,
                                       pieces[piece].len, &offset);
        looked = true;
        if (message < 0)
            add(places, -1, 0);
        else
            add(places, message, offset + (size_t)(at - text) - pieces[piece].begin);
    }
    buf_free(&stretch.normal);
    free(stretch.ends.at);
}
