#include "infer/jinja/run.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void jfail(struct jrun *run, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(run->text, sizeof run->text, fmt, args);
    va_end(args);
    size_t used = strlen(run->text);
    if (used > sizeof run->text - 64)
        used = sizeof run->text - 64; /* the place matters more than the last words */
    if (run->line)                    /* of a template that runs */
        snprintf(run->text + used, sizeof run->text - used, " (line %" PRIu32 ", column %" PRIu32 ")",
                 run->line, run->column);
    run->status = STATUS_FAILED;
    longjmp(run->failed, 1);
}

void jfail_limit(struct jrun *run, const char *what, uint64_t limit) {
    jfail(run, "template stopped: more than %" PRIu64 " %s", limit, what);
}

void jfail_refused(struct jrun *run, const char *words, size_t len) {
    if (len >= sizeof run->text) len = sizeof run->text - 1;
    memcpy(run->text, words, len);
    run->text[len] = '\0';
    run->refused = true;
    run->status = STATUS_FAILED;
    longjmp(run->failed, 1);
}

void *jalloc(struct jrun *run, size_t size) {
    void *memory = arena_alloc(run->arena, size);
    if (!memory) jfail_limit(run, "bytes of memory", run->arena->limit);
    return memory;
}

void *jalloc_array(struct jrun *run, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) jfail_limit(run, "bytes of memory", run->arena->limit);
    return jalloc(run, bytes);
}
