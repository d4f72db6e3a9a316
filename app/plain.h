/* Without a screen: one answer and out, or a plain line mode where the terminal can do no more. */
#ifndef LOGITOP_APP_PLAIN_H
#define LOGITOP_APP_PLAIN_H

#include "app/options.h"

/* One answer on standard output, everything else on standard error. The program's exit code, or a negative
 * status. */
int plain_answer(struct options *options, struct err *err);

/* Question and answer line by line, on a terminal that knows no screen (TERM=dumb). */
int plain_lines(struct options *options, struct err *err);

#endif
