/* Another model in the middle of a conversation. */
#include "app/chat_internal.h"

#include "app/model_choice.h"
#include "app/paths.h"
#include "app/vocabulary.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT_USUAL = 8192 };

void chat_tell(struct chat *chat, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_clear(&chat->notice);
    buf_puts(&chat->notice, text);
    chat->has_notice = true;
}

/* A template that was given on the command line is for the model that was given with it. */
static struct engine *open_model(const struct chat *chat, const char *path) {
    struct engine_options how = chat->how;
    how.model = path;
    if (!chat->template_path || strcmp(path, chat->template_path)) how.chat_template = NULL;
    return engine_local(&how);
}

/* Both models at once, with the context that this one would have alone. */
static bool fits_beside(const struct chat *chat, const struct model_facts *facts) {
    struct memory_free free_now;
    tool_memory_free(&free_now);
    bool on_cpu = chat->how.device && strcmp(chat->how.device, "cpu") == 0;
    bool gpu = free_now.gpu && facts->gpu_need && !on_cpu;
    uint64_t context = chat->how.n_ctx                  ? chat->how.n_ctx
                       : facts->context < CONTEXT_USUAL ? facts->context
                                                        : CONTEXT_USUAL;
    uint64_t need = gpu ? facts->gpu_need : facts->cpu_need;
    if (gpu)
        need += 2 * facts->n_parameters; /* copies in 16 bits, which are made where there is room for them */
    if (context > FACTS_CONTEXT) need += (context - FACTS_CONTEXT) * facts->kv_position;
    return need && need + need / 16 <= (gpu ? free_now.gpu : free_now.cpu);
}

/* The engine goes: who asked it to look is told, and what it told of prompts holds no longer. */
static void close_engine(struct chat *chat) {
    chat_looks_end(chat);
    chat->engine->ops->close(chat->engine);
    chat->n_engines++;
    chat->prompt.whole = false;
}

/* In place of the engine there is, which is closed; the state is LOADING from here on. */
static void replace(struct chat *chat, char *path) {
    close_engine(chat);
    chat->engine = open_model(chat, path);
    chat->info = NULL;
    chat->conversation.vocabulary = 0; /* nothing that was sampled means anything until it is there */
    chat->state = CHAT_LOADING;
    chat->error.code = STATUS_OK;
    chat->progress_done = chat->progress_total = 0;
    chat->model_path = path;
}

bool chat_model_coming(const struct chat *chat) {
    return chat->coming || chat->former_path;
}

int chat_use_model(struct chat *chat, const char *path, const struct model_facts *facts, struct err *err) {
    if (!chat->model_path) return err_set(err, STATUS_USAGE, "a script plays: it has no model to change");
    if (chat_model_coming(chat))
        return err_set(err, STATUS_BUSY, "another model is being loaded; Esc stops that");
    if (chat->state != CHAT_FAILED && strcmp(path, chat->model_path) == 0)
        return err_set(err, STATUS_USAGE, "%s is the model that speaks", path_name(path));
    if (*facts->fault) return err_set(err, STATUS_MODEL, "%s: %s", path_name(path), facts->fault);
    bool speaks = chat->state != CHAT_FAILED && chat->state != CHAT_LOADING;
    if (speaks && fits_beside(chat, facts)) {
        chat->coming = open_model(chat, path);
        chat->coming_path = xstrdup(path);
        return STATUS_OK;
    }
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    char *next = xstrdup(path);     /* path may be the one there is, tried again */
    if (chat->state == CHAT_FAILED) /* nothing to go back to */
        free(chat->model_path);
    else
        chat->former_path = chat->model_path;
    replace(chat, next);
    return STATUS_OK;
}

int chat_use_named(struct chat *chat, const char *name, struct err *err) {
    struct options options = {.model = name, .models_dir = chat->models_dir};
    struct model_facts facts;
    const char *path = NULL;
    int status = options_model(&options, &path, err);
    if (status == STATUS_OK) status = tool_facts(path, &facts, err);
    if (status == STATUS_OK) status = chat_use_model(chat, path, &facts, err);
    free(options.chosen_model);
    return status;
}

/* Back to the model that was there before. */
static void go_back(struct chat *chat) {
    char *former = chat->former_path;
    chat->former_path = NULL;
    free(chat->model_path);
    replace(chat, former);
}

static void drop_coming(struct chat *chat) {
    chat->coming->ops->close(chat->coming);
    free(chat->coming_path);
    chat->coming = NULL;
    chat->coming_path = NULL;
    chat->coming_ready = false;
    chat->progress_done = chat->progress_total = 0;
}

bool chat_model_cancel(struct chat *chat) {
    if (!chat_model_coming(chat)) return false;
    if (chat->coming)
        drop_coming(chat);
    else
        go_back(chat);
    return true;
}

void chat_model_ready(struct chat *chat) {
    if (!chat->model_path) return;
    if (!chat->incognito) model_note_used(chat->model_path);
    chat->computed = NULL; /* its KV cache is empty */
    if (!chat->former_path) return;
    free(chat->former_path);
    chat->former_path = NULL;
    chat->stats.context_used = 0;
    chat_tell(chat, "%s goes on with the conversation", chat->info->model_name);
}

bool chat_model_failed(struct chat *chat, const struct err *err) {
    if (!chat->former_path || chat_busy(chat)) return false;
    struct err why = *err; /* its engine is closed by going back */
    char *failed = xstrdup(path_name(chat->model_path));
    go_back(chat);
    chat_tell(chat, "%s could not be loaded: %s", failed, why.text);
    free(failed);
    return true;
}

/* The one that came speaks from here on; the other one's memory is given back. */
static void take_over(struct chat *chat) {
    close_engine(chat);
    free(chat->model_path);
    chat->engine = chat->coming;
    chat->model_path = chat->coming_path;
    chat->coming = NULL;
    chat->coming_path = NULL;
    chat->coming_ready = false;
    chat->stats.context_used = 0;
    chat->error.code = STATUS_OK; /* it was the other one's */
    chat_ready(chat);
    chat_tell(chat, "%s goes on with the conversation", chat->info->model_name);
}

bool chat_model_pump(struct chat *chat) {
    static struct engine_event event; /* as in chat_pump() */
    bool any = false;
    while (chat->coming && chat->coming->ops->next(chat->coming, &event)) {
        any = true;
        if (event.type == ENGINE_LOADING && !chat_busy(chat)) {
            chat->progress_done = event.progress.done;
            chat->progress_total = event.progress.total;
        } else if (event.type == ENGINE_NOTICE) {
            chat_tell(chat, "%s", event.error.text);
        } else if (event.type == ENGINE_READY) {
            chat->coming_ready = true;
        } else if (event.type == ENGINE_FAILED) {
            chat_tell(chat, "%s could not be loaded: %s", path_name(chat->coming_path), event.error.text);
            drop_coming(chat);
        }
    }
    if (chat->coming_ready && !chat_busy(chat)) {
        take_over(chat);
        any = true;
    }
    return any;
}
