#include "infer/jinja/value.h"

/* ---- lists ---- */

struct jlist *jlist_new(struct jrun *run, size_t room) {
    struct jlist *list = jalloc(run, sizeof *list);
    struct jvector *vector = jalloc(run, sizeof *vector);
    if (room) {
        vector->items = jalloc_array(run, room, sizeof *vector->items);
        vector->cap = room;
    }
    list->items = vector->items;
    list->vector = vector;
    return list;
}

void jlist_add(struct jrun *run, struct jlist *list, struct jvalue value) {
    struct jvector *vector = list->vector;
    if (list->n >= JINJA_MAX_ITEMS) jfail_limit(run, "items in a list", JINJA_MAX_ITEMS);
    if (list->n == vector->cap) {
        size_t cap = vector->cap ? vector->cap * 2 : 8;
        struct jvalue *items = jalloc_array(run, cap, sizeof *items);
        if (list->n) memcpy(items, list->items, list->n * sizeof *items);
        vector->items = items;
        vector->cap = cap;
    }
    vector->items[list->n++] = value;
    vector->n = list->n;
    list->items = vector->items;
}

struct jlist *jlist_slice(struct jrun *run, const struct jlist *list, size_t from, size_t to) {
    struct jlist *part = jalloc(run, sizeof *part);
    part->items = list->items ? list->items + from : NULL;
    part->n = to - from;
    part->person = list->person;
    return part;
}

struct jlist *jlist_concat(struct jrun *run, struct jlist *a, struct jlist *b) {
    size_t total = a->n + b->n;
    if (total > JINJA_MAX_ITEMS) jfail_limit(run, "items in a list", JINJA_MAX_ITEMS);
    struct jvector *vector = a->vector;
    bool extend =
        vector && !vector->shared && vector->n == a->n && vector->items == a->items && vector->cap >= total;
    if (!extend) {
        size_t cap = vector && vector->n == a->n ? total * 2 : total;
        vector = jalloc(run, sizeof *vector);
        vector->items = jalloc_array(run, cap, sizeof *vector->items);
        vector->cap = cap;
        if (a->n) memcpy(vector->items, a->items, a->n * sizeof *a->items);
        jstep(run, a->n / 8);
    }
    if (b->n) memcpy(vector->items + a->n, b->items, b->n * sizeof *b->items);
    jstep(run, b->n / 8);
    vector->n = total;
    struct jlist *list = jalloc(run, sizeof *list);
    *list = (struct jlist){
        .items = vector->items, .n = total, .vector = vector, .person = a->person || b->person};
    return list;
}

struct jvalue jlist_value(struct jlist *list) {
    return JVALUE(JTYPE_LIST, list, list);
}
struct jvalue jtuple_value(struct jlist *list) {
    return JVALUE(JTYPE_TUPLE, list, list);
}

struct jvalue jtuple2(struct jrun *run, struct jvalue a, struct jvalue b) {
    struct jlist *list = jlist_new(run, 2);
    jlist_add(run, list, a);
    jlist_add(run, list, b);
    return jtuple_value(list);
}

/* Merge sort: stable, as Python's, and n log n for any comparison. Sorts `order`, places in keys. */
struct jlist *jlist_sorted(struct jrun *run, const struct jlist *keys, const struct jlist *items,
                           bool reverse) {
    size_t n = keys->n;
    uint32_t *order = jalloc_array(run, n ? n : 1, sizeof *order),
             *other = jalloc_array(run, n ? n : 1, sizeof *other);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            size_t middle = from + width < n ? from + width : n,
                   to = from + 2 * width < n ? from + 2 * width : n;
            size_t a = from, b = middle, at = from;
            while (a < middle && b < to) {
                jstep(run, 1);
                /* take from the right only if it belongs strictly before; reversed order keeps equals in
                 * place too */
                struct jvalue left = keys->items[order[a]], right = keys->items[order[b]];
                bool swap =
                    reverse ? jcompare(run, left, right, "<") == -1 : jcompare(run, right, left, "<") == -1;
                other[at++] = swap ? order[b++] : order[a++];
            }
            while (a < middle) other[at++] = order[a++];
            while (b < to) other[at++] = order[b++];
        }
        uint32_t *swapped = order;
        order = other;
        other = swapped;
    }
    struct jlist *sorted = jlist_new(run, n);
    for (size_t i = 0; i < n; i++) jlist_add(run, sorted, items->items[order[i]]);
    return sorted;
}

