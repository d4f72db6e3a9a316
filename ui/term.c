#include "ui/term.h"

#include "base/mem.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <ncursesw/curses.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

static const char modes_on[] = "\033[?2004h\033[?1004h"; /* bracketed paste, focus events */
static const char modes_off[] =
    "\033[?2026l\033[?1006l\033[?1000l\033[?1004l\033[?2004l"; /* and an unfinished synchronized frame, the
                                                                  mouse */
static const char mouse_on[] = "\033[?1000h\033[?1006h", mouse_off[] = "\033[?1006l\033[?1000l";
static const char sync_question[] = "\033[?2026$p";
static const char sync_begin[] = "\033[?2026h", sync_end[] = "\033[?2026l";

struct term {
    FILE *in, *out;
    int in_fd, out_fd;
    SCREEN *screen;
    struct canvas shown; /* what is on the terminal */
    cchar_t *row;        /* [columns] */
    attr_t attributes[STYLE_COUNT];
    bool sync, stale, left, colours, mouse;
    int cursor_visible;
};

/* The environment names a character set that is not UTF-8 (C says nothing: most such terminals are). */
static bool foreign_charset;

/* For the last write of a crashing program; set while the terminal is ours. */
static struct {
    volatile sig_atomic_t on;
    int out_fd, in_fd;
    struct termios modes;
    char bytes[256];
    size_t len;
} emergency;

/* ---- looks ---- */

struct look {
    short fg, bg; /* -1: the terminal's own */
    attr_t attributes;
};

