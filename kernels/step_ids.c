#include "kernels/step_ids.h"

int step_ids_check(const struct step_request *request, uint32_t n_vocab, struct err *err) {
    for (uint32_t i = 0; i < request->n; i++) {
        int32_t id = request->ids[i], target = request->targets ? request->targets[i] : -1;
        if (id < 0 || (uint32_t)id >= n_vocab)
            return err_set(err, STATUS_USAGE, "token %u of a step: found id %d, expected one below %u", i, id,
                           n_vocab);
        if (target < -1 || (target >= 0 && (uint32_t)target >= n_vocab))
            return err_set(err, STATUS_USAGE, "token %u of a step: asked about id %d, expected one below %u",
                           i, target, n_vocab);
    }
    return STATUS_OK;
}
