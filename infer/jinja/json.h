/* JSON at the border: texts in, values out. The only file of the engine that knows the JSON library. */
#ifndef LOGITOP_INFER_JINJA_JSON_H
#define LOGITOP_INFER_JINJA_JSON_H

#include "infer/jinja/value.h"

/* Any JSON value. Fails by the run, with line and column of the JSON's fault in the words. */
struct jvalue jjson_read(struct jrun *run, const char *text, size_t len, bool person);

/* A template's context: an object. Strings named *_token and the roles of messages that every program knows
 * come from the template's side; all else comes from a person. */
struct jdict *jjson_read_context(struct jrun *run, const char *text, size_t len);

/* `text` as a JSON string with its quotes, for output; bytes that are no UTF-8 become U+FFFD. */
struct buf;
void jjson_quote(struct buf *out, const char *text, size_t len);

#endif
