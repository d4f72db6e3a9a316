#include "infer/engine.h"

#include <string.h>

static const char *const stage_words[STAGE_COUNT] = {
#define X(name, word) [STAGE_##name] = word,
    STAGE_MAP(X)
#undef X
};

void sampling_defaults(struct sampling *sampling) {
    *sampling = (struct sampling){
        .order = {STAGE_PENALTIES, STAGE_DRY, STAGE_TOP_K, STAGE_TYPICAL, STAGE_TOP_P, STAGE_MIN_P, STAGE_XTC,
                  STAGE_TEMPERATURE, STAGE_NONE},
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical_p = 1,
        .xtc_threshold = 0.1f,
        .repeat_penalty = 1,
        .penalty_last_n = 64,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .dry_breakers = {-1},
    };
}

const char *stage_name(uint8_t stage) {
    return stage < STAGE_COUNT ? stage_words[stage] : "";
}

static uint8_t stage_find(const char *name, size_t len) {
    for (uint8_t stage = STAGE_NONE + 1; stage < STAGE_COUNT; stage++)
        if (strlen(stage_words[stage]) == len && memcmp(stage_words[stage], name, len) == 0) return stage;
    return STAGE_NONE;
}

int sampling_set_order(struct sampling *sampling, const char *names, struct err *err) {
    uint8_t order[STAGE_COUNT] = {STAGE_NONE};
    size_t n = 0;
    for (const char *at = names; *at;) {
        size_t len = strcspn(at, ";,");
        uint8_t stage = stage_find(at, len);
        if (stage == STAGE_NONE)
            return err_set(
                err, STATUS_USAGE,
                "sampler order: \"%.*s\" is no sampler, expected some of penalties;dry;top-k;typical;top-p;"
                "min-p;xtc;temperature",
                (int)(len < 64 ? len : 64), at);
        if (memchr(order, stage, n))
            return err_set(err, STATUS_USAGE, "sampler order: \"%s\" stands twice, expected once",
                           stage_words[stage]);
        order[n++] = stage;
        at += len;
        if (*at) at++;
    }
    memcpy(sampling->order, order, sizeof order);
    return STATUS_OK;
}
