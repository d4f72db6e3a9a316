#include "models/facts.h"

#include "base/buf.h"
#include "models/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- small JSON files ---- */

json_t *json_file_read(const char *path) {
    char *text = path ? read_small(path) : NULL;
    json_t *object = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    if (json_is_object(object)) return object;
    json_decref(object);
    return json_object();
}

int json_file_write(const char *path, const json_t *object, struct err *err) {
    struct buf fresh = {0};
    buf_printf(&fresh, "%s.%ld", path, (long)getpid());
    int fd = open(fresh.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && json_dumpfd(object, fd, JSON_COMPACT | JSON_SORT_KEYS) == 0;
    if (fd >= 0 && close(fd)) written = false;
    bool placed = written && rename(fresh.data, path) == 0;
    int failed = errno;
    if (!placed && fd >= 0) unlink(fresh.data);
    buf_free(&fresh);
    return placed ? STATUS_OK : err_set(err, STATUS_FAILED, "cannot write %s: %s", path, strerror(failed));
}

/* ---- facts ---- */

void facts_open(struct facts_memory *memory, const char *path, const char *program, bool has_gpu) {
    json_t *whole = json_file_read(path);
    const char *by = json_string_value(json_object_get(whole, "program"));
    json_t *files = by && program && strcmp(by, program) == 0 ? json_object_get(whole, "files") : NULL;
    *memory = (struct facts_memory){.files = json_is_object(files) ? json_incref(files) : json_object(),
                                    .has_gpu = has_gpu};
    json_decref(whole);
}

static void put_text(char *out, size_t size, const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(out, size, "%s", text ? text : "");
}

static uint64_t natural(const json_t *object, const char *key) {
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static void facts_from_json(const json_t *object, struct model_facts *out) {
    *out = (struct model_facts){.size = natural(object, "bytes"),
                                .n_parameters = natural(object, "parameters"),
                                .context = (uint32_t)natural(object, "context"),
                                .has_template = json_is_true(json_object_get(object, "template")),
                                .cpu_need = natural(object, "cpu_need"),
                                .gpu_need = natural(object, "gpu_need"),
                                .kv_position = natural(object, "kv_position")};
    put_text(out->name, sizeof out->name, object, "name");
    put_text(out->architecture, sizeof out->architecture, object, "architecture");
    put_text(out->quantisation, sizeof out->quantisation, object, "quantisation");
    put_text(out->fault, sizeof out->fault, object, "fault");
}

static json_t *facts_to_json(const struct model_facts *facts, const struct stat *st, bool has_gpu) {
    return json_pack("{sI sI sI sb ss ss ss ss sI sI sI sb sI sI sI}", "seconds",
                     (json_int_t)st->st_mtim.tv_sec, "nanoseconds", (json_int_t)st->st_mtim.tv_nsec, "size",
                     (json_int_t)st->st_size, "gpu", has_gpu, "name", facts->name, "architecture",
                     facts->architecture, "quantisation", facts->quantisation, "fault", facts->fault, "bytes",
                     (json_int_t)facts->size, "parameters", (json_int_t)facts->n_parameters, "context",
                     (json_int_t)facts->context, "template", facts->has_template, "cpu_need",
                     (json_int_t)facts->cpu_need, "gpu_need", (json_int_t)facts->gpu_need, "kv_position",
                     (json_int_t)facts->kv_position);
}

/* A machine may have got a card since. */
static bool is_current(const json_t *object, const struct stat *st, bool has_gpu) {
    return object &&
           json_integer_value(json_object_get(object, "seconds")) == (json_int_t)st->st_mtim.tv_sec &&
           json_integer_value(json_object_get(object, "nanoseconds")) == (json_int_t)st->st_mtim.tv_nsec &&
           json_integer_value(json_object_get(object, "size")) == (json_int_t)st->st_size &&
           (!has_gpu || json_is_true(json_object_get(object, "gpu")));
}

int facts_of(struct facts_memory *memory, const char *path, struct model_facts *out, struct err *err) {
    struct stat st;
    if (stat(path, &st)) return err_set(err, STATUS_MODEL, "%s", strerror(errno));
    const json_t *known = json_object_get(memory->files, path);
    if (is_current(known, &st, memory->has_gpu)) {
        facts_from_json(known, out);
        return STATUS_OK;
    }
    int status = tool_facts(path, out, err);
    if (status < 0) return status;
    json_t *fresh = facts_to_json(out, &st, memory->has_gpu);
    if (fresh && json_object_set_new(memory->files, path, fresh) == 0) memory->changed = true;
    return STATUS_OK;
}

void facts_close(struct facts_memory *memory, const char *path, const char *program) {
    if (memory->changed && path && program) {
        json_t *whole = json_pack("{ss sO}", "program", program, "files", memory->files);
        json_file_write(path, whole, NULL);
        json_decref(whole);
    }
    json_decref(memory->files);
    memory->files = NULL;
}
