/* The instruction sets that the matrix products exist for, and the best one this machine has. */
#ifndef LOGITOP_KERNELS_CPU_ISA_H
#define LOGITOP_KERNELS_CPU_ISA_H

#include "base/err.h"

#include <stdbool.h>

enum isa {
    ISA_portable, /* plain C */
    ISA_avx2,     /* AVX2, FMA, F16C */
    ISA_avx512,   /* AVX-512 F, BW, DQ, VL and VNNI */
    ISA_COUNT
};

bool isa_available(enum isa isa); /* built in, and this machine and its operating system can run it */
enum isa isa_best(void);
const char *isa_name(enum isa isa);

/* "portable", "avx2", "avx512"; NULL is the best there is. STATUS_USAGE for an unknown name, STATUS_UNSUPPORTED for one
 * that this machine cannot run. */
int isa_from_name(const char *name, enum isa *out, struct err *err);

#endif
