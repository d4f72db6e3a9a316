/* Threads beside the one that owns the program's signals. */
#ifndef LOGITOP_BASE_THREAD_H
#define LOGITOP_BASE_THREAD_H

#include <pthread.h>

/* As pthread_create(), but no signal is ever delivered to it: they belong to who started it, or to who that
 * one has them from. 0, or an errno. */
int thread_start(pthread_t *thread, void *(*run)(void *context), void *context);

#endif
