/* Token records and bytes as JSON, for --json and --jsonl. */
#ifndef LOGITOP_APP_RECORD_JSON_H
#define LOGITOP_APP_RECORD_JSON_H

#include "infer/engine.h"

#include <jansson.h>
#include <stdbool.h>

/* Bytes as a JSON string; what is no UTF-8 becomes U+FFFD. */
json_t *json_lossy(const char *bytes, size_t len);
json_t *json_byte_array(const char *bytes, size_t len); /* [208, 159] */
json_t *json_number(double value);                      /* null where it is not finite */

/* {"i","id","text","bytes","logprob","rank","entropy","ms","top":[{"id","text","bytes","logprob","prob",
 * "cut"}]}.
 * A token that ends the answer adds nothing to it: its text is empty and it has "end":true. */
json_t *record_json(struct engine *engine, const struct token_record *record);
/* The same of a token whose bytes are [len] `text`, where others than the engine know what ids stand for. */
typedef const char *token_text_fn(void *source, int32_t id, size_t *len);
json_t *record_json_with(const struct token_record *record, const char *text, size_t len,
                         token_text_fn *text_of, void *source);

/* {"done":{"reason","prompt_tokens","cached_tokens","tokens","prefill_tps","decode_tps", "seed"}}; error: its
 * text, or NULL. */
json_t *done_json(enum engine_reason reason, const struct engine_stats *stats, uint64_t seed,
                  const char *error);

const char *reason_name(enum engine_reason reason); /* "end", "limit", "stopped", "context-full", "error" */

/* All bytes of a token, of any length. Lives as long as the engine and the record. */
const char *record_text(struct engine *engine, const struct token_record *record, size_t *len);

/* Tokens a second of a finished request; 0 where there is nothing to tell. */
double stats_prefill_tps(const struct engine_stats *stats);
double stats_decode_tps(const struct engine_stats *stats);

/* Compact, one line, with a newline. ascii: nothing a terminal could obey. Owned by the caller. */
char *json_line(const json_t *value, bool ascii);

#endif
