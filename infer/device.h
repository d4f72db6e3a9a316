/* Which backend runs a model: the one place that turns what a user wrote after --device into a backend. */
#ifndef LOGITOP_INFER_DEVICE_H
#define LOGITOP_INFER_DEVICE_H

#include "base/err.h"
#include "kernels/backend.h"

/* wanted: "auto" or NULL (CUDA if there is a device, else the CPU), "cpu", "cuda", "cuda:N". Sets *ops and
 * options->device. STATUS_USAGE for other words; STATUS_DEVICE with the reason if the device asked for is not
 * there. `without`, if not NULL, gets the reason where "auto" found no device and took the CPU, and is left
 * untouched otherwise. Any thread. */
int device_choose(const char *wanted, const struct backend_ops **ops, struct backend_options *options,
                  struct err *without, struct err *err);

/* Was the choice left to the program? Then what a device cannot take may run on the CPU instead. */
bool device_is_automatic(const char *wanted);

/* The backend of the first card; NULL where there is none. */
const struct backend_ops *device_gpu(void);

#endif
