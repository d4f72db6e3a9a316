#include "infer/chat_template.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct chat_template {
    char *file;
    bool has_chatml;
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

static bool has_control(const struct tokenizer *tokenizer, const char *text) {
    int32_t id = tokenizer_find(tokenizer, text, strlen(text));
    return id >= 0 && tokenizer_type(tokenizer, id) == TOKEN_CONTROL;
}

void chat_template_source_fill(struct chat_template_source *source, const struct tokenizer *tokenizer, struct span text) {
    int32_t bos = tokenizer_bos(tokenizer), eos = tokenizer_eos(tokenizer);
    source->text = text;
    source->bos = bos >= 0 ? tokenizer_bytes(tokenizer, bos) : (struct span){0};
    source->eos = eos >= 0 ? tokenizer_bytes(tokenizer, eos) : (struct span){0};
    source->has_chatml = has_control(tokenizer, "<|im_start|>") && has_control(tokenizer, "<|im_end|>");
}

int chat_template_new(const struct chat_template_source *source, struct chat_template **out, struct err *err) {
    (void)err;
    struct chat_template *t = xcalloc(1, sizeof *t);
    t->file = xstrdup(source->file);
    t->has_chatml = source->has_chatml;
    *out = t;
    return STATUS_OK;
}

void chat_template_free(struct chat_template *t) {
    if (!t) return;
    free(t->file);
    free(t);
}

const char *chat_template_name(const struct chat_template *t) { return t->has_chatml ? "ChatML" : "none"; }

static void add_text(struct prompt *out, const char *text) { prompt_add(out, text, strlen(text), true); }

static const char *known_role(const char *role) {
    static const char *const roles[] = {"system", "user", "assistant"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0) return roles[i];
    return NULL;
}

static int render_chatml(const struct message *messages, size_t n, bool continue_last, struct prompt *out, struct err *err) {
    for (size_t i = 0; i < n; i++) {
        const char *role = known_role(messages[i].role); /* ours, so it may be the template's */
        if (!role) {
            prompt_free(out);
            return err_set(err, STATUS_USAGE, "message %zu: found the role \"%s\", expected system, user or assistant", i + 1,
                           messages[i].role);
        }
        add_text(out, "<|im_start|>");
        add_text(out, role);
        add_text(out, "\n");
        prompt_add(out, messages[i].text, messages[i].len, false);
        if (i + 1 < n || !continue_last) add_text(out, "<|im_end|>\n");
    }
    if (!continue_last) add_text(out, "<|im_start|>assistant\n");
    return STATUS_OK;
}

int chat_template_render(const struct chat_template *t, const struct message *messages, size_t n, bool continue_last,
                         struct prompt *out, struct err *err) {
    *out = (struct prompt){0};
    if (continue_last && (n == 0 || strcmp(messages[n - 1].role, "assistant") != 0))
        return err_set(err, STATUS_USAGE, "nothing to continue: the last message is not the model's");
    if (!t->has_chatml)
        return err_set(err, STATUS_UNSUPPORTED,
                       "%s: no chat template, and no <|im_start|> and <|im_end|> in the vocabulary: messages cannot be put to "
                       "this model, only raw text",
                       t->file);
    return render_chatml(messages, n, continue_last, out, err);
}
