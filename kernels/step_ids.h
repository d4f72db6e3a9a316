/* The ids that a step is given, looked at before anything is fed: the same words from every backend. */
#ifndef LOGITOP_KERNELS_STEP_IDS_H
#define LOGITOP_KERNELS_STEP_IDS_H

#include "kernels/backend.h"

/* STATUS_USAGE names the first that is not of the real vocabulary. Any thread. */
int step_ids_check(const struct step_request *request, uint32_t n_vocab, struct err *err);

#endif
