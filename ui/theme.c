#include "ui/theme.h"

#include "ui/ui.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE };

/* For dark backgrounds. */
static const struct look dark[STYLE_COUNT] = {
    [STYLE_TEXT] = {-1, -1, 0},
    [STYLE_DIM] = {245, -1, 0},
    [STYLE_STRONG] = {-1, -1, LOOK_BOLD},
    [STYLE_BAR] = {252, 237, 0},
    [STYLE_BAR_DIM] = {245, 237, 0},
    [STYLE_BAR_STRONG] = {117, 237, LOOK_BOLD},
    [STYLE_YOU] = {74, -1, LOOK_BOLD},
    [STYLE_BOT] = {71, -1, LOOK_BOLD},
    [STYLE_SYSTEM] = {139, -1, 0},
    [STYLE_STAND_IN] = {173, -1, 0},
    [STYLE_CHOSEN] = {71, -1, LOOK_BOLD},
    [STYLE_CUT] = {244, -1, 0},
    [STYLE_GAUGE] = {74, -1, 0},
    [STYLE_GAUGE_REST] = {240, -1, 0},
    [STYLE_KEY] = {-1, -1, 0},
    [STYLE_KEY_LABEL] = {252, 237, 0},
    [STYLE_PROMPT] = {74, -1, LOOK_BOLD},
    [STYLE_ERROR] = {167, -1, LOOK_BOLD},
    [STYLE_NOTICE] = {172, -1, 0},
    [STYLE_SELECTED] = {-1, 237, LOOK_BOLD},
    [STYLE_CURSOR] = {16, 215, LOOK_BOLD},
    [STYLE_MARK] = {16, 116, 0},
    [STYLE_PICKED] = {215, -1, LOOK_UNDERLINE},
    [STYLE_HEADING] = {117, -1, LOOK_BOLD},
    [STYLE_ITALIC] = {-1, -1, LOOK_ITALIC},
    [STYLE_CODE] = {180, -1, 0},
    [STYLE_CODE_BLOCK] = {252, 235, 0},
    [STYLE_THOUGHT] = {245, -1, LOOK_ITALIC},
    [STYLE_MATCH] = {16, 179, 0},
    [STYLE_MATCH_HERE] = {16, 214, LOOK_BOLD},
    [STYLE_PROB0] = {197, -1, LOOK_UNDERLINE},
    [STYLE_PROB0 + 1] = {203, -1, 0},
    [STYLE_PROB0 + 2] = {209, -1, 0},
    [STYLE_PROB0 + 3] = {208, -1, 0},
    [STYLE_PROB0 + 4] = {172, -1, 0},
    [STYLE_PROB0 + 5] = {178, -1, 0},
    [STYLE_PROB0 + 6] = {142, -1, 0},
    [STYLE_PROB0 + 7] = {107, -1, 0},
    [STYLE_PROB0 + 8] = {72, -1, 0},
    [STYLE_PROB9] = {-1, -1, 0},
};

/* For light ones: what differs. A look of {0, 0, 0} is the dark one's. */
static const struct look light[STYLE_COUNT] = {
    [STYLE_DIM] = {242, -1, 0},
    [STYLE_BAR] = {235, 252, 0},
    [STYLE_BAR_DIM] = {240, 252, 0},
    [STYLE_BAR_STRONG] = {25, 252, LOOK_BOLD},
    [STYLE_YOU] = {25, -1, LOOK_BOLD},
    [STYLE_BOT] = {28, -1, LOOK_BOLD},
    [STYLE_SYSTEM] = {90, -1, 0},
    [STYLE_STAND_IN] = {130, -1, 0},
    [STYLE_CHOSEN] = {28, -1, LOOK_BOLD},
    [STYLE_CUT] = {243, -1, 0},
    [STYLE_GAUGE] = {25, -1, 0},
    [STYLE_GAUGE_REST] = {250, -1, 0},
    [STYLE_KEY_LABEL] = {235, 252, 0},
    [STYLE_PROMPT] = {25, -1, LOOK_BOLD},
    [STYLE_ERROR] = {160, -1, LOOK_BOLD},
    [STYLE_NOTICE] = {94, -1, 0},
    [STYLE_SELECTED] = {-1, 252, LOOK_BOLD},
    [STYLE_CURSOR] = {231, 166, LOOK_BOLD},
    [STYLE_MARK] = {16, 116, 0},
    [STYLE_HEADING] = {25, -1, LOOK_BOLD},
    [STYLE_CODE] = {88, -1, 0},
    [STYLE_CODE_BLOCK] = {235, 255, 0},
    [STYLE_THOUGHT] = {242, -1, LOOK_ITALIC},
    [STYLE_MATCH] = {16, 222, 0},
    [STYLE_MATCH_HERE] = {16, 208, LOOK_BOLD},
    [STYLE_PROB0] = {160, -1, LOOK_UNDERLINE},
    [STYLE_PROB0 + 1] = {160, -1, 0},
    [STYLE_PROB0 + 2] = {166, -1, 0},
    [STYLE_PROB0 + 3] = {130, -1, 0},
    [STYLE_PROB0 + 4] = {94, -1, 0},
    [STYLE_PROB0 + 5] = {58, -1, 0},
    [STYLE_PROB0 + 6] = {64, -1, 0},
    [STYLE_PROB0 + 7] = {28, -1, 0},
    [STYLE_PROB0 + 8] = {22, -1, 0},
};

