#include "app/record_json.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *json_lossy(const char *bytes, size_t len) {
    struct buf text = {0};
    for (size_t at = 0; at < len;) {
        uint32_t code_point;
        int n = utf8_decode(bytes + at, len - at, &code_point);
        if (n > 0) {
            buf_append(&text, bytes + at, (size_t)n);
            at += (size_t)n;
        } else {
            buf_puts(&text, "\xEF\xBF\xBD");
            at += n == 0 ? len - at : (size_t)utf8_bad_length(bytes + at, len - at);
        }
    }
    json_t *string = json_stringn(text.data ? text.data : "", text.len);
    buf_free(&text);
    return string;
}

json_t *json_byte_array(const char *bytes, size_t len) {
    json_t *array = json_array();
    for (size_t i = 0; i < len; i++) json_array_append_new(array, json_integer((unsigned char)bytes[i]));
    return array;
}

json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

const char *reason_name(enum engine_reason reason) {
    switch (reason) {
    case ENGINE_END: return "end";
    case ENGINE_LIMIT: return "limit";
    case ENGINE_STOPPED: return "stopped";
    case ENGINE_CONTEXT_FULL: return "context-full";
    case ENGINE_ERROR: return "error";
    }
    return "error";
}

const char *record_text(struct engine *engine, const struct token_record *record, size_t *len) {
    *len = record->n_text;
    return record->n_text <= sizeof record->text ? record->text
                                                 : engine->ops->token_text(engine, record->result.id, len);
}

static json_t *candidate_json(const struct step_result *result, const struct candidate *candidate,
                              token_text_fn *text_of, void *source) {
    size_t len;
    const char *text = text_of(source, candidate->id, &len);
    json_t *object = json_object();
    json_object_set_new(object, "id", json_integer(candidate->id));
    json_object_set_new(object, "text", json_lossy(text, len));
    json_object_set_new(object, "bytes", json_byte_array(text, len));
    json_object_set_new(object, "logprob",
                        json_number((double)candidate->logit - (double)result->log_sum_exp));
    json_object_set_new(object, "prob", json_number((double)candidate->prob));
    json_object_set_new(object, "cut", json_string(stage_name(candidate->cut)));
    return object;
}

json_t *record_json_with(const struct token_record *record, const char *text, size_t len,
                         token_text_fn *text_of, void *source) {
    const struct step_result *result = &record->result;
    json_t *object = json_object(), *top = json_array();
    json_object_set_new(object, "i", json_integer(record->index));
    json_object_set_new(object, "id", json_integer(result->id));
    json_object_set_new(object, "text", json_lossy(text, len));
    json_object_set_new(object, "bytes", json_byte_array(text, len));
    if (record->end) json_object_set_new(object, "end", json_true());
    json_object_set_new(object, "logprob", json_number((double)result->logit - (double)result->log_sum_exp));
    json_object_set_new(object, "rank", json_integer(result->rank));
    json_object_set_new(object, "entropy", json_number((double)result->entropy));
    json_object_set_new(object, "ms", json_number((double)record->ms));
    for (uint32_t i = 0; i < result->n_top; i++)
        json_array_append_new(top, candidate_json(result, &result->top[i], text_of, source));
    json_object_set_new(object, "top", top);
    return object;
}

static const char *engine_text(void *source, int32_t id, size_t *len) {
    struct engine *engine = source;
    return engine->ops->token_text(engine, id, len);
}

json_t *record_json(struct engine *engine, const struct token_record *record) {
    size_t len = 0;
    const char *text = record->end ? "" : record_text(engine, record, &len);
    return record_json_with(record, text, len, engine_text, engine);
}

double stats_prefill_tps(const struct engine_stats *stats) {
    double tokens = (double)stats->prompt_tokens - (double)stats->cached_tokens;
    return stats->prefill_seconds > 0 ? tokens / stats->prefill_seconds : 0;
}

double stats_decode_tps(const struct engine_stats *stats) {
    return stats->decode_seconds > 0 ? (double)stats->tokens / stats->decode_seconds : 0;
}

json_t *done_json(enum engine_reason reason, const struct engine_stats *stats, uint64_t seed,
                  const char *error) {
    json_t *done = json_object(), *object = json_object();
    json_object_set_new(done, "reason", json_string(reason_name(reason)));
    json_object_set_new(done, "prompt_tokens", json_integer(stats->prompt_tokens));
    json_object_set_new(done, "cached_tokens", json_integer(stats->cached_tokens));
    json_object_set_new(done, "tokens", json_integer(stats->tokens));
    json_object_set_new(done, "prefill_tps", json_number(stats_prefill_tps(stats)));
    json_object_set_new(done, "decode_tps", json_number(stats_decode_tps(stats)));
    json_object_set_new(done, "seed", json_integer((json_int_t)seed));
    if (error) json_object_set_new(done, "error", json_lossy(error, strlen(error)));
    json_object_set_new(object, "done", done);
    return object;
}

char *json_line(const json_t *value, bool ascii) {
    size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(9) | (ascii ? JSON_ENSURE_ASCII : 0);
    char *text = json_dumps(value, flags);
    struct buf line = {0};
    for (const char *c = text ? text : "null"; *c; c++)
        if (*c == 0x7f && ascii)
            buf_puts(&line, "\\u007f"); /* the one control character that jansson writes as it is */
        else
            buf_putc(&line, *c);
    buf_putc(&line, '\n');
    free(text);
    return buf_take(&line);
}
