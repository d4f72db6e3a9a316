/* Chat templates: Jinja as Hugging Face renders it (trim_blocks, lstrip_blocks, break and continue, {%
 * generation %}, tojson, raise_exception, strftime_now, in jinja2's immutable sandbox).
 *
 * A template is parsed once and rendered any number of times, by any thread. It is a stranger's program: it
 * reaches nothing outside of its context, and limits that are counted, never timed, end what does not end by
 * itself (run.h lists them). The result tells for every byte whether the template or a person wrote it. */
#ifndef LOGITOP_INFER_JINJA_JINJA_H
#define LOGITOP_INFER_JINJA_JINJA_H

#include "base/err.h"
#include "tokenizer/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct jinja_template;

/* STATUS_FAILED with what is wrong, its line and column. The source need not outlive the call. */
int jinja_parse(const char *source, size_t len, struct jinja_template **out, struct err *err);
void jinja_free(struct jinja_template *template); /* NULL is fine */

/* What a template is told: variables by name. Values are made in the context and live as long as it. */
struct jinja_context;
struct jinja_context *jinja_context_new(void);          /* NULL only without memory */
void jinja_context_free(struct jinja_context *context); /* NULL is fine */

/* The whole context from JSON. STATUS_FAILED if it is not an object, or too large. See json.h for what counts
 * as a person's. Replaces what was set before. */
int jinja_context_read(struct jinja_context *context, const char *json, size_t len, struct err *err);

/* Variables. The bytes are copied. STATUS_FAILED when the context's memory is spent. */
int jinja_set_bool(struct jinja_context *context, const char *name, bool value, struct err *err);
int jinja_set_text(struct jinja_context *context, const char *name, const char *text, size_t len, bool person,
                   struct err *err);
/* A person's "NAME=VALUE" value: true, false, none, a number or any other JSON; what is none of these is
 * text. */
int jinja_set_variable(struct jinja_context *context, const char *name, const char *value, struct err *err);

/* A JSON object of variables, each as jinja_set_variable() would: only what is not set yet. */
int jinja_set_variables(struct jinja_context *context, const char *json, struct err *err);
bool jinja_has(const struct jinja_context *context, const char *name);

/* One more of `messages`: {"role": role, "content": text}. The role is the program's own word, the text a
 * person's. */
int jinja_add_message(struct jinja_context *context, const char *role, const char *text, size_t len,
                      struct err *err);

struct jinja_result {
    char *text; /* [len] and a NUL */
    size_t len;
    struct segment *segments; /* [n_segments], the whole text in order; neighbours differ in origin */
    size_t n_segments;
    bool refused; /* on failure: the template itself refused (raise_exception) and err holds its own words */
};

/* now: what strftime_now() tells. On failure only `refused` is set. */
int jinja_render(const struct jinja_template *template, const struct jinja_context *context,
                 const struct tm *now, struct jinja_result *out, struct err *err);
void jinja_result_free(struct jinja_result *result);

/* What the last render took, for tests and measurements. */
struct jinja_usage {
    uint64_t steps;
    size_t memory;
};
int jinja_render_measured(const struct jinja_template *template, const struct jinja_context *context,
                          const struct tm *now, struct jinja_result *out, struct jinja_usage *usage,
                          struct err *err);

#endif
