#include "infer/tools.h"

#include "infer/chat_template.h"
#include "infer/jinja/jinja.h"
#include "infer/jinja/json.h"
#include "infer/model.h"

#include <string.h>

static int read_now(const char *text, struct tm *out, struct err *err) {
    if (!text) {
        time_t now = time(NULL);
        localtime_r(&now, out);
        return STATUS_OK;
    }
    struct tm t = {.tm_isdst = -1};
    char rest;
    int n = sscanf(text, "%4d-%2d-%2d %2d:%2d:%2d%c", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour,
                   &t.tm_min, &t.tm_sec, &rest);
    struct tm wanted = t;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    *out = t;
    bool real =
        n == 6 && timegm(out) != (time_t)-1; /* which also finds the day of the week and of the year */
    real = real && out->tm_mday == wanted.tm_mday && out->tm_mon + 1 == wanted.tm_mon &&
           out->tm_hour == wanted.tm_hour && out->tm_min == wanted.tm_min && out->tm_sec == wanted.tm_sec;
    if (!real) return err_set(err, STATUS_USAGE, "--now: found '%s', expected 'YYYY-MM-DD HH:MM:SS'", text);
    return STATUS_OK;
}

static void write_segments(const struct jinja_result *result, struct buf *out) {
    buf_putc(out, '[');
    for (size_t i = 0; i < result->n_segments; i++) {
        const struct segment *s = &result->segments[i];
        buf_puts(out, i ? ",\n {\"text\":" : "{\"text\":");
        jjson_quote(out, s->bytes, s->len);
        buf_printf(out, ",\"from\":\"%s\"}", s->from_template ? "template" : "person");
    }
    buf_puts(out, "]\n");
}

/* What the model's own tokens are called, where the context does not say so itself. */
static int add_tokens(struct jinja_context *context, const struct model *model, struct err *err) {
    struct chat_template_source source = {0};
    chat_template_source_fill(&source, model_tokenizer(model), model_chat_template(model));
    int status = STATUS_OK;
    if (!jinja_has(context, "bos_token") && source.bos.len)
        status = jinja_set_text(context, "bos_token", source.bos.bytes, source.bos.len, false, err);
    if (!status && !jinja_has(context, "eos_token") && source.eos.len)
        status = jinja_set_text(context, "eos_token", source.eos.bytes, source.eos.len, false, err);
    return status;
}

/* The template's text: from a file, from a model, or ChatML for a model that has none but knows its tokens.
 */
static int find_template(const struct render_options *options, struct jinja_context *context, struct buf *out,
                         struct err *err) {
    if (options->template_file) return chat_template_read(options->template_file, out, err);
    struct model *model;
    int status = model_open(options->model, MODEL_VOCABULARY, &model, err);
    if (status) return status;
    struct chat_template_source source = {0};
    chat_template_source_fill(&source, model_tokenizer(model), model_chat_template(model));
    if (source.text.len)
        buf_append(out, source.text.bytes, source.text.len);
    else if (source.has_chatml)
        buf_puts(out, chat_template_chatml);
    else
        status =
            err_set(err, STATUS_UNSUPPORTED,
                    "%s: found no chat template, nor the tokens of ChatML; give one with --template FILE",
                    options->model);
    if (!status) status = add_tokens(context, model, err);
    model_close(model);
    return status;
}

int tool_render(const struct render_options *options, struct buf *out, struct err *err) {
    struct buf json = {0}, source = {0};
    struct jinja_template *template = NULL;
    struct jinja_result result = {0};
    struct tm now;
    struct jinja_context *context = jinja_context_new();
    if (!context) return err_set(err, STATUS_MEMORY, "no memory for a chat template");
    int status = read_now(options->now, &now, err);
    if (!status) status = chat_template_read(options->context, &json, err);
    if (!status && (status = jinja_context_read(context, json.data, json.len, err)))
        err_prefix(err, "%s", options->context);
    if (!status) status = find_template(options, context, &source, err);
    if (!status) status = jinja_parse(source.data, source.len, &template, err);
    if (!status) status = jinja_render(template, context, &now, &result, err);
    if (!status && options->segments)
        write_segments(&result, out);
    else if (!status)
        buf_append(out, result.text, result.len); /* all of it, NUL bytes too */
    jinja_result_free(&result);
    jinja_free(template);
    jinja_context_free(context);
    buf_free(&json);
    buf_free(&source);
    return status;
}
