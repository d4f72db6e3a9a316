/* Errors of the whole program: one list of codes, one sentence fit to show.
 *
 * A function that can fail returns STATUS_OK (0) or a negative `enum status` and takes `struct err *err` last.
 * On success `err` is left untouched. On failure it holds the code and one line that says what was found, where,
 * and what was expected. `err` may be NULL where the caller only wants the code. The text may quote bytes of a
 * file or a model: whoever shows it passes it through text_sanitize() first (base/text.h). */
#ifndef LOGITOP_BASE_ERR_H
#define LOGITOP_BASE_ERR_H

/* name, value, process exit code, words */
#define STATUS_MAP(X)                                                                                        \
    X(OK, 0, 0, "ok")                                                                                        \
    X(FAILED, -1, 1, "failed")                                                                               \
    X(USAGE, -2, 2, "wrong usage")                                                                           \
    X(MODEL, -3, 3, "model not found, unreadable or refused")                                                \
    X(MEMORY, -4, 4, "out of memory")                                                                        \
    X(CONTEXT_FULL, -5, 5, "context full")                                                                   \
    X(STOPPED, -6, 130, "stopped")                                                                           \
    X(BUSY, -7, 1, "busy")                                                                                   \
    X(DEVICE, -8, 1, "device failed")                                                                        \
    X(UNSUPPORTED, -9, 3, "not supported")

enum status {
#define X(name, value, exit_code, words) STATUS_##name = value,
    STATUS_MAP(X)
#undef X
};

struct err {
    enum status code;
    char text[768]; /* one line, no newline at its end, NUL-terminated, cut if longer */
};

/* Fill `err` (unless NULL) and return `code`, so that a failure is one statement:
 *     return err_set(err, STATUS_MODEL, "%s: found %s, expected %s", path, found, wanted); */
__attribute__((format(printf, 3, 4))) int err_set(struct err *err, enum status code, const char *fmt, ...);

/* Put "prefix: " before the text of a failure that is on its way up. Returns err's code. */
__attribute__((format(printf, 2, 3))) int err_prefix(struct err *err, const char *fmt, ...);

const char *status_words(enum status code); /* static text, never NULL */
int status_exit_code(enum status code);

#endif
