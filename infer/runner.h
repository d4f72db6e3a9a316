/* A model on a device with one empty timeline, for the commands that look into a model without the engine's
 * thread. */
#ifndef LOGITOP_INFER_RUNNER_H
#define LOGITOP_INFER_RUNNER_H

#include "infer/engine.h"
#include "infer/model.h"
#include "kernels/backend.h"

struct runner {
    struct model *model;
    const struct backend_ops *ops;
    struct backend_options options;
    struct backend *backend;
    struct timeline *timeline;
};

/* On success and on failure runner_close() is to be called on a runner that was zeroed before. */
int runner_open(struct runner *runner, const struct engine_options *options, struct err *err);
/* The timeline: n positions, checked against options->n_ctx (0: the model's own). STATUS_CONTEXT_FULL names
 * both. */
int runner_begin(struct runner *runner, const struct engine_options *options, size_t n, struct err *err);
int runner_step(struct runner *runner, const struct step_request *request,
                struct err *err); /* and the file is still whole */
void runner_close(struct runner *runner);

#endif
