#include "kernels/cpu/threads.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPINS = 2000,           /* looks at the generation before the first yield: some ten microseconds */
    IDLE_NS = 1000 * 1000,  /* then yields, and after this long sleeps */
    PARTS_A_THREAD = 4,
};

/* Parts that different threads write often are kept on cache lines of their own. */
struct pool {
    uint32_t n_threads;
    pthread_t *threads; /* [n_threads - 1] */

    pool_fn fn; /* the loop being run: written before `generation` goes up, read after it was seen to */
    void *ctx;
    uint32_t count, grain;
    const atomic_bool *stop;

    _Alignas(64) atomic_uint generation; /* counts loops */
    _Alignas(64) atomic_uint next;       /* first item nobody has taken */
    _Alignas(64) atomic_uint pending;    /* threads that have not finished this loop */
    _Alignas(64) atomic_uint sleepers;
    atomic_bool stopped, quit;
    pthread_mutex_t mutex; /* only for going to sleep and waking up */
    pthread_cond_t wake;
};

struct pool_thread {
    struct pool *pool;
    uint32_t index;
};

static inline void spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A core with two hardware threads counts once: both share the units that a matrix product keeps busy. */
uint32_t cores_available(void) {
    cpu_set_t allowed, counted;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return 1;
    CPU_ZERO(&counted);
    uint32_t n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        char path[96];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        int first = cpu;
        FILE *file = fopen(path, "re");
        if (file) {
            if (fscanf(file, "%d", &first) != 1 || first < 0 || first >= CPU_SETSIZE) first = cpu;
            fclose(file);
        }
        if (CPU_ISSET(first, &counted)) continue;
        CPU_SET(first, &counted);
        n++;
    }
    return n ? n : 1;
}

static void run_parts(struct pool *pool, uint32_t thread) {
    for (;;) {
        if (pool->stop && atomic_load_explicit(pool->stop, memory_order_relaxed)) {
            atomic_store_explicit(&pool->stopped, true, memory_order_relaxed);
            return;
        }
        uint32_t begin = atomic_fetch_add_explicit(&pool->next, pool->grain, memory_order_relaxed);
        if (begin >= pool->count) return;
        uint32_t left = pool->count - begin;
        pool->fn(pool->ctx, begin, begin + (left < pool->grain ? left : pool->grain), thread);
    }
}

/* Wait until the generation is no longer `seen`. */
static void wait_for_work(struct pool *pool, uint32_t seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen) return;
        spin_pause();
    }
    int64_t start = clock_ns();
    while (clock_ns() - start < IDLE_NS) {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen) return;
            spin_pause();
        }
        sched_yield();
    }
    /* Sleeper: sleepers goes up, then the generation is read. Caller: generation goes up, then sleepers is read. Both in
     * sequentially consistent order, so one of them sees the other. */
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->generation) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *thread_main(void *arg) {
    struct pool_thread self = *(struct pool_thread *)arg;
    free(arg);
    struct pool *pool = self.pool;
    for (uint32_t seen = 0;; seen++) {
        wait_for_work(pool, seen);
        if (atomic_load_explicit(&pool->quit, memory_order_relaxed)) break;
        run_parts(pool, self.index);
        atomic_fetch_sub_explicit(&pool->pending, 1, memory_order_release);
    }
    return NULL;
}

static void wake_threads(struct pool *pool) {
    atomic_fetch_add(&pool->generation, 1);
    if (!atomic_load(&pool->sleepers)) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

int pool_new(uint32_t n_threads, struct pool **out, struct err *err) {
    if (!n_threads || n_threads > POOL_THREADS_MAX)
        return err_set(err, STATUS_USAGE, "%u threads wanted, expected 1 to %d", n_threads, POOL_THREADS_MAX);
    struct pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (!pool) return err_set(err, STATUS_MEMORY, "no memory for a pool of threads");
    memset(pool, 0, sizeof *pool);
    pool->threads = xcalloc(n_threads, sizeof *pool->threads);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->n_threads = 1;
    while (pool->n_threads < n_threads) {
        struct pool_thread *self = xmalloc(sizeof *self);
        *self = (struct pool_thread){pool, pool->n_threads};
        int failed = pthread_create(&pool->threads[pool->n_threads - 1], NULL, thread_main, self);
        if (failed) {
            free(self);
            uint32_t started = pool->n_threads;
            pool_free(pool);
            return err_set(err, STATUS_MEMORY, "thread %u of %u could not be started: %s", started + 1, n_threads,
                           strerror(failed));
        }
        pool->n_threads++;
    }
    *out = pool;
    return STATUS_OK;
}

void pool_free(struct pool *pool) {
    if (!pool) return;
    atomic_store(&pool->quit, true);
    wake_threads(pool);
    for (uint32_t i = 0; i + 1 < pool->n_threads; i++) pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    free(pool->threads);
    free(pool);
}

uint32_t pool_threads(const struct pool *pool) { return pool->n_threads; }

void pool_for(struct pool *pool, uint32_t count, uint32_t grain, pool_fn fn, void *ctx) {
    if (!count) return;
    pool->fn = fn;
    pool->ctx = ctx;
    pool->count = count;
    pool->grain = grain ? grain : 1;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    if (pool->n_threads == 1 || count <= pool->grain) {
        run_parts(pool, 0);
        return;
    }
    atomic_store_explicit(&pool->pending, pool->n_threads - 1, memory_order_relaxed);
    wake_threads(pool);
    run_parts(pool, 0);
    for (uint32_t spins = 0; atomic_load_explicit(&pool->pending, memory_order_acquire); spins++) {
        if (spins < SPINS)
            spin_pause();
        else
            sched_yield(); /* more threads than cores: let the one we wait for run */
    }
}

void pool_watch(struct pool *pool, const atomic_bool *stop) {
    pool->stop = stop;
    atomic_store_explicit(&pool->stopped, false, memory_order_relaxed);
}

bool pool_stopped(struct pool *pool) {
    if (pool->stop && atomic_load_explicit(pool->stop, memory_order_relaxed))
        atomic_store_explicit(&pool->stopped, true, memory_order_relaxed);
    return atomic_load_explicit(&pool->stopped, memory_order_relaxed);
}

uint32_t pool_grain(const struct pool *pool, uint32_t count, uint32_t unit) {
    uint32_t parts = pool->n_threads == 1 ? 1 : pool->n_threads * PARTS_A_THREAD;
    uint32_t grain = (count + parts - 1) / parts;
    return (grain + unit - 1) / unit * unit;
}
