/* UTF-8 as in RFC 3629: strict, no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef LOGITOP_BASE_UTF8_H
#define LOGITOP_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One character at text[0..len). Returns its length 1..4 and stores the code point; or
 *   0   the bytes are the valid beginning of a character that is cut off by the end (or len is 0)
 *  -1   text[0] begins no valid character; skip utf8_bad_length() bytes and show U+FFFD once */
int utf8_decode(const char *text, size_t len, uint32_t *code_point);

/* Bytes to skip for one U+FFFD: the longest valid beginning, at least 1 ("maximal subpart", Unicode 3.9). */
int utf8_bad_length(const char *text, size_t len);

int utf8_encode(uint32_t code_point, char out[4]); /* length; 0 for surrogates and above U+10FFFF */

bool utf8_valid(const char *text, size_t len); /* whole characters and nothing else */

/* How many bytes at the end of text[0..len) begin a character that is not complete yet: 0..3. */
size_t utf8_incomplete_tail(const char *text, size_t len);

#endif
