/* Kept chats: opening, naming, exporting, deleting. */
#include "app/archive.h"
#include "app/slash_internal.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Finding and reading take their time: the front end knows when it has it. */
int slash_open(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    char *end;
    if (!archive_store(chat, err)) return STATUS_UNSUPPORTED;
    errno = 0;
    bool newest = strcmp(arguments, "last") == 0;
    long long id = newest ? STORE_NEWEST : strtoll(arguments, &end, 10);
    if (newest || (end != arguments && !*end && !errno)) {
        if (!newest && id <= 0) return err_set(err, STATUS_USAGE, "there is no chat %lld", id);
        if (chat_busy(chat)) return err_set(err, STATUS_BUSY, "still answering; Esc stops it");
        result->open = true;
        result->open_id = id;
        return STATUS_OK;
    }
    result->list = SLASH_LIST_CHATS;
    buf_puts(&result->query, arguments);
    return STATUS_OK;
}

int slash_save(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    if (!archive_store(chat, err)) return STATUS_UNSUPPORTED;
    struct archive *archive = archive_of(chat);
    int status = *arguments ? archive_name(archive, arguments, err) : STATUS_OK;
    if (status < 0) return status;
    if (!archive_title(archive))
        return err_set(err, STATUS_USAGE, "nothing was said yet; what will be is kept by itself");
    int64_t id = archive_id(archive);
    if (id)
        snprintf(result->line, sizeof result->line, "this chat is kept as %lld: %.180s", (long long)id,
                 archive_title(archive));
    else
        snprintf(result->line, sizeof result->line, "this chat waits to be written: %.180s",
                 archive_title(archive));
    return STATUS_OK;
}

int slash_delete(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    if (!archive_store(chat, err)) return STATUS_UNSUPPORTED;
    struct archive *archive = archive_of(chat);
    int64_t id = archive_id(archive);
    if (!id)
        return err_set(err, STATUS_USAGE, "there is nothing to delete: nothing of this chat was written yet");
    if (strcmp(arguments, "yes")) {
        snprintf(result->line, sizeof result->line, "/delete yes deletes this chat for good: %.150s",
                 archive_title(archive) ? archive_title(archive) : "");
        return STATUS_OK;
    }
    int status = chat_new(chat, err);
    if (status < 0) return status;
    buf_clear(&chat->earlier); /* nor is it left on the terminal */
    store_delete(archive->store, id);
    snprintf(result->line, sizeof result->line, "chat %lld is deleted", (long long)id);
    return STATUS_OK;
}

/* /export FORMAT [FILE]: that takes its time, and the front end has it done. */
int slash_export(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)chat;
    size_t n = strcspn(arguments, " \t");
    int status = export_format_find(arguments, n, &result->export_format, err);
    if (status < 0) return status;
    result->export = true;
    buf_puts(&result->export_path, arguments + n + strspn(arguments + n, " \t"));
    return STATUS_OK;
}
