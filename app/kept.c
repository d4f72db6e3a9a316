#include "app/kept.h"

#include <math.h>

enum { ID_BITS = 20, CUT_BITS = 4, BELOW_BITS = 22, PROB_BITS = 18 };
_Static_assert(ID_BITS + CUT_BITS + BELOW_BITS + PROB_BITS == 64, "a candidate fills 64 bits");
_Static_assert((int)STAGE_COUNT <= 1 << CUT_BITS, "every stage has a number");

static const float below_unit = 1.0f / 65536;
enum { ID_MAX = (1 << ID_BITS) - 1, BELOW_MAX = (1 << BELOW_BITS) - 1, PROB_MAX = (1 << PROB_BITS) - 1 };

static uint64_t in_range(double value, int max) {
    return value > 0 ? value < max ? (uint64_t)llround(value) : (uint64_t)max : 0;
}

kept_candidate kept_candidate_pack(const struct candidate *candidate, float log_sum_exp) {
    double below = (double)log_sum_exp - (double)candidate->logit;
    return ((uint64_t)candidate->id & ID_MAX) | (uint64_t)candidate->cut << ID_BITS |
           in_range(below / (double)below_unit, BELOW_MAX) << (ID_BITS + CUT_BITS) |
           in_range(sqrt((double)candidate->prob) * PROB_MAX, PROB_MAX) << (ID_BITS + CUT_BITS + BELOW_BITS);
}

struct candidate kept_candidate_unpack(kept_candidate kept, float log_sum_exp) {
    float below = (float)(kept >> (ID_BITS + CUT_BITS) & BELOW_MAX) * below_unit;
    double root = (double)(kept >> (ID_BITS + CUT_BITS + BELOW_BITS)) / PROB_MAX;
    return (struct candidate){.id = (int32_t)(kept & ID_MAX),
                              .logit = log_sum_exp - below,
                              .prob = (float)(root * root),
                              .cut = (uint8_t)(kept >> ID_BITS & ((1 << CUT_BITS) - 1))};
}
