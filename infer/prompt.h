/* From the pieces of a prompt to token ids. */
#ifndef LOGITOP_INFER_PROMPT_H
#define LOGITOP_INFER_PROMPT_H

#include "infer/chat_template.h"

/* Append the ids of a rendered prompt. A message of the model whose bytes the template left whole, as a piece of their own,
 * gets the ids it was sampled as, if they still say those bytes; everything else is tokenised. A prompt that does not begin
 * with BOS gets one where the vocabulary asks for it, never a second. `ids` is untouched on failure. Any thread. */
int prompt_to_ids(const struct tokenizer *tokenizer, const struct prompt *prompt, const struct message *messages,
                  size_t n_messages, struct ids *ids, struct err *err);

#endif