/* With 8 or 16 colours; bold brightens there. */
static const struct look eight[STYLE_COUNT] = {
    [STYLE_TEXT] = {-1, -1, 0},
    [STYLE_DIM] = {-1, -1, LOOK_DIM},
    [STYLE_STRONG] = {-1, -1, LOOK_BOLD},
    [STYLE_BAR] = {BLACK, CYAN, 0},
    [STYLE_BAR_DIM] = {BLACK, CYAN, 0},
    [STYLE_BAR_STRONG] = {BLACK, CYAN, 0},
    [STYLE_YOU] = {CYAN, -1, LOOK_BOLD},
    [STYLE_BOT] = {GREEN, -1, LOOK_BOLD},
    [STYLE_SYSTEM] = {MAGENTA, -1, 0},
    [STYLE_STAND_IN] = {YELLOW, -1, 0},
    [STYLE_CHOSEN] = {GREEN, -1, LOOK_BOLD},
    [STYLE_CUT] = {-1, -1, LOOK_DIM},
    [STYLE_GAUGE] = {CYAN, -1, 0},
    [STYLE_GAUGE_REST] = {-1, -1, LOOK_DIM},
    [STYLE_KEY] = {-1, -1, 0},
    [STYLE_KEY_LABEL] = {BLACK, CYAN, 0},
    [STYLE_PROMPT] = {CYAN, -1, LOOK_BOLD},
    [STYLE_ERROR] = {RED, -1, LOOK_BOLD},
    [STYLE_NOTICE] = {YELLOW, -1, 0},
    [STYLE_SELECTED] = {-1, -1, LOOK_REVERSE},
    [STYLE_CURSOR] = {BLACK, YELLOW, 0},
    [STYLE_MARK] = {BLACK, GREEN, 0},
    [STYLE_PICKED] = {YELLOW, -1, LOOK_UNDERLINE},
    [STYLE_HEADING] = {CYAN, -1, LOOK_BOLD},
    [STYLE_ITALIC] = {-1, -1, LOOK_ITALIC},
    [STYLE_CODE] = {YELLOW, -1, 0},
    [STYLE_CODE_BLOCK] = {YELLOW, -1, 0},
    [STYLE_THOUGHT] = {-1, -1, LOOK_DIM},
    [STYLE_MATCH] = {BLACK, YELLOW, 0},
    [STYLE_MATCH_HERE] = {BLACK, YELLOW, LOOK_BOLD | LOOK_UNDERLINE},
    [STYLE_PROB0] = {RED, -1, LOOK_UNDERLINE},
    [STYLE_PROB0 + 1] = {RED, -1, LOOK_BOLD},
    [STYLE_PROB0 + 2] = {RED, -1, 0},
    [STYLE_PROB0 + 3] = {MAGENTA, -1, 0},
    [STYLE_PROB0 + 4] = {MAGENTA, -1, 0},
    [STYLE_PROB0 + 5] = {YELLOW, -1, 0},
    [STYLE_PROB0 + 6] = {YELLOW, -1, 0},
    [STYLE_PROB0 + 7] = {GREEN, -1, 0},
    [STYLE_PROB0 + 8] = {GREEN, -1, 0},
    [STYLE_PROB9] = {-1, -1, 0},
};

