#include "app/config.h"

#include "app/ini.h"
#include "app/paths.h"
#include "app/suggest.h"
#include "base/mem.h"
#include "ui/ui.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options that only make sense for one start. */
static const char *const once[] = {"prompt",   "raw",     "json",      "jsonl",       "script",
                                   "resume",   "hf-file", "continue",  "save",        "help",
                                   "help-all", "version", "no-config", "print-config"};

static bool configurable(const char *name) {
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        if (strcmp(name, once[i]) == 0) return false;
    return true;
}

/* ---- themes ---- */

static int take_style(void *context, const struct ini_line *line, struct err *err) {
    (void)context;
    if (*line->section)
        return err_set(err, STATUS_USAGE, "found [%.40s], expected no section in a theme", line->section);
    if (strcmp(line->name, "base") == 0) return ui_theme_begin(line->value, err);
    return ui_theme_style(line->name, line->value, err);
}

/* share/ beside the bin/ that this program lies in: where it was installed to. */
static bool beside_program(bool (*visit)(void *context, const char *folder), void *context) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return false;
    path[n] = '\0';
    struct buf folder = {0};
    buf_printf(&folder, "%.*s/../share/logitop/themes", (int)(path_name(path) - path - 1), path);
    bool done = visit(context, folder.data);
    buf_free(&folder);
    return done;
}

/* The folders of themes, nearest first. Calls back until it returns true. */
static bool theme_folders(bool (*visit)(void *context, const char *folder), void *context) {
    char *own = path_config("themes");
    bool done = own && visit(context, own);
    free(own);
    if (!done) done = beside_program(visit, context);
    const char *dirs = getenv("XDG_DATA_DIRS");
    char *list = xstrdup(dirs && *dirs ? dirs : "/usr/local/share:/usr/share"), *rest = list, *dir;
    while (!done && (dir = strsep(&rest, ":"))) {
        struct buf folder = {0};
        buf_printf(&folder, "%s/logitop/themes", dir);
        if (dir[0] == '/') done = visit(context, folder.data);
        buf_free(&folder);
    }
    free(list);
    return done;
}

struct wanted {
    const char *name;
    struct buf *problems, text;
};

static bool try_folder(void *context, const char *folder) {
    struct wanted *wanted = context;
    struct buf path = {0};
    bool missing = false;
    struct err err;
    buf_printf(&path, "%s/%s.theme", folder, wanted->name);
    int status = ini_load(path.data, &wanted->text, &missing, &err);
    if (status < 0 && !missing) buf_printf(wanted->problems, "%s\n", err.text);
    if (status == STATUS_OK) {
        ui_theme_begin("dark", NULL);
        ini_read(path.data, wanted->text.data, wanted->text.len, take_style, NULL, wanted->problems);
    }
    buf_free(&path);
    return !missing;
}

static char current[NAME_MAX + 1] = "auto";

int theme_load(const char *name, struct buf *problems, struct err *err) {
    struct wanted wanted = {.name = name, .problems = problems};
    bool found = !strchr(name, '/') && theme_folders(try_folder, &wanted);
    buf_free(&wanted.text);
    int status = found ? STATUS_OK : ui_theme_begin(name, err);
    if (status == STATUS_OK) snprintf(current, sizeof current, "%s", name);
    return status;
}

const char *theme_current(void) {
    return current;
}

/* Once, though several folders may have it. */
static void list_name(struct buf *out, const char *name, size_t len) {
    struct buf line = {0};
    buf_printf(&line, "\n%.*s\n", (int)len, name);
    bool known = out->len && memmem(out->data, out->len, line.data, line.len);
    if (!known) buf_puts(out, line.data + 1);
    buf_free(&line);
}

static bool list_folder(void *context, const char *folder) {
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name, *end = strrchr(name, '.');
        if (end && strcmp(end, ".theme") == 0) list_name(context, name, (size_t)(end - name));
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    return false;
}

void theme_list(struct buf *out) {
    for (const char *const *name = ui_theme_names(); *name; name++) buf_printf(out, "%s\n", *name);
    theme_folders(list_folder, out);
}

/* ---- the file ---- */

static int take_setting(struct options *options, const struct ini_line *line, struct err *err) {
    struct err unknown = {0};
    if (configurable(line->name) && options_set(options, line->name, line->value, &unknown) == STATUS_OK) {
        if (strcmp(line->name, "theme") == 0) return theme_load(line->value, &options->config_problems, err);
        return STATUS_OK;
    }
    if (unknown.code != STATUS_OK) return err_set(err, unknown.code, "%s", unknown.text);
    return err_set(err, STATUS_USAGE, "found \"%s\", which is for the command line alone", line->name);
}

static int take_line(void *context, const struct ini_line *line, struct err *err) {
    struct options *options = context;
    if (!*line->section || strcmp(line->section, "settings") == 0) return take_setting(options, line, err);
    if (strncmp(line->section, "keys", 4) == 0) return ui_bind(line->section, line->name, line->value, err);
    if (strcmp(line->section, "theme") == 0) return ui_theme_style(line->name, line->value, err);
    return err_set(err, STATUS_USAGE,
                   "found [%.40s], expected [settings], [keys], [keys.inspect], [keys.view], [keys.picker], "
                   "[keys.find] or "
                   "[theme]",
                   line->section);
}

void config_read(struct options *options) {
    bool missing;
    struct err err;
    char *path = path_config("config");
    if (!path) return;
    buf_clear(&options->config);
    int status = ini_load(path, &options->config, &missing, &err);
    if (status == STATUS_OK)
        ini_read(path, options->config.data, options->config.len, take_line, options,
                 &options->config_problems);
    else if (!missing)
        buf_printf(&options->config_problems, "%s\n", err.text);
    if (status == STATUS_OK && ui_bindings_check(&err) < 0)
        buf_printf(&options->config_problems, "%s: %s\n", path, err.text);
    free(path);
}

/* ---- what it could say ---- */

struct printing {
    const struct options *options;
    struct buf *out;
};

static void print_option(void *context, const char *name, char letter, const char *argument,
                         const char *help) {
    struct printing *printing = context;
    (void)letter;
    if (!configurable(name)) return;
    buf_printf(printing->out, "\n# %s%s%s%s\n#%s = ", help, argument ? " (" : "",
               argument ? argument : " (on or off", ")", name);
    options_print(printing->options, name, printing->out);
    buf_putc(printing->out, '\n');
}

void config_print(const struct options *options, struct buf *out) {
    struct printing printing = {options, out};
    buf_puts(out, "# The configuration of logitop: ~/.config/logitop/config ($XDG_CONFIG_HOME). See "
                  "logitop-config(5).\n"
                  "# Everything here is commented out, and as it is without this file.\n\n"
                  "[settings]\n# Options of the command line, which goes before what is written here.\n");
    options_each(COMMAND_CHAT, print_option, &printing);
    buf_puts(out, "\n# Keys: one or two for an action, or none. [keys] holds in the chat, the others in "
                  "their modes.\n");
    struct buf keys = {0};
    ui_bindings_print(&keys);
    char *rest = keys.data, *line;
    while ((line = strsep(&rest, "\n")) && rest)
        buf_printf(out, "%s%s\n", *line && *line != '[' ? "#" : "", line);
    buf_free(&keys);
    buf_puts(out, "\n# How things look: a colour (default, red, bright-red, 0..255, #rrggbb), on another, "
                  "bold, dim, underline,\n"
                  "# reverse, italic. Whole themes are files NAME.theme of such lines in "
                  "~/.config/logitop/themes.\n\n[theme]\n");
    ui_theme_print("#", out);
}
