#include "ui/editor.h"

#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"
#include "ui/history_file.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

/* Lines of the history; bytes of its file that are read at most: a start waits for them. */
enum { HISTORY_SIZE = 1000, HISTORY_BYTES = 1 << 20 };

/* A chip is one character of the line, from the last private plane: CHIP_FIRST + its index. Nothing from
 * outside brings such a character into the line. */
enum { CHIP_FIRST = 0x10F000, CHIPS_MAX = 0xFFE };

/* Codes by which keys reach libedit. */
enum code {
    CODE_NEWLINE = 0x80,
    CODE_BACKSPACE,
    CODE_DELETE,
    CODE_LEFT,
    CODE_RIGHT,
    CODE_HOME,
    CODE_END,
    CODE_UP, /* a line up in the box */
    CODE_DOWN,
    CODE_OLDER, /* history */
    CODE_NEWER,
    CODE_WORD_LEFT,
    CODE_WORD_RIGHT,
    CODE_EDIT, /* the next edit of the queue: paste, set, clear */
};

enum edit_type { EDIT_KEY, EDIT_PASTE, EDIT_SET, EDIT_CLEAR, EDIT_CLEAR_KEEP };

struct edit {
    enum edit_type type;
    struct key key;
    wchar_t *text;
};

struct chip {
    wchar_t *text;
    size_t n, n_lines; /* characters, lines */
};

struct editor {
    struct editor_host host;
    struct chip *chips; /* all of the session: a deleted one may be put back (Ctrl+Y) */
    size_t n_chips, cap_chips;
    EditLine *el;
    HistoryW *history;
    char *history_path;     /* NULL: kept in memory only */
    size_t n_history_lines; /* in the file, with those that are too many; as far as it was read */
    bool history_long;      /* it was not read to its beginning */
    bool history_grows;     /* the file is one that lines can be added to */
    FILE *slave_file, *null_file;
    int master_fd;
    struct edit *queue; /* [n_queue], from `first` on */
    size_t first, n_queue, cap_queue;
    wchar_t codes[4]; /* of the key being given to libedit, ended by 0 */
    int next_code;
    wchar_t *edit_text; /* for CODE_EDIT */
    enum edit_type edit_type;
    bool maybe_searching;
};

/* ---- text ---- */

static wchar_t *wide(const char *text, size_t len) {
    wchar_t *out = xmalloc((len + 1) * sizeof *out);
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        uint32_t c = 0;
        int got = utf8_decode(text + at, len - at, &c);
        at += got > 0 ? (size_t)got : (size_t)utf8_bad_length(text + at, len - at);
        if (got <= 0 || c == 0 || c >= CHIP_FIRST) c = 0xFFFD;
        out[n++] = (wchar_t)c;
    }
    out[n] = 0;
    return out;
}

static void narrow(struct buf *out, const wchar_t *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char bytes[4];
        int len = utf8_encode((uint32_t)text[i], bytes);
        buf_append(out, len ? bytes : "\xEF\xBF\xBD", len ? (size_t)len : 3);
    }
}

static const struct chip *chip_of(const struct editor *editor, wchar_t c) {
    size_t i = (size_t)c - CHIP_FIRST;
    return c >= CHIP_FIRST && i < editor->n_chips ? &editor->chips[i] : NULL;
}

/* The text with its chips written out, ended by 0. Owned by the caller. */
static wchar_t *expand(const struct editor *editor, const wchar_t *text, size_t n, size_t *n_out) {
    size_t total = 0, at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct chip *chip = chip_of(editor, text[i]);
        total += chip ? chip->n : 1;
    }
    wchar_t *out = xmalloc((total + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        const struct chip *chip = chip_of(editor, text[i]);
        if (chip)
            wmemcpy(out + at, chip->text, chip->n), at += chip->n;
        else
            out[at++] = text[i];
    }
    out[at] = 0;
    *n_out = at;
    return out;
}

