/* Statements. */
#include "infer/jinja/eval.h"

struct jstr *jexec_captured(struct jrun *run, const struct jnodes *body) {
    struct jout out = {0}, *outer = run->out;
    run->out = &out;
    jexec(run, body);
    run->out = outer;
    return jout_finish(run, &out);
}

/* A body that has names of its own. */
static struct jstr *captured_inside(struct jrun *run, const struct jnodes *body) {
    struct jscope *outer = run->scope;
    run->scope = jscope_new(run, outer);
    struct jstr *text = jexec_captured(run, body);
    run->scope = outer;
    return text;
}

static enum jflow exec_with(struct jrun *run, const struct jnode *node) {
    struct jscope *outer = run->scope, *inner = jscope_new(run, outer);
    for (size_t i = 0; i < node->with.targets.n; i++) /* values see the names outside only */
        jscope_set(run, inner, node->with.targets.at[i]->value, jeval(run, node->with.values.at[i]));
    run->scope = inner;
    enum jflow flow = jexec(run, &node->with.body);
    run->scope = outer;
    return flow;
}

static void exec_set(struct jrun *run, const struct jnode *node) {
    if (node->type == JNODE_SET) {
        jassign(run, node->set.target, jeval(run, node->set.value));
        return;
    }
    struct jvalue text = jstring(captured_inside(run, &node->set.body));
    jassign(run, node->set.target, jeval_filters(run, node->set.value, text));
}

static struct jmacro *macro_new(struct jrun *run, const struct jnode *node) {
    struct jmacro *macro = jalloc(run, sizeof *macro);
    *macro = (struct jmacro){node, run->scope};
    for (struct jscope *scope = run->scope; scope && !scope->kept; scope = scope->parent) scope->kept = true;
    return macro;
}

static void exec_macro(struct jrun *run, const struct jnode *node) {
    struct jmacro *macro = macro_new(run, node);
    jscope_set(run, run->scope, node->macro.name, JVALUE(JTYPE_MACRO, macro, macro));
}

static void exec_call_block(struct jrun *run, const struct jnode *node) {
    struct jmacro *caller = macro_new(run, node);
    const struct jnode *call = node->macro.call;
    struct jvalue what = jeval(run, call->call.of);
    struct jargs args;
    jeval_args(run, &call->call.args, &args);
    struct jpair *named = jalloc_array(run, args.n_named + 1, sizeof *named);
    if (args.n_named) memcpy(named, args.named, args.n_named * sizeof *named);
    named[args.n_named++] = (struct jpair){jtext(run, "caller"), JVALUE(JTYPE_MACRO, macro, caller)};
    args.named = named;
    run->line = node->line;
    run->column = node->column;
    jout_value(run, run->out, jcall(run, what, &args));
}

static enum jflow exec_one(struct jrun *run, const struct jnode *node) {
    switch ((enum jnode_type)node->type) {
    case JNODE_TEXT: jout_str(run, run->out, node->value.str); break;
    case JNODE_PRINT: jout_value(run, run->out, jeval(run, node->branch.test)); break;
    case JNODE_IF:
        return jexec(run, jtruth(run, jeval(run, node->branch.test)) ? &node->branch.then
                                                                     : &node->branch.otherwise);
    case JNODE_FOR: jexec_for(run, node, jeval(run, node->loop.list), 0); break;
    case JNODE_SET:
    case JNODE_SET_BLOCK: exec_set(run, node); break;
    case JNODE_MACRO: exec_macro(run, node); break;
    case JNODE_CALL_BLOCK: exec_call_block(run, node); break;
    case JNODE_FILTER_BLOCK:
        jout_value(run, run->out,
                   jeval_filters(run, node->set.value, jstring(captured_inside(run, &node->set.body))));
        break;
    case JNODE_WITH: return exec_with(run, node);
    case JNODE_GENERATION: jout_str(run, run->out, captured_inside(run, &node->body)); break;
    case JNODE_BREAK: return JFLOW_BREAK;
    case JNODE_CONTINUE: return JFLOW_CONTINUE;
    default: jfail(run, "this is no statement");
    }
    return JFLOW_ON;
}

enum jflow jexec(struct jrun *run, const struct jnodes *body) {
    enum jflow flow = JFLOW_ON;
    jenter(run);
    for (size_t i = 0; i < body->n && flow == JFLOW_ON; i++) {
        const struct jnode *node = body->at[i];
        jstep(run, 1);
        run->line = node->line;
        run->column = node->column;
        flow = exec_one(run, node);
    }
    jleave(run);
    return flow;
}

/* ---- for ---- */

/* The items the loop's own condition lets through. */
static struct jlist *filtered(struct jrun *run, const struct jnode *node, const struct jlist *all) {
    struct jlist *list = jlist_new(run, 0);
    struct jscope *outer = run->scope;
    run->scope = jscope_new(run, outer);
    for (size_t i = 0; i < all->n; i++) {
        run->scope->n = 0;
        jassign(run, node->loop.target, all->items[i]);
        if (jtruth(run, jeval(run, node->loop.test))) jlist_add(run, list, all->items[i]);
    }
    run->scope = outer;
    return list;
}

void jexec_for(struct jrun *run, const struct jnode *node, struct jvalue value, size_t depth0) {
    struct jlist *list = jlist_of(run, value);
    jcount_items(run, list->n);
    if (node->loop.test) list = filtered(run, node, list);
    struct jscope *outer = run->scope;
    struct jloop *loop = jalloc(run, sizeof *loop);
    *loop =
        (struct jloop){.items = list->items, .n = list->n, .depth0 = depth0, .node = node, .scope = outer};
    struct jvalue loop_name = jtext(run, "loop"), loop_value = JVALUE(JTYPE_LOOP, loop, loop);
    struct jscope *inner = NULL;
    for (; loop->index0 < loop->n; loop->index0++) {
        if (!inner || inner->kept)
            inner = jscope_new(run, outer); /* the names of one turn are gone in the next */
        inner->n = 0;
        run->scope = inner;
        jscope_set(run, run->scope, loop_name, loop_value);
        jassign(run, node->loop.target, loop->items[loop->index0]);
        if (jexec(run, &node->loop.body) == JFLOW_BREAK) break;
    }
    run->scope = outer;
    if (loop->n == 0 && node->loop.otherwise.n) {
        run->scope = jscope_new(run, outer);
        jexec(run, &node->loop.otherwise);
        run->scope = outer;
    }
}
