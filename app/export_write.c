/* A copied chat as Markdown or JSON, in parts: all of it at once would take many times its room. */
#include "app/export_internal.h"

#include "app/record_json.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct writing {
    const struct export_copy *copy;
    struct new_file *file;
    const atomic_bool *stop;
    struct buf out;             /* not in the file yet */
    struct token_record record; /* large */
    int status;                 /* of the first that failed */
    struct err *err;
};

/* Once there is enough of it. False: it ends here. */
static bool flush(struct writing *writing, size_t enough) {
    struct buf *out = &writing->out;
    if (writing->status == STATUS_OK && atomic_load(writing->stop))
        writing->status = err_set(writing->err, STATUS_STOPPED, "%s was not written", writing->file->path);
    if (writing->status < 0) return false;
    if (out->len < enough) return true;
    writing->status = new_file_append(writing->file, out->data, out->len, writing->err);
    buf_clear(out);
    return writing->status == STATUS_OK;
}

/* ---- as Markdown ---- */

static void write_markdown(struct writing *writing) {
    static const char *const heads[] = {[SAID_BY_SYSTEM] = "System",
                                        [SAID_BY_USER] = "You",
                                        [SAID_BY_MODEL] = "Model",
                                        [SAID_BY_PROGRAM] = NULL};
    const struct export_copy *copy = writing->copy;
    struct buf *out = &writing->out;
    buf_printf(out, "# %s\n", copy->title ? copy->title : "A chat");
    if (copy->model_title.len) buf_printf(out, "\n*%s*\n", copy->model_title.data);
    for (size_t i = 0; i < copy->n && flush(writing, 1); i++) {
        const struct export_message *message = &copy->messages[i];
        if (!heads[message->by]) continue;
        buf_printf(out, "\n## %s\n\n", heads[message->by]);
        buf_append(out, message->text.data, message->text.len);
        if (!message->text.len || message->text.data[message->text.len - 1] != '\n') buf_putc(out, '\n');
    }
}

/* ---- as JSON ---- */

static const char *text_of(void *source, int32_t id, size_t *len) {
    const struct export_texts *texts = source;
    *len = 0;
    if (id < 0 || (uint32_t)id >= texts->n) return "";
    size_t begin = id ? texts->ends[id - 1] : 0;
    *len = texts->ends[id] - begin;
    return texts->bytes.data ? texts->bytes.data + begin : "";
}

/* As --jsonl writes it. What was said is the message's, whatever the model is now. */
static json_t *token_json(struct writing *writing, const struct export_message *message, size_t i) {
    const struct kept_token *token = &message->tokens[i];
    struct token_record *record = &writing->record;
    struct step_result *result = &record->result;
    size_t begin = i ? message->ends[i - 1] : 0;
    record->index = (uint32_t)i;
    record->end = token->end;
    record->ms = token->ms;
    result->position = token->position;
    result->id = token->id;
    result->logit = token->logit;
    result->prob = token->prob;
    result->log_sum_exp = token->log_sum_exp;
    result->entropy = token->entropy;
    result->rank = token->rank;
    for (result->n_top = 0; result->n_top < token->n_top && result->n_top <= CANDIDATES_MAX; result->n_top++)
        result->top[result->n_top] = kept_token_candidate(token, result->n_top);
    json_t *object =
        record_json_with(record, message->text.data ? message->text.data + begin : "",
                         message->ends[i] - begin, text_of, (void *)(uintptr_t)&writing->copy->texts);
    if (token->picked) json_object_set_new(object, "picked", json_true());
    return object;
}

static const char *role_name(enum said_by by) {
    static const char *const roles[] = {[SAID_BY_SYSTEM] = "system",
                                        [SAID_BY_USER] = "user",
                                        [SAID_BY_MODEL] = "assistant",
                                        [SAID_BY_PROGRAM] = "note"};
    return roles[by];
}

