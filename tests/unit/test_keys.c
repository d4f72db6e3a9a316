/* Bytes to keys, in whole and in any portions; the key table. */
#include "base/buf.h"
#include "ui/keymap.h"
#include "ui/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int64_t MS = 1000000;

static const char *event_name(const struct key *key, char name[32]) {
    if (key->code == KEY_CODE_CLICK) snprintf(name, 32, "click %d,%d", key->row, key->column);
    return key->code == KEY_CODE_SYNC         ? "sync"
           : key->code == KEY_CODE_BACKGROUND ? (key->c ? "light" : "dark")
           : key->code == KEY_CODE_FOCUS      ? "focus"
           : key->code == KEY_CODE_BLUR       ? "blur"
           : key->code == KEY_CODE_WHEEL_UP   ? "wheel up"
           : key->code == KEY_CODE_WHEEL_DOWN ? "wheel down"
                                              : name;
}

/* The names of the keys in these bytes, "|" between them; portion: bytes a time. Pastes as paste(text). */
static const char *names(const char *bytes, size_t len, size_t portion) {
    static struct buf out;
    struct keys keys = {0};
    struct key key;
    int64_t now = 1000 * MS;
    buf_clear(&out);
    for (size_t at = 0;; at += portion) {
        bool end = at >= len;
        if (!end)
            keys_feed(&keys, bytes + at, portion < len - at ? portion : len - at, now);
        else
            now += KEYS_ESCAPE_NS;
        while (keys_next(&keys, now, &key)) {
            char name[32];
            key_name(&key, name);
            if (out.len) buf_putc(&out, '|');
            if (key.code == KEY_CODE_PASTE)
                buf_printf(&out, "paste(%.*s)", (int)keys.paste.len, keys.paste.len ? keys.paste.data : "");
            else
                buf_puts(&out, event_name(&key, name));
        }
        if (end) break;
        now += MS;
    }
    assert_int_equal(keys_deadline_ns(&keys), 0);
    keys_free(&keys);
    buf_append(&out, "", 0);
    return out.data ? out.data : "";
}

static void check(const char *bytes, const char *expected) {
    size_t len = strlen(bytes);
    for (size_t portion = 1; portion <= len; portion++)
        assert_string_equal(names(bytes, len, portion), expected);
}

static void keys_are_decoded(void **state) {
    (void)state;
    check("a\xC3\xA9\xE6\xBC\xA2\xF0\x9F\x98\x80", "a|\xC3\xA9|\xE6\xBC\xA2|\xF0\x9F\x98\x80");
    check("\r\n\t\x7f\x08\x03\x1a", "Enter|Ctrl+J|Tab|Backspace|Backspace|Ctrl+C|Ctrl+Z");
    check("\033[A\033[B\033[1;2A\033[1;5H\033OD\033OF", "Up|Down|Shift+Up|Ctrl+Home|Left|End");
    check("\033OP\033[15~\033[21~\033[24;5~\033[[C", "F1|F5|F10|Ctrl+F12|F3");
    check("\033[3~\033[5~\033[6~\033[7~\033[8^", "Del|PgUp|PgDn|Home|Ctrl+End");
    check("\033b\033\r\033\x7f\033\xC3\xA9", "Alt+b|Alt+Enter|Alt+Backspace|Alt+\xC3\xA9");
    check("\033[27;2;13~\033[13;2u\033[99;5u\033[97;3u", "Shift+Enter|Shift+Enter|Ctrl+C|Alt+a");
    check("\033[Z", "Shift+Tab");
    check("\033", "Esc");
    check("\033\033\033[A", "Esc|Esc|Up");
}