/* As it is shown: chips by what they hold. */
static void narrow_shown(const struct editor *editor, struct buf *out, const wchar_t *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct chip *chip = chip_of(editor, text[i]);
        if (!chip)
            narrow(out, &text[i], 1);
        else if (chip->n_lines > 1)
            buf_printf(out, "[pasted %zu lines]", chip->n_lines);
        else
            buf_printf(out, "[pasted %zu characters]", chip->n);
    }
}

/* What a paste puts into the line: itself, or the character of a new chip. Takes the text. */
static wchar_t *chip_if_long(struct editor *editor, wchar_t *text) {
    struct chip chip = {.text = text, .n = wcslen(text), .n_lines = 1};
    for (size_t i = 0; i + 1 < chip.n; i++) chip.n_lines += text[i] == '\n';
    if ((chip.n < EDITOR_CHIP_CHARACTERS && chip.n_lines < EDITOR_CHIP_LINES) || editor->n_chips == CHIPS_MAX)
        return text;
    grow_array(&editor->chips, &editor->cap_chips, editor->n_chips + 1, sizeof *editor->chips);
    editor->chips[editor->n_chips] = chip;
    wchar_t *out = xcalloc(2, sizeof *out);
    out[0] = (wchar_t)(CHIP_FIRST + editor->n_chips++);
    return out;
}

/* What a paste becomes before it is inserted: CR LF and CR are LF; control characters are shown (^[) so that
 * they can be seen; what is not UTF-8 is U+FFFD. */
static void clean_paste(struct buf *out, const char *text, size_t len) {
    for (size_t at = 0; at < len;) {
        uint32_t c = 0;
        int got = utf8_decode(text + at, len - at, &c);
        size_t n = got > 0 ? (size_t)got : (size_t)utf8_bad_length(text + at, len - at);
        if (got <= 0)
            buf_puts(out, "\xEF\xBF\xBD");
        else if (c == '\r') {
            buf_putc(out, '\n');
            if (at + n < len && text[at + n] == '\n') n++;
        } else if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7F && !(c >= 0x80 && c <= 0x9F)))
            buf_append(out, text + at, n);
        else
            text_sanitize(out, text + at, n);
        at += n;
    }
}

/* ---- functions bound to codes ---- */

static struct editor *editor_of(EditLine *el) {
    void *data = NULL;
    el_wget(el, EL_CLIENTDATA, &data);
    return data;
}

struct line {
    const uint32_t *text;
    size_t n, at;
};

static struct line line_of(EditLine *el) {
    _Static_assert(sizeof(wchar_t) == sizeof(uint32_t), "wide characters are code points");
    const LineInfoW *info = el_wline(el);
    return (struct line){(const uint32_t *)info->buffer, (size_t)(info->lastchar - info->buffer),
                         (size_t)(info->cursor - info->buffer)};
}

static unsigned char move_to(EditLine *el, size_t at) {
    el_cursor(el, (int)((long)at - (long)line_of(el).at));
    return CC_REFRESH;
}

static unsigned char do_newline(EditLine *el, wint_t c) {
    (void)c;
    return el_winsertstr(el, L"\n") < 0 ? CC_ERROR : CC_REFRESH;
}

static unsigned char do_backspace(EditLine *el, wint_t c) {
    (void)c;
    struct line line = line_of(el);
    el_deletestr(el, (int)(line.at - text_cluster_before(line.text, line.n, line.at)));
    return CC_REFRESH;
}

static unsigned char do_delete(EditLine *el, wint_t c) {
    (void)c;
    struct line line = line_of(el);
    size_t n = text_cluster_after(line.text, line.n, line.at) - line.at;
    el_cursor(el, (int)n);
    el_deletestr(el, (int)n);
    return CC_REFRESH;
}

static unsigned char do_left(EditLine *el, wint_t c) {
    (void)c;
    struct line line = line_of(el);
    return move_to(el, text_cluster_before(line.text, line.n, line.at));
}

static unsigned char do_right(EditLine *el, wint_t c) {
    (void)c;
    struct line line = line_of(el);
    return move_to(el, text_cluster_after(line.text, line.n, line.at));
}

static size_t line_begin(const struct line *line, size_t at) {
    while (at > 0 && line->text[at - 1] != '\n') at--;
    return at;
}