/* ---- dicts ---- */

enum { DICT_INDEXED = 8 }; /* from so many pairs on a hash index is worth it */

static bool key_equal(struct jrun *run, struct jvalue a, struct jvalue b) {
    if (a.type == JTYPE_STRING && b.type == JTYPE_STRING) return jstr_equal(a.str, b.str);
    return jequal(run, a, b);
}

struct jdict *jdict_new(struct jrun *run, size_t room) {
    struct jdict *dict = jalloc(run, sizeof *dict);
    if (room) dict->pairs = jalloc_array(run, room, sizeof *dict->pairs);
    dict->cap = room;
    return dict;
}

static void index_add(struct jrun *run, struct jdict *dict, size_t place) {
    size_t slot = jhash(run, dict->pairs[place].key) & (dict->n_index - 1);
    while (dict->index[slot]) slot = (slot + 1) & (dict->n_index - 1);
    dict->index[slot] = (uint32_t)place + 1;
}

static size_t dict_place(struct jrun *run, const struct jdict *dict, struct jvalue key) {
    if (!dict->n_index) {
        for (size_t i = 0; i < dict->n; i++)
            if (key_equal(run, dict->pairs[i].key, key)) return i;
        return SIZE_MAX;
    }
    size_t slot = jhash(run, key) & (dict->n_index - 1);
    for (; dict->index[slot]; slot = (slot + 1) & (dict->n_index - 1)) {
        size_t place = dict->index[slot] - 1;
        jstep(run, 1);
        if (key_equal(run, dict->pairs[place].key, key)) return place;
    }
    return SIZE_MAX;
}

void jdict_set(struct jrun *run, struct jdict *dict, struct jvalue key, struct jvalue value) {
    size_t place = dict_place(run, dict, key);
    if (place != SIZE_MAX) {
        dict->pairs[place].value = value;
        return;
    }
    if (dict->n >= JINJA_MAX_ITEMS) jfail_limit(run, "items in a dict", JINJA_MAX_ITEMS);
    if (dict->n == dict->cap) {
        size_t cap = dict->cap ? dict->cap * 2 : 8;
        struct jpair *pairs = jalloc_array(run, cap, sizeof *pairs);
        if (dict->n) memcpy(pairs, dict->pairs, dict->n * sizeof *pairs);
        dict->pairs = pairs;
        dict->cap = cap;
    }
    dict->pairs[dict->n++] = (struct jpair){key, value};
    if (dict->n * 2 <= dict->n_index) {
        index_add(run, dict, dict->n - 1);
    } else if (dict->n > DICT_INDEXED) {
        dict->n_index = dict->n_index ? dict->n_index * 4 : 64;
        dict->index = jalloc_array(run, dict->n_index, sizeof *dict->index);
        for (size_t i = 0; i < dict->n; i++) index_add(run, dict, i);
    }
}

bool jdict_get(struct jrun *run, const struct jdict *dict, struct jvalue key, struct jvalue *out) {
    size_t place = dict_place(run, dict, key);
    if (place == SIZE_MAX) return false;
    *out = dict->pairs[place].value;
    return true;
}

bool jdict_get_text(struct jrun *run, const struct jdict *dict, const char *key, struct jvalue *out) {
    struct jstr text = {.bytes = key, .len = strlen(key), .n_chars = -1};
    return jdict_get(run, dict, jstring(&text), out);
}

struct jvalue jdict_value(struct jdict *dict) {
    return JVALUE(JTYPE_DICT, dict, dict);
}

