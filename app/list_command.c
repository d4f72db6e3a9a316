#include "app/list_command.h"

#include "app/amount.h"
#include "app/model_choice.h"
#include "app/offer.h"
#include "app/out.h"
#include "app/record_json.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Cells: of the least name, of each column with its gap. */
enum { NAME_MIN = 12, SOURCE = 15, SIZE = 9, FACTS = 23, USED = 12 };

/* ---- for programs ---- */

static json_t *text_or_null(const char *text) {
    return text && *text ? json_lossy(text, strlen(text)) : json_null();
}

/* The first one, and those that other stores have for the same bytes. */
static json_t *names_json(const struct model_entry *entry) {
    json_t *names = json_array();
    json_array_append_new(names, json_lossy(entry->name, strlen(entry->name)));
    for (const char *name = entry->other; name; name += strcspn(name, "\n") + 1) {
        size_t n = strcspn(name, "\n");
        json_array_append_new(names, json_lossy(name, n));
        if (!name[n]) break;
    }
    return names;
}

static json_t *entry_json(const struct model_entry *entry) {
    const struct model_facts *facts = &entry->facts;
    json_t *row = json_object(), *sources = json_array();
    for (int i = 0; i < MODEL_SOURCE_COUNT; i++)
        if ((int)entry->source == i || entry->also >> i & 1)
            json_array_append_new(sources, json_string(model_source_name((enum model_source)i)));
    json_object_set_new(row, "name", json_lossy(entry->name, strlen(entry->name)));
    json_object_set_new(row, "names", names_json(entry));
    json_object_set_new(row, "path", json_lossy(entry->path, strlen(entry->path)));
    json_object_set_new(row, "sources", sources);
    json_object_set_new(row, "bytes", json_integer((json_int_t)entry->size));
    json_object_set_new(row, "architecture", text_or_null(facts->architecture));
    json_object_set_new(row, "quantisation", text_or_null(facts->quantisation));
    json_object_set_new(row, "parameters", json_integer((json_int_t)facts->n_parameters));
    json_object_set_new(row, "context", json_integer(facts->context));
    json_object_set_new(row, "template", json_boolean(facts->has_template));
    json_object_set_new(row, "fits", json_string(model_fit_name(entry->fit)));
    json_object_set_new(row, "cpu_need", json_integer((json_int_t)facts->cpu_need));
    json_object_set_new(row, "gpu_need", json_integer((json_int_t)facts->gpu_need));
    json_object_set_new(row, "last_used", entry->last_used ? json_integer(entry->last_used) : json_null());
    json_object_set_new(row, "fault", text_or_null(entry->fault));
    return row;
}

static void put_json(const struct model_list *list, bool ascii, struct buf *out) {
    json_t *models = json_array();
    for (size_t i = 0; i < list->n; i++) json_array_append_new(models, entry_json(&list->entries[i]));
    char *line = json_line(models, ascii);
    buf_puts(out, line);
    free(line);
    json_decref(models);
}

/* ---- for people ---- */

static bool wants_colour(const struct options *options) {
    const char *no_colour = getenv("NO_COLOR");
    if (options->colour != WHEN_AUTO) return options->colour == WHEN_ALWAYS;
    return isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
}

static unsigned terminal_columns(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : UINT_MAX;
}

/* What there is room for. -m wants the name: for its sake the last use goes, then the store; it is cut last.
 */
struct layout {
    unsigned columns, name;
    bool source, used;
};

static struct layout layout_of(const struct model_list *list, unsigned columns) {
    struct layout layout = {.columns = columns, .name = NAME_MIN, .source = true, .used = true};
    for (size_t i = 0; i < list->n; i++) {
        unsigned cells = text_width(list->entries[i].name, strlen(list->entries[i].name));
        if (cells > layout.name) layout.name = cells;
    }
    layout.used = columns >= layout.name + SOURCE + SIZE + FACTS + USED;
    layout.source = columns >= layout.name + SOURCE + SIZE + FACTS;
    unsigned rest = SIZE + FACTS, most = columns > rest + NAME_MIN ? columns - rest : NAME_MIN;
    if (layout.name > most) layout.name = most;
    return layout;
}

