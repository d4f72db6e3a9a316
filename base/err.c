#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What was quoted from a file may hold anything: the text stays one line. */
static void keep_one_line(char *text) {
    for (; *text; text++)
        if (*text == '\n' || *text == '\r') *text = ' ';
}

int err_set(struct err *err, enum status code, const char *fmt, ...) {
    if (err) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        keep_one_line(err->text);
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
    keep_one_line(err->text);
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
