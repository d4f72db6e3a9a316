/* The configuration file: what it sets, what it says about mistakes, that what --print-config writes can be
 * read. */
#include "app/config.h"
#include "app/ini.h"
#include "app/slash.h"
#include "base/mem.h"
#include "ui/theme.h"
#include "ui/ui.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/logitop/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int begin(void **state) {
    (void)state;
    char path[256];
    snprintf(folder, sizeof folder, "/tmp/logitop-config-XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("XDG_DATA_DIRS", "/nowhere", 1);
    snprintf(path, sizeof path, "%s/logitop", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/logitop/themes", folder);
    mkdir(path, 0700);
    return 0;
}

static int end(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void read_config(struct options *options, const char *text) {
    put("config", text);
    options_begin(options);
    config_read(options);
    buf_append(&options->config_problems, "", 0);
}

static void it_sets_options(void **state) {
    (void)state;
    struct options options;
    struct err err;
    read_config(&options, "# a comment\n; another\ntemp = 0.25\n\n[settings]\n  top-k=7  \r\nmouse = "
                          "on\nsystem = \" be kind \"\n"
                          "bell=never\nno-history = on\nseed = 12\ntheme = light\n[keys]\nfind = "
                          "F12\n[theme]\nbar = #ff0000 on default bold\n");
    assert_string_equal(options.config_problems.data, "");
    assert_true(options.mouse && options.bell == WHEN_NEVER);
    assert_int_equal(options.settings.sampling.top_k, 7);
    assert_true(options.settings.sampling.temperature == 0.25f && options.settings.sampling.seed == 12);
    assert_string_equal(options.system, " be kind ");
    char *argv[] = {"logitop", "--temp", "1", NULL}; /* the command line goes before it */
    assert_int_equal(options_read(&options, 3, argv, &err), STATUS_OK);
    assert_true(options.settings.sampling.temperature == 1 && options.settings.sampling.top_k == 7);
    struct buf text = {0};
    ui_theme_print("", &text);
    assert_non_null(strstr(text.data, "bar = 196 bold\n"));
    assert_non_null(strstr(text.data, "you = 25 bold\n")); /* of the light one */
    buf_free(&text);
    ui_bindings_print(&text);
    assert_non_null(strstr(text.data, "find = F12\n"));
    buf_free(&text);
    ui_bind("keys", "find", "F7, Alt+/", &err);
    ui_theme_begin("auto", &err);
    options_free(&options);
}

static void mistakes_are_told_by_line(void **state) {
    (void)state;
    static const char text[] = "nonsense\ntmep = 1\ntemp = hot\nprompt = x\n= 3\n[broken\n[colours]\nx = "
                               "1\n[keys]\nfind = F99\nfly = F2\n"
                               "help = F7\n[keys.inspect]\nstep = q\n[theme]\nbar = pink\nwall = "
                               "red\n[settings]\nmouse = maybe\ntheme = none\ntop-p = 0.5\n";
    static const char *const expected[] = {
        ":1: found \"nonsense\", expected name = value",
        ":2: found \"tmep\", expected an option; did you mean temp",
        ":3: temp: found \"hot\", expected a number >= 0",
        ":4: found \"prompt\", which is for the command line alone",
        ":5: found \"= 3\", expected name = value",
        ":6: found \"[broken\", expected [section]",
        (":8: found [colours], expected [settings], [keys], [keys.inspect], [keys.view], [keys.picker], "
         "[keys.find] or [theme]"),
        ":10: [keys] find: found \"F99\", expected a key like F7, Alt+x, Ctrl+x, PgUp or none",
        ":11: [keys] found \"fly\", expected an action (logitop --print-config lists them)",
        ":16: bar: found \"pink\", expected a colour (default, red, bright-red, 0..255, #rrggbb), on, bold, "
        "dim, underline, reverse or italic",
        ":17: found the style \"wall\", expected one that logitop --print-config lists",
        ":19: mouse: found \"maybe\", expected on or off",
        ":20: found the theme \"none\", expected auto, dark, light, mono or a theme file's name",
        ": [keys] found F7 for both help and find, expected one of them",
    };
    struct options options;
    struct err err;
    read_config(&options, text);
    char *rest = options.config_problems.data, *line;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        line = strsep(&rest, "\n");
        assert_non_null(line);
        const char *said = strstr(line, "/logitop/config");
        assert_non_null(said);
        assert_string_equal(said + strlen("/logitop/config"), expected[i]);
    }
    assert_string_equal(rest, "");
    assert_true(options.settings.sampling.top_p == 0.5f); /* the rest counts */
    ui_bind("keys", "help", "F1, Alt+h", &err);
    ui_bind("keys.inspect", "step", "s", &err);
    ui_theme_begin("auto", &err);
    options_free(&options);
}

/* Each line of it, its comment sign taken away, is read without a complaint and changes nothing. */
static void what_is_printed_is_read(void **state) {
    (void)state;
    struct options options;
    struct buf printed = {0}, again = {0}, live = {0};
    options_begin(&options);
    config_print(&options, &printed);
    for (const char *p = printed.data; *p; p++)
        if (*p != '#' || p[1] == ' ' || p[1] == '\n' || (p > printed.data && p[-1] != '\n'))
            buf_putc(&live, *p);
    char *empty; /* a text that is not set has no value */
    while ((empty = strstr(live.data, " = \n"))) {
        char *from = empty;
        while (from > live.data && from[-1] != '\n') from--;
        memmove(from, empty + 4, strlen(empty + 4) + 1);
    }
    options_free(&options);
    read_config(&options, live.data);
    assert_string_equal(options.config_problems.data, "");
    config_print(&options, &again);
    assert_string_equal(printed.data, again.data);
    options_free(&options);
    buf_free(&printed);
    buf_free(&again);
    buf_free(&live);
}

static void themes_are_files(void **state) {
    (void)state;
    struct buf problems = {0}, text = {0};
    struct err err = {0};
    put("themes/mine.theme", "base = light\nyou = red on 17 underline\nnobody = 3\n");
    assert_int_equal(theme_load("mine", &problems, &err), STATUS_OK);
    assert_non_null(strstr(problems.data, "mine.theme:3: found the style \"nobody\""));
    ui_theme_print("", &text);
    assert_non_null(strstr(text.data, "\nyou = red on 17 underline\n"));
    assert_non_null(strstr(text.data, "\nbot = 28 bold\n"));
    buf_clear(&text);
    theme_list(&text);
    assert_string_equal(text.data, "auto\ndark\nlight\nmono\nmine\n");
    assert_int_equal(theme_load("../config", &problems, &err), STATUS_USAGE);
    assert_int_equal(theme_load("mono", &problems, &err), STATUS_OK);
    buf_clear(&text);
    ui_theme_print("", &text);
    assert_non_null(strstr(text.data, "\nyou = default bold\n"));
    ui_theme_begin("auto", &err);
    buf_free(&problems);
    buf_free(&text);
}

/* On terminals with 256, 8 and no colours, in every theme: nothing is black on black for want of a row. */
static void every_style_has_a_look(void **state) {
    (void)state;
    struct err err;
    for (const char *const *name = ui_theme_names(); *name; name++) {
        ui_theme_begin(*name, &err);
        for (int style = 0; style < STYLE_COUNT; style++)
            for (int colours = 256; colours >= 0; colours -= colours == 256 ? 248 : 8) {
                struct look look = theme_look((enum style)style, colours);
                assert_false(look.fg == look.bg && look.fg >= 0);
                assert_true(colours >= 8 || (look.fg == -1 && look.bg == -1));
                assert_true(look.fg < (colours ? colours : 1) && look.bg < (colours ? colours : 1));
                if (strcmp(*name, "light") == 0 && colours == 8 && look.bg < 0) { /* on white */
                    assert_true(look.fg != 3 && look.fg != 6);
                    assert_false(look.fg == 2 && look.attributes & LOOK_BOLD);
                }
            }
    }
    assert_int_equal(ui_theme_style("bar", "#fe8019 on #000000", &err),
                     STATUS_OK); /* the nearest of fewer colours */
    struct look look = theme_look(STYLE_BAR, 8);
    assert_true(look.fg == 1 && look.bg == 0);
    ui_theme_begin("auto", &err);
}

/* auto is the one or the other, and nothing else is changed by what the terminal tells. */
static void the_background_chooses(void **state) {
    (void)state;
    struct err err;
    for (const char *const *name = ui_theme_names(); *name; name++) {
        ui_theme_begin(*name, &err);
        int16_t before = theme_look(STYLE_YOU, 256).fg;
        bool automatic = strcmp(*name, "auto") == 0;
        assert_true(theme_background(true) == automatic);
        assert_false(theme_background(true));
        int16_t on_light = theme_look(STYLE_YOU, 256).fg;
        assert_true((on_light != before) == automatic);
        assert_true(theme_background(false) == automatic);
        assert_int_equal(theme_look(STYLE_YOU, 256).fg, before);
        if (!automatic) continue;
        ui_theme_begin("auto", &err);
        assert_int_equal(theme_look(STYLE_YOU, 256).fg, before);
        ui_theme_begin("light", &err);
        assert_int_equal(theme_look(STYLE_YOU, 256).fg, on_light);
    }
    ui_theme_begin("auto", &err);
}

static void completed(const char *text, const char *line, const char *choices) {
    struct buf to = {0}, list = {0};
    slash_complete(text, strlen(text), &to, &list);
    buf_append(&list, "", 0);
    assert_string_equal(to.data, line);
    if (choices) assert_string_equal(list.data, choices);
    buf_free(&to);
    buf_free(&list);
}

static void commands_are_completed(void **state) {
    (void)state;
    completed("/fi", "/find ", "");
    completed("/sys", "/system ", "");
    completed("/co", "/co", "continue  copy");
    completed("/xyz", "/xyz", "");
    completed("/set te", "/set temp ", "");
    completed("/set top", "/set top", "top-k  top-p  top");
    completed("/set temp 1", "/set temp 1", "");
    completed("/theme li", "/theme light ", "");
    completed("/exp j", "/exp json", "json  jsonl");
    completed("no", "no", "");
    completed("/", "/", NULL);
}

static void paths_are_completed(void **state) {
    (void)state;
    static const char *const files[] = {"notes.md",        "notes.txt",       ".hidden",
                                        "with a blank.md", "\xE6\x97\xA5.md", "\xE6\x97\xA4.md",
                                        "bad\xFF",         "bad\n",           "models/x"};
    static const struct {
        const char *typed, *rest, *choices;
    } cases[] = {
        {"/export md %s/n", "otes.", "notes.md  notes.txt"},
        {"/exp md %s/notes.m", "d", ""},
        {"/export md %s/none", "", ""},
        {"/export md %s/with a", " blank.md", ""},
        {"/copy 2 file %s/mod", "els/", ""},
        {"/copy file %s/models/", "x", ""},
        {"/model %s/.h", "idden", ""},
        {"/copy file %s/\xE6", "", "\xE6\x97\xA4.md  \xE6\x97\xA5.md"}, /* no half of a character */
        {"/copy file %s/bad", "", ""},
    };
    char place[] = "/tmp/logitop-paths-XXXXXX", path[128], command[128];
    assert_non_null(mkdtemp(place));
    snprintf(path, sizeof path, "%s/models", place);
    mkdir(path, 0700);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", place, files[i]);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fclose(file);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf line = {0}, choices = {0}, expected = {0};
        const char *at = strstr(cases[i].typed, "%s");
        buf_printf(&expected, "%.*s%s%s", (int)(at - cases[i].typed), cases[i].typed, place, at + 2);
        size_t len = expected.len;
        buf_puts(&expected, cases[i].rest);
        assert_true(slash_complete_path(expected.data, len, &line, &choices));
        buf_append(&choices, "", 0);
        assert_string_equal(line.data, expected.data);
        assert_string_equal(choices.data, cases[i].choices);
        buf_free(&line);
        buf_free(&choices);
        buf_free(&expected);
    }
    static const char *const none[] = {"/model llama", "/export md",  "/export", "/copy 2",
                                       "/set temp 1",  "export md x", "/new",    "/nonsense x y"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(slash_complete_path(none[i], strlen(none[i]), NULL, NULL));
    snprintf(command, sizeof command, "rm -r %s", place);
    assert_int_equal(system(command), 0);
}

static void hinted(const struct chat *chat, const char *text, const char *hint) {
    struct buf out = {0};
    slash_hint(chat, text, strlen(text), &out);
    buf_append(&out, "", 0);
    assert_string_equal(out.data, hint);
    buf_free(&out);
}

static void what_could_be_typed_is_shown(void **state) {
    (void)state;
    struct chat chat = {0};
    settings_defaults(&chat.settings);
    hinted(&chat, "/co", "continue  copy");
    hinted(&chat, "/stop", "/stop  stop the answer; what was said stays");
    hinted(&chat, "/fin", "/find [TEXT]  search in the conversation");
    hinted(&chat, "/find some words", "/find [TEXT]  search in the conversation");
    hinted(&chat, "/fin some words", "/find [TEXT]  search in the conversation");
    hinted(&chat, "/set ", "/set [NAME [VALUE]]  show or change settings: /set temp 0.5");
    hinted(&chat, "/set top", "top-k  top-p  top");
    hinted(&chat, "/set top-k 5", "top-k is 40: pick among the N best (0: off)");
    hinted(&chat, "/set temp=", "temp is 0.8: temperature; 0 always takes the best token");
    hinted(&chat, "/xyz", "");
    hinted(&chat, "//stop", "");
    hinted(&chat, "/stop\nit", "");
    hinted(&chat, "stop", "");
    hinted(&chat, "", "");
}

/* Any bytes are read without harm, and nothing but text comes out. */
static int count_lines(void *context, const struct ini_line *line, struct err *err) {
    (void)err;
    *(size_t *)context += strlen(line->section) + strlen(line->name) + strlen(line->value);
    return STATUS_OK;
}

static void any_bytes_are_read(void **state) {
    (void)state;
    uint32_t seed = 5;
    for (int round = 0; round < 2000; round++) {
        static const char bytes[] = "[]=#;\n\r \"ab\0\xFF";
        struct buf text = {0}, problems = {0};
        size_t n = 0;
        for (int i = 0; i < 60; i++) {
            seed = seed * 1664525 + 1013904223;
            buf_putc(&text, bytes[(seed >> 16) % (sizeof bytes - 1)]);
        }
        ini_read("x", text.data, text.len, count_lines, &n, &problems);
        assert_true(n <= 60 * 60);
        buf_free(&text);
        buf_free(&problems);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_sets_options),
        cmocka_unit_test(mistakes_are_told_by_line),
        cmocka_unit_test(what_is_printed_is_read),
        cmocka_unit_test(themes_are_files),
        cmocka_unit_test(commands_are_completed),
        cmocka_unit_test(every_style_has_a_look),
        cmocka_unit_test(paths_are_completed),
        cmocka_unit_test(the_background_chooses),
        cmocka_unit_test(what_could_be_typed_is_shown),
        cmocka_unit_test(any_bytes_are_read),
    };
    return cmocka_run_group_tests_name("config", tests, begin, end);
}
