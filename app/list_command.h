/* `logitop list`: the models on this machine. */
#ifndef LOGITOP_APP_LIST_COMMAND_H
#define LOGITOP_APP_LIST_COMMAND_H

#include "app/options.h"

int list_command(struct options *options, struct err *err);

/* The same as a table without colours. */
void models_print(const char *models_dir, struct buf *out);

#endif
