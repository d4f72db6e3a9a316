#include "ui/keymap.h"

#define NAMED(name)                                                                                          \
    { .code = KEY_CODE_##name }
#define F(n)                                                                                                 \
    { .code = (enum key_code)(KEY_CODE_F1 + (n)-1) }
#define ALT(letter)                                                                                          \
    { .code = KEY_CODE_CHAR, .c = letter, .mods = KEY_MOD_ALT }
#define CTRL(letter)                                                                                         \
    { .code = KEY_CODE_CHAR, .c = letter, .mods = KEY_MOD_CTRL }
#define WITH(mod, name)                                                                                      \
    { .code = KEY_CODE_##name, .mods = KEY_MOD_##mod }
#define NO_KEY                                                                                               \
    { .code = KEY_CODE_NONE }

const struct binding keymap[] = {
    {UI_ACTION_HELP, F(1), ALT('h'), "Help", "this page"},
    {UI_ACTION_NEW, F(2), ALT('n'), "New", "begin a new chat"},
    {UI_ACTION_PANEL, F(3), ALT('t'), "Tokens", "show or hide the candidates of the next token"},
    {UI_ACTION_COLOUR, F(4), ALT('o'), "Colour", "colour the answer by how probable each token was"},
    {UI_ACTION_REGENERATE, F(5), ALT('r'), "Again", "another answer to the last question"},
    {UI_ACTION_CONTINUE, F(6), ALT('g'), "Go on", "continue the last answer where it stopped"},
    {UI_ACTION_FOLD, F(7), ALT('f'), "Fold", "put the system text into the first message, ask again"},
    {UI_ACTION_LOG, F(9), ALT('e'), "Log", "what libraries wrote to standard error"},
    {UI_ACTION_QUIT, F(10), ALT('q'), "Quit", "leave"},
    {ACTION_EDITOR, NAMED(ENTER), NO_KEY, NULL, "send"},
    {ACTION_EDITOR, CTRL('j'), WITH(ALT, ENTER), NULL, "new line in the box"},
    {UI_ACTION_ESCAPE, NAMED(ESCAPE), NO_KEY, NULL, "stop the answer, keep what is there; close a page"},
    {UI_ACTION_INTERRUPT, CTRL('c'), NO_KEY, NULL, "stop the answer; clear the box; twice: leave"},
    {UI_ACTION_EOF, CTRL('d'), NO_KEY, NULL, "leave, when the box is empty"},
    {UI_ACTION_SUSPEND, CTRL('z'), NO_KEY, NULL, "back to the shell; fg returns"},
    {UI_ACTION_PAGE_UP, NAMED(PAGE_UP), NO_KEY, NULL, "a page back in the conversation"},
    {UI_ACTION_PAGE_DOWN, NAMED(PAGE_DOWN), NO_KEY, NULL, "a page on"},
    {UI_ACTION_LINE_UP, WITH(SHIFT, UP), NO_KEY, NULL, "a line back"},
    {UI_ACTION_LINE_DOWN, WITH(SHIFT, DOWN), NO_KEY, NULL, "a line on"},
    {UI_ACTION_TOP, WITH(CTRL, HOME), NO_KEY, NULL, "the beginning of the conversation"},
    {UI_ACTION_BOTTOM, WITH(CTRL, END), NAMED(END), NULL,
     "its end, and follow what is said (End: when the box is empty)"},
    {UI_ACTION_REDRAW, CTRL('l'), NO_KEY, NULL, "paint the screen afresh"},
    {ACTION_EDITOR, NAMED(UP), NAMED(DOWN), NULL, "lines of the box, then what was sent before"},
    {ACTION_EDITOR, CTRL('r'), NO_KEY, NULL, "search in what was sent before"},
    {ACTION_EDITOR, CTRL('a'), CTRL('e'), NULL, "beginning, end of the line"},
    {ACTION_EDITOR, CTRL('w'), CTRL('y'), NULL, "cut a word, put it back"},
};
const size_t n_keymap = sizeof keymap / sizeof *keymap;

int keymap_find(const struct key *key) {
    for (size_t i = 0; i < n_keymap; i++) {
        const struct binding *binding = &keymap[i];
        if (binding->action == ACTION_EDITOR) continue;
        if (key_equal(key, &binding->key)) return binding->action;
        bool plain_end = binding->alt.code == KEY_CODE_END; /* depends on the box: ui.c decides */
        if (binding->alt.code != KEY_CODE_NONE && !plain_end && key_equal(key, &binding->alt))
            return binding->action;
    }
    return ACTION_EDITOR;
}

void keymap_help(struct buf *out) {
    for (size_t i = 0; i < n_keymap; i++) {
        char name[32], alt[32] = "";
        key_name(&keymap[i].key, name);
        if (keymap[i].alt.code != KEY_CODE_NONE) key_name(&keymap[i].alt, alt);
        buf_printf(out, "%-12s%-11s%s\n", name, alt, keymap[i].help);
    }
    buf_puts(out, "\nBindings of the box are libedit's, as ~/.editrc sets them (bind -v: vi).\n");
}

void ui_keys_text(struct buf *out) {
    keymap_help(out);
}
