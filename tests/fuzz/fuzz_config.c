/* Any bytes as a configuration file: it is read to its end, every complaint is one line of text, and what was
 * set can be printed. */
#include "app/config.h"
#include "app/ini.h"
#include "ui/ui.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *context, const struct ini_line *line, struct err *err) {
    struct options *options = context;
    if (strncmp(line->section, "keys", 4) == 0) return ui_bind(line->section, line->name, line->value, err);
    if (strcmp(line->section, "theme") == 0) return ui_theme_style(line->name, line->value, err);
    return options_set(options, line->name, line->value, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct options options;
    struct buf text = {0}, problems = {0}, printed = {0};
    buf_append(&text, data, size);
    buf_append(&text, "", 0);
    options_begin(&options);
    ini_read("config", text.data, size, take, &options, &problems);
    ui_bindings_check(NULL);
    config_print(&options, &printed);
    for (size_t at = 0; at < problems.len;) {
        const char *newline = memchr(problems.data + at, '\n', problems.len - at);
        if (!newline || strncmp(problems.data + at, "config:", 7)) abort();
        at = (size_t)(newline + 1 - problems.data);
    }
    buf_free(&text);
    buf_free(&problems);
    buf_free(&printed);
    options_free(&options);
    return 0;
}
