/* The entry: everything below runs between a setjmp() here and its longjmp() in run.c. */
#include "infer/jinja/jinja.h"

#include "infer/jinja/ast.h"
#include "infer/jinja/eval.h"
#include "infer/jinja/json.h"

#include <stdlib.h>

struct jinja_context {
    struct arena arena;
    struct jdict *dict;
};

static int fail(const struct jrun *run, struct err *err) {
    return err_set(err, run->status, "%s", run->text);
}

/* ---- templates ---- */

int jinja_parse(const char *source, size_t len, struct jinja_template **out, struct err *err) {
    struct jinja_template *template = calloc(1, sizeof *template);
    if (!template) return err_set(err, STATUS_MEMORY, "no memory for a chat template");
    template->arena.limit = JINJA_MAX_MEMORY;
    struct jrun run = {.arena = &template->arena, .line = 1, .column = 1};
    if (setjmp(run.failed)) {
        jinja_free(template);
        return fail(&run, err);
    }
    jparse(&run, jtokens_of(&run, source, len), &template->body);
    *out = template;
    return STATUS_OK;
}

void jinja_free(struct jinja_template *template) {
    if (!template) return;
    arena_free(&template->arena);
    free(template);
}

/* ---- contexts ---- */

struct jinja_context *jinja_context_new(void) {
    struct jinja_context *context = calloc(1, sizeof *context);
    if (context) context->arena.limit = JINJA_MAX_MEMORY;
    return context;
}

void jinja_context_free(struct jinja_context *context) {
    if (!context) return;
    arena_free(&context->arena);
    free(context);
}

int jinja_context_read(struct jinja_context *context, const char *json, size_t len, struct err *err) {
    struct jrun run = {.arena = &context->arena};
    if (setjmp(run.failed)) return fail(&run, err);
    context->dict = jjson_read_context(&run, json, len);
    return STATUS_OK;
}

static void set(struct jrun *run, struct jinja_context *context, const char *name, struct jvalue value) {
    if (!context->dict) context->dict = jdict_new(run, 16);
    jdict_set(run, context->dict, jstring(jstr_copy(run, name, strlen(name), false)), value);
}

int jinja_set_bool(struct jinja_context *context, const char *name, bool value, struct err *err) {
    struct jrun run = {.arena = &context->arena};
    if (setjmp(run.failed)) return fail(&run, err);
    set(&run, context, name, jbool(value));
    return STATUS_OK;
}

int jinja_set_variables(struct jinja_context *context, const char *json, struct err *err) {
    struct jrun run = {.arena = &context->arena};
    if (setjmp(run.failed)) return fail(&run, err);
    struct jvalue all = jjson_read(&run, json, strlen(json), true), known;
    if (all.type != JTYPE_DICT)
        jfail(&run, "template variables: a JSON object is needed, found %s", jtype_name(all));
    if (!context->dict) context->dict = jdict_new(&run, 16);
    for (size_t i = 0; i < all.dict->n; i++)
        if (!jdict_get(&run, context->dict, all.dict->pairs[i].key, &known))
            jdict_set(&run, context->dict, all.dict->pairs[i].key, all.dict->pairs[i].value);
    return STATUS_OK;
}

bool jinja_has(const struct jinja_context *context, const char *name) {
    struct jrun run = {0}; /* looking a text up allocates nothing and cannot fail */
    struct jvalue value;
    return context->dict && jdict_get_text(&run, context->dict, name, &value);
}

/* With its characters counted, so that no render writes to it. */
static struct jvalue text_value(struct jrun *run, const char *text, size_t len, bool person) {
    struct jstr *s = jstr_copy(run, text, len, person);
    jstr_n_chars(run, s);
    return jstring(s);
}

int jinja_set_text(struct jinja_context *context, const char *name, const char *text, size_t len, bool person,
                   struct err *err) {
    struct jrun run = {.arena = &context->arena};
    if (setjmp(run.failed)) return fail(&run, err);
    set(&run, context, name, text_value(&run, text, len, person));
    return STATUS_OK;
}

