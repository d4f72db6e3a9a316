/* The plan of whole decode steps (kernels/cuda/whole_plan.cu), which needs no card: do the loads of all
 * blocks cover every matrix once, in the order in which they are multiplied, and does the ring have room for
 * them? */
#include "kernels/cuda/decode_kernels.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct shape {
    const char *name;
    uint32_t layers, embd, ff, heads, kv_heads, head_dim, vocab;
    int main_type, other_type, head_type; /* other: of v and down in every third layer */
    bool fits;
};

static const struct device_shape h100 = {
    .capability = 9, .multiprocessors = 132, .shared = 232448, .memory_cycles = 0.078};

static struct whole_product product(enum whole_kind kind, uint32_t rows, uint32_t cols, int type) {
    return (struct whole_product){.part = {{.type = (uint32_t)type, .units = rows}},
                                  .n_parts = 1,
                                  .rows_a_unit = kind == WHOLE_GATE ? 2 : 1,
                                  .run = 1,
                                  .kind = kind,
                                  .cols = cols};
}

static struct whole_product *products_of(const struct shape *s) {
    struct whole_product *all = xcalloc(4 * s->layers + 1, sizeof *all), *to = all;
    const uint32_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    for (uint32_t i = 0; i < s->layers; i++, to += 4) {
        const int other = i % 3 ? s->main_type : s->other_type;
        to[WHOLE_QKV] = product(WHOLE_QKV, q, s->embd, s->main_type);
        to[WHOLE_QKV].part[0].units += kv; /* k behind q */
        to[WHOLE_QKV].n_parts = 2;
        to[WHOLE_QKV].part[1] = (struct whole_part){.type = (uint32_t)other, .units = kv};
        to[WHOLE_OUTPUT] = product(WHOLE_OUTPUT, s->embd, q, s->main_type);
        to[WHOLE_GATE] = product(WHOLE_GATE, s->ff, s->embd, s->main_type);
        to[WHOLE_DOWN] = product(WHOLE_DOWN, s->embd, s->ff, other);
    }
    *to = product(WHOLE_HEAD, s->vocab, s->embd, s->head_type);
    return all;
}

/* Places for the data, with a gap after each: a load that runs over meets it. */
enum { GAP = 4096 };
static size_t bytes_of(const struct whole_plan *plan, const struct whole_product *p, uint32_t part) {
    if (plan->args.sliced && p->kind == WHOLE_DOWN)
        return slices_bytes(&plan->args.slices, p->part[part].type);
    return (size_t)p->part[part].units * p->rows_a_unit *
           row_bytes((int)p->part[part].type, (p->cols + 31) / 32);
}
static uint64_t place_data(const struct whole_plan *plan, struct whole_product *all) {
    uint64_t at = (uint64_t)1 << 40;
    for (uint32_t i = 0; i <= 4 * plan->args.n_layers; i++)
        for (uint32_t p = 0; p < all[i].n_parts; p++) {
            all[i].part[p].data = (const char *)at; /* never read */
            at += (bytes_of(plan, &all[i], p) + GAP + 15) / 16 * 16;
        }
    return at;
}

struct place { /* in a block's list, and in the part that is being read */
    const uint64_t *loads;
    uint32_t n;
};

static uint64_t address_of(uint64_t load) {
    return load % ((uint64_t)1 << 52) * 16;
}
static uint32_t bytes_of_load(uint64_t load) {
    return (uint32_t)(load >> 52) * 16;
}

/* The loads of one part from all blocks, one block after the other, are its data from the beginning to the
 * end. */
static void check_rows(const struct whole_plan *plan, const struct whole_product *p, uint32_t part,
                       uint32_t index, struct place *places) {
    const uint64_t begin = (uint64_t)p->part[part].data, end = begin + bytes_of(plan, p, part);
    uint64_t at = begin;
    for (uint32_t block = 0; block < plan->blocks; block++) {
        struct place *here = &places[block];
        const uint16_t start =
            plan->args.starts[(size_t)block * plan->args.n_starts + index * WHOLE_PARTS + part];
        assert_int_equal(start, here->n % plan->args.n_slots * 4 + here->n / plan->args.n_slots % 4);
        for (; address_of(here->loads[here->n]) >= begin && address_of(here->loads[here->n]) < end;
             here->n++) {
            const uint64_t load = here->loads[here->n];
            assert_true(address_of(load) == at);
            assert_in_range(bytes_of_load(load), 16, plan->args.slot_size);
            at += bytes_of_load(load);
        }
    }
    assert_true(at == end);
}

/* Slices lie one after the other, and each has a run of loads from its beginning on; the widest fills its
 * place. */
