#include "app/offer.h"

#include "app/amount.h"
#include "app/pull_command.h"
#include "infer/tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct offered {
    const char *shown, *name, *licence, *words;
    uint64_t size, need; /* bytes of the file; of memory with a context of 8192 tokens: both about */
};

/* By size; a row fits into 80 columns; each under a licence that allows every use. */
static const struct offered models[] = {
    {"SmolLM2 135M Instruct Q4_1", OFFER_DEFAULT, "Apache-2.0", "tiny and quick, to try", 98362432,
     400000000},
    {"Qwen2.5 0.5B Instruct Q4_K_M", "Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M", "Apache-2.0", "small",
     491400032, 900000000},
    {"Qwen2.5 1.5B Instruct Q4_K_M", "Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M", "Apache-2.0",
     "for short answers", 1117320736, 1900000000},
    {"Qwen3 4B Q4_K_M", "ggml-org/Qwen3-4B-GGUF:Q4_K_M", "Apache-2.0", "good, thinks first", 2500000000,
     4300000000},
    {"Qwen3 8B Q4_K_M", "ggml-org/Qwen3-8B-GGUF:Q4_K_M", "Apache-2.0", "better, thinks first", 5030000000,
     7000000000},
    {"Qwen3 14B Q4_K_M", "ggml-org/Qwen3-14B-GGUF:Q4_K_M", "Apache-2.0", "very good, for a card", 9000000000,
     11500000000},
    {"Qwen3 32B Q4_K_M", "ggml-org/Qwen3-32B-GGUF:Q4_K_M", "Apache-2.0", "the best, for a card", 19800000000,
     23500000000},
};
enum { N_MODELS = sizeof models / sizeof *models, OFFERED = 3 };
static const uint64_t CPU_MOST = 6000000000; /* bytes of a file: larger ones are slow without a card */

bool offer_possible(void) {
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

static uint64_t disk_free(void) {
    const char *home = getenv("HOME");
    struct statvfs fs;
    if (!home || statvfs(home, &fs)) return UINT64_MAX; /* the download will tell */
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static bool fits(const struct offered *model, const struct memory_free *free_now, uint64_t disk) {
    if (model->size > disk) return false;
    return model->need <= free_now->gpu || (model->need <= free_now->cpu && model->size <= CPU_MOST);
}

/* The default, and the two largest that fit. */
static size_t choose(const struct offered *chosen[OFFERED]) {
    struct memory_free free_now;
    uint64_t disk = disk_free();
    size_t n = 0, larger = 0;
    tool_memory_free(&free_now);
    chosen[n++] = &models[0];
    for (size_t i = 1; i < N_MODELS; i++) larger += fits(&models[i], &free_now, disk);
    for (size_t i = 1; i < N_MODELS; i++)
        if (fits(&models[i], &free_now, disk) && larger-- < OFFERED) chosen[n++] = &models[i];
    return n;
}

/* A line of the person; false at its end or when a signal came. */
static bool read_line(char *line, size_t size) {
    size_t n = 0;
    char c;
    while (read(STDIN_FILENO, &c, 1) == 1) {
        if (c == '\n') {
            line[n] = '\0';
            return true;
        }
        if (n + 1 < size) line[n++] = c;
    }
    return false;
}

int offer_model(char **path, struct err *err) {
    const struct offered *chosen[OFFERED];
    size_t n = choose(chosen), picked = 0;
    char line[64], size[AMOUNT_MAX];
    fputs("There is no model on this machine yet. These can be fetched from huggingface.co:\n\n", stderr);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "  %zu  %-28s %8s  %-10s  %s\n", i + 1, chosen[i]->shown,
                amount_bytes(chosen[i]->size, size), chosen[i]->licence, chosen[i]->words);
    fputs("\nAny other: logitop pull USER/REPO, or -m FILE for one of your own.\n", stderr);
    for (;;) {
        fprintf(stderr, "Fetch which one? [1-%zu, Enter: 1, q: none] ", n);
        if (!read_line(line, sizeof line) || line[0] == 'q' || line[0] == 'n') {
            fputc('\n', stderr);
            return err_set(err, STATUS_STOPPED, "no model was fetched");
        }
        picked = line[0] ? (size_t)strtoul(line, NULL, 10) : 1;
        if (picked >= 1 && picked <= n) break;
    }
    return pull_wait(chosen[picked - 1]->name, NULL, path, err);
}