/* On white, yellow and cyan can hardly be read, nor a bright green. What differs, as above. */
static const struct look eight_light[STYLE_COUNT] = {
    [STYLE_YOU] = {BLUE, -1, LOOK_BOLD},     [STYLE_BOT] = {-1, -1, LOOK_BOLD},
    [STYLE_STAND_IN] = {MAGENTA, -1, 0},     [STYLE_CHOSEN] = {BLUE, -1, LOOK_BOLD},
    [STYLE_GAUGE] = {BLUE, -1, 0},           [STYLE_PROMPT] = {BLUE, -1, LOOK_BOLD},
    [STYLE_NOTICE] = {MAGENTA, -1, 0},       [STYLE_PICKED] = {MAGENTA, -1, LOOK_UNDERLINE},
    [STYLE_HEADING] = {BLUE, -1, LOOK_BOLD}, [STYLE_CODE] = {MAGENTA, -1, 0},
    [STYLE_CODE_BLOCK] = {BLUE, -1, 0},      [STYLE_PROB0 + 5] = {BLUE, -1, 0},
    [STYLE_PROB0 + 6] = {BLUE, -1, 0},
};

/* Without any. */
static const uint8_t mono[STYLE_COUNT] = {
    [STYLE_DIM] = LOOK_DIM,
    [STYLE_STRONG] = LOOK_BOLD,
    [STYLE_BAR] = LOOK_REVERSE,
    [STYLE_BAR_DIM] = LOOK_REVERSE,
    [STYLE_BAR_STRONG] = LOOK_REVERSE | LOOK_BOLD,
    [STYLE_YOU] = LOOK_BOLD,
    [STYLE_BOT] = LOOK_BOLD,
    [STYLE_SYSTEM] = LOOK_BOLD,
    [STYLE_STAND_IN] = LOOK_UNDERLINE,
    [STYLE_CHOSEN] = LOOK_BOLD,
    [STYLE_CUT] = LOOK_DIM,
    [STYLE_GAUGE_REST] = LOOK_DIM,
    [STYLE_KEY_LABEL] = LOOK_REVERSE,
    [STYLE_PROMPT] = LOOK_BOLD,
    [STYLE_ERROR] = LOOK_BOLD | LOOK_REVERSE,
    [STYLE_NOTICE] = LOOK_BOLD,
    [STYLE_SELECTED] = LOOK_REVERSE,
    [STYLE_CURSOR] = LOOK_REVERSE | LOOK_BOLD,
    [STYLE_MARK] = LOOK_REVERSE,
    [STYLE_PICKED] = LOOK_UNDERLINE,
    [STYLE_HEADING] = LOOK_BOLD | LOOK_UNDERLINE,
    [STYLE_ITALIC] = LOOK_ITALIC,
    [STYLE_CODE] = LOOK_UNDERLINE,
    [STYLE_THOUGHT] = LOOK_DIM,
    [STYLE_MATCH] = LOOK_REVERSE,
    [STYLE_MATCH_HERE] = LOOK_REVERSE | LOOK_BOLD,
    [STYLE_PROB0] = LOOK_UNDERLINE | LOOK_BOLD,
    [STYLE_PROB0 + 1] = LOOK_UNDERLINE | LOOK_BOLD,
    [STYLE_PROB0 + 2] = LOOK_UNDERLINE,
    [STYLE_PROB0 + 3] = LOOK_UNDERLINE,
};

