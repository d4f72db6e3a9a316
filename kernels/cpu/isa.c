#include "kernels/cpu/isa.h"

#include <string.h>

bool isa_available(enum isa isa) {
    switch (isa) {
    case ISA_portable: return true;
#ifdef __x86_64__
    case ISA_avx2:
        /* F16C is not asked for: clang before 16 does not know its name, and all processors with AVX2 and FMA have it */
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case ISA_avx512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vnni") && isa_available(ISA_avx2);
#endif
    default: return false;
    }
}

enum isa isa_best(void) {
    if (isa_available(ISA_avx512)) return ISA_avx512;
    return isa_available(ISA_avx2) ? ISA_avx2 : ISA_portable;
}

const char *isa_name(enum isa isa) {
    static const char *const names[ISA_COUNT] = {"portable", "avx2", "avx512"};
    return names[isa];
}

int isa_from_name(const char *name, enum isa *out, struct err *err) {
    if (!name) {
        *out = isa_best();
        return STATUS_OK;
    }
    for (int i = 0; i < ISA_COUNT; i++) {
        enum isa isa = (enum isa)i;
        if (strcmp(name, isa_name(isa)) != 0) continue;
        if (!isa_available(isa))
            return err_set(err, STATUS_UNSUPPORTED, "this machine cannot run %s; its best is %s", name, isa_name(isa_best()));
        *out = isa;
        return STATUS_OK;
    }
    return err_set(err, STATUS_USAGE, "unknown instruction set %s: expected portable, avx2 or avx512", name);
}
