/* A pool of threads for loops inside a step. The calling thread works too, so a pool of one has no threads of its own.
 *
 * Between two loops of a step the others spin, because a step has hundreds of loops and waking a thread takes longer
 * than most of them; after about a millisecond without work they go to sleep. One thread at a time may call in. */
#ifndef LOGITOP_KERNELS_CPU_THREADS_H
#define LOGITOP_KERNELS_CPU_THREADS_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { POOL_THREADS_MAX = 512 };

struct pool;

/* Work on the items begin..end-1. `thread` counts from 0: for scratch memory of one's own. */
typedef void (*pool_fn)(void *ctx, uint32_t begin, uint32_t end, uint32_t thread);

uint32_t cores_available(void); /* physical cores this process may run on, and its container may keep busy; at least 1 */

int pool_new(uint32_t n_threads, struct pool **out, struct err *err);
void pool_free(struct pool *pool); /* NULL is fine */
uint32_t pool_threads(const struct pool *pool);

/* Call fn on all of [0, count), cut into parts of `grain` items that threads take as they get free; return when all is done.
 * Which thread works on what differs from run to run: a result must not depend on it. */
void pool_for(struct pool *pool, uint32_t count, uint32_t grain, pool_fn fn, void *ctx);

/* As long as a stop flag is set here (NULL: none), loops end early once it is true, their results are then rubbish, and
 * pool_stopped() says so until the next pool_watch(). */
void pool_watch(struct pool *pool, const atomic_bool *stop);
bool pool_stopped(struct pool *pool); /* looks at the flag itself, too; for the caller's thread */

/* A grain that gives each thread a few parts to even out the load, a multiple of `unit`. */
uint32_t pool_grain(const struct pool *pool, uint32_t count, uint32_t unit);

#endif
