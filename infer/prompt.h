/* From the pieces of a prompt to token ids. */
#ifndef LOGITOP_INFER_PROMPT_H
#define LOGITOP_INFER_PROMPT_H

#include "infer/chat_template.h"

/* Where a token of a prompt lies. */
struct token_place {
    int32_t message; /* index; -1: written by the template */
    uint32_t end;    /* offset in the message's text */
};

/* A growing list; zero it to begin. */
struct token_places {
    struct token_place *at;
    size_t n, cap;
};

/* Append the ids of a rendered prompt. A message of the model whose bytes the template left whole, as a piece of their own,
 * gets the ids it was sampled as, if they still say those bytes; everything else is tokenised. A prompt that does not begin
 * with BOS gets one where the vocabulary asks for it, never a second. `ids` is untouched on failure. `places`, if not
 * NULL, gets where each id lies; the border of two tokens may be a few bytes off where the tokenizer dropped
 * bytes or put marks together. Any thread. */
int prompt_to_ids(const struct tokenizer *tokenizer, const struct prompt *prompt, const struct message *messages,
                  size_t n_messages, struct ids *ids, struct token_places *places, struct err *err);

/* prompt_places.c */
/* The places of ids[n] that the pieces [first, end) were tokenised to. */
void token_places_of_pieces(const struct tokenizer *tokenizer, const struct prompt *prompt, size_t first, size_t end,
                      const struct message *messages, size_t n_messages, const int32_t *ids, size_t n,
                      struct token_places *places);
/* The places of the ids of a message of the model. */
void token_places_of_message(const struct tokenizer *tokenizer, const struct message *message, int32_t index, const int32_t *ids,
                       size_t n, struct token_places *places);
void token_places_of_template(struct token_places *places); /* of one id that the template wrote */
void token_places_free(struct token_places *places);

#endif
