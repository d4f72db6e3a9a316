#include "ui/keymap.h"

#include <string.h>

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

struct binding keymap[] = {
    {KEY_ANYWHERE, UI_ACTION_HELP, F(1), ALT('h'), "Help", "this page"},
    {KEY_ANYWHERE, UI_ACTION_MODELS, F(2), ALT('m'), "Model", "choose another model"},
    {KEY_ANYWHERE, UI_ACTION_INSPECT, F(3), ALT('i'), "Inspect",
     "walk over the tokens, see and take what else could have come"},
    {KEY_ANYWHERE, UI_ACTION_COLOUR, F(4), ALT('o'), "Colour",
     "colour the tokens by probability, rank, entropy, or not"},
    {KEY_ANYWHERE, UI_ACTION_REGENERATE, F(5), ALT('r'), "Again", "another answer to the last question"},
    {KEY_ANYWHERE, UI_ACTION_BRANCHES, F(6), ALT('s'), "Branch",
     "the ways this conversation went: choose one"},
    {KEY_ANYWHERE, UI_ACTION_FIND, F(7), ALT('/'), "Find",
     "search in the conversation; n, N: the next, the one before"},
    {KEY_ANYWHERE, UI_ACTION_MOUSE, F(8), ALT('u'), "Mouse",
     "the wheel scrolls, a click chooses a token, a candidate, a row, a key of the last line; again: the "
     "terminal's own mouse"},
    {KEY_ANYWHERE, UI_ACTION_LOG, F(9), ALT('e'), "Log", "what libraries wrote to standard error"},
    {KEY_ANYWHERE, UI_ACTION_QUIT, F(10), ALT('q'), "Quit", "leave"},
    {KEY_ANYWHERE, UI_ACTION_CHATS, CTRL('o'), ALT('l'), NULL,
     "open a kept chat: choose one, or find words in all"},
    {KEY_ANYWHERE, UI_ACTION_NEW, ALT('n'), NO_KEY, NULL, "begin a new chat"},
    {KEY_ANYWHERE, UI_ACTION_CONTINUE, ALT('g'), NO_KEY, NULL, "go on with the last answer where it stopped"},
    {KEY_ANYWHERE, UI_ACTION_DIGITS, ALT('0'), NO_KEY, NULL,
     "what the colours say as digits too, 9 sure, 0 a surprise"},
    {KEY_ANYWHERE, UI_ACTION_PANEL, ALT('t'), NO_KEY, NULL, "show or hide the candidates of the next token"},
    {KEY_ANYWHERE, UI_ACTION_COPY, ALT('c'), NO_KEY, NULL,
     "copy the last answer (/copy: others, code blocks)"},
    {KEY_ANYWHERE, UI_ACTION_SOURCE, ALT('w'), NO_KEY, NULL,
     "the conversation as it is written, without markdown"},
    {KEY_ANYWHERE, UI_ACTION_UNFOLD, ALT('k'), NO_KEY, NULL, "unfold or fold what the model thought"},
    {KEY_ANYWHERE, UI_ACTION_ANSWER_NOW, ALT('a'), NO_KEY, NULL, "enough thought: answer now"},
    {KEY_ANYWHERE, UI_ACTION_FOLD, ALT('f'), NO_KEY, "Fold",
     "put the system text into the first message, ask again"},
    {KEY_BOX, UI_ACTION_EXTERNAL, CTRL('g'), NO_KEY, NULL, "the box in $VISUAL or $EDITOR"},
    {KEY_BOX, UI_ACTION_COMPLETE, NAMED(TAB), NO_KEY, NULL, "complete a command"},
    {KEY_BOX, ACTION_EDITOR, NAMED(ENTER), NO_KEY, NULL, "send"},
    {KEY_BOX, ACTION_EDITOR, CTRL('j'), WITH(ALT, ENTER), NULL, "new line in the box"},
    {KEY_ANYWHERE, UI_ACTION_ESCAPE, NAMED(ESCAPE), NO_KEY, NULL,
     "stop the answer, keep what is there; close a page; twice: inspect"},
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
    {KEY_INSPECT, UI_ACTION_CANDIDATE_DOWN, NAMED(DOWN), NO_KEY, "Pick", "the candidate below"},
    {KEY_INSPECT, UI_ACTION_TAKE, NAMED(ENTER), NO_KEY, "Take", "take the candidate: a new branch, at once"},
    {KEY_INSPECT, UI_ACTION_STEP, LETTER('s'), NO_KEY, "Step", "one token, then wait"},
    {KEY_INSPECT, UI_ACTION_CONTINUE, LETTER('g'), NO_KEY, "Go", "go on answering from the cursor"},
    {KEY_INSPECT, UI_ACTION_REROLL, LETTER('r'), NO_KEY, "Re-roll", "draw this token again"},
    {KEY_INSPECT, UI_ACTION_UNDO, LETTER('u'), NO_KEY, "Undo", "back to the branch before"},
    {KEY_INSPECT, UI_ACTION_TYPE, LETTER('t'), NO_KEY, "Type", "type what stands here instead"},
    {KEY_INSPECT, UI_ACTION_BRANCHES, LETTER('b'), NO_KEY, "Branch", "list the branches"},
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