static const char *const style_names[STYLE_COUNT] = {
    [STYLE_TEXT] = "text",
    [STYLE_DIM] = "dim",
    [STYLE_STRONG] = "strong",
    [STYLE_BAR] = "bar",
    [STYLE_BAR_DIM] = "bar-dim",
    [STYLE_BAR_STRONG] = "bar-strong",
    [STYLE_YOU] = "you",
    [STYLE_BOT] = "bot",
    [STYLE_SYSTEM] = "system",
    [STYLE_STAND_IN] = "stand-in",
    [STYLE_CHOSEN] = "chosen",
    [STYLE_CUT] = "cut",
    [STYLE_GAUGE] = "gauge",
    [STYLE_GAUGE_REST] = "gauge-rest",
    [STYLE_KEY] = "key",
    [STYLE_KEY_LABEL] = "key-label",
    [STYLE_PROMPT] = "prompt",
    [STYLE_ERROR] = "error",
    [STYLE_NOTICE] = "notice",
    [STYLE_SELECTED] = "selected",
    [STYLE_CURSOR] = "cursor",
    [STYLE_MARK] = "mark",
    [STYLE_PICKED] = "picked",
    [STYLE_HEADING] = "heading",
    [STYLE_ITALIC] = "italic",
    [STYLE_CODE] = "code",
    [STYLE_CODE_BLOCK] = "code-block",
    [STYLE_THOUGHT] = "thought",
    [STYLE_MATCH] = "match",
    [STYLE_MATCH_HERE] = "match-here",
    [STYLE_PROB0] = "level0",
    [STYLE_PROB0 + 1] = "level1",
    [STYLE_PROB0 + 2] = "level2",
    [STYLE_PROB0 + 3] = "level3",
    [STYLE_PROB0 + 4] = "level4",
    [STYLE_PROB0 + 5] = "level5",
    [STYLE_PROB0 + 6] = "level6",
    [STYLE_PROB0 + 7] = "level7",
    [STYLE_PROB0 + 8] = "level8",
    [STYLE_PROB0 + 9] = "level9",
};

static const char *const theme_names[] = {"auto", "dark", "light", "mono", NULL};

static struct {
    enum { THEME_AUTO /* by the background */, THEME_DARK, THEME_LIGHT, THEME_MONO } base;
    bool changed[STYLE_COUNT];
    struct look looks[STYLE_COUNT]; /* of the changed ones */
} theme;

const char *const *ui_theme_names(void) {
    return theme_names;
}

static bool background_light;

static bool is_light(void) {
    return theme.base == THEME_LIGHT || (theme.base == THEME_AUTO && background_light);
}

bool theme_background(bool is_light_there) {
    bool before = is_light();
    background_light = is_light_there;
    return is_light() != before;
}

bool theme_is_mono(void) {
    return theme.base == THEME_MONO;
}

/* The nearest of the 8: what of red, green and blue there is. (Colours 16..231 are a cube of six levels
 * each.) */
static int16_t eighth(int16_t colour) {
    if (colour < 16) return (int16_t)(colour < 0 ? colour : colour % 8);
    if (colour >= 232) return colour < 244 ? BLACK : WHITE;
    int c = colour - 16, r = c / 36, g = c / 6 % 6, b = c % 6,
        most = r > g ? (r > b ? r : b) : (g > b ? g : b);
    int least = most > 1 ? (most + 1) / 2 : 1;
    return (int16_t)((r > least || (r == most && r > 0)) | (g > least || (g == most && g > 0)) << 1 |
                     (b > least || (b == most && b > 0)) << 2);
}

struct look theme_look(enum style style, int colours) {
    struct look look = {-1, -1, mono[style]};
    if (theme.changed[style]) {
        look = theme.looks[style];
        if (colours < 256) look.fg = eighth(look.fg), look.bg = eighth(look.bg);
        if (colours < 8) look.fg = look.bg = -1;
        return look;
    }
    if (theme.base == THEME_MONO || colours < 8) return look;
    const struct look *own = colours < 256 ? &eight_light[style] : &light[style];
    bool same = !is_light() || (own->fg == 0 && own->bg == 0 && own->attributes == 0);
    return !same ? *own : colours < 256 ? eight[style] : dark[style];
}

int ui_theme_begin(const char *name, struct err *err) {
    for (int i = 0; theme_names[i]; i++)
        if (strcmp(name, theme_names[i]) == 0) {
            memset(&theme, 0, sizeof theme);
            theme.base = i;
            return STATUS_OK;
        }
    return err_set(err, STATUS_USAGE,
                   "found the theme \"%s\", expected auto, dark, light, mono or a theme file's name", name);
}

/* ---- looks as text: "252 on 237 bold" ---- */

static const char *const colour_names[] = {"black", "red",     "green", "yellow",
                                           "blue",  "magenta", "cyan",  "white"};
