#include "app/options.h"
#include "app/out.h"

#include <locale.h>
#include <stdio.h>

static int show_help(const struct options *options) {
    struct buf text = {0};
    options_help(options, &text);
    fputs(text.data, stdout);
    buf_free(&text);
    return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv) {
    struct options options;
    struct err err = {0};
    setlocale(LC_CTYPE, "");
    int result = options_parse(&options, argc, argv, &err);
    if (result == STATUS_OK && options.help)
        result = show_help(&options);
    else if (result == STATUS_OK)
        result = command_table[options.command].run(&options, &err);
    if (result < 0) {
        out_error("%s", err.text);
        result = status_exit_code(err.code);
    }
    options_free(&options);
    return result;
}
