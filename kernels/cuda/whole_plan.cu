/* How a model is run in whole steps (decode_whole.cu): who computes what, how weights pass through the ring,
 * where things lie in shared memory, and the tables that the blocks read. */
#include "kernels/cuda/slices.cuh"
#include "kernels/cuda/whole_attention.cuh"
#include "kernels/cuda/whole_choice.cuh"
#include "kernels/cuda/whole_tables.cuh"

#include <string.h>

namespace {

template <int D> constexpr uint32_t attention_bytes = sizeof(whole_attention<D>);
template <int D> constexpr uint32_t sums_bytes = sizeof(whole_attention_sums<D>);

uint32_t aligned(uint32_t n) {
    return (n + 127) / 128 * 128;
}

/* The widest x with which a block keeps its hidden values: beyond, the slices, which are unequal and a little
 * larger than the rows, cost more than an exchange (docs/performance.md). */
enum { SLICED_MOST = 1024 };

/* How the hidden values are shared out: small units give the blocks equal work, units of a tile give no two
 * blocks the same columns of down. The time is about that of the block with most bytes where a step waits for
 * the blocks, and that of all bytes where it waits for the memory. */
bool share_hidden(whole_slices &s, const whole_product &gate, const whole_product &down, uint32_t n_ff,
                  uint32_t n_embd, uint32_t blocks) {
    const double gate_bytes = 2.0 * (double)row_bytes((int)gate.part[0].type, gate.blocks);
    const uint32_t rows = (n_embd + 31) / 32;
    s.unit = 0;
    double least = 0;
    for (uint32_t unit = 8; unit <= 32; unit *= 2) {
        whole_slices t = {blocks, unit, n_ff / unit, down.floats ? 8u : 32u, rows, 0, 0};
        if (n_ff % unit || t.units < blocks) continue;
        uint32_t most = 0, columns = 0;
        for (uint32_t i = 0; i < blocks; i++) {
            const hidden_share share = hidden_of(t, i);
            const uint32_t supers = supers_of(share.first, share.n);
            if (share.n > t.widest) t.widest = share.n;
            if (supers > t.supers) t.supers = supers;
            if (share.end - share.begin > most) most = share.end - share.begin;
            columns += share.n;
        }
        const double column = (double)rows * tile_bytes(down.part[0].type);
        const double cost =
            most * gate_bytes + t.widest * column + (n_ff * gate_bytes + columns * column) / blocks;
        if (!s.unit || cost < least) least = cost, s = t;
    }
    return s.unit && s.widest * s.columns <= WHOLE_CONSUMERS && s.widest <= 32;
}

/* Who has which hidden values. */
bool share_out_hidden(whole_plan *plan, whole_product *products, uint32_t blocks) {
    struct whole_args &a = plan->args;
    const uint32_t n = 4 * a.n_layers;
    uint32_t run = 1;
    bool floats = false;
    for (uint32_t i = WHOLE_DOWN; i < n; i += 4) floats = floats || products[i].floats;
    if (a.sliced) {
        for (uint32_t i = WHOLE_DOWN; i < n; i += 4)
            if (products[i].floats != products[WHOLE_DOWN].floats) return false;
        if (!share_hidden(a.slices, products[WHOLE_GATE], products[WHOLE_DOWN], a.n_ff, a.n_embd, blocks))
            return false;
        run = a.slices.unit;
    } else if (!floats && a.n_ff % 32 == 0) {
        /* Told as quants, where that leaves the blocks nearly equal shares. */
        const uint32_t runs = a.n_ff / 16, longest = (runs + blocks - 1) / blocks;
        a.hidden_quants = runs >= blocks && longest * blocks * 20 <= runs * 21;
        if (a.hidden_quants) run = 16;
    }
    for (uint32_t i = WHOLE_GATE; i < n; i += 4) products[i].run = run;
    return true;
}

/* Bytes of a chunk of n blocks; 0: no type of whole steps. */
uint32_t chunk_bytes(uint32_t type, uint32_t n) {
    uint32_t bytes = 0;
    if (type != DTYPE_F32) FOR_TYPE(type, bytes = chunk_of<T>::size(n));
    return bytes;
}

/* What the products say of themselves, and the smallest and largest of what they need. */
struct whole_needs {
    uint32_t blocks;        /* units of the smallest product */
    uint32_t vector, piece; /* bytes of the largest vector, and of the largest chunk or tile */
};
bool measure_products(whole_args &a, whole_product *products, whole_needs &needs) {
    const uint32_t n = 4 * a.n_layers + 1;
    for (uint32_t i = 0; i < n; i++) {
        whole_product &product = products[i];
        product.blocks = (product.cols + 31) / 32;
        product.chunks = (product.blocks + CHUNK - 1) / CHUNK;
        product.floats = product.part[0].type == DTYPE_F16 || product.part[0].type == DTYPE_BF16;
        if (product.cols % 8) return false;
        const bool in_slices = a.sliced && i % 4 == WHOLE_DOWN && i + 1 < n;
        const uint32_t bytes = product.floats ? product.blocks * 128 : product.blocks * 48;
        if (bytes > needs.vector && !in_slices) needs.vector = bytes;
        if (product.part[0].units < needs.blocks) needs.blocks = product.part[0].units;
        for (uint32_t p = 0; p < product.n_parts; p++) {
            const uint32_t type = product.part[p].type, bytes_of_chunk = chunk_bytes(type, CHUNK);
            if (!bytes_of_chunk || (type == DTYPE_F16 || type == DTYPE_BF16) != product.floats) return false;
            const uint32_t piece = in_slices ? tile_bytes(type) : bytes_of_chunk;
            if (piece > needs.piece) needs.piece = piece;
        }
    }
    return true;
}

/* Units of a block, most of all products, by kind. */
uint32_t most_units(const whole_product &product, uint32_t p, uint32_t blocks) {
    return (product.part[p].units / product.run + blocks - 1) / blocks * product.run;
}
bool count_units(const whole_args &a, const whole_product *products, uint32_t blocks,
                 uint32_t most[WHOLE_HEAD]) {
    for (uint32_t kind = 0; kind < WHOLE_HEAD; kind++) {
        most[kind] = 0;
        for (uint32_t p = 0; p < products[kind].n_parts; p++)
            most[kind] += most_units(products[kind], p, blocks);
        if (most[kind] > WHOLE_CONSUMERS && !(a.sliced && kind == WHOLE_DOWN)) return false;
    }
    return true;
}

/* What a piece of rows of `chunks` costs beside its chunks, in chunks. */
constexpr double PIECE_COST = 0.5;

/* The bytes of rows and chunks of a part of a kind, the most of all layers' types. */
struct part_size {
    uint32_t rows, chunks, row, chunk; /* rows of a block, chunks of a row */
};
part_size size_of_part(const whole_args &a, const whole_product *products, uint32_t kind, uint32_t p,
                       uint32_t blocks) {
    const bool in_slices = a.sliced && kind == WHOLE_DOWN;
    const uint32_t n = 4 * a.n_layers + 1, step = kind == WHOLE_HEAD ? n : 4;
    part_size most = {};
    for (uint32_t i = kind == WHOLE_HEAD ? n - 1 : kind; i + (kind != WHOLE_HEAD) < n; i += step) {
        const whole_product &product = products[i];
        const uint32_t type = product.part[p].type;
        part_size here = {most_units(product, p, blocks) * product.rows_a_unit, product.chunks,
                          (uint32_t)row_bytes((int)type, product.blocks), chunk_bytes(type, CHUNK)};
        if (in_slices)
            here = {a.slices.groups, a.slices.widest, a.slices.widest * tile_bytes(type), tile_bytes(type)};
        most.rows = here.rows, most.chunks = here.chunks;
        if (here.row > most.row) most.row = here.row;
        if (here.chunk > most.chunk) most.chunk = here.chunk;
    }
    return most;
}

/* The pieces that give the busiest warp the least, so that a piece fits into a slot; of nearly the same, the
 * smallest number of rows: a slot that many warps use is free for the next load sooner. rows 0: they do not
 * fit. */
whole_cut cut_part(const part_size &part, uint32_t slot_size, bool in_slices) {
    auto rounds = [](uint32_t n) { return (n + WHOLE_WARPS - 1) / WHOLE_WARPS; };
    whole_cut best = {0, 1, (uint16_t)part.chunks};
    double least = 0;
    if (in_slices) { /* one piece a warp: a warp goes down neighbouring row groups */
        const uint32_t rows = rounds(part.rows);
        if (rows * part.row <= slot_size) best.rows = (uint16_t)rows;
        return best;
    }
    for (uint32_t cuts = 1; cuts <= part.chunks; cuts++) {
        const uint32_t chunks = (part.chunks + cuts - 1) / cuts;
        if ((cuts == 1 ? part.row : chunks * part.chunk * 2) > slot_size) continue;
        const double cost = rounds(part.rows * cuts) * (chunks + PIECE_COST);
        if (!best.rows || cost < least)
            least = cost, best = {1, (uint16_t)((part.chunks + chunks - 1) / chunks), (uint16_t)chunks};
    }
    if (best.cuts > 1) return best;
    for (uint32_t rows = 1; rows * part.row <= slot_size; rows++) {
        const double cost = rounds((part.rows + rows - 1) / rows) * (rows * part.chunks + PIECE_COST);
        if (cost < least * 0.9) least = cost, best.rows = (uint16_t)rows;
    }
    return best;
}

/* How all rows pass through slots of a size. Returns the share of the ring that they fill; 0: they do not
 * fit. */
double cut_rows(whole_plan &plan, whole_product *products, uint32_t blocks, uint32_t slot_size) {
    const whole_args &a = plan.args;
    const uint32_t n = 4 * a.n_layers + 1;
    double bytes = 0, room = 0;
    for (uint32_t kind = 0; kind < WHOLE_KINDS; kind++)
        for (uint32_t p = 0; p < products[kind == WHOLE_HEAD ? n - 1 : kind].n_parts; p++) {
            const bool in_slices = a.sliced && kind == WHOLE_DOWN;
            const part_size part = size_of_part(a, products, kind, p, blocks);
            const whole_cut cut = plan.cut[kind][p] = cut_part(part, slot_size, in_slices);
            if (!cut.rows) return 0;
            for (uint32_t i = kind == WHOLE_HEAD ? n - 1 : kind; i < n && products[i].kind == kind; i += 4) {
                const uint32_t type = products[i].part[p].type,
                               row =
                                   in_slices ? part.row : (uint32_t)row_bytes((int)type, products[i].blocks);
                const uint32_t piece = cut.cuts > 1 ? cut.chunks * chunk_bytes(type, CHUNK) : cut.rows * row,
                               fit = slot_size / piece;
                const uint32_t a_load = products[i].part[p].a_load =
                    fit < WHOLE_LOAD ? fit : (uint32_t)WHOLE_LOAD;
                const uint32_t pieces = (part.rows + cut.rows - 1) / cut.rows * cut.cuts;
                bytes += (double)part.rows * row,
                    room += (double)((pieces + a_load - 1) / a_load) * slot_size;
            }
        }
    return bytes / room;
}

/* Slots for the ring, which has `bytes` of shared memory: as full as possible, and worth a copy each (larger
 * ones were slower, docs/performance.md). Returns how many sums a block keeps; 0: the model does not fit. */
uint32_t cut_ring(whole_plan &plan, whole_product *products, uint32_t blocks, uint32_t bytes) {
    whole_args &a = plan.args;
    enum { LEAST = 4096, MOST = 10240, FEWEST = WHOLE_WARPS /* slots: weight_ring.cuh */ };
    enum { A_COPY = 1500 /* bytes that would come in the time a copy takes to be asked for */ };
    double best = 0;
    a.slot_size = 0;
    for (uint32_t size = LEAST; size <= MOST && bytes / size >= FEWEST; size += 128) {
        const double filled = cut_rows(plan, products, blocks, size) * (double)(bytes / size * size) / bytes,
                     worth = filled * size / (size + A_COPY);
        if (worth > best) best = worth, a.slot_size = size;
    }
    if (!a.slot_size) return 0;
    cut_rows(plan, products, blocks, a.slot_size);
    a.n_slots = bytes / a.slot_size < WHOLE_SLOTS ? bytes / a.slot_size : (uint32_t)WHOLE_SLOTS;
    for (uint32_t i = 1; i <= WHOLE_LOAD; i++) a.load_magic[i] = 0xFFFFFFFFu / i + 1;
    uint32_t most = 1;
    for (uint32_t kind = 0; kind < WHOLE_KINDS; kind++) {
        const whole_product &product = products[kind == WHOLE_HEAD ? 4 * a.n_layers : kind];
        uint32_t sums = 0;
        for (uint32_t p = 0; p < product.n_parts; p++)
            sums += most_units(product, p, blocks) * product.rows_a_unit * plan.cut[kind][p].cuts;
        if (sums > most && !(a.sliced && kind == WHOLE_DOWN)) most = sums;
    }
    return most;
}

/* The ring is what is left of the shared memory behind everything else, of which the sums depend on how the
 * ring cuts the rows. */
bool place_ring(whole_plan &plan, whole_product *products, uint32_t blocks, uint32_t at, uint32_t limit) {
    whole_args &a = plan.args;
    for (uint32_t sums = 0, need = 1; need > sums;) {
        sums = need;
        a.sums_at = at, a.ring_at = at + aligned(sums * 4);
        if (a.ring_at >= limit) return false;
        need = cut_ring(plan, products, blocks, limit - a.ring_at);
        if (!need || need > UINT16_MAX) return false;
    }
    return true;
}

/* How fast the feeder asks the memory, and how far ahead of the ring. A block that asked as fast as it can
 * would take from others what they wait for, to have what it needs much later. The fewer bits a weight has,
 * the more of a step is not memory, and the slower is best: measured on an H100 (docs/performance.md), as is
 * that it pays only where a layer is several times as large as the ring. */
void set_pace(whole_args &a, const whole_product *products, uint32_t blocks, double memory_cycles) {
    enum {
        LARGE = 3 /* rings that a layer would fill */,
        AHEAD = 128 << 10 /* bytes */,
        MOST_AHEAD = LIST_SEGMENT * (LIST_SEGMENTS - 2) /* loads */
    };
    double layer = 0, bits = 0, weights = 0; /* bytes; of all layers */
    for (uint32_t i = 0; i < 4 * a.n_layers; i++)
        for (uint32_t p = 0; p < products[i].n_parts; p++) {
            const double rows = (double)products[i].part[p].units * products[i].rows_a_unit,
                         row = (double)row_bytes((int)products[i].part[p].type, products[i].blocks);
            layer += rows * row / a.n_layers, bits += rows * row * 8, weights += rows * products[i].cols;
        }
    const uint32_t loads = layer < (double)LARGE * blocks * a.n_slots * a.slot_size ? 0 : AHEAD / a.slot_size;
    a.ahead = 1 + (loads < MOST_AHEAD ? loads : (uint32_t)MOST_AHEAD);
    a.pace = (uint32_t)((0.74 + 1.26 * weights / bits) * memory_cycles * (1 << 14));
}

/* ---- the tables ---- */

part_deal deal_rows(uint32_t rows, const whole_cut &cut) {
    const uint32_t pieces = (rows + cut.rows - 1) / cut.rows * cut.cuts;
    return {
        0xFFFFFFFFu / cut.cuts + 1, (uint16_t)rows, (uint16_t)pieces, cut.rows, cut.cuts, cut.chunks, 0, 0};
}

/* What block `block` does of each kind of product. */
whole_shares shares_of(const whole_plan &plan, const whole_product *products, uint32_t block) {
    const whole_args &a = plan.args;
    whole_shares to = {};
    uint32_t turn = 0; /* pieces until here */
    for (uint32_t kind = 0; kind < WHOLE_KINDS; kind++) {
        const whole_product &product = products[kind == WHOLE_HEAD ? 4 * a.n_layers : kind];
        const bool in_slices = kind == WHOLE_DOWN && a.sliced;
        to.shape[kind] = {product.blocks, product.chunks, product.blocks - (product.chunks - 1) * 32};
        if (in_slices) to.shape[kind] = {0, hidden_of(a.slices, block).n, 32};
        for (uint32_t p = 0, before = 0, sums = 0; p < product.n_parts; before += product.part[p++].units) {
            const uint32_t runs = product.part[p].units / product.run;
            uint32_t &begin = to.block[kind].begin[p], &end = to.block[kind].end[p];
            if (!in_slices)
                begin = before + runs * block / plan.blocks * product.run,
                end = before + runs * (block + 1) / plan.blocks * product.run;
            part_deal &deal = to.deal[kind][p] = deal_rows(
                in_slices ? a.slices.groups : (end - begin) * product.rows_a_unit, plan.cut[kind][p]);
            deal.turn = (uint16_t)(turn % WHOLE_WARPS), deal.sums = (uint16_t)sums;
            turn += deal.pieces, sums += deal.rows * deal.cuts;
        }
    }
    return to;
}

/* The loads of a block, and where in the ring those of a part begin; both may be NULL. Returns how many. */
uint32_t list_loads(const whole_plan &plan, const whole_product *products, const whole_shares &shares,
                    uint32_t block, uint64_t *to, uint16_t *starts) {
    const whole_args &a = plan.args;
    uint32_t n = 0;
    for (uint32_t i = 0; i <= 4 * a.n_layers; i++) {
        const whole_product &product = products[i];
        const uint32_t kind = product.kind;
        const bool in_slices = kind == WHOLE_DOWN && a.sliced;
        for (uint32_t p = 0, before = 0; p < product.n_parts; before += product.part[p++].units) {
            const whole_part &part = product.part[p];
            const part_deal &deal = shares.deal[kind][p];
            const whole_shape &shape = shares.shape[kind];
            const uint32_t chunk = in_slices ? tile_bytes(part.type) : chunk_bytes(part.type, CHUNK),
                           row = in_slices ? shape.chunks * chunk
                                           : (uint32_t)row_bytes((int)part.type, shape.blocks);
            const uint64_t data =
                (uint64_t)part.data +
                (in_slices ? (uint64_t)block * a.slices.groups * a.slices.widest * chunk
                           : (uint64_t)(shares.block[kind].begin[p] - before) * product.rows_a_unit * row);
            auto offset = [&](uint32_t piece) {
                const uint32_t at = deal.cuts == 1
                                        ? piece * deal.a_piece * row
                                        : piece / deal.cuts * row + piece % deal.cuts * deal.chunks * chunk,
                               all = deal.rows * row;
                return at < all ? at : all;
            };
            if (starts) starts[i * WHOLE_PARTS + p] = make_start(n % a.n_slots, n / a.n_slots);
            const uint32_t loads = (deal.pieces + part.a_load - 1) / part.a_load;
            for (uint32_t load = 0, from = 0; to && load < loads; load++) {
                const uint32_t until = offset((load + 1) * part.a_load);
                to[n + load] = make_load(data + from, until - from);
                from = until;
            }
            n += loads;
        }
    }
    return n;
}

/* Of the block with most loads, in whole segments. */
uint32_t longest_list(const whole_plan &plan, const whole_product *products) {
    uint32_t most = 0;
    for (uint32_t block = 0; block < plan.blocks; block++) {
        const uint32_t n = list_loads(plan, products, shares_of(plan, products, block), block, NULL, NULL);
        if (n > most) most = n;
    }
    return (most + LIST_SEGMENT - 1) / LIST_SEGMENT * LIST_SEGMENT;
}

whole_brief brief_of(const whole_product &product) {
    whole_brief to = {product.norm, product.q_norm, product.k_norm, {}, product.part[0].data};
    for (uint32_t i = 0; i < 3; i++) to.bias[i] = product.bias[i];
    for (uint32_t p = 0; p < product.n_parts; p++)
        to.type[p] = (uint8_t)product.part[p].type, to.a_load[p] = (uint8_t)product.part[p].a_load;
    to.floats = (uint8_t)product.floats;
    return to;
}

/* whole_fits() one way, as a.sliced says. */
bool plan_steps(whole_plan *plan, whole_product *products, const device_shape *card) {
    const uint32_t shared_limit = (uint32_t)card->shared;
    struct whole_args &a = plan->args;
    const uint32_t n = 4 * a.n_layers + 1, d = a.rope.head_dim;
    if (d != 64 && d != 128) return false;
    whole_needs needs = {card->multiprocessors, d == 64 ? sums_bytes<64> : sums_bytes<128>, 0};
    if (!measure_products(a, products, needs)) return false;
    const uint32_t blocks = a.n_ff / 8 < needs.blocks ? a.n_ff / 8 : needs.blocks, largest = needs.piece;
    if (!blocks || blocks > WHOLE_BLOCKS || !share_out_hidden(plan, products, blocks)) return false;
    uint32_t most[WHOLE_HEAD] = {};
    a.most_splits = blocks / whole_units(a.rope);
    if (!count_units(a, products, blocks, most) || !a.most_splits || blocks < a.rope.n_heads) return false;

    uint32_t at = aligned(needs.vector);
    auto place = [&](uint32_t bytes) {
        uint32_t here = at;
        at += aligned(bytes);
        return here;
    };
    a.shares_at = place(sizeof(whole_shares));
    a.attention_at = place(d == 64 ? attention_bytes<64> : attention_bytes<128>);
    a.most_qkv = most[WHOLE_QKV], a.most_x = most[WHOLE_OUTPUT];
    a.slice_vector_at = place(a.slices.widest * a.slices.columns * 4);
    a.lanes_at = place(WHOLE_WARPS * ROWS_TOGETHER * ROW_PITCH * 4);
    a.units_at = place((most[WHOLE_QKV] + most[WHOLE_OUTPUT] + most[WHOLE_GATE]) * 16);
    a.briefs_at = place(n * (uint32_t)sizeof(whole_brief));
    a.n_starts = (n * WHOLE_PARTS + 7) / 8 * 8;
    a.starts_at = place(a.n_starts * 2);
    a.list_at = place(LIST_SEGMENTS * LIST_SEGMENT * 8);
    a.barriers_at = place(SLOT_BARRIERS * WHOLE_SLOTS + LIST_SEGMENTS * 8);
    const uint32_t end = (uint32_t)sizeof(end_memory) + most_units(products[n - 1], 0, blocks) * 4;
    const uint32_t fixed =
        sizeof args + sizeof squares + 512 + largest; /* lanes without a block read behind the last chunk */
    if (at + fixed > shared_limit || !place_ring(*plan, products, blocks, at, shared_limit - fixed))
        return false;
    const uint32_t ring = a.n_slots * a.slot_size;
    if (a.ring_at + fixed + end > shared_limit) return false;
    plan->shared = a.ring_at + (ring > end ? ring : end) + largest;
    plan->blocks = blocks;
    set_pace(a, products, blocks, card->memory_cycles);
    whole_exchange(plan, NULL);
    a.a_list = longest_list(*plan, products);
    plan->tables = (sizeof(whole_shares) + (size_t)a.a_list * 8 + a.n_starts * 2) * blocks +
                   (size_t)n * sizeof(whole_brief);
    return true;
}

} // namespace