    {KEY_VIEW, UI_ACTION_ESCAPE, NAMED(ESCAPE), LETTER('q'), "Back", "back to the conversation"},
    {KEY_VIEW, UI_ACTION_LINE_UP, NAMED(UP), NO_KEY, "", "a line back"},
    {KEY_VIEW, UI_ACTION_LINE_DOWN, NAMED(DOWN), NO_KEY, "Line", "a line on"},
    {KEY_VIEW, UI_ACTION_PAGE_UP, NAMED(PAGE_UP), LETTER('b'), NULL, "a page back"},
    {KEY_VIEW, UI_ACTION_PAGE_DOWN, NAMED(PAGE_DOWN), LETTER(' '), "Page", "a page on"},
    {KEY_VIEW, UI_ACTION_TOP, NAMED(HOME), NO_KEY, NULL, "its beginning"},
    {KEY_VIEW, UI_ACTION_BOTTOM, NAMED(END), NO_KEY, NULL, "its end"},
    {KEY_VIEW, UI_ACTION_COMPARE, LETTER('c'), NO_KEY, "Next", "with the next branch"},
    {KEY_VIEW, UI_ACTION_COLOUR, LETTER('e'), NO_KEY, "Colour",
     "colour by probability, rank, entropy, or not"},
    {KEY_VIEW, UI_ACTION_DIGITS, LETTER('d'), NO_KEY, "Digits", "the same as digits"},

    {KEY_PICKER, UI_ACTION_ESCAPE, NAMED(ESCAPE), NO_KEY, "Back", "close the list"},
    {KEY_PICKER, UI_ACTION_PICK, NAMED(ENTER), NO_KEY, "Choose", "take this row"},
    {KEY_PICKER, UI_ACTION_PICK_UP, NAMED(UP), CTRL('p'), "", "the row above"},
    {KEY_PICKER, UI_ACTION_PICK_DOWN, NAMED(DOWN), CTRL('n'), "Row", "the row below"},
    {KEY_PICKER, UI_ACTION_PAGE_UP, NAMED(PAGE_UP), NO_KEY, NULL, "a page of rows back"},
    {KEY_PICKER, UI_ACTION_PAGE_DOWN, NAMED(PAGE_DOWN), NO_KEY, NULL, "a page of rows on"},
    {KEY_PICKER, UI_ACTION_TOP, NAMED(HOME), NO_KEY, NULL, "the first row"},
    {KEY_PICKER, UI_ACTION_BOTTOM, NAMED(END), NO_KEY, NULL, "the last row"},
    {KEY_PICKER, UI_ACTION_PICK_DELETE, NAMED(DELETE), NO_KEY, "Delete", "delete what this row stands for"},

