/* The module on a pseudo-terminal: editing, actions, modes given back, what is written. The test plays the
 * terminal: it types on the master end and reads what was painted there. */
#include "base/clock.h"
#include "base/mem.h"
#include "ui/editor.h"
#include "ui/ui.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
    struct ui *ui;
    int master, slave;
    struct termios modes;
    struct buf painted;
    struct buf actions; /* names and texts of what came, "|" between them */
    const char *const
        *script; /* typed one after another, each when the one before had its effect; NULL ends */
    int64_t typed_ns;
    bool clear, hang_up, gone, inspecting, listing, searches, answering;
    const struct ui_message *messages;
    size_t n_messages;
};

static void drain(struct bench *bench) {
    char bytes[4096];
    ssize_t n;
    while ((n = read(bench->master, bytes, sizeof bytes)) > 0) buf_append(&bench->painted, bytes, (size_t)n);
}

static void note(struct bench *bench, const struct ui_action *action) {
    static const char *const names[UI_ACTION_COUNT_APP] = {
        [UI_ACTION_SUBMIT] = "submit",
        [UI_ACTION_INTERRUPT] = "interrupt",
        [UI_ACTION_ESCAPE] = "escape",
        [UI_ACTION_EOF] = "eof",
        [UI_ACTION_SUSPEND] = "suspend",
        [UI_ACTION_QUIT] = "quit",
        [UI_ACTION_NEW] = "new",
        [UI_ACTION_REGENERATE] = "again",
        [UI_ACTION_CONTINUE] = "go on",
        [UI_ACTION_INSPECT] = "inspect",
        [UI_ACTION_TOKEN_BACK] = "back",
        [UI_ACTION_TAKE] = "take",
        [UI_ACTION_TYPED] = "typed",
        [UI_ACTION_EXPORT] = "export",
        [UI_ACTION_MESSAGE_ON] = "message on",
        [UI_ACTION_BRANCHES] = "branches",
        [UI_ACTION_PICK] = "pick",
        [UI_ACTION_PICK_DELETE] = "delete",
        [UI_ACTION_FILTER] = "filter",
        [UI_ACTION_POINT] = "point",
        [UI_ACTION_CANDIDATE] = "candidate",
        [UI_ACTION_COMPLETE] = "complete",
    };
    if (bench->actions.len) buf_putc(&bench->actions, '|');
    buf_puts(&bench->actions, names[action->type]);
    if (action->type == UI_ACTION_BRANCHES) bench->listing = true;
    if (action->type == UI_ACTION_ESCAPE) bench->listing = false;
    if (action->id) buf_printf(&bench->actions, " %d", (int)action->id);
    if (action->type == UI_ACTION_INSPECT) bench->inspecting = !bench->inspecting;
    if (action->type == UI_ACTION_POINT) buf_printf(&bench->actions, "@%zu", action->offset);
    if (action->type == UI_ACTION_SUBMIT || action->type == UI_ACTION_TYPED ||
        action->type == UI_ACTION_FILTER || action->type == UI_ACTION_COMPLETE)
        buf_printf(&bench->actions, "(%.*s)", (int)action->len, action->text);
    if (action->type == UI_ACTION_INTERRUPT && bench->clear) ui_input_clear(bench->ui, true);
}

static size_t count(const struct buf *text, const char *what) {
    size_t n = 0, len = strlen(what);
    for (const char *p = text->data; p && (p = memmem(p, text->len - (size_t)(p - text->data), what, len));
         p += len)
        n++;
    return n;
}

