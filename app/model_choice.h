/* Which model is meant, and opening it: by -m, by what was used last, by what this machine can run. */
#ifndef LOGITOP_APP_MODEL_CHOICE_H
#define LOGITOP_APP_MODEL_CHOICE_H

#include "app/options.h"
#include "models/list.h"

/* The file to open: -m as a path or as a name (or a part that only one has) of the list; without it the model
 * used last, else the best that fits. Lives as long as the options. STATUS_MODEL with a line that tells what
 * to do. */
int options_model(struct options *options, const char **path, struct err *err);

/* The engine the options ask for: a model, or a script. NULL and err where neither can be had. */
struct engine *open_engine(struct options *options, struct err *err);

/* The one model of the list that a name means. STATUS_MODEL tells those it could mean, or a near one. */
int model_by_name(const struct model_list *list, const char *name, const struct model_entry **out,
                  struct err *err);

/* The places that models_scan() wants, with names of their own. */
struct own_places {
    struct model_places places;
    char *own, *folder, *remembered, *used, *program;
};
void places_fill(struct own_places *own, const char *models_dir);
void places_free(struct own_places *own);

/* Note that this file was loaded. What goes wrong with that is of no concern. */
void model_note_used(const char *path);

#endif
