/* The CPU's small operations against plain double precision, in every instruction set, and the pool of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/cpu/cgroup.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/threads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t random_state = 1;

static float uniform(void) { /* in [-1, 1) */
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(random_state >> 32) / 2147483648.0f;
}

/* All tables there are on this machine; the exact one first. */
static size_t all_tables(const struct vector_ops *tables[ISA_COUNT + 1]) {
    size_t n = 0;
    tables[n++] = &vector_ops_exact;
    for (int isa = 0; isa < ISA_COUNT; isa++)
        if (isa_available((enum isa)isa)) tables[n++] = vector_ops_for((enum isa)isa);
    return n;
}

static void norms_and_gates(void **state) {
    (void)state;
    const struct vector_ops *tables[ISA_COUNT + 1];
    static const uint32_t sizes[] = {1, 2, 7, 16, 31, 96, 577};
    for (size_t t = all_tables(tables); t-- > 0;)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            uint32_t n = sizes[s];
            float x[600], w[600], up[600], out[600];
            uint16_t half[600];
            double sum = 0;
            for (uint32_t i = 0; i < n; i++) {
                x[i] = uniform() * (i % 50 == 3 ? 100.0f : 3.0f); /* outliers */
                w[i] = uniform();
                up[i] = uniform();
                sum += (double)x[i] * x[i];
            }
            out[n] = half[n] = 77;
            tables[t]->rms_norm(x, w, 1e-5f, n, out);
            for (uint32_t i = 0; i < n; i++) {
                double expected = x[i] / sqrt(sum / n + 1e-5) * w[i];
                assert_true(fabs(out[i] - expected) < 1e-6 * (1 + fabs(expected)));
            }
            tables[t]->to_half(x, half, n);
            for (uint32_t i = 0; i < n; i++) assert_int_equal(half[i], f32_to_f16(x[i]));
            memcpy(out, x, n * sizeof *x);
            tables[t]->silu_mul(out, up, n);
            for (uint32_t i = 0; i < n; i++) {
                double expected = x[i] / (1 + exp(-(double)x[i])) * up[i];
                assert_true(fabs(out[i] - expected) < 1e-6 * (1e-4 + fabs(expected)));
            }
            assert_true(out[n] == 77 && half[n] == 77);
        }
}

static void not_a_number_stays(void **state) {
    (void)state;
    const struct vector_ops *tables[ISA_COUNT + 1];
    for (size_t t = all_tables(tables); t-- > 0;) {
        float x[20], up[20];
        for (int i = 0; i < 20; i++) x[i] = up[i] = 1;
        x[3] = x[17] = NAN;
        tables[t]->silu_mul(x, up, 20);
        assert_true(isnan(x[3]) && isnan(x[17]) && !isnan(x[4]));
    }
}

struct shape {
    uint32_t head_dim, group, first, n;
    bool half;
};

/* As a prompt and decoding do it: run by run of the keys, results joined. */
static void attend_in_runs(const struct vector_ops *ops, const struct attention_part *part, uint32_t size) {
    size_t rows = (size_t)part->n_queries * part->group;
    float *of_run = malloc(rows * (part->value_stride + 2) * sizeof *of_run);
    for (uint32_t begin = part->begin; begin < part->end; begin += size) {
        struct attention_part run = *part;
        run.begin = begin;
        if (part->end - begin > size) run.end = begin + size;
        if (begin > part->begin) {
            run.out = of_run;
            run.max = of_run + rows * part->value_stride;
            run.sum = run.max + rows;
        }
        ops->attend(&run);
        if (begin > part->begin) ops->join(part, &run);
    }
    free(of_run);
}

