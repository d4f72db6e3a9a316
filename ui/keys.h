/* Bytes of a terminal become keys. Own decoding, so that a mouse report, a paste, a focus event or the answer
 * to a question is never taken for typing. */
#ifndef LOGITOP_UI_KEYS_H
#define LOGITOP_UI_KEYS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_code {
    KEY_CODE_NONE, /* something that means nothing here */
    KEY_CODE_CHAR, /* `c`; with KEY_MOD_CTRL a lower-case letter or one of @ [ \ ] ^ _ */
    KEY_CODE_ENTER,
    KEY_CODE_TAB,
    KEY_CODE_BACKSPACE,
    KEY_CODE_ESCAPE,
    KEY_CODE_UP,
    KEY_CODE_DOWN,
    KEY_CODE_RIGHT,
    KEY_CODE_LEFT,
    KEY_CODE_HOME,
    KEY_CODE_END,
    KEY_CODE_INSERT,
    KEY_CODE_DELETE,
    KEY_CODE_PAGE_UP,
    KEY_CODE_PAGE_DOWN,
    KEY_CODE_F1, /* ... KEY_CODE_F1 + 11 */
    KEY_CODE_F12 = KEY_CODE_F1 + 11,
    KEY_CODE_PASTE,      /* keys->paste holds the text until the next keys_next() */
    KEY_CODE_SYNC,       /* the terminal knows synchronized output (answer to CSI ? 2026 $ p) */
    KEY_CODE_BACKGROUND, /* what it is drawn on (answer to OSC 11); c is 1 where that is light, else 0 */
    KEY_CODE_FOCUS,      /* the terminal got the focus, or lost it */
    KEY_CODE_BLUR,
    KEY_CODE_CLICK, /* of the left button, at row, column */
    KEY_CODE_WHEEL_UP,
    KEY_CODE_WHEEL_DOWN,
};

enum { KEY_MOD_SHIFT = 1, KEY_MOD_ALT = 2, KEY_MOD_CTRL = 4 };

struct key {
    enum key_code code;
    uint32_t c; /* KEY_CODE_CHAR */
    unsigned mods;
    int row, column; /* KEY_CODE_CLICK: from 0 */
};

struct keys {      /* zero-initialise */
    struct buf in; /* bytes not decoded yet */
    size_t at;     /* of which so many are done */
    bool pasting;
    struct buf paste;
    int64_t newest_ns; /* when the last byte came */
};

enum {
    KEYS_ESCAPE_NS = 25 * 1000 * 1000,
    KEYS_PASTE_SILENCE_NS = 1000 * 1000 * 1000,
    KEYS_PASTE_MAX = 16 << 20
};

void keys_feed(struct keys *keys, const void *bytes, size_t len, int64_t now_ns);
/* The next key; false if there is none yet. An unfinished sequence is given up KEYS_ESCAPE_NS after its last
 * byte: a lone ESC is the Escape key then. */
bool keys_next(struct keys *keys, int64_t now_ns, struct key *key);
/* When keys_next() should be asked again though nothing came; 0: no need. */
int64_t keys_deadline_ns(const struct keys *keys);
void keys_free(struct keys *keys);

enum { KEY_NAME_MAX = 32 };
/* "F1", "Alt+h", "Ctrl+Home", into name[KEY_NAME_MAX]. */
void key_name(const struct key *key, char name[32]);
bool key_parse(const char *name, size_t len,
               struct key *key); /* the same back; letters of any case but a lone one */
bool key_equal(const struct key *a, const struct key *b);

#endif
