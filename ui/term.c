#include "ui/term.h"

#include "base/fd.h"
#include "base/mem.h"
#include "ui/theme.h"

#include <errno.h>
#include <fcntl.h>
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
/* Of xterm: Alt and a key arrive as Esc and that key, not as another letter; behind it as it was. */
static const char alt_on[] = "\033[?1036s\033[?1036h", alt_off[] = "\033[?1036r";
static const char mouse_on[] = "\033[?1000h\033[?1006h", mouse_off[] = "\033[?1006l\033[?1000l";
static const char sync_question[] = "\033[?2026$p", background_question[] = "\033]11;?\033\\";
static const char sync_begin[] = "\033[?2026h", sync_end[] = "\033[?2026l";

struct term {
    FILE *in, *out;
    int in_fd, out_fd;
    SCREEN *screen;
    struct canvas shown; /* what is on the terminal */
    cchar_t *row;        /* [columns] */
    attr_t attributes[STYLE_COUNT];
    bool sync, stale, left, mouse, alt; /* alt: the terminal knows of alt_on */
    bool can_colour, own_colours;       /* own: the terminal's defaults can be kept */
    bool colours;                       /* shown */
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

static bool colour_wanted(enum ui_colour colour) {
    const char *no = getenv("NO_COLOR");
    return !(no && no[0]) && colour != UI_COLOUR_NEVER;
}

static attr_t curses_attributes(uint8_t look) {
    return (look & LOOK_BOLD ? A_BOLD : 0) | (look & LOOK_DIM ? A_DIM : 0) |
           (look & LOOK_UNDERLINE ? A_UNDERLINE : 0) | (look & LOOK_REVERSE ? A_REVERSE : 0) |
           (look & LOOK_ITALIC ? A_ITALIC : 0);
}

/* The theme's looks, as this terminal can show them. */
void term_theme(struct term *term) {
    bool colours = term->can_colour && !theme_is_mono();
    for (int i = 0; i < STYLE_COUNT; i++) {
        struct look look = theme_look((enum style)i, colours ? COLORS : 0);
        term->attributes[i] = curses_attributes(look.attributes);
        if (!colours) continue;
        if (!term->own_colours) {
            if (look.fg < 0) look.fg = COLOR_WHITE;
            if (look.bg < 0) look.bg = COLOR_BLACK;
        }
        if (init_pair((short)(i + 1), look.fg, look.bg) == OK)
            term->attributes[i] |= (attr_t)COLOR_PAIR(i + 1);
    }
    term->colours = colours;
    term->stale = true;
}

static void looks_set(struct term *term, enum ui_colour colour) {
    term->can_colour = colour_wanted(colour) && has_colors() && start_color() != ERR && COLORS >= 8 &&
                       COLOR_PAIRS > STYLE_COUNT;
    term->own_colours = term->can_colour && use_default_colors() == OK;
    term_theme(term);
    term->stale = false; /* nothing is shown yet */
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

/* Other terminals that call themselves so send Esc with Alt anyhow; some of them say who they are. */
static bool may_be_xterm(void) {
    const char *name = getenv("TERM"), *program = getenv("TERM_PROGRAM");
    return strncmp(name, "xterm", 5) == 0 && !(program && *program);
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
    if (term->alt) emergency_add(alt_off);
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
    fd_write_all(term->out_fd, bytes, len); /* a vanished terminal is noticed where keys are read */
}

static void write_out(struct term *term, const char *bytes) {
    term_put(term, bytes, strlen(bytes));
}

static void put_modes(struct term *term, bool on) {
    write_out(term, on ? modes_on : modes_off);
    if (term->alt) write_out(term, on ? alt_on : alt_off);
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
    int in_copy = fcntl(in_fd, F_DUPFD_CLOEXEC, 3), out_copy = fcntl(out_fd, F_DUPFD_CLOEXEC, 3);
    int status = STATUS_FAILED;
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
    const char *tmux = getenv("TMUX");
    bool in_tmux = tmux && *tmux;
    term->alt = !in_tmux && may_be_xterm();
    emergency_arm(term);
    doupdate();             /* enters the alternate screen and clears it, */
    clearok(stdscr, FALSE); /* which a new window would ask for again */
    put_modes(term, true);
    if (xterm_like(getenv("TERM"))) write_out(term, background_question);
    if (in_tmux)
        term->sync = true; /* it knows this, or passes over it, but most of its versions do not answer */
    else if (xterm_like(getenv("TERM")))
        write_out(term, sync_question); /* old terminals would print a letter of it */
    *out = term;
    return STATUS_OK;
}

/* A capability without its padding; NULL and those that the terminal lacks are nothing. */
static void put_capability(struct term *term, const char *capability) {
    struct buf bytes = {0};
    if (!capability || capability == (const char *)-1) return;
    for (const char *p = capability; *p; p++) {
        const char *end = p[0] == '$' && p[1] == '<' ? strchr(p, '>') : NULL;
        if (end)
            p = end;
        else
            buf_putc(&bytes, *p);
    }
    term_put(term, bytes.data ? bytes.data : "", bytes.len);
    buf_free(&bytes);
}

/* Not by endwin(): when curses takes the screen again after that, it sets all colours back to the terminal's
 * built-in ones (OSC 104), and a person's own palette would be gone. */
void term_leave(struct term *term) {
    if (term->left) return;
    const char *move_cursor = tigetstr("cup");
    put_modes(term, false);
    if (move_cursor && move_cursor != (const char *)-1)
        put_capability(term, tparm(move_cursor, LINES - 1, 0));
    put_capability(term, tigetstr("sgr0"));
    put_capability(term, tigetstr("cnorm"));
    put_capability(term, tigetstr("rmcup"));
    write_out(term, "\r");
    tcsetattr(term->in_fd, TCSADRAIN, &emergency.modes);
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
    put_capability(term, tigetstr("smcup"));
    term_resized(term);
    term_redraw(term);
    put_modes(term, true);
    if (term->mouse) write_out(term, mouse_on);
}

void term_close(struct term *term) {
    if (!term) return;
    if (!term->left) {
        put_modes(term, false);
        endwin();
        tcsetattr(term->in_fd, TCSANOW, &emergency.modes);
        emergency.on = 0;
    }
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
