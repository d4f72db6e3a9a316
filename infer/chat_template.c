#include "infer/chat_template.h"

#include "base/mem.h"
#include "infer/jinja/jinja.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char chat_template_chatml[] =
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + "
    "'<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

struct chat_template {
    char *file;
    const char *name;
    struct span bos, eos;         /* our copies */
    struct jinja_template *jinja; /* NULL: `fault` tells why */
    struct err fault;
};

void prompt_add(struct prompt *prompt, const char *bytes, size_t len, bool from_template) {
    if (len == 0) return;
    grow_array(&prompt->pieces, &prompt->cap, prompt->n + 1, sizeof *prompt->pieces);
    prompt->pieces[prompt->n++] = (struct prompt_piece){prompt->text.len, len, from_template};
    buf_append(&prompt->text, bytes, len);
}

void prompt_free(struct prompt *prompt) {
    buf_free(&prompt->text);
    free(prompt->pieces);
    *prompt = (struct prompt){0};
}

enum { FILE_MAX = 8 << 20 };

int chat_template_read(const char *path, struct buf *out, struct err *err) {
    FILE *file = fopen(path, "rbe");
    if (!file) return err_set(err, STATUS_USAGE, "cannot read %s: %s", path, strerror(errno));
    size_t n;
    do {
        n = fread(buf_reserve(out, 65536), 1, 65536, file);
        out->len += n;
    } while (n > 0 && out->len <= FILE_MAX);
    int broken = ferror(file);
    fclose(file);
    buf_append(out, "", 0); /* the NUL behind */
    if (broken) return err_set(err, STATUS_USAGE, "%s: cannot be read", path);
    if (out->len > FILE_MAX)
        return err_set(err, STATUS_USAGE, "%s: found more than %d bytes", path, FILE_MAX);
    return STATUS_OK;
}

static bool has_control(const struct tokenizer *tokenizer, const char *text) {
    int32_t id = tokenizer_find(tokenizer, text, strlen(text));
    return id >= 0 && tokenizer_type(tokenizer, id) == TOKEN_CONTROL;
}

void chat_template_source_fill(struct chat_template_source *source, const struct tokenizer *tokenizer,
                               struct span text) {
    int32_t bos = tokenizer_bos(tokenizer), eos = tokenizer_eos(tokenizer);
    source->text = text;
    source->bos = bos >= 0 ? tokenizer_bytes(tokenizer, bos) : (struct span){0};
    source->eos = eos >= 0 ? tokenizer_bytes(tokenizer, eos) : (struct span){0};
    source->has_chatml = has_control(tokenizer, "<|im_start|>") && has_control(tokenizer, "<|im_end|>");
}

static struct span span_copy(struct span from) {
    return (struct span){from.len ? xmemdup(from.bytes, from.len) : NULL, from.len};
}

struct chat_template *chat_template_new(const struct chat_template_source *source) {
    struct chat_template *t = xcalloc(1, sizeof *t);
    struct span text = source->text;
    t->file = xstrdup(source->file);
    t->name = text.len ? "file" : source->has_chatml ? "ChatML" : "none";
    if (!text.len && source->has_chatml)
        text = (struct span){chat_template_chatml, strlen(chat_template_chatml)};
    t->bos = span_copy(source->bos);
    t->eos = span_copy(source->eos);
    struct err fault = {0};
    if (!text.len)
        err_set(&t->fault, STATUS_UNSUPPORTED,
                "%s: no chat template, and no <|im_start|> and <|im_end|> in the vocabulary: messages cannot "
                "be put to this "
                "model, only raw text (--raw), unless --chat-template FILE brings one",
                t->file);
    else if (jinja_parse(text.bytes, text.len, &t->jinja, &fault) != STATUS_OK)
        err_set(&t->fault, STATUS_UNSUPPORTED, "%s: chat template: %s", t->file, fault.text);
    return t;
}

void chat_template_free(struct chat_template *t) {
    if (!t) return;
    jinja_free(t->jinja);
    free((void *)t->bos.bytes);
    free((void *)t->eos.bytes);
    free(t->file);
    free(t);
}

const char *chat_template_name(const struct chat_template *t) {
    return t->name;
}

/* Only our own words stand as roles: the template writes them next to its control tokens. */
static const char *known_role(const char *role) {
    static const char *const roles[] = {"system", "user", "assistant"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0) return roles[i];
    return NULL;
}

/* A template that puts messages together needs several times their size. */
static int check_size(const struct message *messages, size_t n, struct err *err) {
    enum { MESSAGES_MAX = 8 << 20 };
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (!size_add(total, messages[i].len, &total)) total = SIZE_MAX;
    if (total <= MESSAGES_MAX) return STATUS_OK;
    return err_set(err, STATUS_CONTEXT_FULL, "the messages have %zu bytes, a prompt takes at most %d", total,
                   MESSAGES_MAX);
}

