/* What steers an answer and may change between two of them: options of the chat on the command line, /set in
 * it. */
#ifndef LOGITOP_APP_SETTINGS_H
#define LOGITOP_APP_SETTINGS_H

#include "app/field.h"
#include "infer/engine.h"

struct settings {
    struct sampling sampling;
    uint32_t top;       /* candidates a token */
    uint32_t n_predict; /* 0: until the end */
};

struct setting {
    const char *name; /* "temp" */
    char letter;      /* short option, 0 for none */
    const char *argument, *help;
    struct field field; /* in struct settings */
};

extern const struct setting setting_table[]; /* ended by a NULL name */

void settings_defaults(struct settings *settings);    /* design defaults and a fresh seed */
const struct setting *setting_find(const char *name); /* NULL if there is none */
/* /set: STATUS_USAGE with a near name where there is one. */
int setting_set(struct settings *settings, const char *name, const char *value, struct err *err);
void settings_print(const struct settings *settings, struct buf *out);       /* all, a line each */
void settings_print_chain(const struct sampling *sampling, struct buf *out); /* "T 0.8 top-k 40 top-p 0.95" */

#endif