extern "C" int whole_fits(struct whole_plan *plan, struct whole_product *products,
                          const struct device_shape *card) {
    struct whole_args &a = plan->args;
    a.sliced = a.n_embd <= SLICED_MOST;
    if (plan_steps(plan, products, card)) return 1;
    if (!a.sliced) return 0;
    a.sliced = 0, a.slices = {};
    return plan_steps(plan, products, card);
}

extern "C" void whole_exchange(struct whole_plan *plan, void *memory) {
    struct whole_args &a = plan->args;
    const size_t q = (size_t)a.rope.n_heads * a.rope.head_dim,
                 kv = (size_t)a.rope.n_kv_heads * a.rope.head_dim;
    size_t at = 0;
    auto cut = [&](size_t n) {
        uint64_t *here = (uint64_t *)memory + at;
        at += (n + 255) / 256 * 256; /* place_of() wants whole runs of 256 */
        return here;
    };
    a.x[0] = cut(sum_places(a.n_embd));
    a.x[1] = cut(sum_places(a.n_embd));
    a.qkv = cut(q + 2 * kv);
    a.attn = cut(q);
    a.middle = cut(a.n_embd);
    a.largest = cut((size_t)WHOLE_BLOCKS * END_WARPS);
    a.candidates = cut((size_t)WHOLE_BLOCKS * END_TOLD * 2);
    a.partial = cut((size_t)whole_units(a.rope) * a.most_splits * WHOLE_HEADS * (a.rope.head_dim + 2));
    a.hidden = cut(a.sliced ? 0 : a.n_ff);
    a.spoiled = (uint32_t *)cut(1);
    plan->exchange = at * sizeof(uint64_t);
}