static int add_messages(struct jinja_context *context, const struct message *messages, size_t n,
                        struct err *err) {
    int status = STATUS_OK;
    for (size_t i = 0; i < n && !status; i++) {
        const char *role = known_role(messages[i].role);
        if (!role)
            return err_set(err, STATUS_USAGE,
                           "message %zu: found the role \"%s\", expected system, user or assistant", i + 1,
                           messages[i].role);
        status = jinja_add_message(context, role, messages[i].text, messages[i].len, err);
    }
    if (n == 0) status = jinja_set_variables(context, "{\"messages\": []}", err);
    return status;
}

/* Everything the template sees. Variables come last: they replace nothing. */
static int fill_context(const struct chat_template *t, const struct chat_template_input *input,
                        struct jinja_context *context, struct err *err) {
    int status = jinja_set_bool(context, "add_generation_prompt", true, err);
    if (!status && t->bos.len)
        status = jinja_set_text(context, "bos_token", t->bos.bytes, t->bos.len, false, err);
    if (!status && t->eos.len)
        status = jinja_set_text(context, "eos_token", t->eos.bytes, t->eos.len, false, err);
    if (!status) status = add_messages(context, input->messages, input->n - input->continue_last, err);
    struct err fault;
    if (!status && input->variables && jinja_set_variables(context, input->variables, &fault))
        status = err_set(err, STATUS_USAGE, "template variables: %s", fault.text);
    return status;
}

int chat_template_render(const struct chat_template *t, const struct chat_template_input *input,
                         struct prompt *out, struct err *err) {
    const struct message *last = input->n ? &input->messages[input->n - 1] : NULL;
    *out = (struct prompt){0};
    if (input->continue_last && (!last || strcmp(last->role, "assistant") != 0))
        return err_set(err, STATUS_USAGE, "nothing to continue: the last message is not the model's");
    if (!t->jinja) return err_set(err, t->fault.code, "%s", t->fault.text);
    int status = check_size(input->messages, input->n - input->continue_last, err);
    if (status) return status;
    struct jinja_context *context = jinja_context_new();
    if (!context) return err_set(err, STATUS_MEMORY, "no memory for a prompt");
    struct jinja_result result = {0};
    struct err fault = {0};
    status = fill_context(t, input, context, err);
    if (!status && (status = jinja_render(t->jinja, context, &input->now, &result, &fault)))
        status = result.refused ? err_set(err, STATUS_USAGE, "%s", fault.text)
                                : err_set(err, fault.code, "%s: chat template: %s", t->file, fault.text);
    jinja_context_free(context);
    for (size_t i = 0; i < result.n_segments; i++)
        prompt_add(out, result.segments[i].bytes, result.segments[i].len, result.segments[i].from_template);
    if (!status && input->continue_last) prompt_add(out, last->text, last->len, false);
    jinja_result_free(&result);
    return status;
}

/* ---- templates without a system role ---- */

void messages_fold(const struct message *messages, size_t n, struct folded *out) {
    struct buf text = {0};
    bool put = false;
    *out = (struct folded){.messages = xcalloc(n ? n : 1, sizeof *messages)};
    for (size_t i = 0; i < n; i++)
        if (strcmp(messages[i].role, "system") == 0 && messages[i].len) {
            buf_append(&text, messages[i].text, messages[i].len);
            buf_puts(&text, "\n\n");
        }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(messages[i].role, "system") == 0) continue;
        struct message *message = &out->messages[out->n++];
        *message = messages[i];
        if (put || strcmp(message->role, "user") != 0) continue;
        put = true;
        buf_append(&text, message->text, message->len);
        message->len = text.len;
        message->text = out->text = buf_take(&text);
        message->ids = NULL;
        message->n_ids = 0;
    }
    buf_free(&text);
}

void folded_free(struct folded *folded) {
    free(folded->messages);
    free(folded->text);
    *folded = (struct folded){0};
}

bool chat_template_wants_fold(const struct chat_template *t, const struct chat_template_input *input) {
    struct prompt prompt;
    struct folded folded;
    bool has_system = false;
    for (size_t i = 0; i < input->n; i++) has_system |= strcmp(input->messages[i].role, "system") == 0;
    if (!has_system) return false;
    bool refuses = chat_template_render(t, input, &prompt, NULL) == STATUS_USAGE;
    prompt_free(&prompt);
    if (!refuses) return false;
    messages_fold(input->messages, input->n, &folded);
    struct chat_template_input instead = *input;
    instead.messages = folded.messages;
    instead.n = folded.n;
    bool takes = chat_template_render(t, &instead, &prompt, NULL) == STATUS_OK;
    prompt_free(&prompt);
    folded_free(&folded);
    return takes;
}
