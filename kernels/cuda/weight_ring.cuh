/* The stream of weights of a warp: all that it will multiply in a step, from the first layer to the output matrix, passes through a ring
 * of slots in shared memory that the copy engine fills in the background. A slot is refilled as soon as its weights are used, whatever
 * the kernel waits for meanwhile, so that the memory never waits for the chain of dependent products.
 *
 * Who computes what is fixed: a block has an equal run of rows of every matrix, and a warp an equal run of the chunks (layout.cuh) of
 * all the block's rows; where a block has a slice of down (slices.cuh), a warp has an equal run of the slice's row groups.
 * Needs bulk copies: compute capability 9. */
#pragma once

#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/slices.cuh"

enum { WHOLE_CONSUMERS = WHOLE_THREADS - 32, WHOLE_WARPS = WHOLE_CONSUMERS / 32 }; /* threads and warps that multiply; one more warp feeds them */

/* A barrier of the warps that multiply. */
__device__ __forceinline__ void consumers_meet() { asm volatile("bar.sync 1, %0;" ::"n"((int)WHOLE_CONSUMERS) : "memory"); }

__device__ __forceinline__ uint32_t to_shared(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

/* n / d for n and d below 2^16; magic is 2^32 / d rounded up. */
__device__ __forceinline__ uint32_t divide(uint32_t n, uint32_t d, uint32_t magic) { return d == 1 ? n : __umulhi(n, magic); }

/* What a block does of the products of a kind, which have the same shape in all layers. */
struct block_share {
    uint32_t begin[WHOLE_PARTS], end[WHOLE_PARTS]; /* units of each part */
    uint32_t each, each_magic;                     /* chunks a warp has, the last warps fewer or none */
};
/* What a warp does of a part of them: `left` chunks, from chunk `col` of row `row` of the matrix on. Of down: tiles, from row group `row` of the
 * slice on. */
struct __align__(16) part_share {
    uint32_t left, row, col;
};
struct whole_shape {
    uint32_t blocks, chunks, magic, tail; /* of a row; tail: blocks of the last chunk. Of down: tiles of a row group, which are all whole */
};
struct shares {
    whole_shape shape[WHOLE_KINDS];
    block_share block[WHOLE_KINDS];
    part_share warp[WHOLE_KINDS][WHOLE_WARPS][WHOLE_PARTS];
};

__device__ __forceinline__ uint32_t kind_of(const whole_args &a, uint32_t product) {
    return product == 4 * a.n_layers ? (uint32_t)WHOLE_HEAD : product % 4;
}

__device__ __forceinline__ void make_slice_share(shares &to, const whole_slices &slices, uint32_t warp) {
    const uint32_t n = hidden_of(slices, blockIdx.x).n, begin = slices.groups * warp / WHOLE_WARPS, end = slices.groups * (warp + 1) / WHOLE_WARPS;
    to.warp[WHOLE_DOWN][warp][0] = {(end - begin) * n, begin, 0};
    to.warp[WHOLE_DOWN][warp][1] = to.warp[WHOLE_DOWN][warp][2] = {};
    if (warp == 0) to.block[WHOLE_DOWN] = {}, to.shape[WHOLE_DOWN] = {n, n, 0xFFFFFFFFu / n + 1, 32};
}

/* All threads; a barrier must follow. */
__device__ __forceinline__ void make_shares(shares &to, const whole_product *products, uint32_t n_layers, const whole_slices &slices) {
    for (uint32_t i = threadIdx.x; i < WHOLE_KINDS * WHOLE_WARPS; i += WHOLE_THREADS) {
        const uint32_t kind = i / WHOLE_WARPS, warp = i % WHOLE_WARPS;
        if (kind == WHOLE_DOWN && slices.n) {
            make_slice_share(to, slices, warp);
            continue;
        }
        const whole_product &product = products[kind == WHOLE_HEAD ? 4 * n_layers : kind];
        const uint32_t a_unit = product.rows_a_unit * product.chunks;
        block_share b = {};
        uint32_t n = 0;
        for (uint32_t p = 0; p < product.n_parts; p++) {
            const uint32_t run = product.run, runs = product.part[p].units / run;
            b.begin[p] = runs * blockIdx.x / gridDim.x * run;
            b.end[p] = runs * (blockIdx.x + 1) / gridDim.x * run;
            n += (b.end[p] - b.begin[p]) * a_unit;
        }
        b.each = (n + WHOLE_WARPS - 1) / WHOLE_WARPS;
        b.each_magic = 0xFFFFFFFFu / b.each + 1;
        if (warp == 0) {
            to.block[kind] = b;
            to.shape[kind] = {product.blocks, product.chunks, product.chunks_magic, product.blocks - (product.chunks - 1) * 32};
        }
        const uint32_t from = min(warp * b.each, n), until = min(from + b.each, n);
        uint32_t base = 0;
        for (uint32_t p = 0; p < WHOLE_PARTS; p++) {
            const uint32_t end = base + (b.end[p] - b.begin[p]) * a_unit, lo = max(from, base), hi = min(until, end);
            part_share mine = {};
            if (lo < hi) mine = {hi - lo, b.begin[p] * product.rows_a_unit + (lo - base) / product.chunks, (lo - base) % product.chunks};
            to.warp[kind][warp][p] = mine;
            base = end;
        }
    }
}

__device__ __forceinline__ const whole_type &type_of(const whole_args &a, uint32_t kind, uint32_t type) {
    return kind == WHOLE_DOWN && a.sliced ? a.tiles[type] : a.types[type];
}
__device__ __forceinline__ uint32_t chunk_bytes_of(const whole_type &t, uint32_t n) { return (t.head + n * t.block + 15) / 16 * 16; }
/* What must be known of a product, in shared memory. */
struct whole_brief {
    const char *data[WHOLE_PARTS];
    const float *norm, *q_norm, *k_norm, *bias[WHOLE_PARTS];
    uint8_t type[WHOLE_PARTS], floats;
};
__device__ __forceinline__ void make_briefs(whole_brief *to, const whole_product *products, uint32_t n_layers) {
    for (uint32_t i = threadIdx.x; i <= 4 * n_layers; i += WHOLE_THREADS) {
        const whole_product &p = products[i];
        whole_brief b = {{}, p.norm, p.q_norm, p.k_norm, {}, {}, (uint8_t)p.floats};
        for (int k = 0; k < WHOLE_PARTS; k++) b.data[k] = p.part[k].data, b.bias[k] = p.part[k].bias, b.type[k] = (uint8_t)p.part[k].type;
        to[i] = b;
    }
}

__device__ __forceinline__ bool barrier_passed(uint32_t barrier, uint32_t parity) { /* or not yet */
    uint32_t passed = 1;
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(passed)
                 : "r"(barrier), "r"(parity)
                 : "memory");
#endif
    return passed;
}

