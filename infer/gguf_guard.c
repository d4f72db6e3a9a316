#include "infer/gguf_guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARDS_MAX = 64 };

static struct guard {
    atomic_uintptr_t begin, end; /* end is written last and cleared first: 0 is a free place */
    atomic_bool hit;
} guards[GUARDS_MAX];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static uintptr_t page_size;
static _Thread_local volatile sig_atomic_t inside; /* the handler before ours may call ours in its turn */

/* Everything from the page that is gone to the end of the mapping becomes zeros: one fault is enough, and the
 * kernel gives no memory for it. mmap and sigaction are plain system calls here. */
static void on_bus_error(int signal_number, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)info->si_addr;
    for (int i = 0; i < GUARDS_MAX; i++) {
        uintptr_t begin = atomic_load(&guards[i].begin), end = atomic_load(&guards[i].end);
        if (at < begin || at >= end) continue;
        uintptr_t page = at & ~(page_size - 1);
        void *zeros = mmap((void *)page, end - page, PROT_READ,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        if (zeros == MAP_FAILED) break;
        atomic_store(&guards[i].hit, true);
        return;
    }
    bool other =
        (before.sa_flags & SA_SIGINFO) || (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN);
    if (other && !inside) {
        inside = 1;
        if (before.sa_flags & SA_SIGINFO)
            before.sa_sigaction(signal_number, info, context);
        else
            before.sa_handler(signal_number);
        inside = 0;
    } else { /* the access is repeated and ends the program */
        struct sigaction plain = {.sa_handler = SIG_DFL};
        sigaction(SIGBUS, &plain, NULL);
    }
}

/* Ours is the first to be asked, whoever installed another since the last time. */
static void install(void) {
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigaction(SIGBUS, NULL, &now);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error) return;
    before = now;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

int guard_add(void *begin, size_t size) {
    int handle = -1;
    pthread_mutex_lock(&mutex);
    install();
    for (int i = 0; i < GUARDS_MAX && handle < 0; i++)
        if (atomic_load(&guards[i].end) == 0) handle = i;
    if (handle >= 0) {
        atomic_store(&guards[handle].hit, false);
        atomic_store(&guards[handle].begin, (uintptr_t)begin);
        atomic_store(&guards[handle].end, (uintptr_t)begin + size);
    }
    pthread_mutex_unlock(&mutex);
    return handle;
}

bool guard_hit(int handle) {
    return handle >= 0 && atomic_load(&guards[handle].hit);
}

void guard_remove(int handle) {
    if (handle < 0) return;
    pthread_mutex_lock(&mutex);
    atomic_store(&guards[handle].end, 0);
    pthread_mutex_unlock(&mutex);
}