static json_t *message_json(const struct export_message *message) {
    json_t *object = json_object();
    const char *bytes = message->text.data ? message->text.data : "";
    json_object_set_new(object, "id", json_integer((json_int_t)message->id));
    json_object_set_new(object, "parent",
                        message->parent ? json_integer((json_int_t)message->parent) : json_null());
    json_object_set_new(object, "role", json_string(role_name(message->by)));
    json_object_set_new(object, "born", json_integer(message->born));
    json_t *text = json_stringn(bytes, message->text.len);
    if (!text) { /* no UTF-8 */
        text = json_lossy(bytes, message->text.len);
        json_object_set_new(object, "bytes", json_byte_array(bytes, message->text.len));
    }
    json_object_set_new(object, "text", text);
    if (message->dropped) json_object_set_new(object, "dropped", json_true());
    if (message->note.len)
        json_object_set_new(object, "note", json_lossy(message->note.data, message->note.len));
    return object;
}

/* Compact, without a newline. Its reference is taken. */
static void put(struct writing *writing, json_t *value) {
    char *text = json_line(value, false);
    buf_append(&writing->out, text, strlen(text) - 1);
    free(text);
    json_decref(value);
}

/* An object that goes on with this member. */
static void put_open(struct writing *writing, json_t *object, const char *member) {
    put(writing, object);
    writing->out.len--; /* the brace */
    buf_printf(&writing->out, ",\"%s\":[", member);
}

static void write_json(struct writing *writing) {
    const struct export_copy *copy = writing->copy;
    struct buf *out = &writing->out;
    json_t *all = json_object();
    json_object_set_new(all, "title",
                        copy->title ? json_lossy(copy->title, strlen(copy->title)) : json_null());
    json_object_set_new(all, "model", copy->model.len ? json_string(copy->model.data) : json_null());
    json_object_set_new(all, "seed", json_integer((json_int_t)copy->seed));
    json_object_set_new(all, "leaf", copy->leaf ? json_integer((json_int_t)copy->leaf) : json_null());
    put_open(writing, all, "messages");
    for (size_t i = 0; i < copy->n && flush(writing, 1); i++) {
        const struct export_message *message = &copy->messages[i];
        if (i) buf_putc(out, ',');
        if (!message->n_tokens) {
            put(writing, message_json(message));
            continue;
        }
        put_open(writing, message_json(message), "tokens");
        for (size_t t = 0; t < message->n_tokens && flush(writing, 1 << 16); t++) {
            if (t) buf_putc(out, ',');
            put(writing, token_json(writing, message, t));
        }
        buf_puts(out, "]}");
    }
    buf_puts(out, "]}\n");
}

static void write_jsonl(struct writing *writing) {
    const struct export_copy *copy = writing->copy;
    for (size_t i = 0; i < copy->n && flush(writing, 1); i++) {
        const struct export_message *message = &copy->messages[i];
        json_t *line = json_object();
        json_object_set_new(line, "message", message_json(message));
        put(writing, line);
        buf_putc(&writing->out, '\n');
        for (size_t t = 0; t < message->n_tokens && flush(writing, 1 << 16); t++) {
            put(writing, token_json(writing, message, t));
            buf_putc(&writing->out, '\n');
        }
    }
}

int export_write(const struct export_copy *copy, struct new_file *file, const atomic_bool *stop,
                 struct err *err) {
    struct writing *writing = xcalloc(1, sizeof *writing);
    *writing = (struct writing){.copy = copy, .file = file, .stop = stop, .err = err};
    switch (copy->format) {
    case EXPORT_MD: write_markdown(writing); break;
    case EXPORT_JSON: write_json(writing); break;
    case EXPORT_JSONL:
    case EXPORT_FORMAT_COUNT: write_jsonl(writing); break;
    }
    flush(writing, 1);
    int status = writing->status;
    buf_free(&writing->out);
    free(writing);
    return status;
}
