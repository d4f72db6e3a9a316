/* From a request to the ids of its prompt: template, folding, tokenizer. */
#ifndef LOGITOP_INFER_REQUEST_IDS_H
#define LOGITOP_INFER_REQUEST_IDS_H

#include "infer/prompt.h"

/* Append the ids, and where they lie if `places` is not NULL: with indices of the request's own messages, a
 * raw prompt is message 0. wants_fold: the template refuses, but would not with the system text folded.
 * STATUS_USAGE also for a prompt of no token. Any thread. */
int request_to_ids(const struct chat_template *chat_template, const struct tokenizer *tokenizer,
                   const struct engine_request *request, struct ids *ids, struct token_places *places,
                   bool *wants_fold, struct err *err);

#endif
