#include "models/list.h"

#include "base/buf.h"
#include "base/mem.h"
#include "models/facts.h"
#include "models/stores.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER_DEPTH = 3 };

const char *model_source_name(enum model_source source) {
    static const char *const names[] = {"logitop",   "Hugging Face", "Ollama",
                                        "llama.cpp", "LM Studio",    "folder"};
    return names[source];
}

const char *model_fit_name(enum model_fit fit) {
    static const char *const names[] = {"no", "CPU", "GPU"};
    return names[fit];
}

/* ---- what the stores add ---- */

static void entry_free(struct model_entry *entry) {
    free(entry->name);
    free(entry->other);
    free(entry->path);
    free(entry->digest);
    free(entry->fault);
}

void list_add(struct model_list *list, enum model_source source, char *name, char *path, char *digest,
              const char *fault) {
    const char *slash = strrchr(path, '/');
    struct model_entry entry = {.name = name, .path = path, .digest = digest, .source = source};
    if (model_name_hidden(slash ? slash + 1 : path)) {
        entry_free(&entry);
        return;
    }
    if (fault) entry.fault = xstrdup(fault);
    struct stat st;
    if (stat(path, &st) == 0) entry.device = st.st_dev, entry.inode = st.st_ino;
    grow_array(&list->entries, &list->cap, list->n + 1, sizeof *list->entries);
    list->entries[list->n++] = entry;
}

