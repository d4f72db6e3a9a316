#include "models/partial.h"

#include "base/buf.h"
#include "base/mem.h"
#include "models/facts.h"
#include "models/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHUNKS = 16, CHUNK_MIN = 1 << 16, CHUNK_MAX = 64 << 20 };

/* Large enough that a request each is nothing, small enough that the hash follows soon. */
static uint64_t chunk_of(uint64_t size) {
    uint64_t chunk = (size / CHUNKS + CHUNK_MIN - 1) / CHUNK_MIN * CHUNK_MIN;
    return chunk < CHUNK_MIN ? CHUNK_MIN : chunk > CHUNK_MAX ? CHUNK_MAX : chunk;
}

/* What an earlier run noted, as far as the file has the bytes. */
static void read_notes(struct partial *p) {
    json_t *notes = json_file_read(p->notes);
    const json_t *done = json_object_get(notes, "done");
    struct stat st;
    uint64_t there = fstat(p->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    bool same = json_integer_value(json_object_get(notes, "size")) == (json_int_t)p->size &&
                json_integer_value(json_object_get(notes, "chunk")) == (json_int_t)p->chunk &&
                json_array_size(done) == p->n_chunks;
    for (size_t i = 0; same && i < p->n_chunks; i++) {
        json_int_t n = json_integer_value(json_array_get(done, i));
        uint64_t most = partial_chunk_size(p, i), begin = i * p->chunk;
        if (begin + most > there) most = there > begin ? there - begin : 0;
        p->done[i] = n <= 0 ? 0 : (uint64_t)n < most ? (uint64_t)n : most;
        p->total += p->done[i];
    }
    json_decref(notes);
}

int partial_note(struct partial *p, struct err *err) {
    if (!p->changed) return STATUS_OK;
    json_t *done = json_array();
    for (size_t i = 0; i < p->n_chunks; i++)
        json_array_append_new(done, json_integer((json_int_t)p->done[i]));
    json_t *notes =
        json_pack("{sI sI so}", "size", (json_int_t)p->size, "chunk", (json_int_t)p->chunk, "done", done);
    int status = json_file_write(p->notes, notes, err);
    json_decref(notes);
    if (status == STATUS_OK) p->changed = false;
    return status;
}

static int check_room(const struct partial *p, struct err *err) {
    struct statvfs fs;
    struct stat st;
    if (fstatvfs(p->fd, &fs) || fstat(p->fd, &st)) return STATUS_OK; /* writing will tell */
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize, held = (uint64_t)st.st_blocks * 512;
    uint64_t needed = p->size > held ? p->size - held : 0;
    if (needed <= free_bytes) return STATUS_OK;
    return err_set(err, STATUS_FAILED, "%s: %.1f GB are still needed, %.1f GB are free there", p->path,
                   (double)needed * 1e-9, (double)free_bytes * 1e-9);
}

/* Who had the lock may have finished the file, and what is open is the model itself. */
static bool has_its_name(const struct partial *p) {
    struct stat open_one, named;
    return fstat(p->fd, &open_one) == 0 && stat(p->path, &named) == 0 && open_one.st_ino == named.st_ino &&
           open_one.st_dev == named.st_dev;
}

int partial_open(struct partial *p, const char *target, uint64_t size, struct err *err) {
    struct buf path = {0};
    *p = (struct partial){.fd = -1, .size = size, .chunk = chunk_of(size)};
    p->n_chunks = (size_t)((size + p->chunk - 1) / p->chunk);
    buf_printf(&path, "%s.logitop-part", target);
    p->path = buf_take(&path);
    buf_printf(&path, "%s.json", p->path);
    p->notes = buf_take(&path);
    sha256_begin(&p->sha);
    p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (p->fd < 0) return err_set(err, STATUS_FAILED, "cannot write %s: %s", p->path, strerror(errno));
    if ((flock(p->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) || !has_its_name(p))
        return err_set(err, STATUS_BUSY, "another logitop is fetching this file already (%s)", p->path);
    int status = check_room(p, err); /* first: the size is what a server says */
    if (status < 0) return status;
    p->done = xcalloc(p->n_chunks + 1, sizeof *p->done);
    read_notes(p);
    return STATUS_OK;
}

void partial_close(struct partial *p) {
    if (p->done) partial_note(p, NULL);
    if (p->fd >= 0) close(p->fd);
    free(p->path);
    free(p->notes);
    free(p->done);
    *p = (struct partial){.fd = -1};
}

/* Bytes at the end of what a chunk has. They may reach over several chunks. */
static void mark(struct partial *p, uint64_t at, size_t n) {
    while (n > 0) {
        size_t i = (size_t)(at / p->chunk);
        uint64_t end = i * p->chunk + partial_chunk_size(p, i), take = end - at < n ? end - at : n;
        uint64_t reached = at + take - i * p->chunk;
        if (reached > p->done[i]) {
            p->total += reached - p->done[i];
            p->done[i] = reached;
        }
        at += take;
        n -= (size_t)take;
    }
    p->changed = true;
}

int partial_write(struct partial *p, uint64_t at, const void *bytes, size_t n, struct err *err) {
    for (size_t written = 0; written < n;) {
        ssize_t now = pwrite(p->fd, (const char *)bytes + written, n - written, (off_t)(at + written));
        if (now < 0 && errno == EINTR) continue;
        if (now <= 0)
            return err_set(err, STATUS_FAILED,
                           "cannot write %s: %s; what is there is kept, and the same command goes on",
                           p->path, now ? strerror(errno) : "nothing was taken");
        mark(p, at + written, (size_t)now);
        written += (size_t)now;
    }
    if (at == p->hashed) { /* the usual case: it need not be read again */
        sha256_add(&p->sha, bytes, n);
        p->hashed += n;
    }
    return STATUS_OK;
}

int partial_restart(struct partial *p, struct err *err) {
    memset(p->done, 0, p->n_chunks * sizeof *p->done);
    p->total = p->hashed = 0;
    p->changed = true;
    sha256_begin(&p->sha);
    if (ftruncate(p->fd, 0))
        return err_set(err, STATUS_FAILED, "cannot write %s: %s", p->path, strerror(errno));
    return partial_note(p, err);
}

bool partial_hash(struct partial *p, uint64_t most) {
    static const size_t piece = 1 << 16;
    unsigned char bytes[1 << 16];
    while (most > 0 && p->hashed < p->size) {
        size_t i = (size_t)(p->hashed / p->chunk);
        uint64_t end = i * p->chunk + p->done[i], n = end > p->hashed ? end - p->hashed : 0;
        if (n > piece) n = piece;
        if (n > most) n = most;
        ssize_t got = n ? pread(p->fd, bytes, (size_t)n, (off_t)p->hashed) : 0;
        if (got <= 0) return false;
        sha256_add(&p->sha, bytes, (size_t)got);
        p->hashed += (uint64_t)got;
        most -= (uint64_t)got;
    }
    return p->hashed < p->size;
}

int partial_finish(struct partial *p, const char *target, const char *digest, struct err *err) {
    char found[SHA256_HEX];
    if (p->hashed < p->size)
        return err_set(err, STATUS_FAILED, "%s: cannot read byte %llu of what was fetched", p->path,
                       (unsigned long long)p->hashed);
    struct sha256 sha = p->sha;
    sha256_end(&sha, found);
    if (strcmp(found, digest)) {
        partial_restart(p, NULL);
        unlink(p->path);
        unlink(p->notes);
        p->changed = false;
        return err_set(err, STATUS_FAILED,
                       "found SHA-256 %.12s..., expected %.12s...: what was fetched is wrong and was thrown "
                       "away; run it again to fetch "
                       "it anew",
                       found, digest);
    }
    if (fsync(p->fd) || rename(p->path, target))
        return err_set(err, STATUS_FAILED, "cannot write %s: %s", target, strerror(errno));
    unlink(p->notes);
    p->changed = false;
    return STATUS_OK;
}
