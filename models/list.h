/* The models on this machine: those of every store that other programs keep, found where they are and opened
 * in place.
 *
 * Stores are only ever read. A file is looked into once and remembered by its time and size (facts.h); one
 * that cannot be run stays in the list with the reason. Names come from file names and from others'
 * manifests: they may hold any bytes, and whoever shows them passes them through base/text.h. One thread at a
 * time. */
#ifndef LOGITOP_MODELS_LIST_H
#define LOGITOP_MODELS_LIST_H

#include "base/err.h"
#include "infer/tools.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum model_source {
    MODEL_SOURCE_OWN, /* $XDG_DATA_HOME/logitop/models */
    MODEL_SOURCE_HUB, /* the Hugging Face cache; what `pull` fetches is there too */
    MODEL_SOURCE_OLLAMA,
    MODEL_SOURCE_LLAMA_CPP, /* its cache before it used the Hugging Face one */
    MODEL_SOURCE_LM_STUDIO,
    MODEL_SOURCE_FOLDER, /* the current folder, and one that was named */
    MODEL_SOURCE_COUNT
};
const char *model_source_name(enum model_source source); /* "Hugging Face" */

enum model_fit { MODEL_FIT_NOT, MODEL_FIT_CPU, MODEL_FIT_GPU };
const char *model_fit_name(enum model_fit fit); /* "no", "CPU", "GPU" */

struct model_entry {
    char *name;   /* what a person may write after -m: "llama3.2:1b", "user/repo:Q4_K_M",
                     "SmolLM2-135M-Instruct.Q4_1" */
    char *other;  /* names under which other stores hold the same bytes, a line each; NULL */
    char *path;   /* the file to open; of a split model the first */
    char *digest; /* SHA-256 of the file in hexadecimal, where its store says so; NULL */
    enum model_source source;
    unsigned also;          /* other sources that hold the same bytes, a bit each */
    uint64_t device, inode; /* of the file; 0, 0: it is not there */
    uint64_t size;          /* bytes, all files of a split model */
    int64_t last_used;      /* seconds since the epoch, 0: never */
    struct model_facts facts;
    char *fault; /* why it cannot be run; NULL: it can */
    enum model_fit fit;
};

struct model_list {
    struct model_entry *entries; /* [n]: last used first, then by name; those that cannot be run at the end */
    size_t n, cap;
    char *note; /* a store that could not be read, and what to do; NULL */
};

struct model_places {    /* borrowed; NULL where there is none */
    const char *own;     /* logitop's folder of models */
    const char *folder;  /* another one, named by the user */
    const char *running; /* the file of the model that runs: it is listed wherever it lies, with its folder */
    const char *remembered;  /* the file in which headers are remembered */
    const char *used;        /* the file that tells when each model was used */
    const char *program;     /* tells builds apart: what another one remembered is not believed */
    struct memory_free free; /* what "fits" is measured with */
    const atomic_bool *stop; /* ends the search early; NULL */
};

/* Everything that can be found. Never fails: what cannot be read is left out or noted. models_free() it. */
void models_scan(const struct model_places *places, struct model_list *list);
void models_free(struct model_list *list);

/* Those of the list that a name means, as indices into [n] of `found`: those of exactly this name (in any
 * case, with or without ":latest"), else all whose name has it in it; one that can be run goes before those
 * that cannot. Returns how many. */
size_t models_find(const struct model_list *list, const char *name, size_t *found);

/* Is that the model of this file, by whatever path? */
bool model_entry_is(const struct model_entry *entry, const char *path);

/* The best that can be run: the largest that fits the card, else that fits the memory; one without a chat
 * template only where there is no other. NULL: none fits. */
const struct model_entry *models_best(const struct model_list *list);

/* Note that a model was used now. */
int models_note_used(const char *used_file, const char *path, struct err *err);
/* The model used last, if it is still there; NULL. The caller's to free(). */
char *models_last_used(const char *used_file);

/* "Q4_K_M" of "qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", upper case; false if the name tells none. */
enum { QUANT_MAX = 24 };
bool model_name_quant(const char *file_name, char out[static QUANT_MAX]);
/* A file of a split model: its number and how many there are, and the length of the name before them. */
bool model_name_shard(const char *file_name, unsigned *number, unsigned *count, size_t *stem);
/* Files beside a model that are none: projectors, drafts, importance matrices. */
bool model_name_hidden(const char *file_name);

#endif