static bool step(void *context) {
    struct bench *bench = context;
    struct pollfd fds[UI_FDS];
    struct ui_action action;
    bool answers = bench->answering && !count(&bench->painted, "still answering"); /* until that is told */
    enum ui_state engine = answers ? UI_STATE_GENERATING : UI_STATE_IDLE;
    struct ui_model model = {.status = {.state = engine, .model = "a model"},
                             .messages = bench->messages,
                             .n_messages = bench->n_messages,
                             .hint = "a hint"};
    struct ui_inspect inspect = {.message = 1};
    static const struct ui_picker_row rows[] = {
        {1, {"one"}, NULL, 0, false}, {2, {"two"}, NULL, 0, true}, {3, {"three"}, "not this one", 0, false}};
    struct ui_picker list = {.id = 9,
                             .title = "a list",
                             .n_columns = 1,
                             .rows = rows,
                             .n_rows = 3,
                             .deletes = true,
                             .searches = bench->searches};
    ui_poll_fds(bench->ui, fds);
    int timeout = ui_timeout_ms(bench->ui);
    bool short_sleep = timeout >= 0 && timeout <= 10;
    bool turn = poll(fds, UI_FDS, short_sleep ? timeout : 10) > 0 || short_sleep; /* an app would sleep on */
    drain(bench);
    int64_t now = clock_ns();
    if (ui_input(bench->ui, fds, NULL) < 0) {
        bench->gone = true;
        return false;
    }
    if (fds[0].revents) bench->typed_ns = clock_ns();
    while (ui_next_action(bench->ui, &action)) note(bench, &action);
    model.inspect = bench->inspecting ? &inspect : NULL;
    model.picker = bench->listing ? &list : NULL;
    if (turn) ui_draw(bench->ui, &model);
    drain(bench);
    /* Both times lie where a slow machine cannot make it type into an Escape that was not given up yet. */
    if (now - bench->typed_ns < 60 * 1000000LL) return true;
    bench->typed_ns = clock_ns();
    if (bench->hang_up && *bench->script == NULL) {
        close(bench->master);
        bench->master = -1;
        bench->hang_up = false;
        return true;
    }
    if (*bench->script == NULL) return false;
    assert_int_equal(write(bench->master, *bench->script, strlen(*bench->script)),
                     (ssize_t)strlen(*bench->script));
    bench->script++;
    return true;
}

static void bench_open(struct bench *bench, const char *history) {
    memset(&bench->modes, 0, sizeof bench->modes);
    struct winsize size = {.ws_row = 24, .ws_col = 100};
    struct err err;
    assert_int_equal(openpty(&bench->master, &bench->slave, NULL, NULL, &size), 0);
    fcntl(bench->master, F_SETFL, O_NONBLOCK);
    tcgetattr(bench->slave, &bench->modes);
    struct ui_options options = {
        .in_fd = bench->slave, .out_fd = bench->slave, .history_path = history, .keep_stderr = true};
    if (ui_open(&bench->ui, &options, &err) < 0) fail_msg("%s", err.text);
}

static void bench_close(struct bench *bench) {
    struct termios now = {0}; /* its padding too is compared */
    ui_close(bench->ui);
    if (bench->master >= 0) {
        drain(bench);
        tcgetattr(bench->slave, &now);
        assert_memory_equal(&now, &bench->modes, sizeof now);
        close(bench->master);
    }
    close(bench->slave);
    buf_free(&bench->painted);
    buf_free(&bench->actions);
}

static void type(struct bench *bench, const char *const *script) {
    bench->script = script;
    ui_run(bench->ui, step, bench);
    buf_append(&bench->actions, "", 0);
}

#define FAMILY "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7"

static void lines_are_edited(void **state) {
    (void)state;
    struct bench bench = {.clear = true};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){
                     "hello\r", "a\nb\033\rc\r",                             /* Ctrl+J and Alt+Enter */
                     "x" FAMILY "\x7f\r", "e\xCC\x81z\033[D\033[D\033[3~\r", /* whole clusters */
                     "ab\033[D\033[H\033[C-\033[F!\r",                       /* arrows, Home, End */
                     "\033[A\033[A\r",                                       /* history, two back */
                     "one\ntwo\033[AX\r",                                    /* up inside the box */
                     "\022"
                     "hel",
                     "\033", "\r",                               /* Ctrl+R; Esc keeps what was found */
                     "\033[200~p1\r\np2\033[31m\033[201~", "\r", /* a paste never submits by itself */
                     "kept\003", "\033[A\r",                     /* cleared, and back from the history */
                     "a b\027c\r", "  \r", NULL});
    assert_string_equal(
        bench.actions.data,
        "submit(hello)|submit(a\nb\nc)|submit(x)|submit(z)|submit(a-b!)|submit(z)|submit(oneX\ntwo)|"
        "submit(hello)|submit(p1\np2^[[31m)|interrupt|submit(kept)|submit(a c)");
    bench_close(&bench);
}

