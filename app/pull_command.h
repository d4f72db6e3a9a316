/* Fetching models, told on standard error: `logitop pull`, -hf, and the offer of a first start. */
#ifndef LOGITOP_APP_PULL_COMMAND_H
#define LOGITOP_APP_PULL_COMMAND_H

#include "app/options.h"
#include "models/pull.h"

int pull_command(struct options *options, struct err *err);

/* Fetch and wait: a line of progress on a terminal, else a line each tenth. signals_open() came before; the
 * first signal stops it, STATUS_STOPPED. path: the caller's. */
int pull_wait(const char *name, const char *file, char **path, struct err *err);

bool pull_is_offline(const struct options *options); /* --offline, or HF_HUB_OFFLINE */

/* The file of -hf: what was fetched before, else it is fetched now (STATUS_MODEL where --offline forbids
 * that). */
int pull_if_missing(const struct options *options, char **path, struct err *err);

/* "model.gguf (1 of 2)  42 %  1.9/4.7 GB  31.2 MB/s  1 min 29 s left", sanitised; the name is cut to fit
 * `columns`. */
void pull_print(const struct pull_progress *progress, unsigned columns, struct buf *out);

#endif