/* Chunks that go into the next slot, before chunk `col` of a row: whole rows, where a slot has room for one. */
struct slot_rule {
    uint32_t most, rows, chunks; /* chunks that fit; those of the rows that fit whole, or 0; those of a row */
    __device__ __forceinline__ slot_rule(uint32_t a_slot, uint32_t chunks, uint32_t magic)
        : most(a_slot), rows(divide(a_slot, chunks, magic) * chunks), chunks(chunks) {}
    __device__ __forceinline__ uint32_t take(uint32_t col, uint32_t left) const { return min(rows ? col ? chunks - col : rows : most, left); }
};

/* A warp's end of its ring: it takes the slots in turns. Each slot has two mbarriers: it is full, it is empty. */
struct weight_ring {
    const char *first;      /* slot */
    uint32_t full, n, size; /* shared address of the first one's barrier; slots, and bytes of one */
    uint32_t take, phase;

    __device__ __forceinline__ weight_ring(const whole_args &a, char *memory, uint32_t state)
        : first(memory + a.ring_at + threadIdx.x / 32 * a.n_slots * a.slot_size),
          full(to_shared(memory + a.barriers_at) + threadIdx.x / 32 * a.n_slots * 16), n(a.n_slots), size(a.slot_size), take(state / 2), phase(state % 2) {}
    __device__ __forceinline__ uint32_t state() const { return take * 2 + phase; } /* 0 at the beginning */

