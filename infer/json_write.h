/* Writing JSON (RFC 8259) into a buffer, value by value; commas and colons come by themselves. Strings may
 * hold any bytes: what is no UTF-8 becomes U+FFFD, and characters that a terminal would obey or hide are
 * written as \u escapes. */
#ifndef LOGITOP_INFER_JSON_WRITE_H
#define LOGITOP_INFER_JSON_WRITE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_writer { /* set out, zero the rest */
    struct buf *out;
    bool more; /* something stands before the next value */
};

void json_write_open(struct json_writer *w, char bracket); /* '{' or '[' */
void json_write_close(struct json_writer *w, char bracket);
void json_write_key(struct json_writer *w, const char *key);
void json_write_bytes(struct json_writer *w, const char *text, size_t len);
void json_write_text(struct json_writer *w, const char *text);
void json_write_natural(struct json_writer *w, uint64_t value);
void json_write_integer(struct json_writer *w, int64_t value);
void json_write_real(struct json_writer *w, double value); /* null if not finite */
void json_write_bool(struct json_writer *w, bool value);

#endif