static void other_reports_are_no_keys(void **state) {
    (void)state;
    check("a\033[<0;10;20Mb\033[<0;10;20mc", "a|click 19,9|b|c"); /* mouse */
    check("\033[<64;1;1M\033[<69;1;1M\033[<2;1;1M\033[<35;1;1Mx", "wheel up|wheel down|x");
    check("\033[<0;0;1M\033[<0;1M\033[<0;99999;1Mx", "x");
    check("a\033[M abb", "a|b"); /* old mouse report: three bytes behind */
    check("a\033[Ib\033[Oc", "a|focus|b|blur|c");
    check("a\033[?2026;2$yb\033[?2026;0$yc", "a|sync|b|c");
    check("a\033[12;40Rb", "a|b");
    check("a\033]11;rgb:0000/0000/0000\033\\b\033P1$r0m\033\\c\033]52;c;QQ==\007d", "a|dark|b|c|d");
    check("\033]11;rgb:ffff/ffff/ffff\007\033]11;rgb:f/f/0\007\033]11;rgb:00/00/ff\007", "light|light|dark");
    check("\033]11;rgb:fd/f6/e3\033\\\033]11;rgb:00/2b/36\033\\", "light|dark"); /* solarized */
    check("\033]11;rgba:ffff/ffff/ffff/0000\007\033]11;rgbx:f/f/f\007\033]11;rgb\007x", "light|x");
    check("\033]11;?\007\033]11;rgb:\007\033]11;rgb:ff/ff\007\033]11;rgb:ff/ff/\007\033]10;rgb:f/f/f\007x",
          "x");
    check("\033]11;rgb:fffffffff/f/f\007\033]11;rgb:g/f/f\007\033]\007x", "x");
    check("a\033[999~b\033[57399uc", "a|b|c");
}

static void pastes_are_whole(void **state) {
    (void)state;
    check("x\033[200~one\ntwo\033[A\003\033[201~y", "x|paste(one\ntwo\033[A\003)|y");
    check("\033[200~\033[201~", "paste()");
    check("\033[200~\033[201\033[20\033[201~z", "paste(\033[201\033[20)|z");
}

/* The end of a paste is lost: what came is not, and the keys work again. */
static void a_paste_without_an_end_can_be_ended(void **state) {
    (void)state;
    for (const char *by = "\003\033"; *by; by++) {
        struct keys keys = {0};
        struct key key;
        keys_feed(&keys, "\033[200~text", 10, 100 * MS);
        assert_false(keys_next(&keys, 100 * MS, &key));
        keys_feed(&keys, by, 1, 1000 * MS); /* of the paste yet */
        assert_false(keys_next(&keys, 1100 * MS, &key));
        keys_feed(&keys, "x", 1, 2500 * MS);
        keys_feed(&keys, "\033[20", 4, 2600 * MS);
        assert_false(keys_next(&keys, 2700 * MS, &key));
        keys_feed(&keys, by, 1, 3600 * MS);
        assert_true(keys_next(&keys, 3600 * MS, &key));
        assert_int_equal(key.code, KEY_CODE_PASTE);
        assert_int_equal(keys.paste.len, 10);
        keys_feed(&keys, "y", 1, 3700 * MS);
        assert_true(keys_next(&keys, 3700 * MS, &key));
        assert_true(key.code == KEY_CODE_CHAR && key.c == 'y');
        keys_free(&keys);
    }
}

static void escape_alone_waits_a_little(void **state) {
    (void)state;
    struct keys keys = {0};
    struct key key;
    keys_feed(&keys, "\033", 1, 100 * MS);
    assert_false(keys_next(&keys, 110 * MS, &key));
    assert_int_equal(keys_deadline_ns(&keys), 125 * MS);
    assert_true(keys_next(&keys, 125 * MS, &key));
    assert_int_equal(key.code, KEY_CODE_ESCAPE);
    keys_feed(&keys, "\033", 1, 200 * MS);
    keys_feed(&keys, "[A", 2, 210 * MS);
    assert_true(keys_next(&keys, 210 * MS, &key));
    assert_int_equal(key.code, KEY_CODE_UP);
    keys_feed(&keys, "\033[", 2, 300 * MS); /* Alt+[, typed */
    assert_false(keys_next(&keys, 310 * MS, &key));
    assert_true(keys_next(&keys, 325 * MS, &key));
    assert_true(key.code == KEY_CODE_CHAR && key.c == '[' && key.mods == KEY_MOD_ALT);
    keys_free(&keys);
}