/* A long paste is one chip: shown by its size, deleted at one stroke, sent and remembered whole. */
static void long_pastes_are_chips(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"look:\033[200~1\n2\n3\n4\n5\n6\n7\n8\n\033[201~", /* 8 lines */
                                       "x\177\177y", /* the x, then the chip */
                                       "\033[200~1\n2\n3\n4\n5\n6\n7\n8\033[201~!", "\r", /* another */
                                       "\033[200~1\n2\n3\033[201~", "\r", /* short ones are text */
                                       "a\\\rb\r", "c\\\\\r", NULL});     /* a backslash before Enter */
    assert_string_equal(bench.actions.data,
                        "submit(look:y1\n2\n3\n4\n5\n6\n7\n8!)|submit(1\n2\n3)|submit(a\nb)|submit(c\\\\)");
    assert_true(count(&bench.painted, "[pasted 8 lines]") >= 1);
    bench_close(&bench);
    bench = (struct bench){.clear = true};
    bench_open(&bench, NULL);
    char *paste = xmalloc(2200), *sent = xmalloc(2200);
    memset(sent, 'z', 1500);
    sent[1500] = 0;
    snprintf(paste, 2200, "\033[200~%s\033[201~", sent);
    type(&bench,
         (const char *const[]){paste, "\003", "\033[A\r", "\xF4\x8F\x80\x80q\r", NULL}); /* U+10F000, typed */
    assert_true(count(&bench.painted, "[pasted 1500 characters]") >= 1);
    snprintf(paste, 2200, "interrupt|submit(%s)|submit(q)", sent);
    assert_string_equal(bench.actions.data, paste);
    free(paste);
    free(sent);
    bench_close(&bench);
}

/* A text editor on the box: what it makes of the text comes back, what it refuses does not. */
static void the_box_goes_through_an_editor(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    setenv("VISUAL", "sed -i s/two/2/", 1);
    type(&bench, (const char *const[]){"one\ntwo", "\007", " more\r", NULL});
    setenv("VISUAL", "false", 1);
    type(&bench, (const char *const[]){"kept", "\007", "\r", NULL});
    unsetenv("VISUAL");
    assert_string_equal(bench.actions.data, "submit(one\n2 more)|submit(kept)");
    assert_true(count(&bench.painted, "the editor failed") == 1);
    bench_close(&bench);
}

static void the_conversation_is_searched(void **state) {
    (void)state;
    struct ui_message said[] = {
        {.id = 7, .role = UI_ROLE_YOU, .text = "Find me", .len = 7},
        {.id = 8, .role = UI_ROLE_BOT, .text = "a **find** and a find\nlast", .len = 26},
    };
    struct bench bench = {.messages = said, .n_messages = 2};
    bench_open(&bench, NULL);
    type(&bench,
         (const char *const[]){"\033[18~", "fi", "nd", "\r", "n", "n", "N", "N", "\033", "x\r", /* over */
                               "\033/", "nowhere", "\177\177\177", "\033", "\033/", "Find\r", "y\r", NULL});
    assert_string_equal(bench.actions.data, "submit(x)|submit(y)"); /* a letter ends it and is typed */
    for (const char *const *text = (const char *const[]){"1 of 3", "not found", "1 of 1", NULL}; *text;
         text++)
        if (!count(&bench.painted, *text)) fail_msg("%s is not there", *text);
    bench_close(&bench);
}

static void pages_are_turned_as_fast_as_one_types(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"\033OP\033[6~\033[6~", "\033", NULL});
    assert_true(count(&bench.painted, "33-49 of") > 0);
    bench_close(&bench);
}