    /* The weights of the next slot, once they are there. */
    __device__ __forceinline__ const char *wait() const {
#if __CUDA_ARCH__ >= 900
        asm volatile("{\n.reg .pred p;\nwait:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra done;\nbra wait;\ndone:\n}" ::"r"(
                         full + take * 16),
                     "r"(phase)
                     : "memory");
#endif
        return first + take * size;
    }

    /* The slot has been used by all lanes: it may be filled again. */
    __device__ __forceinline__ void release() {
        __syncwarp();
#if __CUDA_ARCH__ >= 900
        if (threadIdx.x % 32 == 0) asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(full + take * 16 + 8) : "memory");
#endif
        if (++take == n) take = 0, phase ^= 1;
    }
};

/* By one warp, before the rings are used. */
__device__ __forceinline__ void make_rings(const whole_args &a, char *memory) {
#if __CUDA_ARCH__ >= 900
    const uint32_t barriers = to_shared(memory + a.barriers_at);
    for (uint32_t i = threadIdx.x % 32; i < WHOLE_WARPS * a.n_slots * 2; i += 32)
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barriers + i * 8) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/* The other end of all rings: a warp of its own, a lane for each ring, which copies into every empty slot what comes next, as many chunks
 * as fit, from the first product of the step to the last. */
struct weight_feeder {
    const whole_args &a;
    char *memory;
    uint32_t ring, put, parity;
    /* what is copied next; product beyond the last one: all is on its way */
    uint32_t product, part, left, col;
    const char *at;
    slot_rule rule = {0, 1, 0};
    uint32_t chunk_bytes, short_by, chunks_magic; /* of the part */

    /* The first part from here on with chunks of the ring's warp. */
    __device__ __forceinline__ void find() {
        const shares &all = *(const shares *)(memory + a.shares_at);
        for (; product <= 4 * a.n_layers; product++, part = 0) {
            const uint32_t kind = kind_of(a, product);
            for (; part < WHOLE_PARTS; part++) {
                const part_share share = all.warp[kind][ring][part];
                if (!share.left) continue;
                const whole_brief &brief = ((const whole_brief *)(memory + a.briefs_at))[product];
                const whole_shape &shape = all.shape[kind];
                const whole_type type = type_of(a, kind, brief.type[part]);
                left = share.left, col = share.col, rule = slot_rule(type.a_slot, shape.chunks, shape.magic), chunks_magic = shape.magic;
                chunk_bytes = chunk_bytes_of(type, 32), short_by = chunk_bytes - chunk_bytes_of(type, shape.tail);
                at = brief.data[part] + (size_t)share.row * (shape.chunks * chunk_bytes - short_by) + col * chunk_bytes;
                if (kind == WHOLE_DOWN && a.sliced) at += (size_t)blockIdx.x * a.slices.groups * a.slices.widest * chunk_bytes;
                return;
            }
        }
    }

    __device__ __forceinline__ void fill_slot(uint32_t full, uint64_t policy) {
        const uint32_t n = rule.take(col, left), after = col + n;
        const uint32_t ends = divide(after, rule.chunks, chunks_magic); /* rows that end in it: their last chunks may be short */
        const uint32_t bytes = n * chunk_bytes - ends * short_by;
#if __CUDA_ARCH__ >= 900
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(full), "r"(bytes) : "memory");
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                         to_shared(memory + a.ring_at + (ring * a.n_slots + put) * a.slot_size)),
                     "l"(at), "r"(bytes), "r"(full), "l"(policy)
                     : "memory");
#endif
        if (++put == a.n_slots) put = 0, parity ^= 1;
        at += bytes;
        left -= n;
        col = after - ends * rule.chunks;
    }

    __device__ __forceinline__ void run() {
        uint64_t policy = 0;
#if __CUDA_ARCH__ >= 900
        asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
#endif
        ring = threadIdx.x % 32, put = 0, parity = 1, product = part = left = 0; /* parity 1 of a new barrier has passed */
        if (ring >= WHOLE_WARPS) product = 4 * a.n_layers + 1;
        find();
        const uint32_t barriers = to_shared(memory + a.barriers_at) + ring * a.n_slots * 16;
        while (product <= 4 * a.n_layers) {
            if (barrier_passed(barriers + put * 16 + 8, parity)) {
                fill_slot(barriers + put * 16, policy);
                if (!left) {
                    part++;
                    find();
                }
            }
        }
        __syncwarp();
    }
};