static void check_slices(const struct whole_plan *plan, const struct whole_product *p, struct place *places) {
    const struct whole_slices *s = &plan->args.slices;
    const uint64_t begin = (uint64_t)p->part[0].data,
                   each = (uint64_t)s->groups * s->widest * tile_bytes(p->part[0].type);
    uint64_t longest = 0;
    for (uint32_t block = 0; block < plan->blocks; block++) {
        struct place *here = &places[block];
        const uint64_t first = begin + block * each;
        uint64_t at = first;
        for (; address_of(here->loads[here->n]) >= begin &&
               address_of(here->loads[here->n]) < begin + plan->blocks * each;
             here->n++) {
            assert_true(address_of(here->loads[here->n]) == at);
            assert_in_range(bytes_of_load(here->loads[here->n]), 16, plan->args.slot_size);
            at += bytes_of_load(here->loads[here->n]);
        }
        if (at - first > longest) longest = at - first;
    }
    assert_true(longest == each);
}

static void check(const struct shape *s) {
    struct whole_plan plan = {.args = {.n_layers = s->layers, .n_embd = s->embd, .n_ff = s->ff}};
    plan.args.rope = (struct rope_args){
        .n_heads = s->heads, .n_kv_heads = s->kv_heads, .head_dim = s->head_dim, .rope_dim = s->head_dim};
    struct whole_product *all = products_of(s);
    const bool fits = whole_fits(&plan, all, &h100);
    if (fits != s->fits) fail_msg("%s: found %d, expected %d", s->name, fits, s->fits);
    if (!fits) {
        free(all);
        return;
    }
    assert_in_range(plan.shared, 1, h100.shared);
    assert_in_range(plan.args.n_slots, 15,
                    WHOLE_SLOTS); /* a warp may be so many loads ahead: weight_ring.cuh */
    assert_in_range(plan.args.ahead, 1, 64);
    place_data(&plan, all);
    char *tables = xmalloc(plan.tables);
    whole_tables(&plan, all, tables, tables); /* as if they were on a card */
    struct place *places = xcalloc(plan.blocks, sizeof *places);
    for (uint32_t block = 0; block < plan.blocks; block++)
        places[block].loads = plan.args.loads + (size_t)block * plan.args.a_list;
    for (uint32_t i = 0; i <= 4 * s->layers; i++)
        for (uint32_t p = 0; p < all[i].n_parts; p++) {
            if (plan.args.sliced && all[i].kind == WHOLE_DOWN)
                check_slices(&plan, &all[i], places);
            else
                check_rows(&plan, &all[i], p, i, places);
        }
    for (uint32_t block = 0; block < plan.blocks; block++) /* nothing is left over */
        if (places[block].n < plan.args.a_list) assert_true(places[block].loads[places[block].n] == 0);
    free(places);
    free(tables);
    free(all);
}

static void loads_cover_the_weights(void **state) {
    (void)state;
    const struct shape shapes[] = {
        {"Qwen2.5 0.5B Q8_0", 24, 896, 4864, 14, 2, 64, 151936, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, true},
        {"Qwen2.5 0.5B BF16", 24, 896, 4864, 14, 2, 64, 151936, DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, true},
        {"Qwen2.5 1.5B Q4_K_M", 28, 1536, 8960, 12, 2, 128, 151936, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q6_K, true},
        {"Llama 3.2 1B Q4_K_M", 16, 2048, 8192, 32, 8, 64, 128256, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q6_K, true},
        {"Qwen3 0.6B Q8_0", 28, 1024, 3072, 16, 8, 128, 151936, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, true},
        {"Qwen2.5 7B Q4_K_M", 28, 3584, 18944, 28, 4, 128, 152064, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q6_K, true},
        {"Qwen2.5 7B Q8_0", 28, 3584, 18944, 28, 4, 128, 152064, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, true},
        {"Qwen2.5 7B F16", 28, 3584, 18944, 28, 4, 128, 152064, DTYPE_F16, DTYPE_F16, DTYPE_F16, true},
        {"Qwen2.5 14B Q4_K_M", 48, 5120, 13824, 40, 8, 128, 152064, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q6_K, true},
        {"slices too wide for a slot", 4, 1024, 8192, 16, 8, 64, 32000, DTYPE_F16, DTYPE_F16, DTYPE_F16,
         true},
        {"few rows", 3, 256, 640, 4, 2, 64, 1000, DTYPE_Q5_0, DTYPE_Q4_0, DTYPE_Q8_0, true},
        {"F32", 2, 896, 4864, 14, 2, 64, 1000, DTYPE_F32, DTYPE_F32, DTYPE_F32, false},
        {"another head", 2, 896, 4864, 14, 2, 96, 1000, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check(&shapes[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(loads_cover_the_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