static const struct look looks_256[STYLE_COUNT] = {
    [STYLE_TEXT] = {-1, -1, 0},
    [STYLE_DIM] = {245, -1, 0},
    [STYLE_STRONG] = {-1, -1, A_BOLD},
    [STYLE_BAR] = {252, 237, 0},
    [STYLE_BAR_DIM] = {245, 237, 0},
    [STYLE_BAR_STRONG] = {117, 237, A_BOLD},
    [STYLE_YOU] = {74, -1, A_BOLD},
    [STYLE_BOT] = {71, -1, A_BOLD},
    [STYLE_SYSTEM] = {139, -1, 0},
    [STYLE_STAND_IN] = {173, -1, 0},
    [STYLE_CHOSEN] = {71, -1, A_BOLD},
    [STYLE_CUT] = {244, -1, 0},
    [STYLE_GAUGE] = {74, -1, 0},
    [STYLE_GAUGE_REST] = {240, -1, 0},
    [STYLE_KEY] = {-1, -1, 0},
    [STYLE_KEY_LABEL] = {252, 237, 0},
    [STYLE_PROMPT] = {74, -1, A_BOLD},
    [STYLE_ERROR] = {167, -1, A_BOLD},
    [STYLE_NOTICE] = {172, -1, 0},
    [STYLE_SELECTED] = {-1, 237, A_BOLD},
    [STYLE_CURSOR] = {16, 215, A_BOLD},
    [STYLE_MARK] = {16, 180, 0},
    [STYLE_PICKED] = {215, -1, A_UNDERLINE},
    [STYLE_HEADING] = {117, -1, A_BOLD},
    [STYLE_ITALIC] = {-1, -1, A_ITALIC},
    [STYLE_CODE] = {180, -1, 0},
    [STYLE_CODE_BLOCK] = {252, 235, 0},
    [STYLE_THOUGHT] = {245, -1, A_ITALIC},
    [STYLE_MATCH] = {16, 179, 0},
    [STYLE_MATCH_HERE] = {16, 214, A_BOLD},
    [STYLE_PROB0] = {197, -1, A_UNDERLINE},
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

static const struct look looks_8[STYLE_COUNT] = {
    /* with 16 colours the same; bold brightens there */
    [STYLE_TEXT] = {-1, -1, 0},
    [STYLE_DIM] = {-1, -1, A_DIM},
    [STYLE_STRONG] = {-1, -1, A_BOLD},
    [STYLE_BAR] = {COLOR_BLACK, COLOR_CYAN, 0},
    [STYLE_BAR_DIM] = {COLOR_BLACK, COLOR_CYAN, 0},
    [STYLE_BAR_STRONG] = {COLOR_BLACK, COLOR_CYAN, 0},
    [STYLE_YOU] = {COLOR_CYAN, -1, A_BOLD},
    [STYLE_BOT] = {COLOR_GREEN, -1, A_BOLD},
    [STYLE_SYSTEM] = {COLOR_MAGENTA, -1, 0},
    [STYLE_STAND_IN] = {COLOR_YELLOW, -1, 0},
    [STYLE_CHOSEN] = {COLOR_GREEN, -1, A_BOLD},
    [STYLE_CUT] = {-1, -1, A_DIM},
    [STYLE_GAUGE] = {COLOR_CYAN, -1, 0},
    [STYLE_GAUGE_REST] = {-1, -1, A_DIM},
    [STYLE_KEY] = {-1, -1, 0},
    [STYLE_KEY_LABEL] = {COLOR_BLACK, COLOR_CYAN, 0},
    [STYLE_PROMPT] = {COLOR_CYAN, -1, A_BOLD},
    [STYLE_ERROR] = {COLOR_RED, -1, A_BOLD},
    [STYLE_NOTICE] = {COLOR_YELLOW, -1, 0},
    [STYLE_SELECTED] = {-1, -1, A_REVERSE},
    [STYLE_CURSOR] = {COLOR_BLACK, COLOR_YELLOW, 0},
    [STYLE_MARK] = {COLOR_BLACK, COLOR_GREEN, 0},
    [STYLE_PICKED] = {COLOR_YELLOW, -1, A_UNDERLINE},
    [STYLE_HEADING] = {COLOR_CYAN, -1, A_BOLD},
    [STYLE_ITALIC] = {-1, -1, A_ITALIC},
    [STYLE_CODE] = {COLOR_YELLOW, -1, 0},
    [STYLE_CODE_BLOCK] = {COLOR_YELLOW, -1, 0},
    [STYLE_THOUGHT] = {-1, -1, A_DIM},
    [STYLE_MATCH] = {COLOR_BLACK, COLOR_YELLOW, 0},
    [STYLE_MATCH_HERE] = {COLOR_BLACK, COLOR_YELLOW, A_BOLD | A_UNDERLINE},
    [STYLE_PROB0] = {COLOR_RED, -1, A_UNDERLINE},
    [STYLE_PROB0 + 1] = {COLOR_RED, -1, A_BOLD},
    [STYLE_PROB0 + 2] = {COLOR_RED, -1, 0},
    [STYLE_PROB0 + 3] = {COLOR_MAGENTA, -1, 0},
    [STYLE_PROB0 + 4] = {COLOR_MAGENTA, -1, 0},
    [STYLE_PROB0 + 5] = {COLOR_YELLOW, -1, 0},
    [STYLE_PROB0 + 6] = {COLOR_YELLOW, -1, 0},
    [STYLE_PROB0 + 7] = {COLOR_GREEN, -1, 0},
    [STYLE_PROB0 + 8] = {COLOR_GREEN, -1, 0},
    [STYLE_PROB9] = {-1, -1, 0},
};

static const attr_t looks_mono[STYLE_COUNT] = {
    [STYLE_DIM] = A_DIM,
    [STYLE_STRONG] = A_BOLD,
    [STYLE_BAR] = A_REVERSE,
    [STYLE_BAR_DIM] = A_REVERSE,
    [STYLE_BAR_STRONG] = A_REVERSE | A_BOLD,
    [STYLE_YOU] = A_BOLD,
    [STYLE_BOT] = A_BOLD,
    [STYLE_SYSTEM] = A_BOLD,
    [STYLE_STAND_IN] = A_UNDERLINE,
    [STYLE_CHOSEN] = A_BOLD,
    [STYLE_CUT] = A_DIM,
    [STYLE_GAUGE_REST] = A_DIM,
    [STYLE_KEY_LABEL] = A_REVERSE,
    [STYLE_PROMPT] = A_BOLD,
    [STYLE_ERROR] = A_BOLD | A_REVERSE,
    [STYLE_NOTICE] = A_BOLD,
    [STYLE_SELECTED] = A_REVERSE,
    [STYLE_CURSOR] = A_REVERSE | A_BOLD,
    [STYLE_MARK] = A_REVERSE,
    [STYLE_PICKED] = A_UNDERLINE,
    [STYLE_HEADING] = A_BOLD | A_UNDERLINE,
    [STYLE_ITALIC] = A_ITALIC,
    [STYLE_CODE] = A_UNDERLINE,
    [STYLE_THOUGHT] = A_DIM,
    [STYLE_MATCH] = A_REVERSE,
    [STYLE_MATCH_HERE] = A_REVERSE | A_BOLD,
    [STYLE_PROB0] = A_UNDERLINE | A_BOLD,
    [STYLE_PROB0 + 1] = A_UNDERLINE | A_BOLD,
    [STYLE_PROB0 + 2] = A_UNDERLINE,
    [STYLE_PROB0 + 3] = A_UNDERLINE,
};

static bool colour_wanted(enum ui_colour colour) {
    const char *no = getenv("NO_COLOR");
    return !(no && no[0]) && colour != UI_COLOUR_NEVER;
}

static void looks_set(struct term *term, enum ui_colour colour) {
    memcpy(term->attributes, looks_mono, sizeof looks_mono);
    if (!colour_wanted(colour) || !has_colors() || start_color() == ERR || COLORS < 8 ||
        COLOR_PAIRS <= STYLE_COUNT)
        return;
    bool own = use_default_colors() == OK;
    term->colours = true;
    const struct look *looks = COLORS >= 256 ? looks_256 : looks_8;
    for (int i = 0; i < STYLE_COUNT; i++) {
        struct look look = looks[i];
        if (!own)
            look = (struct look){look.fg < 0 ? COLOR_WHITE : look.fg, look.bg < 0 ? COLOR_BLACK : look.bg,
                                 look.attributes};
        if (init_pair((short)(i + 1), look.fg, look.bg) == OK)
            term->attributes[i] = look.attributes | (attr_t)COLOR_PAIR(i + 1);
    }
}

bool term_has_colours(const struct term *term) {
    return term->colours;
}

/* By what a terminal of this name is known to show; a foreign character set says more than any name. */
enum glyphs term_glyphs(const struct term *term) {
    (void)term;
    static const char *const plain[] = {"vt", "ansi", "cons", "sun", "wy"};
    const char *name = getenv("TERM");
    if (foreign_charset) return GLYPHS_ASCII;
    for (size_t i = 0; name && i < sizeof plain / sizeof *plain; i++)
        if (strncmp(name, plain[i], strlen(plain[i])) == 0 && strncmp(name, "vte", 3) != 0)
            return GLYPHS_ASCII;
    return name && strncmp(name, "linux", 5) == 0 ? GLYPHS_BOXES : GLYPHS_ALL;
}

/* ---- opening ---- */

/* Widths and line editing need UTF-8, whatever the environment forgot to say. */
static bool utf8_locale(void) {
    static const char *const names[] = {"", "C.UTF-8", "C.utf8", "en_US.UTF-8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *set = setlocale(LC_CTYPE, names[i]) ? nl_langinfo(CODESET) : "";
        if (strcmp(set, "UTF-8") == 0) return true;
        if (i == 0) foreign_charset = *set && strcmp(set, "ANSI_X3.4-1968") != 0;
    }
    return false;
}

/* Terminals that are xterm enough when their own description is missing. */
static bool xterm_like(const char *name) {
    static const char *const beginnings[] = {"xterm",   "alacritty", "foot",    "kitty", "wezterm",
                                             "ghostty", "rio",       "contour", "tmux",  "screen",
                                             "st-",     "vte",       "konsole", "iterm"};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncasecmp(name, beginnings[i], strlen(beginnings[i])) == 0) return true;
    return false;
}