    {KEY_FIND, UI_ACTION_ESCAPE, NAMED(ESCAPE), NO_KEY, "Back",
     "end the search; any other key does too, and is obeyed"},
    {KEY_FIND, UI_ACTION_FIND_NEXT, LETTER('n'), NO_KEY, "Next", "the next match"},
    {KEY_FIND, UI_ACTION_FIND_BACK, LETTER('N'), NO_KEY, "Before", "the match before"},
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

void keymap_key(int action, char name[KEY_NAME_MAX]) {
    name[0] = 0;
    for (size_t i = 0; i < n_keymap && !name[0]; i++)
        if (keymap[i].action == action && keymap[i].context <= KEY_BOX) key_name(&keymap[i].key, name);
}

static void help_context(enum key_context context, struct buf *out) {
    static const char *const heads[KEY_CONTEXT_COUNT] = {
        [KEY_ANYWHERE] = "Everywhere",     [KEY_BOX] = "In the box",
        [KEY_INSPECT] = "In inspect mode", [KEY_VIEW] = "In a page, a comparison or a score",
        [KEY_PICKER] = "In a list",        [KEY_FIND] = "In a search"};
    buf_printf(out, "%s%s\n", out->len ? "\n" : "", heads[context]);
    for (size_t i = 0; i < n_keymap; i++) {
        if (keymap[i].context != context) continue;
        char name[32], alt[32] = "";
        key_name(&keymap[i].key, name);
        if (keymap[i].alt.code != KEY_CODE_NONE) key_name(&keymap[i].alt, alt);
        buf_printf(out, "%-12s%-11s%s\n", name, alt, keymap[i].help);
    }
    if (context == KEY_BOX)
        buf_puts(out, "\nOther keys of the box are libedit's, as ~/.editrc sets them (bind -v: vi).\n");
}

/* What the signs of the screen mean. */
static const char signs[] = "\nOn the screen\n"
                            "raw                    how probable the model finds a token, of all it knows\n"
                            "final                  that after the samplers: what a token is drawn from\n"
                            "cut by                 the sampler that took the token out\n"
                            "rest                   all tokens that are not listed\n"
                            ">                      the token that came; in inspect mode: the one to take\n"
                            "*                      in inspect mode: the token that came\n"
                            "rank                   a token's place by raw probability, 1 is the first\n"
                            "H                      entropy in bits: 0 certain, 1 a coin, 5 one of 32 alike\n"
                            "p 97310                the newest tokens: tenths of their raw probability\n"
                            "H, ms (bars)           their entropy and time; <6: what a whole bar stands for\n"
                            "prefill                how fast the prompt was read\n"
                            "cached                 tokens of the prompt that were not read again\n"
                            "ctx                    tokens in the context, of as many as it holds\n"
                            "2/3                    the second of three messages in this place: F6 has all\n";

void keymap_help(enum key_context now, struct buf *out) {
    bool own = now > KEY_BOX; /* the others are the chat's */
    if (own) help_context(now, out);
    for (int context = 0; context < KEY_CONTEXT_COUNT; context++) {
        if (!own || context != (int)now) help_context((enum key_context)context, out);
        if (context == KEY_BOX) buf_puts(out, signs);
    }
}

/* ---- other keys ---- */

static const char *const action_names[UI_ACTION_COUNT] = {
    [UI_ACTION_INTERRUPT] = "interrupt",
    [UI_ACTION_ESCAPE] = "escape",
    [UI_ACTION_EOF] = "leave-empty",
    [UI_ACTION_SUSPEND] = "suspend",
    [UI_ACTION_QUIT] = "quit",
    [UI_ACTION_NEW] = "new",
    [UI_ACTION_REGENERATE] = "regenerate",
    [UI_ACTION_CONTINUE] = "continue",
    [UI_ACTION_FOLD] = "fold",
    [UI_ACTION_MODELS] = "models",
    [UI_ACTION_BRANCHES] = "branches",
    [UI_ACTION_CHATS] = "chats",
    [UI_ACTION_UNDO] = "undo",
    [UI_ACTION_REDO] = "redo",
    [UI_ACTION_INSPECT] = "inspect",
    [UI_ACTION_TOKEN_BACK] = "token-back",
    [UI_ACTION_TOKEN_ON] = "token-on",
    [UI_ACTION_WORD_BACK] = "word-back",
    [UI_ACTION_WORD_ON] = "word-on",
    [UI_ACTION_MESSAGE_BACK] = "message-back",
    [UI_ACTION_MESSAGE_ON] = "message-on",
    [UI_ACTION_FIRST_TOKEN] = "first-token",
    [UI_ACTION_LAST_TOKEN] = "last-token",
    [UI_ACTION_CANDIDATE_UP] = "candidate-up",
    [UI_ACTION_CANDIDATE_DOWN] = "candidate-down",
    [UI_ACTION_TAKE] = "take",
    [UI_ACTION_STEP] = "step",
    [UI_ACTION_REROLL] = "re-roll",
    [UI_ACTION_SIBLING_BACK] = "sibling-back",
    [UI_ACTION_SIBLING_ON] = "sibling-on",
    [UI_ACTION_COMPARE] = "compare",
    [UI_ACTION_EXPORT] = "export",
    [UI_ACTION_EDIT] = "edit",
    [UI_ACTION_PICK] = "pick",
    [UI_ACTION_PICK_DELETE] = "delete",
    [UI_ACTION_COPY] = "copy",
    [UI_ACTION_ANSWER_NOW] = "answer-now",
    [UI_ACTION_COMPLETE] = "complete",
    [UI_ACTION_HELP] = "help",
    [UI_ACTION_PANEL] = "panel",
    [UI_ACTION_COLOUR] = "colour",
    [UI_ACTION_DIGITS] = "digits",
    [UI_ACTION_LOG] = "log",
    [UI_ACTION_REDRAW] = "redraw",
    [UI_ACTION_PAGE_UP] = "page-up",
    [UI_ACTION_PAGE_DOWN] = "page-down",
    [UI_ACTION_LINE_UP] = "line-up",
    [UI_ACTION_LINE_DOWN] = "line-down",
    [UI_ACTION_TOP] = "top",
    [UI_ACTION_BOTTOM] = "bottom",
    [UI_ACTION_TYPE] = "type",
    [UI_ACTION_PICK_UP] = "up",
    [UI_ACTION_PICK_DOWN] = "down",
    [UI_ACTION_FIND] = "find",
    [UI_ACTION_FIND_NEXT] = "find-next",
    [UI_ACTION_FIND_BACK] = "find-back",
    [UI_ACTION_SOURCE] = "source",
    [UI_ACTION_UNFOLD] = "unfold",
    [UI_ACTION_MOUSE] = "mouse",
    [UI_ACTION_EXTERNAL] = "editor",
};

/* The section of the configuration a binding stands in. The box and anywhere are one: the keys of the chat.
 */
static const char *section_of(const struct binding *binding) {
    return binding->context == KEY_INSPECT  ? "keys.inspect"
           : binding->context == KEY_VIEW   ? "keys.view"
           : binding->context == KEY_PICKER ? "keys.picker"
           : binding->context == KEY_FIND   ? "keys.find"
                                            : "keys";
}

static const char *name_of(const struct binding *binding) {
    return binding->action == ACTION_EDITOR ? NULL : action_names[binding->action];
}

static struct binding *binding_find(const char *section, const char *action) {
    for (size_t i = 0; i < n_keymap; i++)
        if (name_of(&keymap[i]) && strcmp(section_of(&keymap[i]), section) == 0 &&
            strcmp(name_of(&keymap[i]), action) == 0)
            return &keymap[i];
    return NULL;
}

/* Up to the comma behind the first key; that of "Alt+," is a key. */
static size_t key_length(const char *text) {
    size_t i = 0;
    while (text[i] && (text[i] != ',' || i == 0 || (text[i - 1] == '+' && (i < 2 || text[i - 2] != '+'))))
        i++;
    return i;
}

/* What arrives in place of Ctrl and this letter; NULL: that does. */
static const char *same_byte(const struct key *key) {
    if (key->code != KEY_CODE_CHAR || key->mods != KEY_MOD_CTRL) return NULL;
    switch (key->c) {
    case 'h': return "Backspace";
    case 'i': return "Tab";
    case 'm': return "Enter";
    case '[': return "Esc";
    default: return NULL;
    }
}

/* "F7, Alt+/": at most two, or "none". */
static int parse_keys(const char *text, bool letters, struct key keys[2], struct err *err) {
    keys[0] = keys[1] = (struct key)NO_KEY;
    if (strcmp(text, "none") == 0) return STATUS_OK;
    for (int n = 0; *text; n++) {
        size_t len = key_length(text), used = len;
        while (used && text[used - 1] == ' ') used--;
        struct key key;
        if (n == 2) return err_set(err, STATUS_USAGE, "found more than two keys, expected one or two");
        if (!key_parse(text, used, &key))
            return err_set(err, STATUS_USAGE,
                           "found \"%.*s\", expected a key like F7, Alt+x, Ctrl+x, PgUp or none", (int)used,
                           text);
        if (!letters && key.code == KEY_CODE_CHAR && !(key.mods & (KEY_MOD_ALT | KEY_MOD_CTRL)))
            return err_set(err, STATUS_USAGE,
                           "found \"%.*s\", which is typed into the box; expected one with Alt or Ctrl",
                           (int)used, text);
        if (same_byte(&key))
            return err_set(err, STATUS_USAGE, "found \"%.*s\", which terminals cannot tell from %s",
                           (int)used, text, same_byte(&key));
        keys[n] = key;
        text += len;
        text += strspn(text, ", ");
    }
    return keys[0].code ? STATUS_OK : err_set(err, STATUS_USAGE, "found nothing, expected a key or none");
}

int ui_bind(const char *context, const char *action, const char *keys, struct err *err) {
    struct binding *binding = binding_find(context, action);
    struct key parsed[2];
    if (!binding)
        return err_set(err, STATUS_USAGE,
                       "[%s] found \"%s\", expected an action (logitop --print-config lists them)", context,
                       action);
    int status = parse_keys(keys, strcmp(context, "keys") != 0, parsed, err);
    if (status < 0) return err_prefix(err, "[%s] %s", context, action);
    binding->key = parsed[0];
    binding->alt = parsed[1];
    return STATUS_OK;
}

static bool clash(const struct key *a, const struct key *b) {
    return a->code != KEY_CODE_NONE && key_equal(a, b);
}

int ui_bindings_check(struct err *err) {
    for (size_t i = 0; i < n_keymap; i++)
        for (size_t k = 0; k < i; k++) {
            const struct binding *a = &keymap[k], *b = &keymap[i];
            if (!name_of(a) || !name_of(b) || strcmp(section_of(a), section_of(b))) continue;
            const struct key *both = clash(&a->key, &b->key) || clash(&a->key, &b->alt)   ? &a->key
                                     : clash(&a->alt, &b->key) || clash(&a->alt, &b->alt) ? &a->alt
                                                                                          : NULL;
            if (!both) continue;
            char name[32];
            key_name(both, name);
            return err_set(err, STATUS_USAGE, "[%s] found %s for both %s and %s, expected one of them",
                           section_of(a), name, name_of(a), name_of(b));
        }
    return STATUS_OK;
}

void ui_bindings_print(struct buf *out) {
    const char *section = "";
    for (size_t i = 0; i < n_keymap; i++) {
        const struct binding *binding = &keymap[i];
        if (!name_of(binding)) continue;
        if (strcmp(section, section_of(binding))) buf_printf(out, "\n[%s]\n", section_of(binding));
        section = section_of(binding);
        char key[32], alt[32] = "";
        key_name(&binding->key, key);
        if (binding->alt.code != KEY_CODE_NONE) key_name(&binding->alt, alt);
        buf_printf(out, "%s = %s%s%s\n", name_of(binding), *key ? key : "none", *alt ? ", " : "", alt);
    }
}
