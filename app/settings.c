#include "app/settings.h"

#include "app/suggest.h"

#include <math.h>
#include <string.h>

#define AT(member) offsetof(struct settings, member)
#define NUMBER(member, min, max)                                                                             \
    { FIELD_FLOAT, AT(member), min, max }
#define COUNT(member, min, max)                                                                              \
    { FIELD_COUNT, AT(member), min, max }

/* clang-format off */
const struct setting setting_table[] = {
    {"predict", 'n', "N", "say at most N tokens (0: until the end)",
     {FIELD_LIMIT, AT(n_predict), 0, UINT32_MAX}},
    {"temp", 0, "T", "temperature; 0 always takes the best token", NUMBER(sampling.temperature, 0, INFINITY)},
    {"top-k", 0, "N", "pick among the N best (0: off)", COUNT(sampling.top_k, 0, UINT32_MAX)},
    {"top-p", 0, "P", "pick among the best that sum to P (1: off)", NUMBER(sampling.top_p, 0, 1)},
    {"min-p", 0, "P", "cut what is below P times the best (0: off)", NUMBER(sampling.min_p, 0, 1)},
    {"typical", 0, "P", "locally typical sampling (1: off)", NUMBER(sampling.typical_p, 0, 1)},
    {"xtc-probability", 0, "P", "how often to cut the top choices (0: off)",
     NUMBER(sampling.xtc_probability, 0, 1)},
    {"xtc-threshold", 0, "P", "what counts as a top choice for that", NUMBER(sampling.xtc_threshold, 0, 1)},
    {"repeat-penalty", 0, "X", "divide what was said before by X (1: off)",
     NUMBER(sampling.repeat_penalty, 0.01, INFINITY)},
    {"repeat-last-n", 0, "N", "how many tokens back penalties look",
     COUNT(sampling.penalty_last_n, 0, UINT32_MAX)},
    {"presence-penalty", 0, "X", "subtract X from what was said before",
     NUMBER(sampling.presence_penalty, -INFINITY, INFINITY)},
    {"frequency-penalty", 0, "X", "subtract X for each time it was said",
     NUMBER(sampling.frequency_penalty, -INFINITY, INFINITY)},
    {"dry-multiplier", 0, "X", "penalty on repeated sequences (0: off)",
     NUMBER(sampling.dry_multiplier, 0, INFINITY)},
    {"dry-base", 0, "X", "its growth with the length of the sequence",
     NUMBER(sampling.dry_base, 0, INFINITY)},
    {"dry-allowed-length", 0, "N", "repeated sequences up to N tokens are free",
     COUNT(sampling.dry_allowed_length, 0, UINT32_MAX)},
    {"dry-penalty-last-n", 0, "N", "how many tokens back it looks (0: all)",
     COUNT(sampling.dry_last_n, 0, UINT32_MAX)},
    {"samplers", 0, "LIST", "stages of the chain in their order, with ; or , between them",
     {FIELD_ORDER, AT(sampling.order), 0, 0}},
    {"seed", 0, "N", "seed of the random numbers (-1: draw one)", {FIELD_SEED, AT(sampling.seed), 0, 0}},
    {"top", 0, "N", "candidates to know of each token", COUNT(top, 0, CANDIDATES_MAX)},
    {0},
};
/* clang-format on */

void settings_defaults(struct settings *settings) {
    *settings = (struct settings){.top = 20};
    sampling_defaults(&settings->sampling);
    settings->sampling.seed = seed_draw();
}

const struct setting *setting_find(const char *name) {
    for (const struct setting *s = setting_table; s->name; s++)
        if (strcmp(s->name, name) == 0) return s;
    return NULL;
}

int setting_set(struct settings *settings, const char *name, const char *value, struct err *err) {
    const struct setting *setting = setting_find(name);
    if (setting) return field_set(&setting->field, settings, name, value, err);
    struct suggest suggest = {.word = name};
    for (const struct setting *s = setting_table; s->name; s++) suggest_try(&suggest, s->name);
    if (suggest.best)
        return err_set(err, STATUS_USAGE, "there is no setting \"%s\", did you mean %s?", name, suggest.best);
    return err_set(err, STATUS_USAGE, "there is no setting \"%s\"; /set alone lists them", name);
}

void settings_print(const struct settings *settings, struct buf *out) {
    for (const struct setting *s = setting_table; s->name; s++) {
        struct buf value = {0};
        field_print(&s->field, settings, &value);
        buf_printf(out, "%-20s %-12s %s\n", s->name, value.len ? value.data : "-", s->help);
        buf_free(&value);
    }
}

void settings_print_chain(const struct sampling *s, struct buf *out) {
    if (s->temperature <= 0) {
        buf_puts(out, "T 0 (greedy)");
        return;
    }
    buf_printf(out, "T %g", (double)s->temperature);
    if (s->top_k) buf_printf(out, " top-k %u", s->top_k);
    if (s->typical_p < 1) buf_printf(out, " typical %g", (double)s->typical_p);
    if (s->top_p < 1) buf_printf(out, " top-p %g", (double)s->top_p);
    if (s->min_p > 0) buf_printf(out, " min-p %g", (double)s->min_p);
    if (s->xtc_probability > 0) buf_printf(out, " xtc %g", (double)s->xtc_probability);
    if (s->repeat_penalty != 1 || s->frequency_penalty != 0 || s->presence_penalty != 0)
        buf_puts(out, " penalties");
    if (s->dry_multiplier > 0) buf_puts(out, " dry");
}