static size_t line_end(const struct line *line, size_t at) {
    while (at < line->n && line->text[at] != '\n') at++;
    return at;
}

static unsigned char do_home(EditLine *el, wint_t c) {
    (void)c;
    struct line line = line_of(el);
    return move_to(el, line_begin(&line, line.at));
}

static unsigned char do_end(EditLine *el, wint_t c) {
    (void)c;
    struct line line = line_of(el);
    return move_to(el, line_end(&line, line.at));
}

/* A line up or down, to the same place in it; never into the middle of a cluster. */
static unsigned char do_vertical(EditLine *el, bool up) {
    struct line line = line_of(el);
    size_t begin = line_begin(&line, line.at), column = line.at - begin, target;
    if (up) {
        if (begin == 0) return CC_ERROR;
        target = line_begin(&line, begin - 1);
    } else {
        target = line_end(&line, line.at) + 1;
        if (target > line.n) return CC_ERROR;
    }
    size_t end = line_end(&line, target), at = target + column < end ? target + column : end;
    if (at > target && at < end) at = text_cluster_after(line.text, line.n, at - 1);
    return move_to(el, at);
}

static unsigned char do_up(EditLine *el, wint_t c) {
    (void)c;
    return do_vertical(el, true);
}

static unsigned char do_down(EditLine *el, wint_t c) {
    (void)c;
    return do_vertical(el, false);
}

/* ---- history ---- */

static bool history_write(struct editor *editor, const char *path) {
    HistEventW event;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                  0600); /* never readable by others, not even at first */
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file && fd >= 0) close(fd);
    if (!file) return false;
    bool written = history_w(editor->history, &event, H_SAVE_FP, file) >= 0 && !ferror(file);
    return fclose(file) == 0 && written;
}

/* A new file takes the old one's place when it is whole: neither a full disk nor the end of the program costs
 * what was there. A link goes on leading to it. */
static void history_save(struct editor *editor) {
    HistEventW event;
    struct buf fresh = {0};
    char *whole = realpath(editor->history_path, NULL);
    const char *path = whole ? whole : editor->history_path;
    buf_printf(&fresh, "%s.%ld", path, (long)getpid());
    editor->history_grows = history_write(editor, fresh.data) && rename(fresh.data, path) == 0;
    if (!editor->history_grows) unlink(fresh.data);
    if (history_w(editor->history, &event, H_GETSIZE) >= 0) editor->n_history_lines = (size_t)event.num;
    buf_free(&fresh);
    free(whole);
}

