/* `logitop list`: the models on this machine. */
#ifndef LOGITOP_APP_LIST_COMMAND_H
#define LOGITOP_APP_LIST_COMMAND_H

#include "app/options.h"

int list_command(struct options *options, struct err *err);

#endif