/* Any bytes at all end in no key, some key, never in a key without an end or a hang. */
static void rubbish_is_survived(void **state) {
    (void)state;
    uint32_t seed = 7;
    for (int round = 0; round < 3000; round++) {
        static const char likely[] = "\033\033\033[[[]O;;0123~?$<MmPuyR\x9b\xc3\xf0";
        char bytes[40];
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = seed >> 31 ? (char)(seed >> 20) : likely[(seed >> 16) % (sizeof likely - 1)];
        }
        struct keys keys = {0};
        struct key key;
        keys_feed(&keys, bytes, sizeof bytes, 0);
        for (int n = 0; keys_next(&keys, KEYS_ESCAPE_NS, &key); n++) {
            assert_true(n <= (int)sizeof bytes);
            assert_true(key.code != KEY_CODE_NONE);
        }
        assert_true(keys.pasting || keys.at == keys.in.len);
        keys_free(&keys);
    }
}

/* Actions that no key has: they come with a text, a click, or from the box. */
static bool keyless(int action) {
    return action == UI_ACTION_SUBMIT || action == UI_ACTION_TYPED || action == UI_ACTION_POINT ||
           action == UI_ACTION_CANDIDATE || action == UI_ACTION_FILTER;
}

/* What key_name() writes key_parse() reads, for every key of the table and more. */
static void names_are_read_back(void **state) {
    (void)state;
    char name[32];
    struct key key;
    for (size_t i = 0; i < 2 * n_keymap; i++) {
        const struct key *from = i % 2 ? &keymap[i / 2].alt : &keymap[i / 2].key;
        if (from->code == KEY_CODE_NONE) continue;
        key_name(from, name);
        assert_true(key_parse(name, strlen(name), &key));
        assert_true(key_equal(&key, from));
    }
    static const char *const good[] = {"f12",   "ctrl+alt+pgdn", "alt+Shift+left", "Alt++",
                                       "Alt+,", "Ctrl+Space",    "\xC3\xA9",       "F"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(key_parse(good[i], strlen(good[i]), &key));
    static const char *const bad[] = {"", "F0", "F13", "Ctrl+", "Hyper+x", "xy", "Alt+ ", "\xC3", "F1x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(key_parse(bad[i], strlen(bad[i]), &key));
}

static void keys_are_bound_anew(void **state) {
    (void)state;
    struct err err = {0};
    struct key f12 = {.code = KEY_CODE_F12}, comma = {.code = KEY_CODE_CHAR, .c = ',', .mods = KEY_MOD_ALT};
    struct key f7 = {.code = KEY_CODE_F1 + 6};
    assert_int_equal(ui_bind("keys", "find", "F12, Alt+,", &err), STATUS_OK);
    assert_int_equal(keymap_find(&f12, KEY_BOX), UI_ACTION_FIND);
    assert_int_equal(keymap_find(&comma, KEY_BOX), UI_ACTION_FIND);
    assert_int_equal(keymap_find(&f7, KEY_BOX), ACTION_EDITOR);
    assert_int_equal(ui_bindings_check(&err), STATUS_OK);
    static const struct {
        const char *context, *action, *keys, *says;
    } bad[] = {
        {"keys", "fnid", "F12",
         "[keys] found \"fnid\", expected an action (logitop --print-config lists them)"},
        {"keys", "find", "F77",
         "[keys] find: found \"F77\", expected a key like F7, Alt+x, Ctrl+x, PgUp or none"},
        {"keys", "find", "x",
         "[keys] find: found \"x\", which is typed into the box; expected one with Alt or Ctrl"},
        {"keys", "find", "F7, F8, F9", "[keys] find: found more than two keys, expected one or two"},
        {"keys", "find", "Ctrl+I", "[keys] find: found \"Ctrl+I\", which terminals cannot tell from Tab"},
        {"keys", "find", "Ctrl+[", "[keys] find: found \"Ctrl+[\", which terminals cannot tell from Esc"},
        {"keys", "find", "", "[keys] find: found nothing, expected a key or none"},
        {"keys.inspect", "find", "F7",
         "[keys.inspect] found \"find\", expected an action (logitop --print-config lists them)"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ui_bind(bad[i].context, bad[i].action, bad[i].keys, &err), STATUS_USAGE);
        assert_string_equal(err.text, bad[i].says);
    }
    assert_int_equal(keymap_find(&f12, KEY_BOX), UI_ACTION_FIND); /* as before the failures */
    assert_int_equal(ui_bind("keys.inspect", "step", "Space", &err), STATUS_OK);
    assert_int_equal(ui_bind("keys", "mouse", "F12", &err), STATUS_OK);
    assert_int_equal(ui_bindings_check(&err), STATUS_USAGE);
    assert_string_equal(err.text, "[keys] found F12 for both find and mouse, expected one of them");
    assert_int_equal(ui_bind("keys", "mouse", "none", &err), STATUS_OK);
    assert_int_equal(ui_bindings_check(&err), STATUS_OK);
    struct buf text = {0};
    ui_bindings_print(&text);
    assert_non_null(strstr(text.data, "\nfind = F12, Alt+,\nmouse = none\n"));
    assert_non_null(strstr(text.data, "\n[keys.inspect]\n"));
    buf_free(&text);
    ui_bind("keys", "find", "F7, Alt+/", &err);
    ui_bind("keys", "mouse", "F8, Alt+u", &err);
    ui_bind("keys.inspect", "step", "s", &err);
}

static void table_is_sound(void **state) {
    (void)state;
    bool seen[UI_ACTION_COUNT] = {false};
    for (size_t i = 0; i < n_keymap; i++) {
        const struct binding *binding = &keymap[i];
        assert_true(binding->help && binding->help[0]);
        if (binding->action != ACTION_EDITOR) {
            seen[binding->action] = true;
            assert_int_equal(keymap_find(&binding->key, binding->context), binding->action);
        }
        bool f_key = binding->key.code >= KEY_CODE_F1 && binding->key.code <= KEY_CODE_F12;
        if (f_key) assert_int_equal(binding->alt.mods, KEY_MOD_ALT); /* terminals eat F-keys */
        for (size_t j = 0; j < i; j++)
            assert_false(keymap[j].context == binding->context && key_equal(&binding->key, &keymap[j].key));
        bool shares = binding->bar && !binding->bar[0]; /* the next one has the word */
        if (shares)
            assert_true(i + 1 < n_keymap && keymap[i + 1].context == binding->context && keymap[i + 1].bar);
    }
    for (int action = 0; action < UI_ACTION_COUNT; action++) assert_true(seen[action] != keyless(action));
    struct buf text = {0};
    for (int now = 0; now < KEY_CONTEXT_COUNT; now++) {
        buf_clear(&text);
        keymap_help((enum key_context)now, &text);
        for (size_t i = 0; i < n_keymap; i++) assert_non_null(strstr(text.data, keymap[i].help));
    }
    buf_clear(&text);
    keymap_help(KEY_INSPECT, &text);
    assert_ptr_equal(strstr(text.data, "In inspect mode"), text.data); /* whose keys they are comes first */
    assert_null(strstr(text.data + 1, "In inspect mode"));
    buf_free(&text);
}

static void contexts_have_their_own_keys(void **state) {
    (void)state;
    struct key letter = {.code = KEY_CODE_CHAR, .c = 'x'}, left = {.code = KEY_CODE_LEFT},
               alt = {.code = KEY_CODE_CHAR, .c = 'h', .mods = KEY_MOD_ALT};
    assert_int_equal(keymap_find(&letter, KEY_BOX), ACTION_EDITOR);
    assert_int_equal(keymap_find(&letter, KEY_INSPECT), UI_ACTION_EXPORT);
    assert_int_equal(keymap_find(&letter, KEY_PICKER), ACTION_EDITOR);
    assert_int_equal(keymap_find(&left, KEY_BOX), ACTION_EDITOR);
    assert_int_equal(keymap_find(&left, KEY_INSPECT), UI_ACTION_TOKEN_BACK);
    for (int context = KEY_BOX; context < KEY_CONTEXT_COUNT; context++)
        assert_int_equal(keymap_find(&alt, (enum key_context)context), UI_ACTION_HELP);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_decoded),
        cmocka_unit_test(other_reports_are_no_keys),
        cmocka_unit_test(pastes_are_whole),
        cmocka_unit_test(a_paste_without_an_end_can_be_ended),
        cmocka_unit_test(escape_alone_waits_a_little),
        cmocka_unit_test(rubbish_is_survived),
        cmocka_unit_test(names_are_read_back),
        cmocka_unit_test(keys_are_bound_anew),
        cmocka_unit_test(table_is_sound),
        cmocka_unit_test(contexts_have_their_own_keys),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
