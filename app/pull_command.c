#include "app/pull_command.h"

#include "app/amount.h"
#include "app/out.h"
#include "app/signals.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMNS_USUAL = 80 };

/* ---- progress in words ---- */

static unsigned percent(const struct pull_progress *progress) {
    return progress->total ? (unsigned)((double)progress->done * 100 / (double)progress->total) : 0;
}

void pull_print(const struct pull_progress *progress, unsigned columns, struct buf *out) {
    char done[AMOUNT_MAX], total[AMOUNT_MAX], rate[AMOUNT_MAX], left[AMOUNT_MAX];
    struct buf rest = {0};
    if (progress->n_files > 1) buf_printf(&rest, " (%u of %u)", progress->file, progress->n_files);
    if (progress->stage == PULL_ASKING)
        buf_puts(&rest, "  asking the server");
    else
        buf_printf(&rest, "  %u %%  %s/%s", percent(progress), amount_bytes(progress->done, done),
                   amount_bytes(progress->total, total));
    if (progress->stage == PULL_CHECKING)
        buf_puts(&rest, "  checking SHA-256");
    else if (progress->stage == PULL_WAITING)
        buf_puts(&rest, "  waiting to try again");
    else if (progress->rate > 0 && progress->done < progress->total)
        buf_printf(&rest, "  %s/s  %s left", amount_bytes((uint64_t)progress->rate, rate),
                   amount_duration((uint64_t)progress->left, left));
    const char *slash = strrchr(progress->name, '/');
    const char *name = progress->stage != PULL_ASKING && slash ? slash + 1 : progress->name;
    text_cut_line(out, name, strlen(name), columns > rest.len + 4 ? columns - (unsigned)rest.len : 4);
    buf_append(out, rest.data, rest.len);
    buf_free(&rest);
}

/* ---- told on standard error ---- */

struct teller {
    bool terminal, line_open;
    unsigned file, tenth; /* told last */
    bool note_told;
};

static unsigned columns_now(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : COLUMNS_USUAL;
}

static void end_line(struct teller *teller) {
    if (teller->line_open) fputc('\n', stderr);
    teller->line_open = false;
}

/* On a terminal one line a file, written over and over; else one each tenth. */
static void tell(struct teller *teller, const struct pull_progress *progress) {
    struct buf line = {0};
    unsigned tenth = percent(progress) / 10;
    if (*progress->note && !teller->note_told) {
        end_line(teller);
        out_error("%s", progress->note);
        teller->note_told = true;
    }
    if (progress->file != teller->file) end_line(teller);
    bool news = progress->file != teller->file || tenth != teller->tenth;
    if (teller->terminal) {
        pull_print(progress, columns_now(), &line);
        fprintf(stderr, "\r%s\033[K", line.data);
        fflush(stderr);
        teller->line_open = true;
    } else if (progress->stage != PULL_ASKING && news) {
        pull_print(progress, COLUMNS_USUAL + 40, &line);
        fprintf(stderr, "%s\n", line.data);
    }
    teller->file = progress->file;
    teller->tenth = tenth;
    buf_free(&line);
}

static int stopped(const struct pull_progress *progress, struct err *err) {
    if (progress->stage == PULL_ASKING || !progress->done) return err_set(err, STATUS_STOPPED, "stopped");
    return err_set(err, STATUS_STOPPED,
                   "stopped at %u %% of %s: that is kept, and the same command goes on from there",
                   percent(progress), progress->name);
}

int pull_wait(const char *name, const char *file, char **path, struct err *err) {
    const char *term = getenv("TERM");
    struct teller teller = {.terminal = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb")};
    struct pull *pull = pull_start(name, file);
    struct pull_progress progress;
    while (!pull_progress(pull, &progress)) {
        tell(&teller, &progress);
        struct pollfd fds[2] = {{.fd = pull_fd(pull), .events = POLLIN},
                                {.fd = signals_fd(), .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) pull_stop(pull);
        while (signals_next()) pull_stop(pull);
    }
    if (progress.n_files) tell(&teller, &progress);
    end_line(&teller);
    int status = pull_finish(pull, path, err);
    return status == STATUS_STOPPED ? stopped(&progress, err) : status;
}

/* ---- the commands ---- */

bool pull_is_offline(const struct options *options) {
    const char *value = getenv("HF_HUB_OFFLINE");
    return options->offline || (value && (strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0));
}

static int tell_offline(const char *name, struct err *err) {
    return err_set(err, STATUS_MODEL, "%s is not here, and --offline forbids to fetch it", name);
}

int pull_command(struct options *options, struct err *err) {
    const char *name = options->input ? options->input : options->hf;
    char *path = NULL;
    if (!name)
        return err_set(err, STATUS_USAGE, "pull: found no name, expected user/repo[:QUANT] or name[:tag]");
    int status = pull_check_name(name, err);
    if (status == STATUS_OK) status = signals_open(err);
    if (status < 0) return status;
    if (pull_is_offline(options)) {
        path = pull_have(name, options->hf_file);
        if (!path) return tell_offline(name, err);
    } else if ((status = pull_wait(name, options->hf_file, &path, err)) < 0) {
        return status;
    }
    struct out out;
    out_open(&out, STDOUT_FILENO);
    status = out_text(&out, path, strlen(path), err);
    if (status == STATUS_OK) status = out_text(&out, "\n", 1, err);
    if (status == STATUS_OK) status = out_end(&out, err);
    out_close(&out);
    free(path);
    return status;
}

int pull_if_missing(const struct options *options, char **path, struct err *err) {
    int status = pull_check_name(options->hf, err);
    if (status < 0) return status;
    *path = pull_have(options->hf, options->hf_file);
    if (*path) return STATUS_OK;
    if (pull_is_offline(options)) return tell_offline(options->hf, err);
    return pull_wait(options->hf, options->hf_file, path, err);
}
