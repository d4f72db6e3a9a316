/* What the pre-tokenizers need to know of a character: its class, from a two-stage table (char_table.c). */
#ifndef LOGITOP_TOKENIZER_CHARS_H
#define LOGITOP_TOKENIZER_CHARS_H

#include "base/utf8.h"

#include <stddef.h>
#include <stdint.h>

/* Every code point is in exactly one class: Unicode's general categories, with white space apart. */
enum char_class {
    CHAR_OTHER, /* unassigned, control, format, private use; and bytes that are no character */
    CHAR_LU,
    CHAR_LL,
    CHAR_LT,
    CHAR_LM,
    CHAR_LO,
    CHAR_NUMBER,
    CHAR_MARK,
    CHAR_PUNCTUATION,
    CHAR_SYMBOL,
    CHAR_SPACE,   /* White_Space but \r and \n */
    CHAR_NEWLINE, /* \r and \n */
};

enum { CHAR_CLASS_MASK = 0x0F };
enum { CHAR_NFC_ACTIVE = 0x10 };   /* NFC may change it, or combine it with what is before it */
enum { CHAR_CASED_LETTER = 0x20 }; /* a letter of deepseek-llm's list */

enum { CHAR_BLOCK = 256 };
enum { CHAR_NONE = 0x110000 }; /* in place of a code point: a byte that is no character */

extern const uint8_t char_block[(CHAR_NONE + CHAR_BLOCK) / CHAR_BLOCK];
extern const uint8_t char_info[][CHAR_BLOCK];

/* The class and the flags above, for 0..CHAR_NONE. */
static inline unsigned char_lookup(uint32_t code_point) {
    return char_info[char_block[code_point / CHAR_BLOCK]][code_point % CHAR_BLOCK];
}

/* The character at text[0..len), len >= 1, and its length. A byte that begins no complete valid character is
 * CHAR_NONE of length 1. */
static inline uint32_t char_decode(const char *text, size_t len, size_t *n) {
    uint32_t code_point = (unsigned char)text[0];
    *n = 1;
    if (code_point < 0x80) return code_point;
    int got = utf8_decode(text, len, &code_point);
    if (got <= 0) return CHAR_NONE;
    *n = (size_t)got;
    return code_point;
}

#endif
