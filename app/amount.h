/* Sizes and times in words for people, into a buffer of AMOUNT_MAX bytes; returns it. */
#ifndef LOGITOP_APP_AMOUNT_H
#define LOGITOP_APP_AMOUNT_H

#include <stdint.h>

enum { AMOUNT_MAX = 32 };

const char *amount_bytes(uint64_t bytes,
                         char out[static AMOUNT_MAX]); /* "98.4 MB", "4.7 GB": powers of 1000 */
const char *amount_duration(uint64_t seconds,
                            char out[static AMOUNT_MAX]); /* two units at most: "3 min 20 s", "2 d 4 h" */
const char *amount_tokens(uint32_t n, char out[static AMOUNT_MAX]);             /* "32k", "500"; "-" for 0 */
const char *amount_age(int64_t then, int64_t now, char out[static AMOUNT_MAX]); /* "5 min ago"; "-" for 0 */
/* "14:05" today, "Mar 05 14:05" this year, else "2026-03-05"; "-" where no calendar has it. */
const char *amount_moment(int64_t then, int64_t now, char out[static AMOUNT_MAX]);

#endif