static void the_mouse_is_off_until_asked_for(void **state) {
    (void)state;
    struct ui_message said[] = {{.id = 7, .role = UI_ROLE_YOU, .text = "words", .len = 5},
                                {.id = 8, .role = UI_ROLE_BOT, .text = "# Head\n\nand **text**", .len = 21}};
    struct bench bench = {.messages = said, .n_messages = 2};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"a", NULL});
    assert_int_equal(count(&bench.painted, "\033[?1000h"), 0);
    type(&bench, (const char *const[]){"\033[19~", "\033[<0;10;2M", "\033[<0;8;6M", "\033[<64;5;5M",
                                       "\033[19~", NULL});
    assert_int_equal(count(&bench.painted, "\033[?1000h\033[?1006h"), 1);
    assert_int_equal(count(&bench.painted, "\033[?1006l\033[?1000l"), 1);
    assert_string_equal(bench.actions.data, "point 7@3|point 8@9");
    bench_close(&bench);
}

static void it_rings_where_nobody_looks(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"\033[I", NULL});
    ui_bell(bench.ui);
    type(&bench, (const char *const[]){"\033[O", NULL});
    assert_int_equal(count(&bench.painted, "\a"), 0);
    ui_bell(bench.ui);
    drain(&bench);
    assert_int_equal(count(&bench.painted, "\a"), 1);
    bench_close(&bench);
}

static void it_copies_through_the_terminal(void **state) {
    (void)state;
    struct bench bench = {0};
    struct err err = {0};
    unsetenv("TMUX");
    bench_open(&bench, NULL);
    assert_int_equal(ui_copy(bench.ui, "hello\xFF", 6, &err), STATUS_OK);
    drain(&bench);
    assert_int_equal(count(&bench.painted, "\033]52;c;aGVsbG//\a"), 1);
    char *big = xcalloc(100000, 1);
    assert_int_equal(ui_copy(bench.ui, big, 100000, &err), STATUS_USAGE);
    free(big);
    bench_close(&bench);
}

/* What the app does to the box in answer to an action is painted without another key. */
static void a_cleared_box_is_seen(void **state) {
    (void)state;
    struct bench bench = {.clear = true};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"some words", "\003", NULL});
    assert_int_equal(count(&bench.painted, "a hint"), 2); /* before the words and after them */
    bench_close(&bench);
}

static void keys_become_actions(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"\033", "\003", "\004", "\032", "\033[21~", "\033n", "\033[15~",
                                       "\033g", "x\004\x7f", /* not the end of a box that is not empty */
                                       "\033OP", "q", /* help opens and closes without a word to the app */
                                       "\033[<0;1;1M\033[I\033]11;x\007", "ok\r", NULL});
    assert_string_equal(bench.actions.data, "escape|interrupt|eof|suspend|quit|new|again|go on|submit(ok)");
    assert_true(count(&bench.painted, "begin a new chat") == 1);
    bench_close(&bench);
}

/* In inspect mode letters and arrows are actions, the box is lent for typing a token and comes back. */
static void inspect_mode_has_its_own_keys(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    type(&bench,
         (const char *const[]){
             "draft", "\033OR",    "x",    "q",        "\033[D", "\033[1;5C", "\r", "\033[200~p\033[201~",
             "t",     " \xC3\xA9", "\r",                     /* with its blank, not sent */
             "t",     "given up",  "\033", "t",        "\r", /* nothing typed is nothing */
             "\033",  "\033OR",    "s\r",  "\033[A\r", NULL});
    assert_string_equal(
        bench.actions.data,
        "inspect|export|back|message on|take|typed( \xC3\xA9)|escape|inspect|submit(drafts)|submit(drafts)");
    bench_close(&bench);
    bench =
        (struct bench){.answering = true}; /* what is typed waits with the one who types, and is not lost */
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"\033OR", "t", "word", "\r", "s\r", "x", NULL});
    assert_string_equal(bench.actions.data, "inspect|typed(words)|export");
    bench_close(&bench);
    bench = (struct bench){0}; /* a search that a key ends leaves that key to inspect mode */
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"\033OR", "\033[18~", "x", "\r", "n", "\033[D", "\033[D", "x", NULL});
    assert_string_equal(bench.actions.data, "inspect|back|back|export");
    bench_close(&bench);
}

