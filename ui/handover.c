#include "ui/handover.h"

#include "base/fd.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

/* ---- a text editor ---- */

static const int ours[] = {SIGINT, SIGQUIT, SIGTSTP, SIGPIPE, SIGXFSZ};
enum { N_OURS = sizeof ours / sizeof *ours };

/* The editor is in our job: what the keyboard sends is meant for it, and Ctrl-Z stops us both. */
static void signals_lend(struct sigaction kept[N_OURS]) {
    for (int i = 0; i < N_OURS; i++) {
        struct sigaction action = {.sa_handler = ours[i] == SIGTSTP ? SIG_DFL : SIG_IGN};
        sigaction(ours[i], &action, &kept[i]);
    }
}

static void signals_take(const struct sigaction kept[N_OURS]) {
    for (int i = 0; i < N_OURS; i++) sigaction(ours[i], &kept[i], NULL);
}

static int start(const struct handover *handover, const char *path, pid_t *pid) {
    static char command[] = "${VISUAL:-${EDITOR:-vi}} \"$1\"";
    char *argv[] = {"sh", "-c", command, "sh", (char *)path, NULL};
    int err_fd = handover->capture->saved_fd >= 0 ? handover->capture->saved_fd : STDERR_FILENO;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    for (int i = 0; i < N_OURS; i++) sigaddset(&defaults, ours[i]);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, handover->in_fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, handover->out_fd, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, err_fd, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    int failed = posix_spawn(pid, "/bin/sh", &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

static int run_editor(const struct handover *handover, const char *path, struct err *err) {
    struct sigaction kept[N_OURS];
    pid_t pid;
    int failed, code = 0;
    term_leave(handover->term);
    signals_lend(kept);
    failed = start(handover, path, &pid);
    while (!failed && waitpid(pid, &code, 0) < 0)
        if (errno != EINTR) failed = errno;
    signals_take(kept);
    term_enter(handover->term);
    if (failed) return err_set(err, STATUS_FAILED, "the editor cannot be started: %s", strerror(failed));
    if (WIFEXITED(code) && WEXITSTATUS(code) == 0) return STATUS_OK;
    return err_set(err, STATUS_FAILED, "the editor failed%s; the text is as it was",
                   WIFEXITED(code) && WEXITSTATUS(code) == 127 ? " (set VISUAL or EDITOR)" : "");
}

/* A file of ours alone. Returns its descriptor, or -1. */
static int private_file(char path[4096]) {
    const char *folder = getenv("XDG_RUNTIME_DIR");
    if (!folder || access(folder, W_OK)) folder = getenv("TMPDIR");
    if (!folder || access(folder, W_OK)) folder = "/tmp";
    snprintf(path, 4096, "%s/logitop-XXXXXX.md", folder);
    return mkostemps(path, 3, O_CLOEXEC);
}

static int read_back(const char *path, struct buf *text, struct err *err) {
    struct buf read_text = {0};
    FILE *file = fopen(path, "re"); /* by its name: editors put a new file in its place */
    size_t n;
    if (!file) return err_set(err, STATUS_FAILED, "%s cannot be read back: %s", path, strerror(errno));
    while ((n = fread(buf_reserve(&read_text, 4096), 1, 4096, file)) > 0) read_text.len += n;
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed) {
        buf_free(&read_text);
        return err_set(err, STATUS_FAILED, "%s cannot be read back: %s", path, strerror(failed));
    }
    if (read_text.len && read_text.data[read_text.len - 1] == '\n') read_text.len--;
    buf_free(text);
    *text = read_text;
    return STATUS_OK;
}

int handover_edit(const struct handover *handover, struct buf *text, struct err *err) {
    char path[4096];
    int fd = private_file(path);
    if (fd < 0) return err_set(err, STATUS_FAILED, "no file for the editor: %s: %s", path, strerror(errno));
    bool written = fd_write_all(fd, text->data ? text->data : "", text->len) &&
                   (!text->len || fd_write_all(fd, "\n", 1));
    if (close(fd)) written = false;
    int status = written
                     ? run_editor(handover, path, err)
                     : err_set(err, STATUS_FAILED, "no file for the editor: %s: %s", path, strerror(errno));
    if (status == STATUS_OK) status = read_back(path, text, err);
    unlink(path);
    return status;
}

/* ---- plain lines ---- */

/* Or for a signal: but another size of the window only matters afterwards. */
static void wait_for_key(int fd) {
    struct termios modes, raw;
    sigset_t waiting;
    if (tcgetattr(fd, &modes) || pthread_sigmask(SIG_SETMASK, NULL, &waiting)) return;
    sigaddset(&waiting, SIGWINCH);
    raw = modes;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    tcsetattr(fd, TCSADRAIN, &raw);
    struct pollfd key = {.fd = fd, .events = POLLIN};
    char bytes[256];
    if (ppoll(&key, 1, NULL, &waiting) > 0 && key.revents & POLLIN && read(fd, bytes, sizeof bytes) < 0) {
        /* a signal or a vanished terminal: either is seen by the loop */
    }
    tcsetattr(fd, TCSADRAIN, &modes);
}

void handover_show(const struct handover *handover, const char *text, size_t len) {
    static const char end[] = "\n[any key goes back]";
    struct buf clean = {0};
    buf_putc(&clean, '\n');
    text_sanitize(&clean, text, len);
    buf_puts(&clean, end);
    term_leave(handover->term);
    fd_write_all(handover->out_fd, clean.data, clean.len);
    wait_for_key(handover->in_fd);
    fd_write_all(handover->out_fd, "\n", 1);
    term_enter(handover->term);
    buf_free(&clean);
}

/* ---- the clipboard ---- */

/* RFC 4648, section 4. */
static void base64(struct buf *out, const char *bytes, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t group =
            (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
        char four[4] = {digits[group >> 18], digits[group >> 12 & 63], n > 1 ? digits[group >> 6 & 63] : '=',
                        n > 2 ? digits[group & 63] : '='};
        buf_append(out, four, 4);
    }
}

/* tmux keeps it in its own buffer and sends it on to the terminals it is shown on (-w). */
static bool tmux_copy(const char *text, size_t len) {
    struct sigaction ignore = {.sa_handler = SIG_IGN}, kept;
    sigaction(SIGPIPE, &ignore, &kept);
    FILE *tmux = popen("exec tmux load-buffer -w - >/dev/null 2>&1", "we");
    bool good = tmux && fwrite(text, 1, len, tmux) == len;
    if (tmux) good = pclose(tmux) == 0 && good;
    sigaction(SIGPIPE, &kept, NULL);
    return good;
}

int handover_copy(const struct handover *handover, const char *text, size_t len, struct err *err) {
    const char *tmux = getenv("TMUX");
    if (tmux && *tmux && tmux_copy(text, len)) return STATUS_OK;
    struct buf sequence = {0};
    if (tmux && *tmux) buf_puts(&sequence, "\033Ptmux;\033");
    buf_puts(&sequence, "\033]52;c;");
    base64(&sequence, text, len);
    buf_puts(&sequence, "\a");
    if (tmux && *tmux) buf_puts(&sequence, "\033\\");
    bool fits = sequence.len <= HANDOVER_COPY_MAX;
    if (fits) term_put(handover->term, sequence.data, sequence.len);
    buf_free(&sequence);
    if (fits) return STATUS_OK;
    return err_set(err, STATUS_USAGE,
                   "%zu bytes are more than terminals take; /copy file NAME writes them to a file", len);
}
