/* The functions every template finds: jinja2's own, and those Hugging Face adds. */
#include "infer/jinja/eval.h"

static struct jvalue call_range(struct jrun *run, const struct jargs *args) {
    static const int64_t far = (int64_t)1 << 40;
    int64_t number[3] = {0, 0, 1};
    if (args->n_named) jfail(run, "range() takes no keyword arguments");
    if (args->n < 1 || args->n > 3) jfail(run, "range expected 1 to 3 arguments, got %zu", args->n);
    for (size_t i = 0; i < args->n; i++) {
        number[args->n == 1 ? 1 : i] = jneed_int(run, args->at[i], "range()");
        if (number[args->n == 1 ? 1 : i] > far || number[args->n == 1 ? 1 : i] < -far)
            jfail(run, "range(): numbers beyond 2 to the power of 40 are not supported");
    }
    int64_t start = number[0], stop = number[1], step = number[2], n = 0;
    if (step == 0) jfail(run, "range() arg 3 must not be zero");
    if (step > 0 && stop > start) n = (stop - start - 1) / step + 1;
    if (step < 0 && start > stop) n = (start - stop - 1) / -step + 1;
    if (n > JINJA_MAX_RANGE) jfail_limit(run, "items in a range", JINJA_MAX_RANGE);
    struct jrange *range = jalloc(run, sizeof *range);
    *range = (struct jrange){start, stop, step, (size_t)n};
    return JVALUE(JTYPE_RANGE, range, range);
}

static void dict_fill(struct jrun *run, struct jdict *dict, const char *function, const struct jargs *args) {
    if (args->n > 1) jfail(run, "%s expected at most 1 argument, got %zu", function, args->n);
    if (args->n && args->at[0].type == JTYPE_DICT) {
        const struct jdict *from = args->at[0].dict;
        for (size_t i = 0; i < from->n; i++) jdict_set(run, dict, from->pairs[i].key, from->pairs[i].value);
        dict->person = from->person;
    } else if (args->n) {
        struct jlist *pairs = jlist_of(run, args->at[0]);
        for (size_t i = 0; i < pairs->n; i++) {
            struct jlist *pair = jlist_of(run, pairs->items[i]);
            if (pair->n != 2)
                jfail(run, "%s: a pair of key and value is needed, got %zu items", function, pair->n);
            jhash(run, pair->items[0]);
            jdict_set(run, dict, pair->items[0], pair->items[1]);
        }
    }
    for (size_t i = 0; i < args->n_named; i++) jdict_set(run, dict, args->named[i].key, args->named[i].value);
}

static struct jvalue call_dict(struct jrun *run, const struct jargs *args) {
    struct jdict *dict = jdict_new(run, 0);
    dict_fill(run, dict, "dict()", args);
    return jdict_value(dict);
}

static struct jvalue call_namespace(struct jrun *run, const struct jargs *args) {
    struct jdict *dict = jdict_new(run, 0);
    dict_fill(run, dict, "namespace()", args);
    return JVALUE(JTYPE_NAMESPACE, dict, dict);
}

static struct jvalue call_raise_exception(struct jrun *run, const struct jargs *args) {
    struct jvalue message;
    jbind(run, "raise_exception()", "message", 1, args, &message);
    struct jstr *words = jstr_of(run, message);
    jfail_refused(run, words->bytes, words->len);
}

static struct jvalue call_strftime_now(struct jrun *run, const struct jargs *args) {
    struct jvalue format;
    jbind(run, "strftime_now()", "format", 1, args, &format);
    return jstring(jstrftime(run, jneed_str(run, format, "strftime_now()"), &run->now));
}

static struct jvalue object_new(struct jrun *run, enum jtype type, struct jlist *items) {
    struct jcycler *object = jalloc(run, sizeof *object);
    object->items = items;
    return JVALUE((uint8_t)type, cycler, object);
}

static struct jvalue call_cycler(struct jrun *run, const struct jargs *args) {
    if (!args->n || args->n_named) jfail(run, "cycler(): at least one item has to be provided");
    struct jlist *items = jlist_new(run, args->n);
    for (size_t i = 0; i < args->n; i++) jlist_add(run, items, args->at[i]);
    return object_new(run, JTYPE_CYCLER, items);
}

static struct jvalue call_joiner(struct jrun *run, const struct jargs *args) {
    struct jvalue separator;
    jbind(run, "joiner()", "sep", 0, args, &separator);
    struct jlist *items = jlist_new(run, 1);
    jlist_add(run, items, separator.type == JTYPE_MISSING ? jtext(run, ", ") : separator);
    return object_new(run, JTYPE_JOINER, items);
}

static struct jvalue call_lipsum(struct jrun *run, const struct jargs *args) {
    (void)args;
    jfail(run, "the function 'lipsum' is not supported");
}

bool jglobal_find(struct jrun *run, const struct jstr *name, struct jvalue *out) {
    static const struct jfunction functions[] = {{"range", call_range},
                                                 {"dict", call_dict},
                                                 {"namespace", call_namespace},
                                                 {"raise_exception", call_raise_exception},
                                                 {"strftime_now", call_strftime_now},
                                                 {"cycler", call_cycler},
                                                 {"joiner", call_joiner},
                                                 {"lipsum", call_lipsum}};
    (void)run;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (!jstr_is(name, functions[i].name)) continue;
        *out = JVALUE(JTYPE_FUNCTION, function, &functions[i]);
        return true;
    }
    return false;
}