/* newterm() would catch SIGINT, SIGTERM, SIGTSTP and SIGWINCH: they are the app's. */
static SCREEN *newterm_quietly(const char *name, FILE *out, FILE *in) {
    static const int signals[] = {SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
    enum { N = sizeof signals / sizeof *signals };
    struct sigaction kept[N];
    for (int i = 0; i < N; i++) sigaction(signals[i], NULL, &kept[i]);
    SCREEN *screen = newterm(name, out, in);
    for (int i = 0; i < N; i++) sigaction(signals[i], &kept[i], NULL);
    return screen;
}

/* curses on this terminal, or NULL: not known, or it cannot move its cursor. */
static SCREEN *screen_try(struct term *term, const char *name) {
    SCREEN *screen = newterm_quietly(name, term->out, term->in);
    const char *move_cursor = screen ? tigetstr("cup") : NULL;
    if (screen && (!move_cursor || move_cursor == (const char *)-1)) {
        endwin();
        delscreen(screen);
        return NULL;
    }
    return screen;
}

static int screen_open(struct term *term, char notice[256], struct err *err) {
    const char *name = getenv("TERM");
    notice[0] = 0;
    if (!name || !name[0])
        return err_set(err, STATUS_UNSUPPORTED, "TERM is not set: no screen without knowing the terminal");
    if (strcmp(name, "dumb") != 0) term->screen = screen_try(term, name);
    if (!term->screen && xterm_like(name)) {
        term->screen = screen_try(term, "xterm-256color");
        snprintf(notice, 256, "TERM=%s is not known here: taken as xterm-256color", name);
    }
    if (!term->screen)
        return err_set(err, STATUS_UNSUPPORTED,
                       "TERM=%s: this terminal is not known here or cannot move its cursor", name);
    return STATUS_OK;
}

static void emergency_add(const char *capability) {
    if (!capability || capability == (const char *)-1) return;
    for (const char *p = capability; *p && emergency.len + 1 < sizeof emergency.bytes; p++) {
        if (p[0] == '$' && p[1] == '<') { /* padding */
            const char *end = strchr(p, '>');
            if (end) {
                p = end;
                continue;
            }
        }
        emergency.bytes[emergency.len++] = *p;
    }
}

static void emergency_arm(struct term *term) {
    emergency.len = 0;
    emergency_add(modes_off);
    emergency_add(tigetstr("sgr0"));
    emergency_add(tigetstr("cnorm"));
    emergency_add(tigetstr("rmcup"));
    emergency_add("\r");
    emergency.out_fd = term->out_fd;
    emergency.in_fd = term->in_fd;
    emergency.on = 1;
}

void term_emergency(void) {
    if (!emergency.on) return;
    emergency.on = 0;
    int kept = errno;
    if (write(emergency.out_fd, emergency.bytes, emergency.len) < 0) { /* nothing more can be done */
    }
    tcsetattr(emergency.in_fd, TCSANOW, &emergency.modes);
    errno = kept;
}

void term_put(struct term *term, const char *bytes, size_t len) {
    fflush(term->out);
    while (len > 0) {
        ssize_t n = write(term->out_fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* a vanished terminal is noticed where keys are read */
        bytes += n;
        len -= (size_t)n;
    }
}

static void write_out(struct term *term, const char *bytes) {
    term_put(term, bytes, strlen(bytes));
}

static void term_set_modes(struct term *term) {
    raw();
    noecho();
    nonl();
    keypad(stdscr, FALSE);
    idlok(stdscr, FALSE);
    intrflush(stdscr, FALSE);
    term->cursor_visible = -1;
}

int term_check(int in_fd, int out_fd, struct err *err) {
    if (!isatty(in_fd) || !isatty(out_fd))
        return err_set(err, STATUS_UNSUPPORTED, "standard input and output are not both a terminal");
    if (!utf8_locale())
        return err_set(err, STATUS_UNSUPPORTED, "no UTF-8 locale on this system: no screen without one");
    return STATUS_OK;
}

int term_open(struct term **out, int in_fd, int out_fd, enum ui_colour colour, char notice[256],
              struct err *err) {
    struct term *term = xcalloc(1, sizeof *term);
    term->in_fd = in_fd;
    term->out_fd = out_fd;
    tcgetattr(in_fd, &emergency.modes);
    int in_copy = dup(in_fd), out_copy = dup(out_fd), status = STATUS_FAILED;
    if (in_copy >= 0) term->in = fdopen(in_copy, "r");
    if (out_copy >= 0) term->out = fdopen(out_copy, "w");
    if (term->in && term->out)
        status = screen_open(term, notice, err);
    else
        err_set(err, STATUS_FAILED, "the terminal cannot be opened twice: %s", strerror(errno));
    if (status < 0) {
        if (term->in) fclose(term->in);
        if (term->out) fclose(term->out);
        tcsetattr(in_fd, TCSANOW, &emergency.modes);
        free(term);
        return status;
    }
    looks_set(term, colour);
    term_set_modes(term);
    emergency_arm(term);
    doupdate();             /* enters the alternate screen and clears it, */
    clearok(stdscr, FALSE); /* which a new window would ask for again */
    write_out(term, modes_on);
    if (strncmp(getenv("TERM"), "linux", 5) != 0)
        write_out(term, sync_question); /* old consoles would print a letter of it */
    *out = term;
    return STATUS_OK;
}

void term_leave(struct term *term) {
    if (term->left) return;
    write_out(term, modes_off);
    endwin();
    tcsetattr(term->in_fd, TCSANOW, &emergency.modes);
    emergency.on = 0;
    term->left = true;
}

void term_enter(struct term *term) {
    if (!term->left) {
        term_redraw(term);
        return;
    }
    tcgetattr(term->in_fd, &emergency.modes); /* a shell may have changed them meanwhile */
    reset_prog_mode();
    term_set_modes(term);
    emergency.on = 1;
    term->left = false;
    term_resized(term);
    term_redraw(term);
    write_out(term, modes_on);
    if (term->mouse) write_out(term, mouse_on);
}

void term_close(struct term *term) {
    if (!term) return;
    term_leave(term);
    delscreen(term->screen);
    fclose(term->in);
    fclose(term->out);
    canvas_free(&term->shown);
    free(term->row);
    free(term);
}

/* ---- showing ---- */

void term_size(struct term *term, int *rows, int *columns) {
    (void)term;
    *rows = LINES;
    *columns = COLS;
}

void term_resized(struct term *term) {
    struct winsize size;
    if (ioctl(term->out_fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0 &&
        (size.ws_row != LINES || size.ws_col != COLS))
        resizeterm(size.ws_row, size.ws_col);
}

void term_redraw(struct term *term) {
    term->stale = true;
}

void term_mouse(struct term *term, bool on) {
    term->mouse = on;
    if (!term->left) write_out(term, on ? mouse_on : mouse_off);
}

void term_sync_known(struct term *term) {
    term->sync = true;
}

/* Fill one curses cell. Where the C library's width is another than ours curses would shift the rest of the
 * row: such characters become question marks of the right width. Returns cells written. */
static int make_cell(const struct term *term, const struct cell *cell, cchar_t *out) {
    wchar_t text[CCHARW_MAX + 1] = {(wchar_t)cell->c};
    attr_t attributes = term->attributes[cell->style] & ~(attr_t)A_COLOR;
    short pair = (short)PAIR_NUMBER(term->attributes[cell->style]);
    int n = 1;
    if (cell->c >= 0x7F && wcwidth((wchar_t)cell->c) != cell->width) {
        static const wchar_t unknown[] = L"?";
        for (int i = 0; i < cell->width; i++) setcchar(&out[i], unknown, attributes, pair, NULL);
        return cell->width;
    }
    for (int i = 0; i < CELL_MARKS_MAX && cell->marks[i] && n < CCHARW_MAX; i++)
        if (wcwidth((wchar_t)cell->marks[i]) == 0) text[n++] = (wchar_t)cell->marks[i];
    setcchar(out, text, attributes, pair, NULL);
    return 1;
}

static void show_row(struct term *term, const struct canvas *canvas, int y) {
    const struct cell *cells = canvas->cells + (size_t)y * (size_t)canvas->columns;
    int n = 0;
    for (int x = 0; x < canvas->columns; x++)
        if (cells[x].c) n += make_cell(term, &cells[x], &term->row[n]);
    mvadd_wchnstr(y, 0, term->row, n);
}

static bool row_differs(const struct canvas *a, const struct canvas *b, int y) {
    size_t at = (size_t)y * (size_t)a->columns;
    for (int x = 0; x < a->columns; x++)
        if (!cell_equal(&a->cells[at + (size_t)x], &b->cells[at + (size_t)x])) return true;
    return false;
}

int term_show(struct term *term, const struct canvas *canvas) {
    if (term->left) return 0;
    struct canvas *shown = &term->shown;
    bool all = term->stale || shown->rows != canvas->rows || shown->columns != canvas->columns;
    if (all) {
        canvas_resize(shown, canvas->rows, canvas->columns);
        term->row = xrealloc(term->row, (size_t)canvas->columns * sizeof *term->row);
        if (term->stale) clearok(stdscr, TRUE);
        erase();
        term->stale = false;
    }
    int n = 0;
    for (int y = 0; y < canvas->rows; y++)
        if (all || row_differs(canvas, shown, y)) {
            show_row(term, canvas, y);
            n++;
        }
    bool cursor_moved =
        canvas->cursor_row != shown->cursor_row || canvas->cursor_column != shown->cursor_column;
    if (n == 0 && !cursor_moved) return 0;
    memcpy(shown->cells, canvas->cells,
           (size_t)canvas->rows * (size_t)canvas->columns * sizeof *canvas->cells);
    shown->cursor_row = canvas->cursor_row;
    shown->cursor_column = canvas->cursor_column;
    int visible = canvas->cursor_row >= 0;
    if (visible != term->cursor_visible) curs_set(visible);
    term->cursor_visible = visible;
    if (visible) move(canvas->cursor_row, canvas->cursor_column);
    if (term->sync && n > 0)
        write_out(term, sync_begin); /* doupdate() leaves nothing unwritten, so the order holds */
    wnoutrefresh(stdscr);
    doupdate();
    if (term->sync && n > 0) write_out(term, sync_end);
    return n;
}
