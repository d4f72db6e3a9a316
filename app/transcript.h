/* The chat on the terminal behind the screen, when that is left. */
#ifndef LOGITOP_APP_TRANSCRIPT_H
#define LOGITOP_APP_TRANSCRIPT_H

#include "app/chat.h"

/* What was said goes where it can be scrolled and copied. A long one only with its end. */
void transcript_print(struct chat *chat);

#endif