/* Keys that come in one piece act one after another: the filter has had its effect when Enter chooses. */
static void a_list_is_chosen_from(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    type(&bench,
         (const char *const[]){"draft", "\033[17~", "\r", "\033[A\r", "thre\r\177\177\177\033[B\r\033[3~",
                               "\025zz\r\033[3~", "\003", "\r", NULL});
    assert_string_equal(bench.actions.data, "branches|pick 2|pick 1|delete 3|escape|submit(draft)");
    bench_close(&bench);
    bench = (struct bench){.searches = true};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"\033[17~", "\xC3\xA9x", "\033[200~p q\033[201~\r", "\033", NULL});
    assert_string_equal(bench.actions.data,
                        "branches|filter(\xC3\xA9)|filter(\xC3\xA9x)|filter(\xC3\xA9xp q)|pick 1|escape");
    bench_close(&bench);
}

static void only_known_escapes_are_written(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"\033[?2026;2$y", "some text \xE6\xBC\xA2", "\003", "more", NULL});
    size_t begin = count(&bench.painted, "\033[?2026h"), end = count(&bench.painted, "\033[?2026l");
    assert_true(begin >= 2 && begin == end);
    assert_true(count(&bench.painted, "\033[2J") <= 1);
    assert_true(count(&bench.painted, "\033[?2004h") == 1);
    bench_close(&bench);
}

static void the_screen_is_given_back(void **state) {
    (void)state;
    struct bench bench = {0};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"x", NULL});
    buf_clear(&bench.painted);
    ui_emergency_restore();
    drain(&bench);
    assert_int_equal(count(&bench.painted, "\033[?1049l"), 1);
    assert_int_equal(count(&bench.painted, "\033[?2004l"), 1);
    struct termios now = {0}; /* its padding too is compared */
    tcgetattr(bench.slave, &now);
    assert_memory_equal(&now, &bench.modes, sizeof now);
    ui_emergency_restore(); /* once is enough */
    bench_close(&bench);
}

static void a_vanished_terminal_ends_it(void **state) {
    (void)state;
    struct bench bench = {.hang_up = true};
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"x", NULL});
    assert_true(bench.gone);
    bench_close(&bench);
}

