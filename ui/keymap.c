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

#define LETTER(letter)                                                                                       \
    { .code = KEY_CODE_CHAR, .c = letter }

const struct binding keymap[] = {
    {KEY_ANYWHERE, UI_ACTION_HELP, F(1), ALT('h'), "Help", "this page"},
    {KEY_ANYWHERE, UI_ACTION_FOLD, ALT('f'), NO_KEY, "Fold",
     "put the system text into the first message, ask again"},
    {KEY_ANYWHERE, UI_ACTION_MODELS, F(2), ALT('m'), "Model", "choose another model"},
    {KEY_ANYWHERE, UI_ACTION_INSPECT, F(3), ALT('i'), "Inspect",
     "walk over the tokens, see and take what else could have come"},
    {KEY_ANYWHERE, UI_ACTION_COLOUR, F(4), ALT('o'), "Colour",
     "colour the tokens by probability, rank, entropy, or not"},
    {KEY_ANYWHERE, UI_ACTION_REGENERATE, F(5), ALT('r'), "Again", "another answer to the last question"},
    {KEY_ANYWHERE, UI_ACTION_BRANCHES, F(6), ALT('s'), "Branch",
     "the ways this conversation went: choose one"},
    {KEY_ANYWHERE, UI_ACTION_LOG, F(9), ALT('e'), "Log", "what libraries wrote to standard error"},
    {KEY_ANYWHERE, UI_ACTION_QUIT, F(10), ALT('q'), "Quit", "leave"},
    {KEY_ANYWHERE, UI_ACTION_NEW, ALT('n'), NO_KEY, NULL, "begin a new chat"},
    {KEY_ANYWHERE, UI_ACTION_CONTINUE, ALT('g'), NO_KEY, NULL, "go on with the last answer where it stopped"},
    {KEY_ANYWHERE, UI_ACTION_DIGITS, ALT('0'), NO_KEY, NULL,
     "what the colours say as digits too, 9 sure, 0 a surprise"},
    {KEY_ANYWHERE, UI_ACTION_PANEL, ALT('t'), NO_KEY, NULL, "show or hide the candidates of the next token"},
    {KEY_BOX, ACTION_EDITOR, NAMED(ENTER), NO_KEY, NULL, "send"},
    {KEY_BOX, ACTION_EDITOR, CTRL('j'), WITH(ALT, ENTER), NULL, "new line in the box"},
    {KEY_ANYWHERE, UI_ACTION_ESCAPE, NAMED(ESCAPE), NO_KEY, NULL,
     "stop the answer, keep what is there; close a page"},
    {KEY_ANYWHERE, UI_ACTION_INTERRUPT, CTRL('c'), NO_KEY, NULL,
     "stop the answer; clear the box; twice: leave"},
    {KEY_BOX, UI_ACTION_EOF, CTRL('d'), NO_KEY, NULL, "leave, when the box is empty"},
    {KEY_ANYWHERE, UI_ACTION_SUSPEND, CTRL('z'), NO_KEY, NULL, "back to the shell; fg returns"},
    {KEY_ANYWHERE, UI_ACTION_PAGE_UP, NAMED(PAGE_UP), NO_KEY, NULL, "a page back in the conversation"},
    {KEY_ANYWHERE, UI_ACTION_PAGE_DOWN, NAMED(PAGE_DOWN), NO_KEY, NULL, "a page on"},
    {KEY_ANYWHERE, UI_ACTION_LINE_UP, WITH(SHIFT, UP), NO_KEY, NULL, "a line back"},
    {KEY_ANYWHERE, UI_ACTION_LINE_DOWN, WITH(SHIFT, DOWN), NO_KEY, NULL, "a line on"},
    {KEY_ANYWHERE, UI_ACTION_TOP, WITH(CTRL, HOME), NO_KEY, NULL, "the beginning of the conversation"},
    {KEY_ANYWHERE, UI_ACTION_BOTTOM, WITH(CTRL, END), NAMED(END), NULL,
     "its end, and follow what is said (End: when the box is empty)"},
    {KEY_ANYWHERE, UI_ACTION_REDRAW, CTRL('l'), NO_KEY, NULL, "paint the screen afresh"},
    {KEY_BOX, ACTION_EDITOR, NAMED(UP), NAMED(DOWN), NULL, "lines of the box, then what was sent before"},
    {KEY_BOX, ACTION_EDITOR, CTRL('r'), NO_KEY, NULL, "search in what was sent before"},
    {KEY_BOX, ACTION_EDITOR, CTRL('a'), CTRL('e'), NULL, "beginning, end of the line"},
    {KEY_BOX, ACTION_EDITOR, CTRL('w'), CTRL('y'), NULL, "cut a word, put it back"},

    {KEY_INSPECT, UI_ACTION_ESCAPE, NAMED(ESCAPE), NO_KEY, "Back", "stop what runs; leave inspect mode"},
    {KEY_INSPECT, UI_ACTION_TOKEN_BACK, NAMED(LEFT), NO_KEY, "", "the token before"},
    {KEY_INSPECT, UI_ACTION_TOKEN_ON, NAMED(RIGHT), NO_KEY, "Token", "the token after"},
    {KEY_INSPECT, UI_ACTION_CANDIDATE_UP, NAMED(UP), NO_KEY, "", "the candidate above"},
    {KEY_INSPECT, UI_ACTION_CANDIDATE_DOWN, NAMED(DOWN), NO_KEY, "Choice", "the candidate below"},
    {KEY_INSPECT, UI_ACTION_TAKE, NAMED(ENTER), NO_KEY, "Take", "take the candidate: a new branch, at once"},
    {KEY_INSPECT, UI_ACTION_STEP, LETTER('s'), NO_KEY, "Step", "one token, then wait"},
    {KEY_INSPECT, UI_ACTION_CONTINUE, LETTER('g'), NO_KEY, "Go on", "go on answering from the cursor"},
    {KEY_INSPECT, UI_ACTION_REROLL, LETTER('r'), NO_KEY, "Re-roll", "draw this token again"},
    {KEY_INSPECT, UI_ACTION_UNDO, LETTER('u'), NO_KEY, "Undo", "back to the branch before"},
    {KEY_INSPECT, UI_ACTION_TYPE, LETTER('t'), NO_KEY, "Type", "type what stands here instead"},
    {KEY_INSPECT, UI_ACTION_BRANCHES, LETTER('b'), NO_KEY, "Branches", "list the branches"},
    {KEY_INSPECT, UI_ACTION_COMPARE, LETTER('c'), NO_KEY, "Compare", "this branch beside another"},
    {KEY_INSPECT, UI_ACTION_COLOUR, LETTER('e'), NO_KEY, "Colour",
     "colour by probability, rank, entropy, or not"},
    {KEY_INSPECT, UI_ACTION_DIGITS, LETTER('d'), NO_KEY, NULL, "the same as digits"},
    {KEY_INSPECT, UI_ACTION_EXPORT, LETTER('x'), NO_KEY, "Export",
     "write the tokens and their candidates to a file"},
    {KEY_INSPECT, UI_ACTION_EDIT, LETTER('m'), NO_KEY, "Edit", "edit the message under the cursor"},
    {KEY_INSPECT, UI_ACTION_REDO, LETTER('U'), NO_KEY, NULL, "undo the undoing"},
    {KEY_INSPECT, UI_ACTION_WORD_BACK, WITH(SHIFT, LEFT), NO_KEY, NULL, "a word back"},
    {KEY_INSPECT, UI_ACTION_WORD_ON, WITH(SHIFT, RIGHT), NO_KEY, NULL, "a word on"},
    {KEY_INSPECT, UI_ACTION_MESSAGE_BACK, WITH(CTRL, LEFT), NO_KEY, NULL, "a message back"},
    {KEY_INSPECT, UI_ACTION_MESSAGE_ON, WITH(CTRL, RIGHT), NO_KEY, NULL, "a message on"},
    {KEY_INSPECT, UI_ACTION_FIRST_TOKEN, NAMED(HOME), NO_KEY, NULL, "the first token"},
    {KEY_INSPECT, UI_ACTION_LAST_TOKEN, NAMED(END), NO_KEY, NULL, "the last token"},
    {KEY_INSPECT, UI_ACTION_SIBLING_BACK, LETTER('['), NO_KEY, NULL, "the message's sibling before"},
    {KEY_INSPECT, UI_ACTION_SIBLING_ON, LETTER(']'), NO_KEY, NULL, "its sibling after"},

    {KEY_PICKER, UI_ACTION_ESCAPE, NAMED(ESCAPE), NO_KEY, "Back", "close the list"},
    {KEY_PICKER, UI_ACTION_PICK, NAMED(ENTER), NO_KEY, "Choose", "take this row"},
    {KEY_PICKER, UI_ACTION_PICK_UP, NAMED(UP), CTRL('p'), "", "the row above"},
    {KEY_PICKER, UI_ACTION_PICK_DOWN, NAMED(DOWN), CTRL('n'), "Row", "the row below"},
    {KEY_PICKER, UI_ACTION_PAGE_UP, NAMED(PAGE_UP), NO_KEY, NULL, "a page of rows back"},
    {KEY_PICKER, UI_ACTION_PAGE_DOWN, NAMED(PAGE_DOWN), NO_KEY, NULL, "a page of rows on"},
    {KEY_PICKER, UI_ACTION_TOP, NAMED(HOME), NO_KEY, NULL, "the first row"},
    {KEY_PICKER, UI_ACTION_BOTTOM, NAMED(END), NO_KEY, NULL, "the last row"},
    {KEY_PICKER, UI_ACTION_PICK_DELETE, NAMED(DELETE), NO_KEY, "Delete", "delete what this row stands for"},
};
const size_t n_keymap = sizeof keymap / sizeof *keymap;

