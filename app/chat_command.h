/* The chat itself, as a command: the screen where there is a terminal, else plain. */
#ifndef LOGITOP_APP_CHAT_COMMAND_H
#define LOGITOP_APP_CHAT_COMMAND_H

#include "app/options.h"

int chat_command(struct options *options, struct err *err);

#endif