extern "C" void whole_tables(struct whole_plan *plan, const struct whole_product *products, void *tables,
                             void *device) {
    struct whole_args &a = plan->args;
    const uint32_t n_briefs = 4 * a.n_layers + 1;
    size_t size = 0;
    auto place = [&](size_t bytes) {
        size += bytes;
        return size - bytes;
    };
    const size_t shares_at = place(plan->blocks * sizeof(whole_shares)),
                 briefs_at = place(n_briefs * sizeof(whole_brief)),
                 loads_at = place((size_t)plan->blocks * a.a_list * 8),
                 starts_at = place((size_t)plan->blocks * a.n_starts * 2);
    char *const to = (char *)tables;
    memset(tables, 0, plan->tables);
    for (uint32_t i = 0; i < n_briefs; i++) ((whole_brief *)(to + briefs_at))[i] = brief_of(products[i]);
    for (uint32_t block = 0; block < plan->blocks; block++) {
        whole_shares &shares = ((whole_shares *)(to + shares_at))[block] = shares_of(*plan, products, block);
        shares.n_loads =
            list_loads(*plan, products, shares, block, (uint64_t *)(to + loads_at) + (size_t)block * a.a_list,
                       (uint16_t *)(to + starts_at) + (size_t)block * a.n_starts);
    }
    a.shares = (const whole_shares *)((char *)device + shares_at),
    a.briefs = (const whole_brief *)((char *)device + briefs_at);
    a.loads = (const uint64_t *)((char *)device + loads_at),
    a.starts = (const uint16_t *)((char *)device + starts_at);
}
