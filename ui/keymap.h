/* The one table of keys: what they do, what the key bar and the help page say. */
#ifndef LOGITOP_UI_KEYMAP_H
#define LOGITOP_UI_KEYMAP_H

#include "ui/keys.h"
#include "ui/ui.h"

/* Who has the keys: a binding of this context goes before one that holds anywhere. */
/* KEY_VIEW: a page, a comparison or a score. */
enum key_context { KEY_ANYWHERE, KEY_BOX, KEY_INSPECT, KEY_VIEW, KEY_PICKER, KEY_FIND, KEY_CONTEXT_COUNT };

struct binding {
    enum key_context context;
    int action; /* enum ui_action_type; ACTION_EDITOR: the line editor's own, in the table for the help page
                 */
    struct key key, alt; /* alt: another way, for terminals that keep F-keys to themselves */
    const char *bar;     /* word in the key bar; NULL: not there; "": shares the word of the next one */
    const char *help;
};
enum { ACTION_EDITOR = -1 };

extern struct binding keymap[]; /* ui_bind() changes its keys */
extern const size_t n_keymap;

int keymap_find(const struct key *key, enum key_context context); /* the action, or ACTION_EDITOR */
void keymap_key(int action, char name[KEY_NAME_MAX]); /* the first key it has in the chat; "": none */
/* The help page, a line a key: first those that hold now. */
void keymap_help(enum key_context now, struct buf *out);

#endif
