/* One value that a person may write: where it lies in a struct, how it is read, what is allowed. The options
 * of the command line and /set are tables of these, so that both read the same and say the same about bad
 * input. */
#ifndef LOGITOP_APP_FIELD_H
#define LOGITOP_APP_FIELD_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum field_kind {
    FIELD_FLAG,   /* bool; on or off, NULL is on */
    FIELD_TEXT,   /* const char *, borrowed */
    FIELD_FLOAT,  /* float in min..max */
    FIELD_COUNT,  /* uint32_t in min..max */
    FIELD_LIMIT,  /* uint32_t, 0 is no limit; "-1" is 0, as elsewhere */
    FIELD_SEED,   /* uint64_t below 2^63, "-1" draws one */
    FIELD_COUNTS, /* uint32_t *, owned: "128,512" ended by 0 */
    FIELD_ORDER,  /* uint8_t [STAGE_COUNT]: names of sampler stages */
    FIELD_DEVICE, /* const char *, borrowed: auto, cpu, cuda, cuda:N */
    FIELD_PAIRS,  /* struct buf, owned: each NAME=VALUE adds a member to the JSON object in it */
    FIELD_WHEN,   /* enum when: auto, always, never */
};

enum when { WHEN_AUTO, WHEN_ALWAYS, WHEN_NEVER };

struct field {
    enum field_kind kind;
    size_t offset; /* in the struct whose table this is */
    double min, max;
};

/* Read `text` into `base` + offset. On failure nothing is changed and err is `label: found "abc", expected
 * ...`. */
int field_set(const struct field *field, void *base, const char *label, const char *text, struct err *err);
void field_print(const struct field *field, const void *base,
                 struct buf *out); /* the value as a person would write it */

uint64_t seed_draw(void); /* a fresh seed, short enough to be typed again */

#endif
