#include "infer/runner.h"

#include "infer/device.h"

int runner_open(struct runner *r, const struct engine_options *options, struct err *err) {
    int status = model_open(options->model, MODEL_WHOLE, &r->model, err);
    if (status) return status;
    r->options = (struct backend_options){.n_threads = options->n_threads, .exact = options->exact};
    return device_choose(options->device, &r->ops, &r->options, NULL, err);
}

int runner_begin(struct runner *r, const struct engine_options *options, size_t n, struct err *err) {
    const struct model_view *view = model_view(r->model);
    uint32_t most = options->n_ctx && options->n_ctx < view->n_ctx_train ? options->n_ctx : view->n_ctx_train;
    if (n > most) return err_set(err, STATUS_CONTEXT_FULL, "found %zu tokens, expected at most %u", n, most);
    r->options.n_ctx = (uint32_t)(n ? n : 1);
    int status = r->ops->open(view, &r->options, NULL, NULL, &r->backend, err);
    if (!status) status = model_check(r->model, err);
    if (!status) status = r->ops->timeline_new(r->backend, r->options.n_ctx, &r->timeline, err);
    return status;
}

int runner_step(struct runner *r, const struct step_request *request, struct err *err) {
    int status = r->ops->step(r->timeline, request, err);
    int whole = model_check(r->model, status ? NULL : err);
    return status ? status : whole;
}

void runner_close(struct runner *r) {
    if (r->timeline) r->ops->timeline_free(r->timeline);
    if (r->backend) r->ops->close(r->backend);
    model_close(r->model);
    *r = (struct runner){0};
}
