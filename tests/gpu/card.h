/* The beginning of a test program that needs a card. For one test program a file. */
#ifndef LOGITOP_TESTS_GPU_CARD_H
#define LOGITOP_TESTS_GPU_CARD_H

#include "kernels/backend.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SKIPPED = 77 /* the exit status that ctest takes for it */ };

static bool verbose; /* -v: figures are printed */

/* No: why not is printed. */
static inline bool card_is_there(int argc, char **argv) {
    struct err err;
    verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!backend_cuda.probe(&(struct backend_options){0}, &err)) return true;
    printf("skipped: %s\n", err.text);
    return false;
}

#endif
