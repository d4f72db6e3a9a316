/* The chat on the screen: the event loop between terminal, engine and signals. */
#ifndef LOGITOP_APP_SCREEN_H
#define LOGITOP_APP_SCREEN_H

#include "app/options.h"

/* The program's exit code, or a negative status. STATUS_UNSUPPORTED: this terminal can have no screen,
 * nothing was done. */
int screen_chat(struct options *options, struct err *err);

#endif
