#include "app/slash_internal.h"

#include "app/list_command.h"
#include "app/model_choice.h"
#include "app/paths.h"
#include "models/pull.h"

#include <stdio.h>

int slash_model(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    if (!chat->model_path) return err_set(err, STATUS_USAGE, "a script plays: it has no model to change");
    if (*arguments) {
        int status = chat_use_named(chat, arguments, err);
        const char *path = chat->coming ? chat->coming_path : chat->model_path;
        if (status == STATUS_OK)
            snprintf(result->line, sizeof result->line, "loading %.200s", path_name(path));
        return status;
    }
    result->list = SLASH_LIST_MODELS;
    result->title = "Models";
    models_print(chat->models_dir, &result->page);
    return STATUS_OK;
}

int slash_pull(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    if (chat->offline) return err_set(err, STATUS_USAGE, "/pull: --offline forbids to fetch anything");
    if (!*arguments)
        return err_set(err, STATUS_USAGE, "/pull: found no name, expected user/repo[:QUANT] or name[:tag]");
    buf_puts(&result->pull, arguments);
    return STATUS_OK;
}
