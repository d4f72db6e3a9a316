/* Where a model thinks before it answers: the ranges of a text between the tags that models put around it. */
#ifndef LOGITOP_APP_THINKING_H
#define LOGITOP_APP_THINKING_H

#include "ui/ui.h"

#include <stdbool.h>
#include <stddef.h>

struct thinking {            /* zero-initialise */
    struct ui_range *ranges; /* [n] ascending, tags included; the last one grows while it is open */
    size_t n, cap;
    size_t seen;     /* so much of the text was looked at */
    const char *end; /* the tag that ends the open one; NULL: none is open */
    const char
        *prompted; /* the tag that ends what the prompt began, behind which the text stands; NULL: nothing */
};

/* Of a text still to come: the prompt began the thinking that this tag ends. */
void thinking_begin(struct thinking *thinking, const char *end);

/* Look at what was appended since. A closing tag with no opening one before it ends what the prompt began. */
void thinking_follow(struct thinking *thinking, const char *text, size_t len);
/* Of the end of a prompt: where it has a tag, *end gets the one that ends the thought it leaves open, NULL if
 * it leaves none. False: it has none. */
bool thinking_left_open(const char *text, size_t len, const char **end);
void thinking_free(struct thinking *thinking);

#endif
