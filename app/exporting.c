#include "app/exporting.h"

#include "base/clock.h"

#include <poll.h>

enum { LONG_MS = 150 };

int exporting_begin(struct exporting *exporting, const struct chat *chat, enum export_format format,
                    const char *path, struct err *err) {
    if (exporting->export)
        return err_set(err, STATUS_BUSY, "%s is still being written", export_path(exporting->export));
    return export_begin(&exporting->export, chat, format, *path ? path : NULL, err);
}

static void end(struct exporting *exporting, struct buf *line, struct err *err) {
    struct buf told = {0};
    buf_printf(&told, "written to %s", export_path(exporting->export));
    if (export_end(exporting->export, err) == STATUS_OK) buf_append(line, told.data, told.len);
    buf_free(&told);
    exporting->export = NULL;
}

bool exporting_done(struct exporting *exporting, struct buf *line, struct err *err) {
    struct pollfd fd = {.fd = export_wake_fd(exporting->export), .events = POLLIN};
    if (!exporting->export || poll(&fd, 1, 0) <= 0) return false;
    end(exporting, line, err);
    return true;
}

static int left_ms(const struct exporting *exporting) {
    int64_t ms = (clock_ns() - export_began(exporting->export)) / 1000000;
    return ms < LONG_MS ? (int)(LONG_MS - ms) : 0;
}

const char *exporting_mark(const struct exporting *exporting) {
    return exporting->export && !left_ms(exporting) ? "writing a file" : NULL;
}

int exporting_timeout_ms(const struct exporting *exporting) {
    int left = exporting->export ? left_ms(exporting) : 0;
    return left ? left : -1;
}

bool exporting_finish(struct exporting *exporting, struct buf *line, struct err *err) {
    if (!exporting->export) return false;
    export_wait(exporting->export);
    end(exporting, line, err);
    return true;
}