static bool binding_has(const struct binding *binding, const struct key *key) {
    if (binding->action == ACTION_EDITOR) return false;
    if (key_equal(key, &binding->key)) return true;
    bool plain_end = binding->alt.code == KEY_CODE_END; /* depends on the box: ui.c decides */
    return binding->alt.code != KEY_CODE_NONE && !plain_end && key_equal(key, &binding->alt);
}

int keymap_find(const struct key *key, enum key_context context) {
    int action = ACTION_EDITOR;
    for (size_t i = 0; i < n_keymap; i++) {
        if (!binding_has(&keymap[i], key)) continue;
        if (keymap[i].context == context) return keymap[i].action;
        if (keymap[i].context == KEY_ANYWHERE) action = keymap[i].action;
    }
    return action;
}

void keymap_help(struct buf *out) {
    static const char *const heads[KEY_CONTEXT_COUNT] = {[KEY_ANYWHERE] = "Everywhere",
                                                         [KEY_BOX] = "In the box",
                                                         [KEY_INSPECT] = "In inspect mode",
                                                         [KEY_PICKER] = "In a list"};
    for (int context = 0; context < KEY_CONTEXT_COUNT; context++) {
        buf_printf(out, "%s%s\n", context ? "\n" : "", heads[context]);
        for (size_t i = 0; i < n_keymap; i++) {
            if ((int)keymap[i].context != context) continue;
            char name[32], alt[32] = "";
            key_name(&keymap[i].key, name);
            if (keymap[i].alt.code != KEY_CODE_NONE) key_name(&keymap[i].alt, alt);
            buf_printf(out, "%-12s%-11s%s\n", name, alt, keymap[i].help);
        }
    }
    buf_puts(out, "\nBindings of the box are libedit's, as ~/.editrc sets them (bind -v: vi).\n");
}

void ui_keys_text(struct buf *out) {
    keymap_help(out);
}
