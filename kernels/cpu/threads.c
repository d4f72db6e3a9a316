#include "kernels/cpu/threads.h"

#include "base/clock.h"
#include "base/mem.h"
#include "kernels/cpu/cgroup.h"

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

/* A loop is open to all threads by its ticket: the number of the loop and the first item that nobody has taken. Taking a part
 * is one compare-and-swap on it. The caller waits for items, not for threads: one that was not even scheduled in time holds
 * nobody up. Such a late thread may read the description of a loop (fn to grain) while the next one's is written; then
 * its ticket is out of date and the swap fails: a ticket is closed before the description changes.
 * Parts that different threads write often are kept on cache lines of their own. */
struct pool {
    uint32_t n_threads;
    pthread_t *threads; /* [n_threads - 1] */
    const atomic_bool *stop; /* set while no loop runs */

    _Atomic(pool_fn) fn;
    _Atomic(void *) ctx;
    atomic_uint count, grain;

    _Alignas(64) atomic_ullong ticket; /* number of the loop << 32 | next item */
    _Alignas(64) atomic_uint done;     /* items */
    _Alignas(64) atomic_uint sleepers;
    atomic_bool stopped, quit;
    pthread_mutex_t mutex; /* only for going to sleep and waking up */
    pthread_cond_t wake;
};

static const uint32_t closed = UINT32_MAX; /* as next item: nothing to take */

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
    uint32_t most = cgroup_processors(CGROUP_SELF, CGROUP_ROOT);
    if (n > most) n = most; /* threads that wait for each other must not be stopped in turns */
    return n ? n : 1;
}

static uint32_t loop_number(unsigned long long ticket) { return (uint32_t)(ticket >> 32); }
static unsigned long long make_ticket(uint32_t loop, uint32_t item) { return (unsigned long long)loop << 32 | item; }

static bool should_stop(const struct pool *pool) { return pool->stop && atomic_load_explicit(pool->stop, memory_order_relaxed); }

/* Take parts of the loop that is open until there are none. On a stop, take all that is left and leave it undone. */
static void run_parts(struct pool *pool, uint32_t thread) {
    unsigned long long ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    for (;;) {
        uint32_t begin = (uint32_t)ticket;
        if (begin == closed) return;
        pool_fn fn = atomic_load_explicit(&pool->fn, memory_order_acquire);
        void *ctx = atomic_load_explicit(&pool->ctx, memory_order_acquire);
        uint32_t count = atomic_load_explicit(&pool->count, memory_order_acquire);
        uint32_t grain = atomic_load_explicit(&pool->grain, memory_order_acquire);
        uint32_t part = count - begin < grain ? count - begin : grain;
        uint32_t next = begin + part < count ? begin + part : closed;
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, make_ticket(loop_number(ticket), next),
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        if (should_stop(pool)) {
            atomic_store_explicit(&pool->stopped, true, memory_order_relaxed);
            fn = NULL;
        }
        if (fn) fn(ctx, begin, begin + part, thread);
        atomic_fetch_add_explicit(&pool->done, part, memory_order_release);
        ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    }
}

/* Wait for another loop than the one last `seen`. */
static void wait_for_work(struct pool *pool, uint32_t seen) {
    for (int i = 0; i < SPINS; i++) {
        if (loop_number(atomic_load_explicit(&pool->ticket, memory_order_relaxed)) != seen) return;
        spin_pause();
    }
    int64_t start = clock_ns();
    while (clock_ns() - start < IDLE_NS) {
        for (int i = 0; i < 32; i++) {
            if (loop_number(atomic_load_explicit(&pool->ticket, memory_order_relaxed)) != seen) return;
            spin_pause();
        }
        sched_yield();
    }
    /* Sleeper: sleepers goes up, then the ticket is read. Caller: the ticket is written, then sleepers is read. Both in
     * sequentially consistent order, so one of them sees the other. */
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (loop_number(atomic_load(&pool->ticket)) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *thread_main(void *arg) {
    struct pool_thread self = *(struct pool_thread *)arg;
    free(arg);
    struct pool *pool = self.pool;
    uint32_t seen = 0;
    for (;;) {
        wait_for_work(pool, seen);
        seen = loop_number(atomic_load_explicit(&pool->ticket, memory_order_acquire));
        if (atomic_load_explicit(&pool->quit, memory_order_relaxed)) break;
        run_parts(pool, self.index);
    }
    return NULL;
}

/* Open the next loop, beginning with `item`. */
static void open_loop(struct pool *pool, uint32_t item) {
    uint32_t loop = loop_number(atomic_load_explicit(&pool->ticket, memory_order_relaxed)) + 1;
    atomic_store(&pool->ticket, make_ticket(loop, item));
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
    atomic_store(&pool->ticket, make_ticket(0, closed));
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
    open_loop(pool, closed);
    for (uint32_t i = 0; i + 1 < pool->n_threads; i++) pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    free(pool->threads);
    free(pool);
}

uint32_t pool_threads(const struct pool *pool) { return pool->n_threads; }

void pool_for(struct pool *pool, uint32_t count, uint32_t grain, pool_fn fn, void *ctx) {
    if (!count) return;
    if (!grain) grain = 1;
    if (pool->n_threads == 1 || count <= grain) {
        for (uint32_t begin = 0; begin < count && !pool_stopped(pool); begin += grain)
            fn(ctx, begin, count - begin < grain ? count : begin + grain, 0);
        return;
    }
    atomic_store_explicit(&pool->fn, fn, memory_order_release);
    atomic_store_explicit(&pool->ctx, ctx, memory_order_release);
    atomic_store_explicit(&pool->count, count, memory_order_release);
    atomic_store_explicit(&pool->grain, grain, memory_order_release);
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    open_loop(pool, 0);
    run_parts(pool, 0);
    for (uint32_t spins = 0; atomic_load_explicit(&pool->done, memory_order_acquire) != count; spins++) {
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
    if (should_stop(pool)) atomic_store_explicit(&pool->stopped, true, memory_order_relaxed);
    return atomic_load_explicit(&pool->stopped, memory_order_relaxed);
}

uint32_t pool_grain(const struct pool *pool, uint32_t count, uint32_t unit) {
    uint32_t parts = pool->n_threads == 1 ? 1 : pool->n_threads * PARTS_A_THREAD;
    uint32_t grain = (count + parts - 1) / parts;
    return (grain + unit - 1) / unit * unit;
}