static const struct {
    const char *name;
    uint8_t bit;
} attribute_names[] = {{"bold", LOOK_BOLD},
                       {"dim", LOOK_DIM},
                       {"underline", LOOK_UNDERLINE},
                       {"reverse", LOOK_REVERSE},
                       {"italic", LOOK_ITALIC}};

/* The nearest of the cube to #rrggbb; its levels are 0, 95, 135, ... 255. */
static int16_t cube(unsigned long rgb) {
    int levels[3];
    for (int i = 0; i < 3; i++) {
        int value = (int)(rgb >> (16 - 8 * i) & 255);
        levels[i] = value < 48 ? 0 : value < 115 ? 1 : (value - 35) / 40;
    }
    return (int16_t)(16 + 36 * levels[0] + 6 * levels[1] + levels[2]);
}

static bool parse_colour(const char *word, int16_t *out) {
    char *end;
    bool bright = strncmp(word, "bright-", 7) == 0;
    if (strcmp(word, "default") == 0) {
        *out = -1;
        return true;
    }
    for (int16_t i = 0; i < 8; i++)
        if (strcmp(word + 7 * bright, colour_names[i]) == 0) {
            *out = (int16_t)(i + 8 * bright);
            return true;
        }
    if (word[0] == '#' && strlen(word) == 7) {
        unsigned long rgb = strtoul(word + 1, &end, 16);
        *out = cube(rgb);
        return !*end;
    }
    long number = strtol(word, &end, 10);
    if (end == word || *end || number < 0 || number > 255) return false;
    *out = (int16_t)number;
    return true;
}

static int parse_look(const char *text, struct look *look, struct err *err) {
    char copy[128], *rest = copy, *word;
    bool background = false, seen = false;
    *look = (struct look){-1, -1, 0};
    snprintf(copy, sizeof copy, "%s", text);
    while ((word = strsep(&rest, " \t"))) {
        if (!*word) continue;
        bool attribute = false;
        for (size_t i = 0; i < sizeof attribute_names / sizeof *attribute_names; i++)
            if (strcmp(word, attribute_names[i].name) == 0)
                look->attributes |= attribute_names[i].bit, attribute = true;
        seen = true;
        if (attribute) continue;
        if (strcmp(word, "on") == 0)
            background = true;
        else if (!parse_colour(word, background ? &look->bg : &look->fg))
            return err_set(
                err, STATUS_USAGE,
                "found \"%s\", expected a colour (default, red, bright-red, 0..255, #rrggbb), on, bold, "
                "dim, underline, reverse or italic",
                word);
    }
    return seen ? STATUS_OK
                : err_set(err, STATUS_USAGE, "found nothing, expected a look like: 252 on 237 bold");
}

int ui_theme_style(const char *name, const char *text, struct err *err) {
    for (int i = 0; i < STYLE_COUNT; i++) {
        if (strcmp(style_names[i], name)) continue;
        struct look look;
        int status = parse_look(text, &look, err);
        if (status < 0) return err_prefix(err, "%s", name);
        theme.looks[i] = look;
        theme.changed[i] = true;
        return STATUS_OK;
    }
    return err_set(err, STATUS_USAGE,
                   "found the style \"%s\", expected one that logitop --print-config lists", name);
}

static void print_colour(int16_t colour, struct buf *out) {
    if (colour < 0)
        buf_puts(out, "default");
    else if (colour < 16)
        buf_printf(out, "%s%s", colour < 8 ? "" : "bright-", colour_names[colour % 8]);
    else
        buf_printf(out, "%d", colour);
}

void ui_theme_print(const char *before, struct buf *out) {
    for (int i = 0; i < STYLE_COUNT; i++) {
        struct look look = theme_look((enum style)i, 256);
        buf_printf(out, "%s%s = ", before, style_names[i]);
        print_colour(look.fg, out);
        if (look.bg >= 0) buf_puts(out, " on "), print_colour(look.bg, out);
        for (size_t k = 0; k < sizeof attribute_names / sizeof *attribute_names; k++)
            if (look.attributes & attribute_names[k].bit) buf_printf(out, " %s", attribute_names[k].name);
        buf_putc(out, '\n');
    }
}