/* `run` 0: the keys are not cut. */
static void check_attention(const struct vector_ops *ops, const struct shape *s, uint32_t begin, uint32_t end,
                            uint32_t run) {
    uint32_t keys = s->first + s->n, capacity = (keys + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
    uint32_t stride = (s->head_dim + VALUE_UNIT - 1) / VALUE_UNIT * VALUE_UNIT, rows = s->n * s->group;
    float *q = malloc(rows * s->head_dim * sizeof *q), *k = calloc((size_t)capacity * s->head_dim, sizeof *k);
    float *v = calloc((size_t)capacity * stride, sizeof *v), *out = malloc((size_t)rows * (stride + 2) * sizeof *out);
    uint16_t *k_half = calloc((size_t)capacity * s->head_dim, sizeof *k_half), *v_half = calloc((size_t)capacity * stride, sizeof *v_half);
    float *scratch = malloc(attention_scratch(rows, s->head_dim, stride, keys) * sizeof *scratch);
    for (uint32_t i = 0; i < rows * s->head_dim; i++) q[i] = uniform() * 2;
    for (size_t i = 0; i < (size_t)capacity * s->head_dim; i++) k[i] = f16_to_f32(k_half[i] = f32_to_f16(uniform() * 3));
    for (uint32_t i = 0; i < capacity; i++)
        for (uint32_t d = 0; d < s->head_dim; d++) /* behind the last key lies what a longer sequence left: anything */
            v[i * stride + d] = f16_to_f32(v_half[i * stride + d] = i < keys ? f32_to_f16(uniform()) : 0x7c00);
    struct attention_part part = {.q = q, .q_stride = s->group * s->head_dim, .n_queries = s->n, .group = s->group,
                                  .head_dim = s->head_dim, .value_stride = stride, .first = s->first, .begin = begin, .end = end,
                                  .k = s->half ? (void *)k_half : k, .v = s->half ? (void *)v_half : v, .half = s->half, .scale = 0.2f,
                                  .out = out, .max = out + rows * stride, .sum = out + rows * (stride + 1), .scratch = scratch};
    if (run)
        attend_in_runs(ops, &part, run);
    else
        ops->attend(&part);
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t last = s->first + row / s->group + 1 < end ? s->first + row / s->group + 1 : end;
        double scores[2048], max = -INFINITY, sum = 0;
        for (uint32_t key = begin; key < last; key++) {
            scores[key] = 0;
            for (uint32_t d = 0; d < s->head_dim; d++)
                scores[key] += (double)q[row * s->head_dim + d] * k[(key / KEY_BLOCK * s->head_dim + d) * KEY_BLOCK + key % KEY_BLOCK];
            scores[key] *= 0.2;
            if (scores[key] > max) max = scores[key];
        }
        for (uint32_t key = begin; key < last; key++) sum += scores[key] = exp(scores[key] - max);
        if (last <= begin) {
            assert_true(part.sum[row] == 0);
            continue;
        }
        assert_true(fabs(part.max[row] - max) < 1e-4 && fabs(part.sum[row] - sum) < 1e-4 * sum);
        for (uint32_t d = 0; d < s->head_dim; d++) {
            double expected = 0;
            for (uint32_t key = begin; key < last; key++) expected += scores[key] / sum * v[key * stride + d];
            assert_true(fabs(out[row * stride + d] / part.sum[row] - expected) < 2e-5);
        }
    }
    free(q);
    free(k);
    free(v);
    free(out);
    free(k_half);
    free(v_half);
    free(scratch);
}

static void attention_of_all_shapes(void **state) {
    (void)state;
    const struct vector_ops *tables[ISA_COUNT + 1];
    static const struct shape shapes[] = {
        {2, 1, 0, 1, false},    {32, 3, 0, 5, true},   {50, 1, 63, 2, true},  {64, 3, 0, 70, true},   {64, 7, 129, 1, true},
        {64, 5, 1000, 4, true}, {80, 2, 17, 33, true}, {128, 4, 100, 9, true}, {256, 8, 40, 3, true}, {64, 4, 64, 64, false},
        {96, 1, 255, 1, true},  {64, 6, 511, 2, false},
    };
    for (size_t t = all_tables(tables); t-- > 0;)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            uint32_t keys = shapes[i].first + shapes[i].n;
            check_attention(tables[t], &shapes[i], 0, keys, 0);
            for (uint32_t begin = 0; begin < keys; begin += 256)
                check_attention(tables[t], &shapes[i], begin, begin + 256 < keys ? begin + 256 : keys, 0);
            if (!tables[t]->join) continue;
            check_attention(tables[t], &shapes[i], 0, keys, 64);
            check_attention(tables[t], &shapes[i], 0, keys, 256);
        }
}

static void rotation(void **state) {
    (void)state;
    float freq[] = {1, 0.1f, 0.01f};
    struct model_view model = {.head_dim = 10, .rope_dim = 6, .rope_freq = freq, .rope_magnitude = 1.5f};
    float x[10], out[10], cosines[3], sines[3];
    for (int i = 0; i < 10; i++) x[i] = uniform();
    rope_angles(&model, 700, cosines, sines);
    for (int pairing = 0; pairing < 2; pairing++) {
        model.rope_pairing = pairing ? ROPE_NEIGHBOURS : ROPE_HALVES;
        rope_rotate(&model, cosines, sines, x, out);
        for (int i = 0; i < 3; i++) {
            int a = pairing ? 2 * i : i, b = pairing ? 2 * i + 1 : i + 3;
            double angle = 700.0 * (double)freq[i];
            assert_true(fabs(out[a] - 1.5 * (x[a] * cos(angle) - x[b] * sin(angle))) < 1e-3);
            assert_true(fabs(out[b] - 1.5 * (x[b] * cos(angle) + x[a] * sin(angle))) < 1e-3);
        }
        for (int i = 6; i < 10; i++) assert_true(out[i] == x[i]);
    }
}

/* ---- threads ---- */

struct counters {
    atomic_uint items[1000];
    atomic_bool stop;
    uint32_t stop_at;
    bool seen[8];
};

