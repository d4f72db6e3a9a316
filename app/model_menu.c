#include "app/model_menu.h"

#include "app/amount.h"
#include "app/paths.h"
#include "app/pull_command.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/thread.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { NOTICE_MS = 6000, LIST_ID = 0x6D6F6465 };

/* ---- looking for models, in a thread ---- */

struct model_scan {
    pthread_t thread;
    int fd; /* readable when it is done */
    atomic_bool stop, done;
    const char *models_dir;
    char *running;               /* the path of the model that speaks, or NULL */
    uint64_t held_cpu, held_gpu; /* bytes of the model that speaks: another one may have them */
    struct model_list list;
};

static void *scan_run(void *arg) {
    struct model_scan *scan = arg;
    struct own_places own;
    places_fill(&own, scan->models_dir);
    own.places.free.cpu += scan->held_cpu;
    if (own.places.free.gpu) own.places.free.gpu += scan->held_gpu;
    own.places.running = scan->running;
    own.places.stop = &scan->stop;
    models_scan(&own.places, &scan->list);
    places_free(&own);
    atomic_store(&scan->done, true);
    fd_wake(scan->fd);
    return NULL;
}

static struct model_scan *scan_start(const struct chat *chat) {
    struct model_scan *scan = xcalloc(1, sizeof *scan);
    scan->fd = eventfd(0, EFD_CLOEXEC);
    scan->models_dir = chat->models_dir;
    scan->running = chat->model_path ? xstrdup(chat->model_path) : NULL;
    if (chat->info) {
        bool gpu = strncmp(chat->info->device, "NVIDIA", 6) == 0;
        *(gpu ? &scan->held_gpu : &scan->held_cpu) = chat->info->memory_used;
    }
    if (thread_start(&scan->thread, scan_run, scan) == 0) return scan;
    close(scan->fd);
    free(scan->running);
    free(scan);
    return NULL;
}

/* Waits for its end: soon, where it was stopped. */
static void scan_end(struct model_scan *scan, struct model_list *list) {
    if (!scan) return;
    pthread_join(scan->thread, NULL);
    if (list)
        *list = scan->list;
    else
        models_free(&scan->list);
    close(scan->fd);
    free(scan->running);
    free(scan);
}

/* ---- the list ---- */

enum { NAME, SOURCE, SIZE, QUANT, CONTEXT, FITS, N_COLUMNS };
_Static_assert(N_COLUMNS <= (int)UI_PICKER_COLUMNS, "the picker's columns");

struct model_row {
    char size[AMOUNT_MAX], context[AMOUNT_MAX];
};

/* What names a model as long as the program runs, wherever it stands in the list: FNV-1a, 64 bits, of its
 * path (http://www.isthe.com/chongo/tech/comp/fnv/). */
static uint64_t row_id(const struct model_entry *entry) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const char *c = entry->path; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    return hash;
}

static void fill_rows(struct model_menu *menu) {
    const struct model_list *list = &menu->list;
    free(menu->rows);
    free(menu->texts);
    menu->rows = xcalloc(list->n + 1, sizeof *menu->rows);
    menu->texts = xcalloc(list->n + 1, sizeof *menu->texts);
    for (size_t i = 0; i < list->n; i++) {
        const struct model_entry *entry = &list->entries[i];
        struct model_row *texts = &menu->texts[i];
        amount_bytes(entry->size, texts->size);
        amount_tokens(entry->facts.context, texts->context);
        menu->rows[i] = (struct ui_picker_row){.id = row_id(entry),
                                               .columns = {[NAME] = entry->name,
                                                           [SOURCE] = model_source_name(entry->source),
                                                           [SIZE] = texts->size,
                                                           [QUANT] = entry->facts.quantisation,
                                                           [CONTEXT] = texts->context,
                                                           [FITS] = model_fit_name(entry->fit)},
                                               .why = entry->fault,
                                               .current = menu->chat->model_path &&
                                                          model_entry_is(entry, menu->chat->model_path)};
    }
    menu->picker = (struct ui_picker){.id = LIST_ID,
                                      .title = "Models",
                                      .heads = {"name", "source", "size", "quant", "context", "fits"},
                                      .n_columns = N_COLUMNS,
                                      .right = 1u << 2 | 1u << 4, /* size, context */
                                      .rows = menu->rows,
                                      .n_rows = list->n,
                                      .empty = menu->scan ? "looking for models..."
                                                          : "no model was found; /pull NAME fetches one",
                                      .verb = "go on with it"};
}

/* What was found before is shown at once, and looked for again meanwhile. */
void model_menu_open(struct model_menu *menu) {
    if (!menu->scan) menu->scan = scan_start(menu->chat);
    menu->open = true;
    fill_rows(menu);
}

static void tell(struct model_menu *menu, const struct err *err) {
    ui_notice(menu->ui, NOTICE_MS, "%s", err->text);
}

/* Not even alone: the model that speaks is not closed for it. */
static int refuse(const struct model_entry *entry, struct err *err) {
    const struct model_facts *facts = &entry->facts;
    char need[AMOUNT_MAX];
    uint64_t least = facts->gpu_need && facts->gpu_need < facts->cpu_need ? facts->gpu_need : facts->cpu_need;
    return err_set(err, STATUS_MEMORY,
                   "%s needs %s of memory with a short context: there is not so much here", entry->name,
                   amount_bytes(least, need));
}

