/* Shared by the files of inspect mode. */
#ifndef LOGITOP_APP_INSPECT_INTERNAL_H
#define LOGITOP_APP_INSPECT_INTERNAL_H

#include "app/inspect.h"

/* ---- inspect_tokens.c: which tokens there are ---- */

/* Another number whenever the prompt or what was said may be another; 0 never. What an answer says while it
 * runs does not count: inspect_tokens_grow() takes that. */
uint64_t inspect_path_stamp(const struct chat *chat);

/* None; those of a whole context are remembered, of which records may still hold. */
void inspect_tokens_clear(struct inspect *inspect);
/* Those there are stay until the prompt that goes on from them is told: true, if they are a whole context and
 * all they lie in is part of the path, as it was. */
bool inspect_tokens_stay(struct inspect *inspect);
/* Anew, of the path as it is: only what the answers tell of themselves, */
void inspect_tokens_kept(struct inspect *inspect);
/* or the whole context: this prompt [n] of the path's messages, of whose last one it has `n_before` tokens,
 * and the others behind it. */
void inspect_tokens_whole(struct inspect *inspect, const struct prompt_token *prompt, size_t n,
                          size_t n_before);
/* What was said since. */
void inspect_tokens_grow(struct inspect *inspect);

/* What was found out about token i; all is copied. */
void inspect_keep_record(struct inspect *inspect, size_t i, const struct token_record *token);
/* Known since it was said. */
bool inspect_was_told(const struct inspect_token *token);

/* The message's last span; NULL: it has none. */
const struct inspect_span *inspect_span_of(const struct inspect *inspect, uint64_t said);
/* The first span that begins behind token i; n_spans: none does. */
size_t inspect_span_after(const struct inspect *inspect, size_t i);

#endif