/* A whole file with this line alone, as libedit writes it, which wants a real one for that. */
static bool history_file_of(const wchar_t *text, struct buf *out) {
    HistEventW event;
    HistoryW *one = history_winit();
    int fd = memfd_create("history", MFD_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    bool written = one && file && history_w(one, &event, H_SETSIZE, 1) >= 0 &&
                   history_w(one, &event, H_ENTER, text) >= 0 &&
                   history_w(one, &event, H_SAVE_FP, file) >= 0 && fflush(file) == 0;
    off_t len = written ? lseek(fd, 0, SEEK_CUR) : 0;
    written = len > 0 && pread(fd, buf_reserve(out, (size_t)len), (size_t)len, 0) == len;
    if (written) out->len += (size_t)len;
    if (one) history_wend(one);
    if (file)
        fclose(file);
    else if (fd >= 0)
        close(fd);
    return written;
}

/* At the end of the file, all of it or nothing: what is there already is not written again, however much it
 * is, and what other programs add meanwhile stays. */
static bool history_append(struct editor *editor, const wchar_t *text) {
    struct stat before;
    struct buf bytes = {0};
    ssize_t written = -1;
    bool encoded = history_file_of(text, &bytes);
    int fd = open(editor->history_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    const char *format_end = encoded ? memchr(bytes.data, '\n', bytes.len) : NULL; /* its first line */
    if (format_end && fd >= 0 && fstat(fd, &before) == 0) {
        if (before.st_mode & 077) fchmod(fd, 0600);
        size_t skip = before.st_size ? (size_t)(format_end + 1 - bytes.data) : 0, len = bytes.len - skip;
        written = write(fd, bytes.data + skip, len);
        if (written >= 0 && (size_t)written < len && ftruncate(fd, before.st_size) == 0) written = -1;
    }
    if (fd >= 0) close(fd);
    buf_free(&bytes);
    editor->n_history_lines += written > 0;
    return written > 0;
}

static void history_add(struct editor *editor, const wchar_t *text) {
    HistEventW event;
    if (text[wcsspn(text, L" \t\n")] == 0) return;
    bool fresh = history_w(editor->history, &event, H_ENTER, text) > 0; /* not what the last one was */
    if (!fresh || !editor->history_path) return;
    if (editor->history_grows && history_append(editor, text)) return;
    if (!editor->history_long) history_save(editor); /* all of the file is here */
}

static void history_open(struct editor *editor, const char *path) {
    HistEventW event;
    struct stat file;
    editor->history = history_winit();
    history_w(editor->history, &event, H_SETSIZE, HISTORY_SIZE);
    history_w(editor->history, &event, H_SETUNIQUE, 1);
    if (!path) return;
    editor->history_path = xstrdup(path);
    char newest[32];
    int fd = history_file_newest(path, HISTORY_BYTES);
    snprintf(newest, sizeof newest, "/proc/self/fd/%d", fd);
    int n = history_w(editor->history, &event, H_LOAD, fd < 0 ? path : newest);
    editor->history_long = fd >= 0;
    if (fd >= 0) close(fd);
    editor->n_history_lines = n > 0 ? (size_t)n : 0;
    editor->history_grows = n >= 0 || stat(path, &file) || file.st_size == 0;
}

static void history_close(struct editor *editor) {
    enum { MOST = 2 * HISTORY_SIZE };
    if (editor->history_path && (editor->history_long || editor->n_history_lines > MOST))
        history_file_trim(editor->history_path, MOST, HISTORY_SIZE);
    history_wend(editor->history);
}

/* ---- what is done to the line by the program ---- */

static void clear_line(EditLine *el) {
    struct line line = line_of(el);
    el_cursor(el, (int)(line.n - line.at));
    el_deletestr(el, (int)line.n);
}

static unsigned char do_edit(EditLine *el, wint_t c) {
    (void)c;
    struct editor *editor = editor_of(el);
    if (editor->edit_type == EDIT_CLEAR_KEEP) {
        struct line line = line_of(el);
        size_t n;
        wchar_t *text = expand(editor, (const wchar_t *)line.text, line.n, &n);
        history_add(editor, text);
        free(text);
    }
    if (editor->edit_type != EDIT_PASTE) clear_line(el);
    if (editor->edit_text && editor->edit_text[0]) el_winsertstr(el, editor->edit_text);
    free(editor->edit_text);
    editor->edit_text = NULL;
    return CC_REFRESH;
}

static const struct {
    enum code code;
    const wchar_t *name; /* of the function, ours or libedit's */
    unsigned char (*function)(EditLine *el, wint_t c);
} functions[] = {
    {CODE_NEWLINE, L"logitop-newline", do_newline},
    {CODE_BACKSPACE, L"logitop-backspace", do_backspace},
    {CODE_DELETE, L"logitop-delete", do_delete},
    {CODE_LEFT, L"logitop-left", do_left},
    {CODE_RIGHT, L"logitop-right", do_right},
    {CODE_HOME, L"logitop-home", do_home},
    {CODE_END, L"logitop-end", do_end},
    {CODE_UP, L"logitop-up", do_up},
    {CODE_DOWN, L"logitop-down", do_down},
    {CODE_OLDER, L"ed-prev-history", NULL},
    {CODE_NEWER, L"ed-next-history", NULL},
    {CODE_WORD_LEFT, L"ed-prev-word", NULL},
    {CODE_WORD_RIGHT, L"em-next-word", NULL},
    {CODE_EDIT, L"logitop-edit", do_edit},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

static void bind_codes(EditLine *el, bool both) {
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        const wchar_t key[2] = {(wchar_t)functions[i].code, 0};
        el_wset(el, EL_BIND, key, functions[i].name, NULL);
        if (both) el_wset(el, EL_BIND, L"-a", key, functions[i].name, NULL);
    }
    el_wset(el, EL_BIND, L"^J", L"logitop-newline", NULL);
}

static void bind_all(struct editor *editor) {
    for (size_t i = 0; i < N_FUNCTIONS; i++)
        if (functions[i].function)
            el_wset(editor->el, EL_ADDFN, functions[i].name, functions[i].name, functions[i].function);
    bind_codes(editor->el, false);
    el_wset(editor->el, EL_BIND, L"^R", L"em-inc-search-prev", NULL);
    el_wset(editor->el, EL_BIND, L"^W", L"ed-delete-prev-word", NULL);
    el_source(editor->el, NULL); /* ~/.editrc; "bind -v" there undoes all bindings */
    bool vi = editor_is_vi(editor);
    bind_codes(editor->el, vi);
    if (vi) el_wset(editor->el, EL_BIND, L"^R", L"em-inc-search-prev", NULL);
}

/* ---- keys to codes ---- */

static int key_code_plain(const struct key *key) {
    switch (key->code) {
    case KEY_CODE_ENTER: return key->mods & KEY_MOD_ALT || key->mods & KEY_MOD_SHIFT ? CODE_NEWLINE : '\r';
    case KEY_CODE_TAB: return '\t';
    case KEY_CODE_BACKSPACE: return CODE_BACKSPACE;
    case KEY_CODE_DELETE: return CODE_DELETE;
    case KEY_CODE_LEFT: return key->mods & (KEY_MOD_CTRL | KEY_MOD_ALT) ? CODE_WORD_LEFT : CODE_LEFT;
    case KEY_CODE_RIGHT: return key->mods & (KEY_MOD_CTRL | KEY_MOD_ALT) ? CODE_WORD_RIGHT : CODE_RIGHT;
    case KEY_CODE_HOME: return CODE_HOME;
    case KEY_CODE_END: return CODE_END;
    case KEY_CODE_ESCAPE: return 033;
    default: return 0;
    }
}

/* A backslash before Enter asks for a new line, as in a shell: for terminals whose Alt+Enter does not arrive.
 */
static bool ends_in_backslash(struct editor *editor) {
    struct line line = line_of(editor->el);
    return line.at == line.n && line.n > 1 && line.text[line.n - 1] == '\\' && line.text[line.n - 2] != '\\';
}

/* While it searches, libedit keeps "found line\nbck:pattern" in its buffer, with "?" for ":" where nothing
 * more is found. Where that begins; n if it does not. */
static size_t search_begin(struct editor *editor, const struct line *line) {
    if (!editor->maybe_searching) return line->n;
    size_t begin = line_begin(line, line->n);
    const wchar_t *tail = (const wchar_t *)line->text + begin;
    if (begin > 0 && line->n - begin >= 4 &&
        (wcsncmp(tail, L"bck", 3) == 0 || wcsncmp(tail, L"fwd", 3) == 0) &&
        (tail[3] == ':' || tail[3] == '?'))
        return begin;
    return line->n;
}

/* Nothing more is found. */
static bool search_failed(const struct line *line, size_t begin) {
    return begin < line->n && line->text[begin + 3] == '?';
}

bool editor_searching(struct editor *editor) {
    struct line line = line_of(editor->el);
    return search_begin(editor, &line) < line.n;
}

/* Fill editor->codes with what libedit should read for this key. */
static void key_codes(struct editor *editor, const struct key *key) {
    wchar_t *out = editor->codes;
    struct line line = line_of(editor->el);
    size_t search = search_begin(editor, &line);
    bool searching = search < line.n;
    memset(editor->codes, 0, sizeof editor->codes);
    editor->next_code = 0;
    if (key->code == KEY_CODE_CHAR && key->mods & KEY_MOD_CTRL) {
        uint32_t c = key->c & 0x1F;
        if (c == 'd' - 96) c = CODE_DELETE; /* libedit would take it for the end of the file */
        if (c == 'r' - 96 || c == 's' - 96) editor->maybe_searching = true;
        if (c == 'g' - 96 && search_failed(&line, search))
            *out++ = (wchar_t)c; /* the first takes that back */
        if (c != 0) *out = (wchar_t)c;
    } else if (key->code == KEY_CODE_CHAR) {
        bool ours =
            (key->c >= 0x80 && key->c <= 0x9F) || key->c >= CHIP_FIRST; /* no character that anybody types */
        if (ours) return;
        if (key->mods & KEY_MOD_ALT) *out++ = 033;
        *out = (wchar_t)key->c;
    } else if (key->code == KEY_CODE_UP || key->code == KEY_CODE_DOWN) {
        bool up = key->code == KEY_CODE_UP;
        bool edge = up ? line_begin(&line, line.at) == 0 : line_end(&line, line.at) == line.n;
        *out = edge ? (up ? CODE_OLDER : CODE_NEWER) : up ? CODE_UP : CODE_DOWN;
    } else if (key->code == KEY_CODE_ENTER && key->mods == 0 && ends_in_backslash(editor)) {
        *out++ = CODE_BACKSPACE;
        *out = CODE_NEWLINE;
    } else if (key->code == KEY_CODE_BACKSPACE && (searching || key->mods & KEY_MOD_ALT)) {
        if (key->mods & KEY_MOD_ALT) *out++ = 033;
        *out = searching ? 0x7F : 0x08; /* the search only knows its own backspace; ESC ^H deletes a word */
    } else
        *out = (wchar_t)key_code_plain(key);
}

static int get_character(EditLine *el, wchar_t *out) {
    struct editor *editor = editor_of(el);
    for (;;) {
        if (editor->next_code < 4 && editor->codes[editor->next_code]) {
            *out = editor->codes[editor->next_code++];
            return 1;
        }
        if (editor->first < editor->n_queue) {
            struct edit *edit = &editor->queue[editor->first++];
            if (edit->type == EDIT_KEY) {
                key_codes(editor, &edit->key);
                continue;
            }
            free(editor->edit_text);
            editor->edit_text = edit->text;
            editor->edit_type = edit->type;
            *out = CODE_EDIT;
            return 1;
        }
        editor->first = editor->n_queue = 0;
        if (!editor->host.wait(editor->host.context)) return 0;
    }
}

static void enqueue(struct editor *editor, struct edit edit) {
    grow_array(&editor->queue, &editor->cap_queue, editor->n_queue + 1, sizeof *editor->queue);
    editor->queue[editor->n_queue++] = edit;
}

void editor_key(struct editor *editor, const struct key *key) {
    enqueue(editor, (struct edit){.type = EDIT_KEY, .key = *key});
}

void editor_paste(struct editor *editor, const char *text, size_t len) {
    struct buf clean = {0};
    clean_paste(&clean, text, len);
    wchar_t *insert = chip_if_long(editor, wide(clean.data, clean.len));
    enqueue(editor, (struct edit){.type = EDIT_PASTE, .text = insert});
    buf_free(&clean);
}

void editor_set(struct editor *editor, const char *text, size_t len) {
    enqueue(editor, (struct edit){.type = EDIT_SET, .text = wide(text, len)});
}

void editor_clear(struct editor *editor, bool keep) {
    enqueue(editor, (struct edit){.type = keep ? EDIT_CLEAR_KEEP : EDIT_CLEAR});
}

/* ---- life ---- */

/* A terminal of libedit's own. Returns its slave end, or -1. */
static int private_terminal(int *master) {
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*master < 0 || grantpt(*master) < 0 || unlockpt(*master) < 0) return -1;
    char name[64];
    if (ptsname_r(*master, name, sizeof name) != 0) return -1;
    struct winsize size = {.ws_row = 50, .ws_col = 1000};
    ioctl(*master, TIOCSWINSZ, &size);
    return open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

int editor_open(struct editor **out, const struct editor_host *host, const char *history_path,
                struct err *err) {
    struct editor *editor = xcalloc(1, sizeof *editor);
    editor->host = *host;
    int slave = private_terminal(&editor->master_fd);
    editor->slave_file = slave < 0 ? NULL : fdopen(slave, "r");
    editor->null_file = fopen("/dev/null", "we");
    if (editor->slave_file && editor->null_file)
        editor->el = el_init_fd("logitop", editor->slave_file, editor->null_file, editor->null_file, slave,
                                slave, fileno(editor->null_file));
    if (!editor->el) {
        err_set(err, STATUS_UNSUPPORTED, "the line editor needs a pseudo-terminal: %s", strerror(errno));
        editor_close(editor);
        return STATUS_UNSUPPORTED;
    }
    el_wset(editor->el, EL_CLIENTDATA, editor);
    el_wset(editor->el, EL_SIGNAL, 0);
    el_wset(editor->el, EL_EDITOR, L"emacs");
    history_open(editor, history_path);
    el_wset(editor->el, EL_HIST, history_w, editor->history);
    el_wset(editor->el, EL_GETCFN, get_character);
    bind_all(editor);
    *out = editor;
    return STATUS_OK;
}

void editor_close(struct editor *editor) {
    if (!editor) return;
    if (editor->el) el_end(editor->el);
    if (editor->history) history_close(editor);
    for (size_t i = editor->first; i < editor->n_queue; i++) free(editor->queue[i].text);
    for (size_t i = 0; i < editor->n_chips; i++) free(editor->chips[i].text);
    free(editor->chips);
    free(editor->queue);
    free(editor->edit_text);
    free(editor->history_path);
    if (editor->slave_file) fclose(editor->slave_file);
    if (editor->null_file) fclose(editor->null_file);
    if (editor->master_fd >= 0) close(editor->master_fd);
    free(editor);
}

static void submit(struct editor *editor, const wchar_t *line, size_t n) {
    if (n > 0 && line[n - 1] == '\n') n--;
    wchar_t *text = expand(editor, line, n, &n);
    if (text[wcsspn(text, L" \t\n")]) {
        history_add(editor, text);
        struct buf bytes = {0};
        narrow(&bytes, text, n);
        editor->host.submit(editor->host.context, bytes.data, bytes.len);
        buf_free(&bytes);
    }
    free(text);
}

void editor_run(struct editor *editor) {
    int n = 0;
    const wchar_t *line;
    while ((line = el_wgets(editor->el, &n)) != NULL && n > 0) submit(editor, line, (size_t)n);
}

/* ---- what is in it ---- */

bool editor_waiting(struct editor *editor) {
    return editor->first < editor->n_queue || (editor->next_code < 4 && editor->codes[editor->next_code]);
}

bool editor_empty(struct editor *editor) {
    return !editor_waiting(editor) && line_of(editor->el).n == 0;
}

bool editor_begins(struct editor *editor, char c) {
    struct line line = line_of(editor->el);
    return line.n > 0 && line.text[0] == (unsigned char)c;
}

bool editor_is_vi(struct editor *editor) {
    const wchar_t *name = NULL;
    el_wget(editor->el, EL_EDITOR, &name);
    return name && wcscmp(name, L"vi") == 0;
}

void editor_text(struct editor *editor, struct buf *text) {
    struct line line = line_of(editor->el);
    size_t begin = search_begin(editor, &line), n;
    wchar_t *whole = expand(editor, (const wchar_t *)line.text, begin < line.n ? begin - 1 : line.n, &n);
    buf_clear(text);
    narrow(text, whole, n);
    buf_append(text, "", 0);
    free(whole);
}

void editor_line(struct editor *editor, struct buf *text, size_t *cursor, struct buf *search) {
    struct line line = line_of(editor->el);
    size_t begin = search_begin(editor, &line), n = begin < line.n ? begin - 1 : line.n;
    buf_clear(text);
    buf_clear(search);
    narrow_shown(editor, text, (const wchar_t *)line.text, line.at < n ? line.at : n);
    *cursor = text->len;
    if (line.at < n) narrow_shown(editor, text, (const wchar_t *)line.text + line.at, n - line.at);
    if (begin < line.n) {
        narrow(search, (const wchar_t *)line.text + begin + 4, line.n - begin - 4);
        if (search_failed(&line, begin)) buf_puts(search, ", no more");
    } else if (editor->next_code >= 4 || !editor->codes[editor->next_code])
        editor->maybe_searching = false;
}
