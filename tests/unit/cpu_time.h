/* What a piece of work costs this thread: a busy machine does not change it, as it would the time on the wall. */
#ifndef LOGITOP_TESTS_UNIT_CPU_TIME_H
#define LOGITOP_TESTS_UNIT_CPU_TIME_H

#include <time.h>

static inline double cpu_seconds(void) {
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + (double)spent.tv_nsec * 1e-9;
}

#endif
