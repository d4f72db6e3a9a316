/* Any bytes as a template: parsed or refused, within the limits. */
#include "infer/jinja/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct jinja_template *template;
    struct err err;
    if (jinja_parse((const char *)data, size, &template, &err) == STATUS_OK) jinja_free(template);
    return 0;
}
