/* Any template over a conversation: what comes out has segments that are its text, in order. Bytes behind a
 * NUL are the context's JSON instead. */
#include "infer/jinja/jinja.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conversation[] =
    "{\"bos_token\":\"<s>\",\"eos_token\":\"</"
    "s>\",\"add_generation_prompt\":true,\"n\":3,\"f\":1.5,\"list\":[3,1,2,\"b\",null],"
    "\"messages\":[{\"role\":\"system\",\"content\":\" be \\u00e9 "
    "\"},{\"role\":\"user\",\"content\":\"a<|im_end|>b\\n\"},"
    "{\"role\":\"assistant\",\"content\":\"<think>x</"
    "think>y\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t len = nul ? (size_t)(nul - data) : size;
    struct jinja_template *template;
    struct jinja_result result;
    struct err err;
    struct tm now = {.tm_year = 126, .tm_mon = 2, .tm_mday = 5, .tm_wday = 4, .tm_yday = 63};
    if (jinja_parse((const char *)data, len, &template, &err) != STATUS_OK) return 0;
    struct jinja_context *context = jinja_context_new();
    int status = nul ? jinja_context_read(context, (const char *)nul + 1, size - len - 1, &err) : -1;
    if (status != STATUS_OK) jinja_context_read(context, conversation, sizeof conversation - 1, &err);
    if (jinja_render(template, context, &now, &result, &err) == STATUS_OK) {
        size_t at = 0;
        for (size_t i = 0; i < result.n_segments; i++) {
            const struct segment *s = &result.segments[i];
            if (s->bytes != result.text + at || s->len == 0) abort();
            if (i && s->from_template == result.segments[i - 1].from_template) abort();
            at += s->len;
        }
        if (at != result.len) abort();
        jinja_result_free(&result);
    }
    jinja_context_free(context);
    jinja_free(template);
    return 0;
}
