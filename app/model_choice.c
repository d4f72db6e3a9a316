#include "app/model_choice.h"

#include "app/offer.h"
#include "app/out.h"
#include "app/paths.h"
#include "app/pull_command.h"
#include "app/suggest.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHOWN_MAX = 6 }; /* names in one message */

/* ---- places ---- */

/* Builds have other abilities: their file tells them apart. */
static char *program_stamp(void) {
    struct stat st;
    struct buf stamp = {0};
    buf_puts(&stamp, "logitop " LOGITOP_VERSION);
    if (stat("/proc/self/exe", &st) == 0)
        buf_printf(&stamp, " %lld.%09ld %lld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                   (long long)st.st_size);
    return buf_take(&stamp);
}

void places_fill(struct own_places *own, const char *models_dir) {
    *own = (struct own_places){.own = path_models(),
                               .folder = models_dir ? path_expand(models_dir) : NULL,
                               .remembered = path_cache("models.json", NULL),
                               .used = path_state("models-used.json", NULL),
                               .program = program_stamp()};
    own->places = (struct model_places){.own = own->own,
                                        .folder = own->folder,
                                        .remembered = own->remembered,
                                        .used = own->used,
                                        .program = own->program};
    tool_memory_free(&own->places.free);
}

void places_free(struct own_places *own) {
    free(own->own);
    free(own->folder);
    free(own->remembered);
    free(own->used);
    free(own->program);
    *own = (struct own_places){0};
}

void model_note_used(const char *path) {
    char *used = path_state("models-used.json", NULL);
    if (used) models_note_used(used, path, NULL);
    free(used);
}

/* ---- by name ---- */

static bool begins_part(const char *name, size_t at) {
    return at == 0 || !isalnum((unsigned char)name[at - 1]);
}

static void lower(char *to, const char *from, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = (char)tolower((unsigned char)from[i]);
    to[n] = '\0';
}

/* How far a word is from the nearest piece of a name that begins where a part of it does. */
static unsigned distance_to_name(const char *word, const char *name) {
    enum { WORD_MAX = 60 };
    char mine[WORD_MAX + 1], piece[WORD_MAX + 2];
    size_t n = strlen(word), len = strlen(name);
    unsigned best = WORD_MAX;
    if (n > WORD_MAX) return best;
    lower(mine, word, n);
    for (size_t at = 0; at < len; at++)
        for (size_t take = n ? n - 1 : 0; begins_part(name, at) && take <= n + 1 && at + take <= len;
             take++) {
            lower(piece, name + at, take);
            unsigned distance = suggest_distance(mine, piece);
            if (distance < best) best = distance;
        }
    return best;
}

static const char *near_name(const struct model_list *list, const char *word) {
    unsigned allowed = strlen(word) >= 6 ? 2 : 1, best = allowed + 1;
    const char *name = NULL;
    for (size_t i = 0; i < list->n; i++) {
        unsigned distance = distance_to_name(word, list->entries[i].name);
        if (distance >= best) continue;
        best = distance;
        name = list->entries[i].name;
    }
    return name;
}

static int tell_none(const struct model_list *list, const char *name, struct err *err) {
    const char *near = near_name(list, name);
    if (near) return err_set(err, STATUS_MODEL, "there is no model \"%s\", did you mean %s?", name, near);
    return err_set(err, STATUS_MODEL,
                   "there is no model \"%s\"; `logitop list` (or F2) shows those that are here, `logitop "
                   "pull` (or /pull) fetches one",
                   name);
}

static int tell_several(const struct model_list *list, const char *name, const size_t *found, size_t n,
                        struct err *err) {
    struct buf names = {0};
    bool same = n > 1 && strcasecmp(list->entries[found[0]].name, list->entries[found[1]].name) == 0;
    for (size_t i = 0; i < n && i < SHOWN_MAX; i++) {
        const struct model_entry *entry = &list->entries[found[i]];
        buf_printf(&names, "%s%s", i ? ", " : "", same ? entry->path : entry->name);
    }
    if (n > SHOWN_MAX) buf_printf(&names, " and %zu more", n - SHOWN_MAX);
    int status = err_set(err, STATUS_MODEL, "\"%s\" may be %zu models: %s", name, n, names.data);
    buf_free(&names);
    return status;
}

int model_by_name(const struct model_list *list, const char *name, const struct model_entry **out,
                  struct err *err) {
    size_t *found = xcalloc(list->n + 1, sizeof *found);
    size_t n = models_find(list, name, found);
    int status = STATUS_OK;
    if (n == 1 && list->entries[*found].fault)
        status =
            err_set(err, STATUS_MODEL, "%s: %s", list->entries[*found].name, list->entries[*found].fault);
    else if (n == 1)
        *out = &list->entries[*found];
    else
        status = n ? tell_several(list, name, found, n, err) : tell_none(list, name, err);
    free(found);
    return status;
}

/* ---- the choice ---- */

/* A word that can only be meant as a file. */
static bool is_path(const char *text) {
    struct stat st;
    return strchr("/.~", text[0]) || (stat(text, &st) == 0 && !S_ISDIR(st.st_mode));
}

/* "mine.gguf" may be one of the list, whose names have no ending. Where there is none, opening the file
 * tells. */
static int choose_named(const struct model_list *list, const char *name, char **chosen, struct err *err) {
    const struct model_entry *entry = NULL;
    size_t n = strlen(name);
    bool is_file = n > 5 && strcasecmp(name + n - 5, ".gguf") == 0;
    char *stem = xmemdup(name, is_file ? n - 5 : n);
    int status = model_by_name(list, stem, &entry, is_file ? NULL : err);
    free(stem);
    if (status < 0 && !is_file) return status;
    *chosen = xstrdup(entry ? entry->path : name);
    return STATUS_OK;
}

static int choose_best(const struct options *options, const struct model_list *list, char **chosen,
                       struct err *err) {
    const struct model_entry *best = models_best(list);
    if (!list->n && options->command == COMMAND_CHAT && !pull_is_offline(options) && offer_possible())
        return offer_model(chosen, err);
    if (!best && list->n)
        return err_set(err, STATUS_MODEL,
                       "none of the %zu models here can be run on this machine; `logitop list` tells why",
                       list->n);
    if (!best)
        return err_set(err, STATUS_MODEL,
                       "there is no model yet: `logitop pull " OFFER_DEFAULT
                       "` fetches a small one (98 MB); -m FILE takes a GGUF file of your own");
    *chosen = xstrdup(best->path);
    return STATUS_OK;
}

static int choose_from_list(const struct options *options, const struct own_places *own, char **chosen,
                            struct err *err) {
    struct model_list list;
    models_scan(&own->places, &list);
    int status = options->model ? choose_named(&list, options->model, chosen, err)
                                : choose_best(options, &list, chosen, err);
    models_free(&list);
    return status;
}

int options_model(struct options *options, const char **path, struct err *err) {
    int status = STATUS_OK;
    if (!options->chosen_model && options->model && is_path(options->model))
        options->chosen_model = path_expand(options->model);
    if (!options->chosen_model && options->hf) status = pull_if_missing(options, &options->chosen_model, err);
    if (!options->chosen_model && status == STATUS_OK) {
        struct own_places own;
        places_fill(&own, options->models_dir);
        if (!options->model && own.used) options->chosen_model = models_last_used(own.used);
        if (!options->chosen_model) status = choose_from_list(options, &own, &options->chosen_model, err);
        places_free(&own);
    }
    *path = options->chosen_model;
    return status;
}

struct engine *open_engine(struct options *options, struct err *err) {
    if (options->script) {
        struct buf script = {0};
        struct engine *engine = NULL;
        if (read_input(options->script, &script, err) == STATUS_OK)
            engine = engine_scripted(script.data ? script.data : "");
        buf_free(&script);
        return engine;
    }
    const char *model;
    if (options_model(options, &model, err) < 0) return NULL;
    struct engine_options engine = options_engine(options, model);
    return engine_local(&engine);
}