static void a_crash_restores_the_terminal(void **state) {
    (void)state;
    struct bench bench = {0};
    struct sigaction cmocka_handler, plain = {.sa_handler = SIG_DFL};
    sigaction(SIGABRT, &plain, &cmocka_handler); /* what the ui finds and hands over to */
    bench_open(&bench, NULL);
    type(&bench, (const char *const[]){"x", NULL});
    buf_clear(&bench.painted);
    pid_t child = fork();
    if (child == 0) {
        abort();
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    drain(&bench);
    assert_int_equal(count(&bench.painted, "\033[?1049l"), 1);
    bench_close(&bench);
    sigaction(SIGABRT, &cmocka_handler, NULL);
}

static void history_is_kept(void **state) {
    (void)state;
    char path[] = "/tmp/logitop-history-XXXXXX";
    close(mkstemp(path));
    for (int round = 0; round < 2; round++) {
        struct bench bench = {0};
        bench_open(&bench, path);
        if (round == 0)
            type(&bench, (const char *const[]){"w\xC3\xB6rd \xE6\xBC\xA2\nsecond\r", NULL});
        else
            type(&bench, (const char *const[]){"\033[A\r", NULL});
        assert_string_equal(bench.actions.data, "submit(w\xC3\xB6rd \xE6\xBC\xA2\nsecond)");
        bench_close(&bench);
    }
    unlink(path);
}

static void no_screen_where_none_can_be(void **state) {
    (void)state;
    struct ui *ui = NULL;
    struct err err;
    int ends[2], master, slave;
    assert_int_equal(pipe(ends), 0);
    struct ui_options options = {.in_fd = ends[0], .out_fd = ends[1]};
    assert_int_equal(ui_open(&ui, &options, &err), STATUS_UNSUPPORTED);
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    options.in_fd = options.out_fd = slave;
    static const char *const bad[] = {"dumb", "no-such-terminal", ""};
    for (size_t i = 0; i < 3; i++) {
        setenv("TERM", bad[i], 1);
        assert_int_equal(ui_open(&ui, &options, &err), STATUS_UNSUPPORTED);
        assert_non_null(strstr(err.text, "TERM"));
    }
    struct rlimit files, none;
    getrlimit(RLIMIT_NOFILE, &files);
    setenv("TERM", "xterm-256color", 1);
    int next = dup(master); /* no pseudo-terminal for the line editor, as in a container without /dev/pts */
    close(next);
    none = (struct rlimit){(rlim_t)next, files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    int status = ui_open(&ui, &options, &err);
    setrlimit(RLIMIT_NOFILE, &files);
    assert_int_equal(status, STATUS_UNSUPPORTED);
    setenv("TERM", "xterm-of-another-kind", 1);
    assert_int_equal(ui_open(&ui, &options, &err), STATUS_OK);
    ui_close(ui);
    setenv("TERM", "xterm-256color", 1);
    close(master);
    close(slave);
    close(ends[0]);
    close(ends[1]);
}

/* The terminal library keeps the descriptions of terminals it looked up. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libtinfo";
}

static size_t lines_in(const char *path) {
    size_t n = 0;
    FILE *file = fopen(path, "r");
    for (int c = 0; file && (c = fgetc(file)) != EOF;) n += c == '\n';
    if (file) fclose(file);
    return n;
}

static void add_lines(const char *path, const char *how, const char *line, int n) {
    FILE *file = fopen(path, how);
    for (int i = 0; i < n; i++) fprintf(file, "%s\\040%d\n", line, i);
    fclose(file);
}

static void type_once(const char *path, const char *const *keys, const char *expected) {
    struct bench bench = {0};
    bench_open(&bench, path);
    type(&bench, keys);
    assert_string_equal(bench.actions.data, expected);
    bench_close(&bench);
}

/* A question costs what it is long, not what all of them are: the file grows, and is written anew only where
 * it became far too long. What other programs add meanwhile stays. */
static void history_grows(void **state) {
    (void)state;
    char path[] = "/tmp/logitop-history-XXXXXX";
    struct stat before, after;
    close(mkstemp(path));
    struct bench bench = {0};
    bench_open(&bench, path);
    type(&bench, (const char *const[]){"one\r", NULL});
    stat(path, &before);
    add_lines(path, "a", "of another", 1);
    bench.script = NULL;
    type(&bench, (const char *const[]){"tw\xC3\xB6 \\\nthree\r", NULL});
    bench_close(&bench);
    stat(path, &after);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(lines_in(path), 4); /* the first names the format */
    type_once(path, (const char *const[]){"\033[A\r", NULL}, "submit(tw\xC3\xB6 \\\nthree)");
    assert_int_equal(lines_in(path), 4); /* the same again is one */
    type_once(path, (const char *const[]){"\033[A\033[A\033[A\r", NULL},
              "submit(of another 0)"); /* over two rows */
    assert_int_equal(lines_in(path), 5);
    add_lines(path, "a", "many", 2500);
    type_once(path, (const char *const[]){"last\r", "\033[A\033[A\r", NULL},
              "submit(last)|submit(many 2499)");
    assert_int_equal(lines_in(path), 1001);
    add_lines(path, "w", "in nobody's format", 5); /* a new file takes its place */
    type_once(path, (const char *const[]){"anew\r", "and more\r", NULL}, "submit(anew)|submit(and more)");
    assert_int_equal(lines_in(path), 3);
    unlink(path);
}

static off_t size_of(const char *path) {
    struct stat file;
    return stat(path, &file) ? -1 : file.st_size;
}

/* A start waits for what is read: of a long file only its end is. The rest stays where it is. */
static void history_is_long(void **state) {
    (void)state;
    enum { LONG = 4000, BYTES = 1 << 20 };
    char path[] = "/tmp/logitop-history-XXXXXX", line[LONG + 1], oldest[LONG + 64];
    memset(line, 'x', LONG);
    line[LONG] = '\0';
    close(mkstemp(path));
    type_once(path, (const char *const[]){"one\r", NULL}, "submit(one)");
    add_lines(path, "a", line, 1500);
    off_t size = size_of(path);
    assert_true(size > 5 * BYTES);
    struct bench bench = {0};
    bench_open(&bench, path);
    char ups[3 * 1000 + 1] = "";
    for (size_t i = 0; i < sizeof ups - 1; i += 3) memcpy(ups + i, "\033[A", 4);
    type(&bench, (const char *const[]){ups, "\r", NULL});
    int number = -1;
    snprintf(oldest, sizeof oldest, "submit(%s %%d)", line);
    sscanf(bench.actions.data, oldest, &number);
    bench_close(&bench);
    assert_in_range(number, 1500 - BYTES / LONG, 1499);
    assert_true(size_of(path) >= size); /* and that line, where it was not the newest */
    assert_int_equal(lines_in(path), 1 + 1 + 1500 + 1);
    add_lines(path, "a", line, 500); /* too many */
    type_once(path, (const char *const[]){"last\r", "\033[A\r", NULL}, "submit(last)|submit(last)");
    assert_int_equal(lines_in(path), 1001);
    type_once(path, (const char *const[]){"\033[A\r", NULL}, "submit(last)");
    FILE *file = fopen(path, "w"); /* one that is longer than all that is read */
    fputs("_HiStOrY_V2_\nfirst\n", file);
    for (int i = 0; i < 3 * BYTES; i++) fputc('y', file);
    fputs("\n", file);
    fclose(file);
    type_once(path, (const char *const[]){"\033[A\033[A\r", NULL}, "submit(first)");
    unlink(path);
}

/* Nothing can be written any more: what was kept before stays. */
static void history_outlives_a_full_disk(void **state) {
    (void)state;
    char path[] = "/tmp/logitop-history-XXXXXX", link[64], line[64] = "";
    struct rlimit before, none;
    close(mkstemp(path));
    snprintf(link, sizeof link, "%s.link", path);
    assert_int_equal(symlink(path, link), 0);
    getrlimit(RLIMIT_FSIZE, &before);
    none = (struct rlimit){0, before.rlim_max};
    void (*kept)(int) = signal(SIGXFSZ, SIG_IGN);
    for (int full = 0; full < 2; full++) {
        struct bench bench = {0};
        bench_open(&bench, link);
        setrlimit(RLIMIT_FSIZE, full ? &none : &before);
        type(&bench, (const char *const[]){full ? "two\r" : "one\r", NULL});
        bench_close(&bench);
        setrlimit(RLIMIT_FSIZE, &before);
    }
    signal(SIGXFSZ, kept);
    FILE *file = fopen(link, "r");
    while (!strstr(line, "one") && fgets(line, sizeof line, file)) {}
    fclose(file);
    assert_non_null(strstr(line, "one"));
    assert_int_equal(readlink(link, line, sizeof line), strlen(path)); /* still a link */
    unlink(link);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_edited),
        cmocka_unit_test(long_pastes_are_chips),
        cmocka_unit_test(the_box_goes_through_an_editor),
        cmocka_unit_test(the_conversation_is_searched),
        cmocka_unit_test(pages_are_turned_as_fast_as_one_types),
        cmocka_unit_test(the_mouse_is_off_until_asked_for),
        cmocka_unit_test(it_rings_where_nobody_looks),
        cmocka_unit_test(it_copies_through_the_terminal),
        cmocka_unit_test(a_cleared_box_is_seen),
        cmocka_unit_test(keys_become_actions),
        cmocka_unit_test(inspect_mode_has_its_own_keys),
        cmocka_unit_test(a_list_is_chosen_from),
        cmocka_unit_test(only_known_escapes_are_written),
        cmocka_unit_test(the_screen_is_given_back),
        cmocka_unit_test(a_vanished_terminal_ends_it),
        cmocka_unit_test(a_crash_restores_the_terminal),
        cmocka_unit_test(history_is_kept),
        cmocka_unit_test(history_grows),
        cmocka_unit_test(history_is_long),
        cmocka_unit_test(history_outlives_a_full_disk),
        cmocka_unit_test(no_screen_where_none_can_be),
    };
    setenv("TERM", "xterm-256color", 1);
    setenv("EDITRC", "/dev/null", 1); /* not the bindings of whoever runs the tests */
    signal(SIGHUP, SIG_IGN);
    return cmocka_run_group_tests_name("ui", tests, NULL, NULL);
}
