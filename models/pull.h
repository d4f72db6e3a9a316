/* Fetching a model: found at its server, written into the layout of the Hugging Face cache, where every tool
 * finds it.
 *
 * The work is done in a thread of its own. Its owner polls a descriptor, looks at the progress, may stop it,
 * and ends it:
 *
 *     pull = pull_start("user/repo:Q8_0", NULL);
 *     while (!pull_progress(pull, &progress)) poll(pull_fd(pull)...);
 *     status = pull_finish(pull, &path, &err);
 *
 * Owner's thread only. What names a file may come from a server: whoever shows it passes it through
 * base/text.h. */
#ifndef LOGITOP_MODELS_PULL_H
#define LOGITOP_MODELS_PULL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pull_stage {
    PULL_ASKING /* the server, for what there is */,
    PULL_FETCHING,
    PULL_WAITING, /* to try again: after a fault, or as long as the server asked for */
    PULL_CHECKING /* the rest of the hash */
};

struct pull_progress {
    enum pull_stage stage;
    char name[256];         /* of the file at hand */
    char note[256];         /* worth telling once: "renamed to ..."; "" */
    unsigned file, n_files; /* 1 of 2; 0 of 0 while asking */
    uint64_t done, total;   /* bytes of this file */
    double rate;            /* bytes a second of the last ten; 0: not known yet */
    int64_t left;           /* seconds at that rate; -1: not known */
};

struct pull;

/* name: as models/source.h tells. file: one of the repository, or NULL. Never fails: what is wrong comes at
 * the end. */
struct pull *pull_start(const char *name, const char *file);
int pull_fd(const struct pull *pull); /* readable when there is something new; drained by pull_progress() */
bool pull_progress(struct pull *pull, struct pull_progress *out); /* true: it ended */
void pull_stop(struct pull *pull);                                /* what was fetched is kept */
/* Waits for the end, frees. path: the model's file, the caller's. STATUS_STOPPED, or STATUS_FAILED in one
 * line. */
int pull_finish(struct pull *pull, char **path, struct err *err);

/* The file of such a name that was fetched before, or NULL: nothing is asked. The caller's. */
char *pull_have(const char *name, const char *file);

/* Is this how a model to fetch is written? STATUS_USAGE with what was expected. */
int pull_check_name(const char *name, struct err *err);

#endif
