/* The configuration file, $XDG_CONFIG_HOME/logitop/config: options of the command line by their long names,
 * keys, a theme; and theme files. logitop --print-config writes one that says what is so without it. */
#ifndef LOGITOP_APP_CONFIG_H
#define LOGITOP_APP_CONFIG_H

#include "app/options.h"

/* Set what the file says: options, keys (ui_bind), theme. What is wrong becomes lines of
 * options->config_problems, "file:line: what was found, what was expected"; the rest counts. No file is no
 * problem. */
void config_read(struct options *options);

/* All that can be configured, commented out, as it is now. */
void config_print(const struct options *options, struct buf *out);

/* A theme by its name: a file NAME.theme in logitop/themes of $XDG_CONFIG_HOME, beside
 * the program (../share) or of $XDG_DATA_DIRS, else one
 * that comes with the program. On failure the theme is as it was. `problems` gets what is wrong within a
 * file. */
int theme_load(const char *name, struct buf *problems, struct err *err);
void theme_list(struct buf *out); /* names, a line each */
const char *theme_current(void);  /* the name that was loaded last, "auto" at first */

#endif
