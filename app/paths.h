/* Where the user's files are: the XDG base directory specification. */
#ifndef LOGITOP_APP_PATHS_H
#define LOGITOP_APP_PATHS_H

#include "base/err.h"

/* $XDG_DATA_HOME/logitop/models, whether it is there or not. Owned by the caller; NULL without a home. */
char *path_models(void);

/* $XDG_STATE_HOME/logitop/NAME; the folders are made with mode 0700. Owned by the caller; NULL and err if
 * they cannot be. */
char *path_state(const char *name, struct err *err);
char *path_data(const char *name, struct err *err);  /* the same of $XDG_DATA_HOME: what must not be lost */
char *path_cache(const char *name, struct err *err); /* the same of $XDG_CACHE_HOME: what can be made again */

/* $XDG_CONFIG_HOME/logitop/NAME, made by nobody. Owned by the caller; NULL without a home. */
char *path_config(const char *name);

/* As a person writes it where no shell reads it: "~/x" lies in the home. Owned by the caller. */
char *path_expand(const char *path);

/* As a person finds it again: from the root, or from the home as "~/x". Owned by the caller. */
char *path_shown(const char *path);

const char *path_name(const char *path); /* what follows the last slash */

#endif
