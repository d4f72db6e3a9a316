#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, enum status code, const char *fmt, ...) {
    if (err) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        err->code = code;
    }
    return code;
}

int err_prefix(struct err *err, const char *fmt, ...) {
    if (!err) return STATUS_FAILED;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s", old);
    return err->code;
}

const char *status_words(enum status code) {
    switch (code) {
#define X(name, value, exit_code, words)                                                                     \
    case STATUS_##name: return words;
        STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

int status_exit_code(enum status code) {
    switch (code) {
#define X(name, value, exit_code, words)                                                                     \
    case STATUS_##name: return exit_code;
        STATUS_MAP(X)
#undef X
    }
    return 1;
}