struct jvalue jdict_view(struct jrun *run, struct jdict *dict, const char *type) {
    struct jlist *list = jlist_new(run, dict->n);
    bool keys = strcmp(type, "dict_keys") == 0, values = strcmp(type, "dict_values") == 0;
    list->person = dict->person;
    for (size_t i = 0; i < dict->n; i++) {
        struct jpair *pair = &dict->pairs[i];
        struct jvalue item = keys ? pair->key : values ? pair->value : jtuple2(run, pair->key, pair->value);
        if (!keys && !values) item.list->person = dict->person;
        jlist_add(run, list, item);
    }
    struct jview *view = jalloc(run, sizeof *view);
    *view = (struct jview){type, list};
    return JVALUE(JTYPE_VIEW, view, view);
}

/* ---- generators ---- */

struct jvalue jgenerator_new(struct jrun *run, const char *name,
                             struct jlist *(*fill)(struct jrun *, struct jgenerator *), struct jvalue source,
                             struct jargs *args, int mode) {
    struct jgenerator *g = jalloc(run, sizeof *g);
    *g = (struct jgenerator){.fill = fill, .name = name, .source = source, .args = args, .mode = mode};
    g->line = run->line;
    g->column = run->column;
    return JVALUE(JTYPE_GENERATOR, generator, g);
}

static void generator_fill(struct jrun *run, struct jgenerator *g) {
    if (g->list) return;
    uint32_t line = run->line, column = run->column;
    run->line = g->line; /* what goes wrong is the fault of the filter there */
    run->column = g->column;
    jenter(run);
    g->list = g->fill(run, g);
    jleave(run);
    run->line = line;
    run->column = column;
}

bool jgenerator_next(struct jrun *run, struct jgenerator *g, struct jvalue *out) {
    generator_fill(run, g);
    if (g->at == g->list->n) return false;
    *out = g->list->items[g->at++];
    return true;
}

/* ---- walking through ---- */

bool jis_iterable(struct jvalue value) {
    switch (value.type) {
    case JTYPE_UNDEFINED:
    case JTYPE_STRING:
    case JTYPE_LIST:
    case JTYPE_TUPLE:
    case JTYPE_DICT:
    case JTYPE_VIEW:
    case JTYPE_GENERATOR:
    case JTYPE_RANGE:
    case JTYPE_LOOP: return true;
    default: return false;
    }
}

static struct jlist *list_of_chars(struct jrun *run, struct jstr *s) {
    size_t n = jstr_n_chars(run, s);
    jcount_items(run, n);
    struct jlist *list = jlist_new(run, n);
    int length;
    for (size_t i = 0; i < s->len; i += (size_t)length) {
        jchar_at(s->bytes, s->len, i, &length);
        struct jstr *c = jstr_slice(run, s, i, i + (size_t)length);
        c->n_chars = 1;
        jlist_add(run, list, jstring(c));
    }
    return list;
}

struct jlist *jlist_of(struct jrun *run, struct jvalue value) {
    struct jlist *list;
    switch (value.type) {
    case JTYPE_UNDEFINED: return jlist_new(run, 0);
    case JTYPE_LIST:
    case JTYPE_TUPLE: return value.list;
    case JTYPE_VIEW: return value.view->list;
    case JTYPE_STRING: return list_of_chars(run, value.str);
    case JTYPE_DICT:
        list = jlist_new(run, value.dict->n);
        for (size_t i = 0; i < value.dict->n; i++) jlist_add(run, list, value.dict->pairs[i].key);
        return list;
    case JTYPE_RANGE:
        list = jlist_new(run, value.range->n);
        for (size_t i = 0; i < value.range->n; i++)
            jlist_add(run, list, jint(value.range->start + (int64_t)i * value.range->step));
        jcount_items(run, value.range->n);
        return list;
    case JTYPE_GENERATOR:
        generator_fill(run, value.generator);
        list = jlist_slice(run, value.generator->list, value.generator->at, value.generator->list->n);
        value.generator->at = value.generator->list->n;
        return list;
    case JTYPE_LOOP: jfail(run, "a loop cannot be walked through inside itself");
    default: jfail(run, "'%s' object is not iterable", jtype_name(value));
    }
}
