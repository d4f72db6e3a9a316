#include "app/config.h"
#include "app/options.h"
#include "app/out.h"
#include "app/signals.h"
#include "base/log.h"

#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int show_help(const struct options *options) {
    struct buf text = {0};
    options_help(options, &text);
    fputs(text.data, stdout);
    buf_free(&text);
    return fflush(stdout) ? 1 : 0;
}

static int show_config(const struct options *options) {
    struct buf text = {0};
    config_print(options, &text);
    fputs(text.data, stdout);
    buf_free(&text);
    return fflush(stdout) ? 1 : 0;
}

/* The file is read before the command line, which goes before it: so these options are looked for first. */
static bool wants_config(char **argv) {
    for (; *argv && strcmp(*argv, "--"); argv++)
        if (strcmp(*argv, "--no-config") == 0 || strcmp(*argv, "--print-config") == 0) return false;
    return true;
}

static void tell_problems(const struct options *options) {
    const char *line = options->config_problems.data;
    for (const char *end; line && (end = strchr(line, '\n')); line = end + 1)
        out_error("%.*s", (int)(end - line), line);
}

/* Where the shell closed one of the three, the next file to be opened would be taken for it. Input is empty
 * then; output fails as it does where it is closed. */
static bool keep_descriptors(void) {
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd) return false;
    return true;
}

int main(int argc, char **argv) {
    struct options options;
    struct err err = {0};
    if (!keep_descriptors()) return 1;
    setlocale(LC_CTYPE, "");
    if (getenv("LOGITOP_LOG")) log_open(getenv("LOGITOP_LOG"));
    options_begin(&options);
    if (wants_config(argv)) config_read(&options);
    const char *configured = options.theme;
    int result = options_read(&options, argc, argv, &err);
    if (result == STATUS_OK && options.theme != configured)
        result = theme_load(options.theme, &options.config_problems, &err);
    tell_problems(&options);
    if (result == STATUS_OK && options.print_config)
        result = show_config(&options);
    else if (result == STATUS_OK && options.help)
        result = show_help(&options);
    else if (result == STATUS_OK)
        result = command_table[options.command].run(&options, &err);
    if (result < 0) {
        out_error("%s", err.text);
        result = err.code == STATUS_STOPPED && signals_ending() ? signals_exit_code(signals_ending())
                                                                : status_exit_code(err.code);
    }
    options_free(&options);
    return result;
}
