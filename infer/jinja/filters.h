/* The filters, by what they work on. filters.c has the table. */
#ifndef LOGITOP_INFER_JINJA_FILTERS_H
#define LOGITOP_INFER_JINJA_FILTERS_H

#include "infer/jinja/eval.h"

#define JFILTER(name) struct jvalue jfilter_##name(struct jrun *run, struct jvalue value, struct jvalue *at)
#define JFILTER_ANY(name)                                                                                    \
    struct jvalue jfilter_##name(struct jrun *run, struct jvalue value, const struct jargs *args)

/* filter_list.c */
JFILTER(list);
JFILTER(length);
JFILTER(first);
JFILTER(last);
JFILTER(join);
JFILTER(reverse);
JFILTER(sort);
JFILTER(unique);
JFILTER(min);
JFILTER(max);
JFILTER(sum);
JFILTER(batch);
JFILTER(slice);
JFILTER(groupby);
JFILTER(items);
JFILTER(dictsort);
JFILTER_ANY(map);
JFILTER_ANY(select);
JFILTER_ANY(reject);
JFILTER_ANY(selectattr);
JFILTER_ANY(rejectattr);

/* filter_text.c */
JFILTER(upper);
JFILTER(lower);
JFILTER(capitalize);
JFILTER(title);
JFILTER(trim);
JFILTER(replace);
JFILTER(indent);
JFILTER(center);
JFILTER(truncate);
JFILTER(wordcount);
JFILTER(string);
JFILTER(safe);
JFILTER(escape);
JFILTER(forceescape);
JFILTER(striptags);
JFILTER(urlencode);
JFILTER(xmlattr);
JFILTER_ANY(format);

/* filter_value.c */
JFILTER(default);
JFILTER(attr);
JFILTER(abs);
JFILTER(int);
JFILTER(float);
JFILTER(round);
JFILTER(filesizeformat);
JFILTER(from_json);
JFILTER_ANY(tojson);

/* An argument that was left out. */
static inline bool jgiven(struct jvalue v) {
    return v.type != JTYPE_MISSING && v.type != JTYPE_NONE;
}
static inline bool jflag(struct jrun *run, struct jvalue v) {
    return v.type != JTYPE_MISSING && jtruth(run, v);
}

/* Strings in small letters, all else as it is: how filters compare unless case_sensitive. */
struct jvalue jfold_case(struct jrun *run, struct jvalue value);
struct jstr *jstr_lower(struct jrun *run, struct jstr *s);
struct jstr *jstr_upper(struct jrun *run, struct jstr *s);
struct jstr *jstr_capitalize(struct jrun *run, struct jstr *s);
/* Each character mapped by the function; `previous` is the character before, 0 at the beginning. */
struct jstr *jstr_map(struct jrun *run, struct jstr *s,
                      int (*map)(uint32_t c, uint32_t previous, uint32_t out[3]));

#endif