void list_note(struct model_list *list, const char *fmt, ...) {
    char note[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(note, sizeof note, fmt, args);
    va_end(args);
    free(list->note);
    list->note = xstrdup(note);
}

static void list_remove(struct model_list *list, size_t i) {
    entry_free(&list->entries[i]);
    memmove(&list->entries[i], &list->entries[i + 1], (--list->n - i) * sizeof *list->entries);
}

/* By its whole name: what is remembered of its files must hold in other folders too. */
static void loose_folder(struct model_list *list, const char *folder, int depth) {
    char *whole = realpath(folder, NULL);
    if (whole) store_folder(list, MODEL_SOURCE_FOLDER, whole, depth);
    free(whole);
}

/* Its folder may be no store, and its name may not end in .gguf. */
static void running_model(struct model_list *list, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? xmemdup(path, (size_t)(slash - path) + 1) : xstrdup("."),
         *whole = realpath(folder, NULL);
    char *file = whole ? path_join(whole, name) : NULL;
    size_t stem = strlen(name);
    if (whole) store_folder(list, MODEL_SOURCE_FOLDER, whole, 0);
    if (stem > 5 && strcasecmp(name + stem - 5, ".gguf") == 0) stem -= 5;
    if (file && is_file(file)) {
        list_add(list, MODEL_SOURCE_FOLDER, xmemdup(name, stem), file, NULL, NULL);
        file = NULL;
    }
    free(file);
    free(whole);
    free(folder);
}

static void scan_stores(const struct model_places *places, struct model_list *list) {
    char *hub = hub_root();
    const char *llama = getenv("LLAMA_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = home_folder();
    char *old = llama && *llama            ? xstrdup(llama)
                : cache && cache[0] == '/' ? path_join(cache, "llama.cpp")
                : home                     ? path_join(home, ".cache/llama.cpp")
                                           : NULL;
    if (places->own) store_folder(list, MODEL_SOURCE_OWN, places->own, FOLDER_DEPTH);
    if (hub) store_hub(list, hub);
    if (llama && *llama) store_hub(list, llama); /* llama.cpp keeps both layouts there */
    store_ollama(list);
    if (old) store_folder(list, MODEL_SOURCE_LLAMA_CPP, old, 0);
    store_lm_studio(list);
    if (places->folder) loose_folder(list, places->folder, FOLDER_DEPTH);
    if (places->running) running_model(list, places->running);
    loose_folder(list, ".", 0);
    loose_folder(list, "models", FOLDER_DEPTH);
    loose_folder(list, "user_data/models", FOLDER_DEPTH);
    free(old);
    free(hub);
}

/* ---- shards ---- */

/* Same folder, same name before the numbers, same count. */
static bool same_split(const char *a, const char *b, unsigned *number_of_b) {
    const char *name_a = strrchr(a, '/'), *name_b = strrchr(b, '/');
    if (!name_a || !name_b || name_a - a != name_b - b || strncmp(a, b, (size_t)(name_a - a))) return false;
    unsigned na, ca, nb, cb;
    size_t sa, sb;
    if (!model_name_shard(name_a + 1, &na, &ca, &sa) || !model_name_shard(name_b + 1, &nb, &cb, &sb))
        return false;
    *number_of_b = nb;
    return ca == cb && sa == sb && strncmp(name_a, name_b, sa + 1) == 0;
}

static void cut_shard_number(char *name) {
    size_t n = strlen(name);
    enum { NUMBERS = sizeof "-00001-of-00002" - 1 };
    if (n > NUMBERS && strncmp(name + n - 9, "-of-", 4) == 0) name[n - NUMBERS] = '\0';
}

/* One row a split model: the first shard's, if it is there; a missing one is a fault. */
static void join_shards(struct model_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        struct model_entry *entry = &list->entries[i];
        const char *slash = strrchr(entry->path, '/');
        unsigned number, count, other;
        size_t stem;
        if (!slash || !model_name_shard(slash + 1, &number, &count, &stem)) continue;
        unsigned char *seen = xcalloc(count + 1, 1);
        seen[number] = 1;
        for (size_t j = i + 1; j < list->n;) {
            if (!same_split(list->entries[i].path, list->entries[j].path, &other)) {
                j++;
                continue;
            }
            seen[other] = 1;
            if (other < number) {
                struct model_entry *later = &list->entries[i], *first = &list->entries[j];
                char *path = first->path;
                first->path = later->path;
                later->path = path;
                later->device = first->device;
                later->inode = first->inode;
                number = other;
            }
            list_remove(list, j);
        }
        entry = &list->entries[i];
        cut_shard_number(entry->name);
        free(entry->digest); /* it is one shard's */
        entry->digest = NULL;
        for (unsigned k = 1; k <= count && !entry->fault; k++)
            if (!seen[k]) {
                char fault[64];
                snprintf(fault, sizeof fault, "file %u of %u is missing", k, count);
                entry->fault = xstrdup(fault);
            }
        free(seen);
    }
}

/* ---- the same file in several places ---- */

static bool same_file(const struct model_entry *a, const struct model_entry *b) {
    if (a->digest && b->digest) return strcmp(a->digest, b->digest) == 0;
    return a->inode && a->inode == b->inode && a->device == b->device;
}

static void add_other_name(struct model_entry *entry, const char *name) {
    struct buf names = {0};
    if (strcmp(entry->name, name) == 0) return;
    if (entry->other) buf_printf(&names, "%s\n", entry->other);
    buf_puts(&names, name);
    free(entry->other);
    entry->other = buf_take(&names);
}

/* What was found first stays, and goes by its other names too. */
static void merge_same(struct model_list *list) {
    for (size_t i = 0; i < list->n; i++)
        for (size_t j = i + 1; j < list->n;) {
            struct model_entry *a = &list->entries[i], *b = &list->entries[j];
            if (a->fault || b->fault || !same_file(a, b)) {
                j++;
                continue;
            }
            if (a->source != b->source) a->also |= 1u << b->source;
            add_other_name(a, b->name);
            list_remove(list, j);
        }
}

/* Two files of one repository whose names tell the same quantisation go by their files' names. */
static void part_names(struct model_list *list) {
    for (size_t i = 0; i < list->n; i++)
        for (size_t j = i + 1; j < list->n; j++) {
            struct model_entry *two[] = {&list->entries[i], &list->entries[j]};
            if (two[0]->source != MODEL_SOURCE_HUB || two[1]->source != MODEL_SOURCE_HUB) continue;
            if (strcmp(two[0]->name, two[1]->name)) continue;
            for (int k = 0; k < 2; k++) {
                const char *slash = strrchr(two[k]->path, '/'), *colon = strrchr(two[k]->name, ':');
                if (!slash || !colon) continue;
                struct buf name = {0};
                buf_printf(&name, "%.*s/%.*s", (int)(colon - two[k]->name), two[k]->name,
                           (int)(strlen(slash + 1) - 5), slash + 1);
                free(two[k]->name);
                two[k]->name = buf_take(&name);
                cut_shard_number(two[k]->name);
            }
        }
}

/* ---- facts ---- */

static uint64_t size_of(const struct model_entry *entry) {
    struct stat st;
    if (entry->facts.size) return entry->facts.size;
    return stat(entry->path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void fill_facts(struct model_entry *entry, struct facts_memory *memory,
                       const struct memory_free *free_now) {
    struct err err;
    if (!entry->fault && facts_of(memory, entry->path, &entry->facts, &err) < 0)
        entry->fault = xstrdup(err.text);
    if (!entry->fault && entry->facts.fault[0]) entry->fault = xstrdup(entry->facts.fault);
    entry->size = size_of(entry);
    if (entry->fault) return;
    const struct model_facts *facts = &entry->facts;
    if (facts->gpu_need && facts->gpu_need <= free_now->gpu)
        entry->fit = MODEL_FIT_GPU;
    else if (facts->cpu_need && facts->cpu_need <= free_now->cpu)
        entry->fit = MODEL_FIT_CPU;
}

static void fill_used(struct model_list *list, const char *used_file) {
    json_t *used = json_file_read(used_file);
    for (size_t i = 0; i < list->n; i++)
        list->entries[i].last_used = json_integer_value(json_object_get(used, list->entries[i].path));
    json_decref(used);
}

static int by_use(const void *left, const void *right) {
    const struct model_entry *a = left, *b = right;
    if (!a->fault != !b->fault) return a->fault ? 1 : -1;
    if (a->last_used != b->last_used) return a->last_used > b->last_used ? -1 : 1;
    int order = strcasecmp(a->name, b->name);
    return order ? order : strcmp(a->path, b->path);
}

void models_scan(const struct model_places *places, struct model_list *list) {
    struct facts_memory memory;
    *list = (struct model_list){0};
    scan_stores(places, list);
    join_shards(list);
    merge_same(list);
    part_names(list);
    facts_open(&memory, places->remembered, places->program, places->free.gpu != 0);
    for (size_t i = 0; i < list->n && !(places->stop && atomic_load(places->stop)); i++)
        fill_facts(&list->entries[i], &memory, &places->free);
    facts_close(&memory, places->remembered, places->program);
    fill_used(list, places->used);
    if (list->n) qsort(list->entries, list->n, sizeof *list->entries, by_use);
}

void models_scan_hub(const char *root, struct model_list *list) {
    *list = (struct model_list){0};
    store_hub(list, root);
    join_shards(list);
    part_names(list);
}

void models_free(struct model_list *list) {
    for (size_t i = 0; i < list->n; i++) entry_free(&list->entries[i]);
    free(list->entries);
    free(list->note);
    *list = (struct model_list){0};
}

/* ---- finding ---- */

static bool is_name(const char *name, size_t n, const char *wanted) {
    size_t len = strlen(wanted);
    static const char latest[] = ":latest";
    if (n == len + sizeof latest - 1 && strncasecmp(name + len, latest, sizeof latest - 1) == 0) n = len;
    return n == len && strncasecmp(name, wanted, n) == 0;
}

static bool has_name(const struct model_entry *entry, const char *wanted) {
    if (is_name(entry->name, strlen(entry->name), wanted)) return true;
    for (const char *name = entry->other; name;) {
        size_t n = strcspn(name, "\n");
        if (is_name(name, n, wanted)) return true;
        name = name[n] ? name + n + 1 : NULL;
    }
    return false;
}

static bool has_part(const struct model_entry *entry, const char *wanted) {
    return strcasestr(entry->name, wanted) || (entry->other && strcasestr(entry->other, wanted));
}

static size_t find_by(const struct model_list *list, const char *name, bool faulty, size_t *found,
                      bool (*fits)(const struct model_entry *entry, const char *wanted)) {
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++)
        if (!list->entries[i].fault == !faulty && fits(&list->entries[i], name)) found[n++] = i;
    return n;
}

size_t models_find(const struct model_list *list, const char *name, size_t *found) {
    size_t n = find_by(list, name, false, found, has_name);
    if (!n) n = find_by(list, name, true, found, has_name);
    if (!n) n = find_by(list, name, false, found, has_part);
    return n ? n : find_by(list, name, true, found, has_part);
}

bool model_entry_is(const struct model_entry *entry, const char *path) {
    struct stat st;
    if (strcmp(entry->path, path) == 0) return true;
    return stat(path, &st) == 0 && entry->inode == st.st_ino && entry->device == st.st_dev;
}

/* One that can chat, then one for the card, then the larger. */
static bool is_better(const struct model_entry *a, const struct model_entry *b) {
    if (a->facts.has_template != b->facts.has_template) return a->facts.has_template;
    return a->fit != b->fit ? a->fit > b->fit : a->size > b->size;
}

const struct model_entry *models_best(const struct model_list *list) {
    const struct model_entry *best = NULL;
    for (size_t i = 0; i < list->n; i++) {
        const struct model_entry *entry = &list->entries[i];
        if (entry->fit != MODEL_FIT_NOT && (!best || is_better(entry, best))) best = entry;
    }
    return best;
}