static void count_items(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    struct counters *counters = ctx;
    counters->seen[thread] = true; /* one writer a thread */
    for (uint32_t i = begin; i < end; i++) {
        if (i == counters->stop_at) atomic_store(&counters->stop, true);
        atomic_fetch_add(&counters->items[i], 1);
    }
}

static void pool_runs_each_item_once(void **state) {
    (void)state;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        struct pool *pool;
        struct err err;
        assert_int_equal(pool_new(threads, &pool, &err), STATUS_OK);
        assert_int_equal(pool_threads(pool), threads);
        static struct counters counters;
        for (uint32_t round = 0; round < 2000; round++) {
            uint32_t n = round % 1000, grain = round % 7;
            memset(&counters, 0, sizeof counters);
            counters.stop_at = UINT32_MAX;
            if (round % 500 == 499) usleep(3000); /* they have gone to sleep by then */
            pool_for(pool, n, grain, count_items, &counters);
            for (uint32_t i = 0; i < 1000; i++) assert_int_equal(atomic_load(&counters.items[i]), i < n);
            assert_false(pool_stopped(pool));
        }
        pool_free(pool);
    }
}

static void pool_stops(void **state) {
    (void)state;
    struct pool *pool;
    struct err err;
    assert_int_equal(pool_new(2, &pool, &err), STATUS_OK);
    static struct counters counters;
    memset(&counters, 0, sizeof counters);
    counters.stop_at = 10;
    pool_watch(pool, &counters.stop);
    pool_for(pool, 1000, 1, count_items, &counters);
    assert_true(pool_stopped(pool));
    uint32_t done = 0;
    for (uint32_t i = 0; i < 1000; i++) done += atomic_load(&counters.items[i]);
    assert_true(done < 1000);
    atomic_store(&counters.stop, false);
    assert_true(pool_stopped(pool)); /* what was left out stays left out, even if the flag goes down again */
    pool_watch(pool, NULL);
    assert_false(pool_stopped(pool));
    pool_free(pool);
    assert_int_equal(pool_new(0, &pool, &err), STATUS_USAGE);
}

/* ---- what a container leaves ---- */

static char groups[] = "/tmp/logitop-groups-XXXXXX";

static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", groups, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static uint64_t memory_left(const char *self) {
    char path[256];
    put("self", self);
    snprintf(path, sizeof path, "%s/self", groups);
    return cgroup_memory_left(path, groups);
}

static uint32_t processors(const char *self) {
    char path[256];
    put("self", self);
    snprintf(path, sizeof path, "%s/self", groups);
    return cgroup_processors(path, groups);
}

static void limits_of_containers(void **state) {
    (void)state;
    static const char deep[] = "4:memory:/elsewhere\n0::/a/b\n";
    char command[256];
    assert_non_null(mkdtemp(groups));
    assert_true(memory_left(deep) == UINT64_MAX && processors(deep) == UINT32_MAX); /* no files at all */
    assert_true(cgroup_memory_left("/nonexistent", groups) == UINT64_MAX);
    snprintf(command, sizeof command, "mkdir -p %s/a/b", groups);
    assert_int_equal(system(command), 0);
    put("a/b/memory.max", "max\n");
    put("a/b/memory.current", "5000\n");
    put("a/b/cpu.max", "350000 100000\n");
    put("a/memory.max", "1000000\n");
    put("a/memory.current", "700000\n");
    put("a/memory.stat", "anon 500000\ninactive_file 100000\nactive_file 50000\nslab 1\n");
    put("a/cpu.max", "max 100000\n");
    put("memory.max", "500000\n");
    put("memory.current", "80000\n");
    put("cpu.max", "50000 100000\n");
    assert_int_equal(memory_left(deep), 420000); /* without a word on files nothing is given back */
    put("memory.current", "10000\n");
    assert_int_equal(memory_left(deep), 450000); /* the group around it leaves less */
    assert_int_equal(memory_left("0::/a\n"), 450000);
    assert_int_equal(memory_left("0::/\n"), 490000);
    assert_int_equal(memory_left("0::/c/d\n"), 490000); /* groups that are not seen in here */
    assert_true(memory_left("3:cpu:/a\n") == UINT64_MAX && memory_left("") == UINT64_MAX && memory_left("0::/a") == UINT64_MAX);
    put("a/memory.current", "9000000\n");
    assert_int_equal(memory_left(deep), 0);
    assert_int_equal(processors(deep), 1);
    put("cpu.max", "200000 100000\n");
    assert_int_equal(processors(deep), 2);
    put("cpu.max", "max 100000\n");
    assert_int_equal(processors(deep), 3);
    put("a/b/cpu.max", "junk");
    assert_true(processors(deep) == UINT32_MAX);
    snprintf(command, sizeof command, "rm -r %s", groups);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_and_gates), cmocka_unit_test(not_a_number_stays), cmocka_unit_test(attention_of_all_shapes),
        cmocka_unit_test(rotation),        cmocka_unit_test(pool_runs_each_item_once), cmocka_unit_test(pool_stops),
        cmocka_unit_test(limits_of_containers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
