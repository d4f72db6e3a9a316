/* A model as a server offers it: which files, where, and the SHA-256 that each must have. */
#ifndef LOGITOP_MODELS_REMOTE_H
#define LOGITOP_MODELS_REMOTE_H

#include "base/sha256.h"
#include "models/source.h"

#include <stdatomic.h>
#include <stddef.h>

struct remote_file {
    char *path; /* in the repository; plain (path_is_plain) */
    char *url;
    char digest[SHA256_HEX];
    uint64_t size;
};

struct remote_model {
    char *endpoint, *what, *page, *token; /* as struct service wants them */
    char *owner, *name;                   /* as they are now: it may have been renamed */
    char *revision, *commit;              /* "main" and what it means today: hexadecimal digits */
    struct remote_file *files;            /* [n]: shards in their order */
    size_t n, cap;
    char *note; /* worth telling: "renamed to ..."; NULL */
};
void remote_free(struct remote_model *remote);

/* Ask the hub (HF_ENDPOINT, HF_TOKEN) or the registry. Which file: origin->file, else the tag, else Q4_K_M,
 * else Q8_0, else the first. STATUS_FAILED with what to do. */
int hub_resolve(const struct model_origin *origin, const atomic_bool *stop, struct remote_model *out,
                struct err *err);
int registry_resolve(const struct model_origin *origin, const atomic_bool *stop, struct remote_model *out,
                     struct err *err);

struct service;
struct service remote_service(const struct remote_model *remote, const atomic_bool *stop);
void remote_add(struct remote_model *remote, char *path, char *url, const char *digest, uint64_t size);
/* $VARIABLE without a slash at its end, else the default. STATUS_USAGE if it is no http address. */
int remote_endpoint(const char *variable, const char *usual, char **out, struct err *err);

#endif
