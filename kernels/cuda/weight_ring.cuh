/* The stream of weights of a block: all that it will multiply in a step, from the first layer to the output
 * matrix, passes through a ring of slots in shared memory that the copy engine fills in the background. A
 * slot is refilled as soon as its weights are used, whatever the kernel waits for meanwhile, so that the
 * memory never waits for the chain of dependent products.
 *
 * Who computes what is fixed: a block has an equal run of rows of every matrix, or a slice of down
 * (slices.cuh), and its warps take pieces of it in turns. Needs bulk copies: compute capability 9. */
#pragma once

#include "kernels/cuda/mbarrier.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/whole_tables.cuh"

/* A barrier of the warps that multiply. */
__device__ __forceinline__ void consumers_meet() {
    asm volatile("bar.sync 1, %0;" ::"n"((int)WHOLE_CONSUMERS) : "memory");
}

/* n / d for n and d below 2^16; magic is 2^32 / d rounded up. */
__device__ __forceinline__ uint32_t divide(uint32_t n, uint32_t d, uint32_t magic) {
    return d == 1 ? n : __umulhi(n, magic);
}

__device__ __forceinline__ uint32_t kind_of(const whole_args &a, uint32_t product) {
    return product == 4 * a.n_layers ? (uint32_t)WHOLE_HEAD : product % 4;
}

/* The first piece of a warp. */
__device__ __forceinline__ uint32_t first_piece(const part_deal &deal, uint32_t warp) {
    return warp >= deal.turn ? warp - deal.turn : warp + WHOLE_WARPS - deal.turn;
}

enum { LIST_SEGMENTS = 4 /* of the list of loads that are in shared memory */ };

/* Each slot has three mbarriers: it is full, in even rounds of the ring and in odd ones, and it is empty. Two
 * for full, because a warp may come to a slot while the slot's load of the round before, of which it has no
 * piece, is still on its way: a parity alone would not tell that from its own. A load of two rounds before
 * has arrived: between two pieces of a warp are less than WHOLE_WARPS loads, no more than slots (cut_ring()).
 */
enum { SLOT_BARRIERS = 24 /* bytes */, SLOT_EMPTY = 16 };
__device__ __forceinline__ uint32_t full_barrier(uint32_t first, uint32_t slot, uint32_t round) {
    return first + slot * SLOT_BARRIERS + round % 2 * 8;
}

/* The consumers' end of the ring. A slot takes a load, of one or more pieces that lie together; each piece is
 * another warp's. */
struct weight_ring {
    const char *first;          /* slot */
    uint32_t barriers, n, size; /* shared address of the first one's; slots, and bytes of one */

    __device__ __forceinline__ weight_ring(const whole_args &a, char *memory)
        : first(memory + a.ring_at), barriers(shared_address(memory + a.barriers_at)), n(a.n_slots),
          size(a.slot_size) {}

    /* The weights of a slot, once they are there. */
    __device__ __forceinline__ const char *wait(uint32_t slot, uint32_t round) const {
        barrier_wait(full_barrier(barriers, slot, round), round / 2 % 2);
        return first + slot * size;
    }

    /* A piece has been used by all lanes, `nth` of its load. When all have been, the slot may be filled
     * again: that takes WHOLE_LOAD arrivals, of which the last piece makes those that the load has no pieces
     * for. */
    __device__ __forceinline__ void release(uint32_t slot, uint32_t nth, bool is_last) const {
        __syncwarp();
        const uint32_t arrivals = is_last ? WHOLE_LOAD - nth : 1;
        if (threadIdx.x % 32 == 0) barrier_arrive(barriers + slot * SLOT_BARRIERS + SLOT_EMPTY, arrivals);
    }
};

