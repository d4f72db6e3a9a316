#include "infer/gguf.h"

#include "base/buf.h"
#include "base/mem.h"
#include "infer/gguf_guard.h"
#include "infer/gguf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHOWN_MAX = 240, METADATA_MAX = 1 << 30 };

/* ---- files ---- */

static const char *shown_path(const char *path) {
    size_t len = strlen(path);
    return len <= SHOWN_MAX ? path : path + len - SHOWN_MAX;
}

static const char *kind_of(mode_t mode) {
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

static int open_regular(struct gguf_file *file, struct err *err) {
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (file->fd < 0) {
        int error = errno;
        bool dangling = error == ENOENT && lstat(file->path, &st) == 0;
        return err_set(err, STATUS_MODEL, "%s: cannot open: %s", file->shown,
                       dangling ? "a link to a file that is not there" : strerror(error));
    }
    if (fstat(file->fd, &st) != 0)
        return err_set(err, STATUS_MODEL, "%s: cannot look at it: %s", file->shown, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, STATUS_MODEL, "%s: found %s, expected a file", file->shown, kind_of(st.st_mode));
    file->size = (uint64_t)st.st_size;
    return STATUS_OK;
}

/* Address space for the header: as large as the file at most, given back but for what the header took. */
static int reserve_header(struct gguf_file *file, struct err *err) {
    file->reserved = file->size < METADATA_MAX ? (size_t)file->size : METADATA_MAX;
    if (!file->reserved) return STATUS_OK;
    file->header = mmap(NULL, file->reserved, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (file->header == MAP_FAILED) {
        file->header = NULL;
        return err_set(err, STATUS_MEMORY, "%s: no %zu bytes of address space for its header", file->shown,
                       file->reserved);
    }
    return STATUS_OK;
}

static size_t page_round(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) & ~(page - 1);
}

static void trim_header(struct gguf_file *file) {
    size_t kept = page_round(file->filled), all = page_round(file->reserved);
    if (kept < all) munmap(file->header + kept, all - kept);
    file->reserved = file->filled;
}

static void drop_header(struct gguf_file *file) {
    if (file->header && file->reserved) munmap(file->header, page_round(file->reserved));
    file->header = NULL;
    file->reserved = file->filled = 0;
}

static int add_file(struct gguf *gguf, char *path, struct err *err) {
    gguf->files = xrealloc(gguf->files, (gguf->n_files + 1) * sizeof *gguf->files);
    struct gguf_file *file = &gguf->files[gguf->n_files++];
    *file = (struct gguf_file){
        .path = path, .shown = shown_path(path), .fd = -1, .alignment = GGUF_ALIGNMENT_DEFAULT};
    int status = open_regular(file, err);
    return status ? status : reserve_header(file, err);
}

static void table_free(struct gguf_table *table) {
    free(table->values);
    strmap_free(&table->names);
}

/* ---- split models: NAME-00001-of-00003.gguf ---- */

/* The path of file `index` of `count`, named like `path`; NULL if that is not named as one of `count` files.
 */
static char *sibling_path(const char *path, uint32_t index, uint32_t count) {
    char tail[32];
    size_t len = strlen(path), n_tail = (size_t)snprintf(tail, sizeof tail, "-of-%05u.gguf", count);
    if (len < n_tail + 6 || strcmp(path + len - n_tail, tail) != 0) return NULL;
    size_t n_stem = len - n_tail - 6; /* before "-00001" */
    if (path[n_stem] != '-' || strspn(path + n_stem + 1, "0123456789") != 5) return NULL;
    struct buf out = {0};
    buf_append(&out, path, n_stem);
    buf_printf(&out, "-%05u%s", index + 1, tail);
    return buf_take(&out);
}

static int parse_sibling(struct gguf *gguf, uint32_t index, uint16_t count, struct faults *faults,
                         struct err *err) {
    char *path = sibling_path(gguf->files[0].path, index, count);
    if (!path)
        return err_set(err, STATUS_MODEL,
                       "%s: key split.count: found %u, expected a file named ...-00001-of-%05u.gguf",
                       gguf->files[0].shown, count, count);
    int status = add_file(gguf, path, err);
    if (status) return err_prefix(err, "%s: file %u of %u", gguf->files[0].shown, index + 1, count);
    struct gguf_table table = {0};
    struct gguf_file *file = &gguf->files[index];
    uint16_t number = 0, total = 0;
    status = gguf_parse(gguf, index, GGUF_WHOLE, &table, faults, err);
    if (!status) status = gguf_table_u16(file, &table, "split.no", &number, err);
    if (!status) status = gguf_table_u16(file, &table, "split.count", &total, err);
    if (!status && (number != index || total != count))
        status = err_set(err, STATUS_MODEL, "%s: found split.no %u and split.count %u, expected %u and %u",
                         file->shown, number, total, index, count);
    table_free(&table);
    drop_header(file);
    return status;
}

static int open_siblings(struct gguf *gguf, struct faults *faults, struct err *err) {
    uint16_t count = 1;
    int status = gguf_u16(gguf, "split.count", GGUF_OPTIONAL, &count, err);
    for (uint32_t i = 1; i < count && !status; i++) status = parse_sibling(gguf, i, count, faults, err);
    if (status || count <= 1) return status;
    int32_t total = (int32_t)gguf->n_tensors;
    status = gguf_i32(gguf, "split.tensors.count", GGUF_OPTIONAL, &total, err);
    if (!status && total != (int32_t)gguf->n_tensors)
        return err_set(err, STATUS_MODEL,
                       "%s: key split.tensors.count: found %" PRId32
                       ", expected the %zu tensors of its files",
                       gguf->files[0].shown, total, gguf->n_tensors);
    return status;
}

/* ---- open, close ---- */

static int open_one(char *path, enum gguf_part part, struct faults *faults, struct gguf **out,
                    struct err *err) {
    struct gguf *gguf = xcalloc(1, sizeof *gguf);
    gguf->guard = -1;
    *out = gguf;
    int status = add_file(gguf, path, err);
    if (status) return status;
    status = gguf_parse(gguf, 0, part, &gguf->table, faults, err);
    trim_header(&gguf->files[0]);
    return status;
}

/* The path of the first file, if this is a later one of a split model. */
static int find_first(const struct gguf *gguf, char **path, struct err *err) {
    uint16_t number = 0, count = 0;
    int status;
    *path = NULL;
    if ((status = gguf_u16(gguf, "split.no", GGUF_OPTIONAL, &number, err)) ||
        (status = gguf_u16(gguf, "split.count", GGUF_OPTIONAL, &count, err)))
        return status;
    if (number == 0) return STATUS_OK;
    *path = sibling_path(gguf->files[0].path, 0, count);
    if (*path && strcmp(*path, gguf->files[0].path) != 0) return STATUS_OK;
    free(*path);
    *path = NULL;
    return err_set(err, STATUS_MODEL,
                   "%s: key split.no: found %u: open the first file of the split model instead",
                   gguf->files[0].shown, number);
}

static int open_whole(const char *path, enum gguf_part part, struct faults *faults, struct gguf **out,
                      struct err *err) {
    int status = open_one(xstrdup(path), part, faults, out, err);
    if (status) return status;
    char *first;
    status = find_first(*out, &first, err);
    if (status) return status;
    if (first) {
        gguf_close(*out);
        status = open_one(first, part, faults, out, err);
        uint16_t number = 0;
        if (!status) status = gguf_u16(*out, "split.no", GGUF_OPTIONAL, &number, err);
        if (!status && number != 0)
            status =
                err_set(err, STATUS_MODEL, "%s: key split.no: found %u, expected 0", gguf_path(*out), number);
    }
    if (!status && part == GGUF_WHOLE) status = open_siblings(*out, faults, err);
    return status;
}

int gguf_open(const char *path, enum gguf_part part, struct faults *faults, struct gguf **out,
              struct err *err) {
    struct err own;
    if (!err) err = &own;
    *out = NULL;
    int status = open_whole(path, part, faults, out, err);
    bool readable = *out && (*out)->files[0].header; /* something of it can be shown */
    if (status && readable) status = fault_note(faults, status, err);
    if (status) {
        gguf_close(*out);
        *out = NULL;
    }
    return status;
}

void gguf_close(struct gguf *gguf) {
    if (!gguf) return;
    guard_remove(gguf->guard);
    if (gguf->map) munmap(gguf->map, gguf->map_size);
    for (uint32_t i = 0; i < gguf->n_files; i++) {
        drop_header(&gguf->files[i]);
        if (gguf->files[i].fd >= 0) close(gguf->files[i].fd);
        free(gguf->files[i].path);
    }
    free(gguf->files);
    table_free(&gguf->table);
    free(gguf->tensors);
    strmap_free(&gguf->tensor_names);
    arena_free(&gguf->names);
    free(gguf);
}

/* ---- the mapping ---- */

static int map_files(struct gguf *gguf, struct err *err) {
    size_t begin = 0, next = 0, tensor = 0;
    for (uint32_t i = 0; i < gguf->n_files; i++, begin = next) {
        const struct gguf_file *file = &gguf->files[i];
        next = begin + page_round((size_t)file->size);
        void *at =
            mmap(gguf->map + begin, (size_t)file->size, PROT_READ, MAP_SHARED | MAP_FIXED, file->fd, 0);
        if (at == MAP_FAILED)
            return err_set(err, STATUS_MEMORY, "%s: cannot map: %s", file->shown, strerror(errno));
        for (; tensor < gguf->n_tensors && gguf->tensors[tensor].file == i; tensor++) {
            struct gguf_tensor *t = &gguf->tensors[tensor];
            t->data = gguf->map + begin + t->offset;
        }
    }
    return STATUS_OK;
}

int gguf_map(struct gguf *gguf, struct err *err) {
    size_t size = 0;
    for (uint32_t i = 0; i < gguf->n_files; i++)
        if (gguf->files[i].size > SIZE_MAX / 2 ||
            !size_add(size, page_round((size_t)gguf->files[i].size), &size))
            return err_set(err, STATUS_MODEL, "%s: too large to map", gguf->files[i].shown);
    void *map = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return err_set(err, STATUS_MEMORY, "%s: no %zu bytes of address space to map it", gguf_path(gguf),
                       size);
    gguf->map = map;
    gguf->map_size = size;
    int status = map_files(gguf, err);
    if (status) return status;
    gguf->guard = guard_add(map, size);
    if (gguf->guard < 0)
        return err_set(err, STATUS_FAILED, "%s: too many model files are open", gguf_path(gguf));
    return gguf_check(gguf, err); /* it may have shrunk since it was measured */
}

int gguf_check(const struct gguf *gguf, struct err *err) {
    for (uint32_t i = 0; i < gguf->n_files; i++) {
        const struct gguf_file *file = &gguf->files[i];
        struct stat st;
        if (fstat(file->fd, &st) != 0 || (uint64_t)st.st_size < file->size)
            return err_set(err, STATUS_MODEL,
                           "%s: the file shrank while it was in use, expected %" PRIu64 " bytes", file->shown,
                           file->size);
    }
    if (guard_hit(gguf->guard))
        return err_set(err, STATUS_MODEL, "%s: parts of the file could not be read", gguf_path(gguf));
    return STATUS_OK;
}

int gguf_read(const struct gguf *gguf, const struct gguf_tensor *tensor, uint64_t at, void *to, size_t size,
              struct err *err) {
    const struct gguf_file *file = &gguf->files[tensor->file];
    if (at > tensor->size || size > tensor->size - at)
        return err_set(err, STATUS_FAILED, "%s: tensor %s: read beyond its end", file->shown, tensor->name);
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(file->fd, (char *)to + done, size - done, (off_t)(tensor->offset + at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return err_set(err, STATUS_MODEL, "%s: tensor %s: byte %" PRIu64 ": %s", file->shown,
                           tensor->name, tensor->offset + at + done,
                           got < 0 ? strerror(errno) : "the file ends; it shrank while it was in use");
        done += (size_t)got;
    }
    return STATUS_OK;
}

/* ---- facts ---- */

const char *gguf_path(const struct gguf *gguf) {
    return gguf->files[0].shown;
}

uint32_t gguf_version(const struct gguf *gguf) {
    return gguf->files[0].version;
}

uint32_t gguf_alignment(const struct gguf *gguf) {
    return gguf->files[0].alignment;
}

uint32_t gguf_n_files(const struct gguf *gguf) {
    return gguf->n_files;
}

uint64_t gguf_size(const struct gguf *gguf) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < gguf->n_files; i++) size += gguf->files[i].size;
    return size;
}

int gguf_fd(const struct gguf *gguf, uint32_t file) {
    return gguf->files[file].fd;
}

size_t gguf_n_values(const struct gguf *gguf) {
    return gguf->table.n;
}

const struct gguf_value *gguf_value_at(const struct gguf *gguf, size_t i) {
    return &gguf->table.values[i];
}

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key) {
    return gguf_table_find(&gguf->table, key);
}

size_t gguf_n_tensors(const struct gguf *gguf) {
    return gguf->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, size_t i) {
    return &gguf->tensors[i];
}

const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, const char *name) {
    uint32_t at;
    return strmap_get(&gguf->tensor_names, name, strlen(name), &at) ? &gguf->tensors[at] : NULL;
}
