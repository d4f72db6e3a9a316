#include "infer/device.h"

#include <stdlib.h>
#include <string.h>

enum { DEVICE_MAX = 999 };

#ifdef LOGITOP_CUDA
static const struct backend_ops *const cuda = &backend_cuda;
#else
static const struct backend_ops *const cuda = NULL;
#endif

static int use_cuda(const char *number, const struct backend_ops **ops, struct backend_options *options,
                    struct err *err) {
    options->device = 0;
    if (*number) {
        char *end;
        long device = strtol(number + 1, &end, 10);
        if (*number != ':' || number[1] < '0' || number[1] > '9' || *end || device > DEVICE_MAX)
            return err_set(err, STATUS_USAGE, "--device cuda%s: expected cpu, cuda or cuda:N", number);
        options->device = (int)device;
    }
    if (!cuda)
        return err_set(err, STATUS_DEVICE, "--device cuda%s: this program was built without CUDA", number);
    int status = cuda->probe(options, err);
    if (!status) *ops = cuda;
    return status;
}

bool device_is_automatic(const char *wanted) {
    return !wanted || strcmp(wanted, "auto") == 0;
}

int device_choose(const char *wanted, const struct backend_ops **ops, struct backend_options *options,
                  struct err *without, struct err *err) {
    if (wanted && strncmp(wanted, "cuda", 4) == 0) return use_cuda(wanted + 4, ops, options, err);
    bool automatic = device_is_automatic(wanted);
    if (!automatic && strcmp(wanted, "cpu") != 0)
        return err_set(err, STATUS_USAGE, "--device %s: expected cpu, cuda or cuda:N", wanted);
    options->device = 0;
    *ops = automatic && cuda && cuda->probe(options, without) == STATUS_OK ? cuda : &backend_cpu;
    return STATUS_OK;
}

const struct backend_ops *device_gpu(void) {
    struct backend_options options = {0};
    return cuda && cuda->probe(&options, NULL) == STATUS_OK ? cuda : NULL;
}
