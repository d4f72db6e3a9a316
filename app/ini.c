#include "app/ini.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* Without blanks around it; ends it with a NUL. */
static char *trim(char *begin, char *end) {
    while (begin < end && blank(*begin)) begin++;
    while (end > begin && blank(end[-1])) end--;
    *end = '\0';
    return begin;
}

/* One line that is neither empty nor a comment. section: changed by a line that begins one. */
static int read_line(char *line, struct ini_line *out, struct err *err) {
    size_t len = strlen(line);
    if (line[0] == '[') {
        if (line[len - 1] != ']')
            return err_set(err, STATUS_USAGE, "found \"%.60s\", expected [section]", line);
        out->section = trim(line + 1, line + len - 1);
        return STATUS_OK;
    }
    char *equals = strchr(line, '=');
    if (!equals || equals == line)
        return err_set(err, STATUS_USAGE, "found \"%.60s\", expected name = value", line);
    char *value = trim(equals + 1, line + len), *end = value + strlen(value);
    if (end - value > 1 && value[0] == '"' && end[-1] == '"') {
        end[-1] = '\0';
        value++;
    }
    out->name = trim(line, equals);
    out->value = value;
    return STATUS_OK;
}

void ini_read(const char *label, char *text, size_t len,
              int (*take)(void *context, const struct ini_line *line, struct err *err), void *context,
              struct buf *problems) {
    struct ini_line line = {.section = ""};
    text[len] = '\0';
    for (char *at = text, *next; at < text + len; at = next) {
        struct err err;
        char *newline = memchr(at, '\n', (size_t)(text + len - at)), *end = newline ? newline : text + len;
        next = end + 1;
        line.number++;
        bool nul = memchr(at, '\0', (size_t)(end - at)) != NULL;
        char *begin = trim(at, end);
        if (!nul && (!*begin || *begin == '#' || *begin == ';')) continue;
        line.name = NULL;
        int status = nul ? err_set(&err, STATUS_USAGE, "found a NUL byte, expected text")
                         : read_line(begin, &line, &err);
        if (status == STATUS_OK && line.name) status = take(context, &line, &err);
        if (status < 0) buf_printf(problems, "%s:%u: %s\n", label, line.number, err.text);
    }
}

int ini_load(const char *path, struct buf *out, bool *missing, struct err *err) {
    FILE *file = fopen(path, "re");
    size_t n = 0;
    *missing = !file && (errno == ENOENT || errno == ENOTDIR);
    if (!file) return err_set(err, STATUS_FAILED, "%s: %s", path, strerror(errno));
    while (out->len <= INI_MAX && (n = fread(buf_reserve(out, 4096), 1, 4096, file)) > 0) out->len += n;
    bool failed = ferror(file);
    int kept = errno;
    fclose(file);
    buf_append(out, "", 0); /* room for the NUL behind it */
    if (failed) return err_set(err, STATUS_FAILED, "%s: %s", path, strerror(kept));
    if (out->len > INI_MAX)
        return err_set(err, STATUS_FAILED, "%s: found more than %d bytes, expected a text file", path,
                       INI_MAX);
    return STATUS_OK;
}