/* By one warp, before the ring is used; the barriers of the list lie behind those of the slots. */
__device__ __forceinline__ void make_ring(const whole_args &a, char *memory) {
#if __CUDA_ARCH__ >= 900
    const uint32_t barriers = shared_address(memory + a.barriers_at);
    for (uint32_t i = threadIdx.x % 32; i < a.n_slots * 3 + LIST_SEGMENTS; i += 32)
        barrier_init(barriers + i * 8, i < a.n_slots * 3 && i % 3 == 2 ? (uint32_t)WHOLE_LOAD : 1);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/* A copy in the background from global to shared memory, of a multiple of 16 bytes, at which a barrier will
 * be passed that nothing else is to arrive at. */
__device__ __forceinline__ void copy_bulk(uint32_t to, uint64_t from, uint32_t bytes, uint32_t barrier,
                                          uint64_t policy) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
                 "[%1], %2, [%3], %4;" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
                 : "memory");
#endif
}

/* The block's list of loads as it comes through shared memory, some segments ahead. */
struct load_list {
    const uint64_t *from, *here;
    uint32_t barriers, segments;
    uint64_t policy;

    __device__ __forceinline__ void fetch(uint32_t segment) const {
        const uint32_t place = segment % LIST_SEGMENTS;
        if (segment < segments)
            copy_bulk(shared_address(here + place * LIST_SEGMENT), (uint64_t)(from + segment * LIST_SEGMENT),
                      LIST_SEGMENT * 8, barriers + place * 8, policy);
    }
    __device__ __forceinline__ void await(uint32_t segment) const {
        if (segment < segments)
            while (!barrier_passed(barriers + segment % LIST_SEGMENTS * 8, segment / LIST_SEGMENTS % 2)) {}
    }
    __device__ __forceinline__ uint64_t operator[](uint32_t i) const {
        return here[i % (LIST_SEGMENTS * LIST_SEGMENT)];
    }
};

/* The other end of the ring: one thread, which copies into the slots that are empty what comes next, and asks
 * the second-level cache for what comes after that, at the pace at which the memory can give to all blocks
 * alike. What has been asked for is copied as fast as slots are empty. */
__device__ __forceinline__ void feed_ring(const whole_args &a, char *memory) {
#if __CUDA_ARCH__ >= 900
    const uint32_t barriers = shared_address(memory + a.barriers_at), ring = shared_address(memory + a.ring_at),
                   n_slots = a.n_slots, slot_size = a.slot_size;
    const uint32_t pace = a.pace, n = ((const whole_shares *)(memory + a.shares_at))->n_loads;
    uint64_t policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    const load_list list = {a.loads + (size_t)blockIdx.x * a.a_list, (const uint64_t *)(memory + a.list_at),
                            barriers + n_slots * SLOT_BARRIERS, (n + LIST_SEGMENT - 1) / LIST_SEGMENT,
                            policy};
    for (uint32_t i = 0; i < LIST_SEGMENTS; i++) list.fetch(i);
    list.await(0);
    uint64_t to_copy = list[0], to_ask = to_copy;
    uint32_t copied = 0, asked = 0;                        /* loads */
    uint32_t slot = 0, round = 0, its_barriers = barriers; /* of the next copy */
    uint32_t room = a.ahead, due = clock(); /* how many more loads may be asked for; when the next one */
    while (copied < n) {
        const bool is_empty = barrier_passed(its_barriers + SLOT_EMPTY,
                                             round % 2 ^ 1); /* parity 1 of a new barrier has passed */
        const uint32_t now = clock();
        if (room && (int32_t)(now - due) >= 0) {
            const uint32_t bytes = load_bytes(to_ask);
            if (asked > copied || !is_empty)
                asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(load_address(to_ask)),
                             "r"(bytes)
                             : "memory");
            due = now + (bytes * pace >> 14);
            asked++, room--;
            if (asked % LIST_SEGMENT == 0) list.await(asked / LIST_SEGMENT);
            to_ask = list[asked];
            if (asked == n) room = 0;
        }
        if (is_empty && asked > copied) {
            copy_bulk(ring + slot * slot_size, load_address(to_copy), load_bytes(to_copy),
                      its_barriers + round % 2 * 8, policy);
            if (++slot == n_slots) slot = 0, round++;
            its_barriers = barriers + slot * SLOT_BARRIERS;
            copied++, room += asked < n;
            to_copy = list[copied];
            if (copied % LIST_SEGMENT == 0) list.fetch(copied / LIST_SEGMENT + LIST_SEGMENTS - 1);
        }
    }
#endif
}
