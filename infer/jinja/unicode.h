/* What Python's str knows about characters. */
#ifndef LOGITOP_INFER_JINJA_UNICODE_H
#define LOGITOP_INFER_JINJA_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

bool uchar_is_space(uint32_t c); /* str.isspace() */
bool uchar_is_alpha(uint32_t c);
bool uchar_is_decimal(uint32_t c);
bool uchar_is_digit(uint32_t c); /* decimal, and superscripts and the like */
bool uchar_is_numeric(uint32_t c);
bool uchar_is_upper(uint32_t c);
bool uchar_is_lower(uint32_t c);
bool uchar_is_title(uint32_t c);
bool uchar_is_cased(uint32_t c);
bool uchar_is_printable(uint32_t c);
bool uchar_is_word(uint32_t c);       /* \w */
bool uchar_is_name_start(uint32_t c); /* identifiers; ASCII rules, and any letter */
bool uchar_is_line_end(uint32_t c);   /* splits lines, as in str.splitlines() */

/* Full case mapping: up to 3 characters. Returns how many. */
int uchar_upper(uint32_t c, uint32_t out[3]);
int uchar_lower(uint32_t c, uint32_t out[3]);
int uchar_title(uint32_t c, uint32_t out[3]);

#endif