static void put_name(struct buf *out, const char *name, unsigned width) {
    text_cut_line(out, name, strlen(name), width);
    for (unsigned cells = text_width(name, strlen(name)); cells < width; cells++) buf_putc(out, ' ');
}

/* Why it cannot be run: behind the rest, or where there is no room on lines of its own. */
static void put_fault(struct buf *out, const char *fault, const struct layout *layout) {
    unsigned room = layout->columns - layout->name - (layout->source ? SOURCE : 0) - SIZE;
    buf_puts(out, text_width(fault, strlen(fault)) + 2 > room ? "\n    " : "  ");
    text_sanitize_line(out, fault, strlen(fault));
}

static void put_entry(struct buf *out, const struct model_entry *entry, const struct layout *layout,
                      int64_t now) {
    char size[AMOUNT_MAX], age[AMOUNT_MAX], context[AMOUNT_MAX];
    const struct model_facts *facts = &entry->facts;
    put_name(out, entry->name, layout->name);
    if (layout->source)
        buf_printf(out, "  %-12s%s", model_source_name(entry->source), entry->also ? "+" : " ");
    buf_printf(out, " %8s", amount_bytes(entry->size, size));
    if (entry->fault) {
        put_fault(out, entry->fault, layout);
        return;
    }
    buf_printf(out, "  %-7s %7s  %s", facts->quantisation, amount_tokens(facts->context, context),
               model_fit_name(entry->fit));
    if (layout->used)
        buf_printf(out, "%*s  %s", 4 - (int)strlen(model_fit_name(entry->fit)), "",
                   amount_age(entry->last_used, now, age));
}

static void put_table(const struct model_list *list, unsigned columns, bool colour, struct buf *out) {
    struct layout layout = layout_of(list, columns);
    int64_t now = time(NULL);
    put_name(out, "NAME", layout.name);
    if (layout.source) buf_printf(out, "  %-13s", "SOURCE");
    buf_printf(out, " %8s  %-7s %7s  FITS%s\n", "SIZE", "QUANT", "CONTEXT", layout.used ? "  USED" : "");
    for (size_t i = 0; i < list->n; i++) {
        const struct model_entry *entry = &list->entries[i];
        bool grey = colour && entry->fault;
        if (grey) buf_puts(out, "\033[2m");
        put_entry(out, entry, &layout, now);
        if (grey) buf_puts(out, "\033[0m");
        buf_putc(out, '\n');
    }
}

void models_print(const char *models_dir, struct buf *out) {
    struct own_places own;
    struct model_list list;
    places_fill(&own, models_dir);
    models_scan(&own.places, &list);
    put_table(&list, UINT_MAX, false, out);
    models_free(&list);
    places_free(&own);
}

int list_command(struct options *options, struct err *err) {
    struct own_places own;
    struct model_list list;
    struct buf report = {0};
    struct out out;
    places_fill(&own, options->models_dir);
    if (own.folder && access(own.folder, R_OK | X_OK))
        out_error("--models-dir: %s: %s", own.folder, strerror(errno));
    models_scan(&own.places, &list);
    if (options->json)
        put_json(&list, isatty(STDOUT_FILENO), &report);
    else if (list.n)
        put_table(&list, terminal_columns(), wants_colour(options), &report);
    if (list.note) out_error("%s", list.note);
    if (!list.n && !options->json)
        out_error("there is no model yet; `logitop pull " OFFER_DEFAULT "` fetches a small one");
    out_open(&out, STDOUT_FILENO);
    int status = out_bytes(&out, report.data, report.len, err);
    out_close(&out);
    buf_free(&report);
    models_free(&list);
    places_free(&own);
    return status;
}