static void pick(struct model_menu *menu, uint64_t id) {
    struct err err = {0};
    const struct model_entry *entry = menu->list.entries, *end = entry + menu->list.n;
    while (entry < end && row_id(entry) != id) entry++;
    if (entry == end) return;
    const char *running = menu->chat->model_path;
    bool same = running && model_entry_is(entry, running); /* perhaps by another path */
    menu->open = false;
    int status = entry->fit == MODEL_FIT_NOT
                     ? refuse(entry, &err)
                     : chat_use_model(menu->chat, same ? running : entry->path, &entry->facts, &err);
    if (status < 0) tell(menu, &err);
}

bool model_menu_act(struct model_menu *menu, const struct ui_action *action) {
    if (action->type == UI_ACTION_MODELS) {
        model_menu_open(menu);
        return true;
    }
    if (!menu->open) return false;
    switch (action->type) {
    case UI_ACTION_PICK: pick(menu, action->id); return true;
    case UI_ACTION_ESCAPE:
    case UI_ACTION_INTERRUPT: menu->open = false; return true;
    case UI_ACTION_BRANCHES:
    case UI_ACTION_CHATS: menu->open = false; return false; /* one list at a time */
    default: return false;
    }
}

/* ---- fetching ---- */

int model_menu_pull(struct model_menu *menu, const char *name, struct err *err) {
    if (strcmp(name, "stop") == 0) {
        if (!menu->pull) return err_set(err, STATUS_USAGE, "nothing is being fetched");
        pull_stop(menu->pull);
        return STATUS_OK;
    }
    if (menu->pull) return err_set(err, STATUS_BUSY, "another model is being fetched; /pull stop stops that");
    int status = pull_check_name(name, err);
    if (status == STATUS_OK) menu->pull = pull_start(name, NULL);
    return status;
}

static void pull_ended(struct model_menu *menu, const struct pull_progress *progress) {
    struct err err = {0};
    char *path = NULL;
    int status = pull_finish(menu->pull, &path, &err);
    menu->pull = NULL;
    buf_clear(&menu->task);
    if (status == STATUS_STOPPED)
        ui_notice(menu->ui, NOTICE_MS,
                  "stopped; what was fetched of %s is kept, and /pull goes on from there", progress->name);
    else if (status < 0)
        tell(menu, &err);
    else
        ui_notice(menu->ui, NOTICE_MS, "%s is here: F2 goes on with it", path_name(path));
    free(path);
    if (menu->open && status == STATUS_OK) model_menu_open(menu);
}

static void pump_pull(struct model_menu *menu) {
    enum { TASK_COLUMNS = 76 };
    struct pull_progress progress;
    if (!menu->pull) return;
    bool ended = pull_progress(menu->pull, &progress);
    buf_clear(&menu->task);
    pull_print(&progress, TASK_COLUMNS, &menu->task);
    if (ended) pull_ended(menu, &progress);
}

/* ---- beside the chat ---- */

void model_menu_fds(const struct model_menu *menu, struct pollfd fds[MODEL_MENU_FDS]) {
    struct engine *coming = menu->chat->coming;
    fds[0] = (struct pollfd){.fd = menu->scan ? menu->scan->fd : -1, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = menu->pull ? pull_fd(menu->pull) : -1, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = coming ? coming->ops->wake_fd(coming) : -1, .events = POLLIN};
}

void model_menu_pump(struct model_menu *menu) {
    if (menu->scan && atomic_load(&menu->scan->done)) {
        struct model_scan *scan = menu->scan;
        models_free(&menu->list);
        menu->scan = NULL;
        scan_end(scan, &menu->list);
        fill_rows(menu);
        if (menu->list.note && menu->open) ui_notice(menu->ui, NOTICE_MS, "%s", menu->list.note);
    }
    pump_pull(menu);
}

bool model_menu_stop(struct model_menu *menu) {
    if (chat_model_cancel(menu->chat)) {
        ui_notice(menu->ui, NOTICE_MS, "%s stays", path_name(menu->chat->model_path));
        return true;
    }
    if (!menu->pull) return false;
    pull_stop(menu->pull);
    return true;
}

void model_menu_view(struct model_menu *menu, struct ui_model *model) {
    const struct chat *chat = menu->chat;
    if (menu->open) model->picker = &menu->picker;
    if (chat->model_path)
        model->off &= ~UI_OFF(UI_ACTION_MODELS);
    else
        model->off |= UI_OFF(UI_ACTION_MODELS);
    if (menu->task.len) model->status.task = menu->task.data;
    if (chat->coming && !chat_busy(chat)) {
        model->status.state = UI_STATE_LOADING;
        model->status.model = path_name(chat->coming_path);
    } else if (chat->former_path) {
        model->status.model = path_name(chat->model_path);
    }
}

void model_menu_close(struct model_menu *menu) {
    if (menu->scan) {
        atomic_store(&menu->scan->stop, true);
        scan_end(menu->scan, NULL);
    }
    if (menu->pull) {
        pull_stop(menu->pull);
        pull_finish(menu->pull, NULL, NULL);
    }
    models_free(&menu->list);
    free(menu->rows);
    free(menu->texts);
    buf_free(&menu->task);
    *menu = (struct model_menu){0};
}