int jinja_set_variable(struct jinja_context *context, const char *name, const char *value, struct err *err) {
    struct jrun run = {.arena = &context->arena};
    if (setjmp(run.failed)) { /* no JSON: text. Where even that does not fit, it says so */
        return jinja_set_text(context, name, value, strlen(value), true, err);
    }
    struct jvalue parsed;
    if (strcasecmp(value, "true") == 0 || strcasecmp(value, "false") == 0)
        parsed = jbool((value[0] | 32) == 't');
    else if (strcasecmp(value, "none") == 0)
        parsed = JNONE;
    else
        parsed = jjson_read(&run, value, strlen(value), true);
    set(&run, context, name, parsed);
    return STATUS_OK;
}

int jinja_add_message(struct jinja_context *context, const char *role, const char *text, size_t len,
                      struct err *err) {
    struct jrun run = {.arena = &context->arena};
    if (setjmp(run.failed)) return fail(&run, err);
    struct jvalue messages;
    if (!context->dict || !jdict_get_text(&run, context->dict, "messages", &messages)) {
        messages = jlist_value(jlist_new(&run, 16));
        messages.list->vector->shared = true;
        set(&run, context, "messages", messages);
    }
    struct jdict *message = jdict_new(&run, 2);
    jdict_set(&run, message, jtext(&run, "role"), text_value(&run, role, strlen(role), false));
    jdict_set(&run, message, jtext(&run, "content"), text_value(&run, text, len, true));
    jlist_add(&run, messages.list, jdict_value(message));
    return STATUS_OK;
}

/* ---- results ---- */

static bool segment_add(struct jinja_result *out, size_t *cap, const char *bytes, size_t len, bool person) {
    if (!len) return true;
    if (out->n_segments && out->segments[out->n_segments - 1].from_template == !person) {
        out->segments[out->n_segments - 1].len += len;
        return true;
    }
    if (out->n_segments == *cap) {
        size_t room = *cap ? *cap * 2 : 16;
        struct segment *segments = realloc(out->segments, room * sizeof *segments);
        if (!segments) return false;
        out->segments = segments;
        *cap = room;
    }
    out->segments[out->n_segments++] = (struct segment){bytes, len, !person};
    return true;
}

static bool result_fill(struct jinja_result *out, const struct jout *pieces) {
    size_t cap = 0;
    *out = (struct jinja_result){0};
    out->text = malloc(pieces->len + 1);
    if (!out->text) return false;
    for (const struct jout_block *block = pieces->first; block; block = block->next) {
        for (size_t i = 0; i < block->n; i++) {
            const struct jpiece *p = &block->pieces[i];
            char *to = out->text + out->len;
            memcpy(to, p->bytes, p->len);
            for (size_t from = 0, next; from < p->len; from = next) {
                bool person = p->shadow ? p->shadow[from] : p->person;
                next = p->shadow ? from + 1 : p->len;
                while (p->shadow && next < p->len && p->shadow[next] == (uint8_t)person) next++;
                if (!segment_add(out, &cap, to + from, next - from, person)) return false;
            }
            out->len += p->len;
        }
    }
    out->text[out->len] = '\0';
    return true;
}

void jinja_result_free(struct jinja_result *result) {
    free(result->text);
    free(result->segments);
    *result = (struct jinja_result){0};
}

int jinja_render_measured(const struct jinja_template *template, const struct jinja_context *context,
                          const struct tm *now, struct jinja_result *out, struct jinja_usage *usage,
                          struct err *err) {
    struct arena arena = {.limit = JINJA_MAX_MEMORY};
    struct jout pieces = {.what = "bytes of output"};
    struct jdict nothing = {0};
    struct jrun run = {.arena = &arena,
                       .line = 1,
                       .column = 1,
                       .template = template,
                       .context = context && context->dict ? context->dict : &nothing,
                       .out = &pieces,
                       .now = *now};
    *out = (struct jinja_result){0};
    if (setjmp(run.failed)) {
        arena_free(&arena);
        out->refused = run.refused;
        return fail(&run, err);
    }
    run.scope = jscope_new(&run, NULL);
    jexec(&run, &template->body);
    bool filled = result_fill(out, &pieces);
    if (usage) *usage = (struct jinja_usage){run.steps, arena.used};
    arena_free(&arena);
    if (filled) return STATUS_OK;
    jinja_result_free(out);
    return err_set(err, STATUS_MEMORY, "no memory for a prompt of %zu bytes", pieces.len);
}

int jinja_render(const struct jinja_template *template, const struct jinja_context *context,
                 const struct tm *now, struct jinja_result *out, struct err *err) {
    return jinja_render_measured(template, context, now, out, NULL, err);
}
