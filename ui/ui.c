#include "ui/ui.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ui/capture.h"
#include "ui/editor.h"
#include "ui/handover.h"
#include "ui/keymap.h"
#include "ui/keys.h"
#include "ui/screen.h"
#include "ui/term.h"
#include "ui/theme.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is typed is not kept waiting for the next frame of what is said. While an answer streams the panel has
 * every third frame: all of it changes with every token, which is most of what is written, and nobody reads
 * twenty rows sixty times a second. */
static const int64_t FRAME_NS = 16 * 1000000LL, KEY_FRAME_NS = 3 * 1000000LL, PANEL_FRAME_NS = 48 * 1000000LL,
                     AGAIN_NS = 2000 * 1000000LL;

struct waiting { /* an action the app has not taken yet */
    struct ui_action action;
    char *text; /* owned; action.text points to it */
};

struct ui {
    int in_fd;
    struct term *term;
    struct editor *editor;
    struct capture capture;
    struct keys keys;
    struct screen screen;
    struct canvas canvas;
    struct waiting *actions;
    size_t first_action, n_actions, cap_actions;
    char *taken_text; /* of the action given last */
    struct buf box_text, box_search;
    struct buf draft; /* what was in the box before a token is typed in it */
    bool (*step)(void *context);
    void *step_context;
    bool gone;                                          /* the terminal */
    bool frame_wanted, key_frame, busy, waits, blurred; /* key_frame: it shows a key's effect */
    enum ui_bell bell;
    int out_fd;
    bool mouse;
    int64_t last_frame_ns, last_panel_ns, notice_until_ns, interrupt_ns;
};

/* ---- the last line of defence ---- */

/* Faults first; then what ends a program that does not know it. */
static const int last_signals[] = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGABRT,
                                   SIGQUIT, SIGXCPU, SIGUSR1, SIGUSR2, SIGALRM};
enum { N_FAULTS = 4, N_LAST = sizeof last_signals / sizeof *last_signals };
static struct sigaction earlier[N_LAST];

void ui_emergency_restore(void) {
    term_emergency();
    capture_emergency();
}

static void last_handlers_off(void) {
    for (int i = 0; i < N_LAST; i++) sigaction(last_signals[i], &earlier[i], NULL);
}

/* Restore, then let the earlier handler have it: a fault happens again on return, all else is raised again.
 */
static void at_last(int number, siginfo_t *info, void *context) {
    (void)context;
    ui_emergency_restore();
    last_handlers_off();
    bool fault = false;
    for (int i = 0; i < N_FAULTS; i++) fault |= last_signals[i] == number && info->si_code > 0; /* not sent */
    if (!fault) raise(number);
}

static void last_handlers_on(void) {
    static bool at_exit;
    struct sigaction action = {.sa_sigaction = at_last, .sa_flags = SA_ONSTACK | SA_NODEFER | SA_SIGINFO};
    for (int i = 0; i < N_LAST; i++) sigaction(last_signals[i], &action, &earlier[i]);
    if (!at_exit) at_exit = atexit(ui_emergency_restore) == 0;
}

/* ---- actions ---- */

static void push(struct ui *ui, struct ui_action action) {
    grow_array(&ui->actions, &ui->cap_actions, ui->n_actions + 1, sizeof *ui->actions);
    char *text = action.text ? xmemdup(action.text, action.len) : NULL;
    action.text = text;
    ui->actions[ui->n_actions++] = (struct waiting){action, text};
}

static void push_text(struct ui *ui, enum ui_action_type type, const struct buf *text) {
    push(ui, (struct ui_action){.type = type, .text = text->data ? text->data : "", .len = text->len});
}

bool ui_next_action(struct ui *ui, struct ui_action *out) {
    free(ui->taken_text);
    ui->taken_text = NULL;
    if (ui->first_action == ui->n_actions) {
        ui->first_action = ui->n_actions = 0;
        return false;
    }
    struct waiting *next = &ui->actions[ui->first_action++];
    ui->taken_text = next->text;
    *out = next->action;
    return true;
}

static bool actions_waiting(const struct ui *ui) {
    return ui->first_action < ui->n_actions;
}

/* Keys typed ahead of its first drawing go a page on too. */
static void open_page(struct ui *ui, const char *title, const char *text, size_t len) {
    enum { AROUND = 7 }; /* rows of the screen that are not its text's */
    pager_open(&ui->screen.pager, title, text, len);
    ui->screen.pager.page = ui->canvas.rows - AROUND;
}

static void show_help(struct ui *ui) {
    struct buf text = {0};
    keymap_help(screen_keys(&ui->screen), &text);
    open_page(ui, "Keys, and what the screen shows", text.data, text.len);
    buf_free(&text);
}

static void show_log(struct ui *ui) {
    static const char nothing[] = "Nothing was written to standard error.";
    capture_take(&ui->capture);
    if (ui->capture.text.len)
        open_page(ui, "Standard error", ui->capture.text.data, ui->capture.text.len);
    else
        open_page(ui, "Standard error", nothing, strlen(nothing));
}

static void box_update(struct ui *ui) {
    struct box *box = &ui->screen.box;
    editor_line(ui->editor, &ui->box_text, &box->cursor, &ui->box_search);
    box->text = ui->box_text.data;
    box->len = ui->box_text.len;
    buf_append(&ui->box_search, "", 0);
    box->search = editor_searching(ui->editor) ? ui->box_search.data : NULL;
}

/* A token is typed in the box, which is lent for it: what was there comes back. */
static void typing_begin(struct ui *ui) {
    if (!ui->screen.inspecting || ui->screen.typing) return;
    editor_text(ui->editor, &ui->draft);
    editor_clear(ui->editor, false);
    ui->screen.typing = true;
}

static void typing_end(struct ui *ui) {
    if (!ui->screen.typing) return;
    editor_set(ui->editor, ui->draft.data ? ui->draft.data : "", ui->draft.len);
    ui->screen.typing = false;
}

static struct handover handover_of(struct ui *ui) {
    return (struct handover){ui->term, &ui->capture, ui->in_fd, ui->out_fd};
}

/* The box in a text editor; what came back takes its place. */
static void edit_outside(struct ui *ui) {
    struct handover handover = handover_of(ui);
    struct buf text = {0};
    struct err err;
    editor_text(ui->editor, &text);
    if (handover_edit(&handover, &text, &err) < 0)
        ui_notice(ui, 5000, "%s", err.text);
    else
        editor_set(ui->editor, text.data ? text.data : "", text.len);
    buf_free(&text);
}

static void mouse_switch(struct ui *ui, bool on) {
    ui->mouse = on;
    term_mouse(ui->term, on);
    ui_notice(ui, 5000,
              on ? "mouse on: the wheel scrolls, a click chooses; Shift and drag selects text" : "mouse off");
}

/* What the colours say as digits. Where they say nothing yet they begin to; a score is never without. */
static void switch_digits(struct screen *screen) {
    bool says = screen->scoring || screen->colour != COLOUR_MODE_OFF;
    screen->digits = !(screen->digits && says);
    if (!says) screen->colour = COLOUR_MODE_PROB;
}

static void own_action(struct ui *ui, int action) {
    struct screen *screen = &ui->screen;
    if (screen_scroll_view(screen, action)) return;
    switch (action) {
    case UI_ACTION_HELP: show_help(ui); break;
    case UI_ACTION_LOG: show_log(ui); break;
    case UI_ACTION_PANEL: screen->panel_off = !screen->panel_off; break;
    case UI_ACTION_COLOUR:
        screen->colour = (enum colour_mode)((screen->colour + 1) % COLOUR_MODE_COUNT);
        break;
    case UI_ACTION_DIGITS: switch_digits(screen); break;
    case UI_ACTION_REDRAW: term_redraw(ui->term); break;
    case UI_ACTION_PAGE_UP: chat_scroll_page(&screen->chat, -1); break;
    case UI_ACTION_PAGE_DOWN: chat_scroll_page(&screen->chat, 1); break;
    case UI_ACTION_LINE_UP: chat_scroll(&screen->chat, -1); break;
    case UI_ACTION_LINE_DOWN: chat_scroll(&screen->chat, 1); break;
    case UI_ACTION_TOP: chat_scroll_top(&screen->chat); break;
    case UI_ACTION_BOTTOM: chat_follow(&screen->chat); break;
    case UI_ACTION_TYPE: typing_begin(ui); break;
    case UI_ACTION_FIND: find_begin(&screen->chat.find); break;
    case UI_ACTION_FIND_NEXT: screen->chat.find.step++; break;
    case UI_ACTION_FIND_BACK: screen->chat.find.step--; break;
    case UI_ACTION_SOURCE: screen->chat.raw = !screen->chat.raw; break;
    case UI_ACTION_UNFOLD: screen->chat.unfolded = !screen->chat.unfolded; break;
    case UI_ACTION_MOUSE: mouse_switch(ui, !ui->mouse); break;
    case UI_ACTION_EXTERNAL: edit_outside(ui); break;
    default: break;
    }
}

/* ---- keys ---- */

/* A page is open: true if the key was for it. */
static bool pager_key(struct ui *ui, const struct key *key, int action) {
    bool letter = key->code == KEY_CODE_CHAR && key->mods == 0; /* those of less too */
    if (letter && key->c == 'j') action = UI_ACTION_LINE_DOWN;
    if (letter && key->c == 'k') action = UI_ACTION_LINE_UP;
    if (letter && key->c == 'g') action = UI_ACTION_TOP;
    if (letter && key->c == 'G') action = UI_ACTION_BOTTOM;
    if (action == UI_ACTION_QUIT || action == UI_ACTION_SUSPEND || action == UI_ACTION_REDRAW) return false;
    if (key->code == KEY_CODE_ENTER || action == UI_ACTION_ESCAPE || action == UI_ACTION_INTERRUPT ||
        action == UI_ACTION_HELP || action == UI_ACTION_LOG)
        pager_close(&ui->screen.pager);
    else
        screen_scroll_view(&ui->screen, action);
    return true;
}

/* A search of the conversation is typed, or its matches are walked over: true if the key was for it. */
static bool find_key(struct ui *ui, const struct key *key, int action) {
    struct find *find = &ui->screen.chat.find;
    bool moves = action >= UI_ACTION_REDRAW && action <= UI_ACTION_BOTTOM;
    if (find->state == FIND_OFF || moves) return false;
    if (action == UI_ACTION_ESCAPE || action == UI_ACTION_INTERRUPT) {
        find_end(find);
        return true;
    }
    if (find->state == FIND_ON) {
        bool walks =
            action == UI_ACTION_FIND_NEXT || action == UI_ACTION_FIND_BACK || action == UI_ACTION_FIND;
        if (!walks) find_end(find);
        return false;
    }
    if (key->code == KEY_CODE_ENTER || action == UI_ACTION_FIND) {
        if (find->pattern.len)
            find->state = FIND_ON;
        else
            find_end(find);
    } else if (key->code == KEY_CODE_BACKSPACE)
        find_type(find, 0);
    else if (key->code == KEY_CODE_CHAR && key->mods == 0)
        find_type(find, key->c);
    else if (action != ACTION_EDITOR) {
        find_end(find);
        return false;
    }
    return true;
}

/* Tab: what stands before the cursor goes to the app, which knows the commands. */
static void complete(struct ui *ui, const struct key *key) {
    box_update(ui);
    if (ui->box_text.len && ui->box_text.data[0] == '/' && ui->screen.box.cursor == ui->box_text.len)
        push_text(ui, UI_ACTION_COMPLETE, &ui->box_text);
    else
        editor_key(ui->editor, key);
}

static void take_key(struct ui *ui, const struct key *key);
static bool picker_key(struct ui *ui, const struct key *key, int action);

/* The key bar is pressed, a row of a list chosen and then picked, a candidate selected; all else is the
 * conversation's. What was drawn last is what was clicked. */
static void click(struct ui *ui, const struct key *key, bool covered) {
    const struct area *area = canvas_area_at(&ui->canvas, key->row, key->column);
    struct picker *picker = &ui->screen.picker;
    if (!area) {
        if (!covered) chat_click(&ui->screen.chat, key->row, key->column);
        return;
    }
    switch (area->kind) {
    case AREA_KEY: take_key(ui, &keymap[area->value].key); break;
    case AREA_ENTER: take_key(ui, &(struct key){.code = KEY_CODE_ENTER}); break;
    case AREA_ROW:
        if (area->value == picker->at)
            picker_key(ui, key, UI_ACTION_PICK);
        else
            picker_move(picker, (long)area->value - (long)picker->at);
        break;
    case AREA_CANDIDATE: push(ui, (struct ui_action){.type = UI_ACTION_CANDIDATE, .id = area->value}); break;
    }
}

/* What is no key: true if this was none. */
static bool terminal_event(struct ui *ui, const struct key *key) {
    const struct screen *screen = &ui->screen;
    bool covered = screen->pager.on || screen->picker.id || screen->comparing || screen->scoring;
    switch (key->code) {
    case KEY_CODE_SYNC: term_sync_known(ui->term); return true;
    case KEY_CODE_BACKGROUND:
        if (theme_background(key->c)) ui_theme_show(ui);
        return true;
    case KEY_CODE_FOCUS:
    case KEY_CODE_BLUR: ui->blurred = key->code == KEY_CODE_BLUR; return true;
    case KEY_CODE_WHEEL_UP:
    case KEY_CODE_WHEEL_DOWN: {
        int rows = key->code == KEY_CODE_WHEEL_UP ? -3 : 3;
        if (screen_keys(screen) == KEY_PICKER)
            picker_move(&ui->screen.picker, rows / 3);
        else if (covered)
            for (int i = 0; i < 3; i++)
                screen_scroll_view(&ui->screen, rows < 0 ? UI_ACTION_LINE_UP : UI_ACTION_LINE_DOWN);
        else
            chat_scroll(&ui->screen.chat, rows);
        return true;
    }
    case KEY_CODE_CLICK: click(ui, key, covered); return true;
    default: return false;
    }
}

/* The search of the line editor: Esc ends it with what was found, Ctrl-C gives it up. */
static bool search_key(struct ui *ui, const struct key *key, int action) {
    if (!editor_searching(ui->editor)) return false;
    struct key give_up = {.code = KEY_CODE_CHAR, .c = 'g', .mods = KEY_MOD_CTRL};
    if (action == UI_ACTION_INTERRUPT)
        editor_key(ui->editor, &give_up);
    else if (action == ACTION_EDITOR || action == UI_ACTION_ESCAPE || key_equal(key, &give_up))
        editor_key(ui->editor, key);
    else
        return false;
    return true;
}

/* The box has a token typed: Enter gives it to the app, blanks too; Esc gives it up. */
static bool typing_key(struct ui *ui, const struct key *key, int action) {
    if (!ui->screen.typing) return false;
    if (key->code == KEY_CODE_ENTER && key->mods == 0) {
        editor_text(ui->editor, &ui->box_text);
        if (ui->box_text.len && ui->busy) {
            ui_notice(ui, 5000, "still answering; Enter takes it when that is done");
            return true;
        }
        if (ui->box_text.len) push_text(ui, UI_ACTION_TYPED, &ui->box_text);
    } else if (action != UI_ACTION_ESCAPE && action != UI_ACTION_INTERRUPT)
        return false;
    typing_end(ui);
    return true;
}

/* What is typed over a list is its filter. */
static void filter_key(struct ui *ui, const struct key *key) {
    struct picker *picker = &ui->screen.picker;
    bool clear = key->code == KEY_CODE_CHAR && key->mods == KEY_MOD_CTRL && key->c == 'u';
    if (key->code == KEY_CODE_PASTE)
        picker_type(picker, ui->keys.paste.data ? ui->keys.paste.data : "", ui->keys.paste.len);
    else if (key->code == KEY_CODE_BACKSPACE || clear)
        picker_erase(picker, clear);
    else if (key->code == KEY_CODE_CHAR && key->mods == 0) {
        char bytes[4];
        picker_type(picker, bytes, (size_t)utf8_encode(key->c, bytes));
    }
    if (picker->stale && picker->searches) push_text(ui, UI_ACTION_FILTER, &picker->filter);
}

static void pick(struct ui *ui) {
    const struct picker_row *row = picker_selected(&ui->screen.picker);
    ui->screen.picker.picks = false;
    if (row && !row->grey) push(ui, (struct ui_action){.type = UI_ACTION_PICK, .id = row->id});
}

/* A list is open: true if the key was for it. Rows of an earlier search are not meant by Enter, which waits
 * for those that come, nor by the delete key. */
static bool picker_key(struct ui *ui, const struct key *key, int action) {
    struct picker *picker = &ui->screen.picker;
    const struct picker_row *row = picker_selected(picker);
    picker->picks = false;
    switch (action) {
    case UI_ACTION_HELP:
    case UI_ACTION_LOG:
    case UI_ACTION_REDRAW:
    case UI_ACTION_SUSPEND:
    case UI_ACTION_QUIT:
    case UI_ACTION_ESCAPE: return false;
    case UI_ACTION_INTERRUPT: push(ui, (struct ui_action){.type = UI_ACTION_ESCAPE}); break;
    case UI_ACTION_PICK_UP: picker_move(picker, -1); break;
    case UI_ACTION_PICK_DOWN: picker_move(picker, 1); break;
    case UI_ACTION_PAGE_UP: picker_move(picker, -picker->page); break;
    case UI_ACTION_PAGE_DOWN: picker_move(picker, picker->page); break;
    case UI_ACTION_TOP: picker_move(picker, -(long)picker->n); break;
    case UI_ACTION_BOTTOM: picker_move(picker, (long)picker->n); break;
    case UI_ACTION_PICK:
        if (picker->searching)
            picker->picks = true;
        else
            pick(ui);
        break;
    case UI_ACTION_PICK_DELETE:
        if (row && picker->deletes && !picker->searching)
            push(ui, (struct ui_action){.type = UI_ACTION_PICK_DELETE, .id = row->id});
        break;
    default: filter_key(ui, key); break;
    }
    return true;
}

/* A key that no binding has, or that means something else now. */
static int box_action(struct ui *ui, const struct key *key, int action) {
    bool empty = editor_empty(ui->editor);
    if (key->code == KEY_CODE_END && key->mods == 0 && empty && ui->screen.chat.stays)
        return UI_ACTION_BOTTOM;
    if (key->code == KEY_CODE_UP && key->mods == 0 && empty && ui->waits) return UI_ACTION_ESCAPE;
    if (action == UI_ACTION_EOF && !empty) return ACTION_EDITOR;
    if (action == UI_ACTION_ESCAPE && !ui->busy && editor_is_vi(ui->editor)) return ACTION_EDITOR;
    return action;
}

static void take_key(struct ui *ui, const struct key *key) {
    enum key_context context = screen_keys(&ui->screen);
    int action = keymap_find(key, context);
    ui->frame_wanted = ui->key_frame = true;
    if (terminal_event(ui, key)) return;
    ui->screen.notice_on = false;
    if (action != UI_ACTION_INTERRUPT) ui->interrupt_ns = 0;
    if (ui->screen.pager.on && pager_key(ui, key, action)) return;
    if (context == KEY_PICKER && picker_key(ui, key, action)) return;
    if (context == KEY_VIEW && action == UI_ACTION_INTERRUPT) action = UI_ACTION_ESCAPE;
    if (key->code == KEY_CODE_PASTE && context == KEY_BOX) {
        editor_paste(ui->editor, ui->keys.paste.data ? ui->keys.paste.data : "", ui->keys.paste.len);
        return;
    }
    if (find_key(ui, key, action)) return;
    if (context == KEY_FIND && action == ACTION_EDITOR) { /* which ended it */
        context = screen_keys(&ui->screen);
        action = keymap_find(key, context);
    }
    if (search_key(ui, key, action)) return;
    if (typing_key(ui, key, action)) return;
    if (context == KEY_BOX) action = box_action(ui, key, action);
    if (action == ACTION_EDITOR && context != KEY_BOX) return; /* a letter that means nothing here */
    if (action == ACTION_EDITOR)
        editor_key(ui->editor, key);
    else if (action >= UI_ACTION_COUNT_APP)
        own_action(ui, action);
    else if (action == UI_ACTION_FOLD) {
        editor_text(ui->editor, &ui->box_text);
        push_text(ui, UI_ACTION_FOLD, &ui->box_text);
    } else if (action == UI_ACTION_COMPLETE)
        complete(ui, key);
    else
        push(ui, (struct ui_action){.type = (enum ui_action_type)action});
}

/* ---- the editor's side of the loop ---- */

/* The editor waits for a key: decode one, or let the app take its turn. Keys wait until the app has taken the
 * actions of those before them, and a list follows its filter. */
static bool host_wait(void *context) {
    struct ui *ui = context;
    struct key key;
    if (!actions_waiting(ui) && !ui->screen.picker.stale && keys_next(&ui->keys, clock_ns(), &key)) {
        take_key(ui, &key);
        return true;
    }
    bool go_on = ui->step(ui->step_context);
    if (editor_waiting(ui->editor))
        ui->frame_wanted = true; /* its effect came too late for what was painted */
    return go_on;
}

static void host_submit(void *context, const char *text, size_t len) {
    push(context, (struct ui_action){.type = UI_ACTION_SUBMIT, .text = text, .len = len});
}

void ui_run(struct ui *ui, bool (*step)(void *context), void *context) {
    ui->step = step;
    ui->step_context = context;
    editor_run(ui->editor);
}

/* ---- the app's side ---- */

void ui_poll_fds(struct ui *ui, struct pollfd fds[UI_FDS]) {
    fds[0] = (struct pollfd){.fd = ui->gone ? -1 : ui->in_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = ui->capture.read_fd, .events = POLLIN};
}

int ui_input(struct ui *ui, const struct pollfd fds[UI_FDS], struct err *err) {
    if (fds[1].revents) capture_take(&ui->capture);
    short now = fds[0].revents;
    if (now & POLLIN) {
        char bytes[16384];
        ssize_t n = read(ui->in_fd, bytes, sizeof bytes);
        if (n > 0)
            keys_feed(&ui->keys, bytes, (size_t)n, clock_ns());
        else if (n == 0 || (errno != EINTR && errno != EAGAIN))
            ui->gone = true;
    } else if (now & (POLLHUP | POLLERR | POLLNVAL))
        ui->gone = true;
    return ui->gone ? err_set(err, STATUS_FAILED, "the terminal is gone") : STATUS_OK;
}

static void sooner(int64_t *best, int64_t when) {
    if (*best == 0 || when < *best) *best = when;
}

static int64_t frame_ns(const struct ui *ui) {
    return ui->key_frame ? KEY_FRAME_NS : FRAME_NS;
}

int ui_timeout_ms(struct ui *ui) {
    int64_t now = clock_ns(), when = 0, keys = keys_deadline_ns(&ui->keys);
    int64_t frame = ui->last_frame_ns + frame_ns(ui), panel = ui->last_panel_ns + PANEL_FRAME_NS;
    if (actions_waiting(ui) || ui->screen.picker.stale) return 0;
    if (keys) sooner(&when, keys);
    if (ui->frame_wanted) sooner(&when, frame);
    if (ui->screen.panel_holds) sooner(&when, panel > frame ? panel : frame);
    if (ui->screen.notice_on) sooner(&when, ui->notice_until_ns);
    if (when == 0) return -1;
    return when <= now ? 0 : (int)((when - now + 999999) / 1000000);
}

void ui_draw(struct ui *ui, const struct ui_model *model) {
    int64_t now = clock_ns();
    ui->waits = model->waits;
    ui->busy = model->status.state != UI_STATE_IDLE && model->status.state != UI_STATE_FAILED;
    screen_follow(&ui->screen, model);
    if (ui->screen.picker.picks && !ui->screen.picker.searching) pick(ui);
    if (!ui->screen.inspecting) typing_end(ui);
    ui->frame_wanted = true;
    bool keys_first = ui->keys.at < ui->keys.in.len; /* what is painted now would be out of date at once */
    if (keys_first || now - ui->last_frame_ns < frame_ns(ui)) return;
    ui->last_frame_ns = now;
    ui->frame_wanted = ui->key_frame = false;
    bool streams =
        model->status.state == UI_STATE_GENERATING && !model->inspect && ui->screen.panel_drawn.rows;
    ui->screen.panel_holds = streams && now - ui->last_panel_ns < PANEL_FRAME_NS;
    if (!ui->screen.panel_holds) ui->last_panel_ns = now;
    if (ui->screen.notice_on && now >= ui->notice_until_ns) ui->screen.notice_on = false;
    int rows, columns;
    term_size(ui->term, &rows, &columns);
    if (rows != ui->canvas.rows || columns != ui->canvas.columns) canvas_resize(&ui->canvas, rows, columns);
    box_update(ui);
    const struct pager *pager = &ui->screen.pager;
    size_t printed = pager->text.len;
    screen_draw(&ui->screen, model, &ui->canvas);
    ui->frame_wanted |= pager->parts.next && pager->text.len > printed; /* there is more of it */
    if (ui->screen.chat.clicked)
        push(ui, (struct ui_action){.type = UI_ACTION_POINT,
                                    .id = ui->screen.chat.clicked,
                                    .offset = ui->screen.chat.clicked_at});
    ui->screen.chat.clicked = 0;
    ui->screen.chat.click_row = 0;
    term_show(ui->term, &ui->canvas);
}

void ui_resized(struct ui *ui) {
    term_resized(ui->term);
    ui->frame_wanted = true;
}

void ui_suspend(struct ui *ui) {
    struct sigaction stop = {.sa_handler = SIG_DFL}, kept;
    term_leave(ui->term);
    sigaction(SIGTSTP, &stop, &kept);
    kill(0, SIGTSTP);
    sigaction(SIGTSTP, &kept, NULL);
    term_enter(ui->term);
    ui->frame_wanted = true;
}

void ui_resumed(struct ui *ui) {
    term_enter(ui->term);
    ui->frame_wanted = true;
}

void ui_notice(struct ui *ui, int ms, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(ui->screen.notice, sizeof ui->screen.notice, fmt, args);
    va_end(args);
    ui->screen.notice_on = true;
    ui->notice_until_ns = clock_ns() + ms * (int64_t)1000000;
    ui->frame_wanted = true;
}

bool ui_interrupt_again(struct ui *ui) {
    int64_t now = clock_ns();
    if (ui->interrupt_ns && now - ui->interrupt_ns < AGAIN_NS) return true;
    ui_notice(ui, (int)(AGAIN_NS / 1000000), "press Ctrl-C again to quit");
    ui->interrupt_ns = now;
    return false;
}

void ui_show_text(struct ui *ui, const char *title, const char *text, size_t len) {
    open_page(ui, title, text, len);
    ui->frame_wanted = true;
}

void ui_show_parts(struct ui *ui, const char *title, struct ui_parts parts) {
    open_page(ui, title, "", 0);
    ui->screen.pager.parts = parts;
    ui->frame_wanted = true;
}

bool ui_input_empty(struct ui *ui) {
    return !ui->screen.typing && editor_empty(ui->editor);
}

bool ui_input_begins(struct ui *ui, char c) {
    return editor_begins(ui->editor, c);
}

void ui_input_clear(struct ui *ui, bool keep) {
    editor_clear(ui->editor, keep);
}

void ui_input_set(struct ui *ui, const char *text, size_t len) {
    editor_set(ui->editor, text, len);
}

void ui_input_text(struct ui *ui, struct buf *out) {
    struct buf text = {0};
    editor_text(ui->editor, &text);
    buf_append(out, text.data, text.len);
    buf_free(&text);
}

void ui_find(struct ui *ui, const char *text, size_t len) {
    if (len)
        find_set(&ui->screen.chat.find, text, len);
    else
        find_begin(&ui->screen.chat.find);
    ui->frame_wanted = true;
}

void ui_show_plain(struct ui *ui, const char *text, size_t len) {
    struct handover handover = handover_of(ui);
    handover_show(&handover, text, len);
    ui->frame_wanted = true;
}

int ui_copy(struct ui *ui, const char *text, size_t len, struct err *err) {
    struct handover handover = handover_of(ui);
    return handover_copy(&handover, text, len, err);
}

void ui_theme_show(struct ui *ui) {
    term_theme(ui->term);
    ui->screen.digits = !term_has_colours(ui->term);
    ui->frame_wanted = true;
}

void ui_bell(struct ui *ui) {
    if (ui->bell == UI_BELL_ALWAYS || (ui->bell == UI_BELL_AUTO && ui->blurred)) term_put(ui->term, "\a", 1);
}

void ui_follow(struct ui *ui) {
    chat_follow(&ui->screen.chat);
}

/* ---- life ---- */

int ui_open(struct ui **out, const struct ui_options *options, struct err *err) {
    char notice[256] = "";
    struct ui *ui = xcalloc(1, sizeof *ui);
    ui->in_fd = options->in_fd;
    ui->out_fd = options->out_fd;
    ui->bell = options->bell;
    ui->capture = (struct capture){.saved_fd = -1, .read_fd = -1};
    struct editor_host host = {host_wait, host_submit, ui};
    int status = term_check(options->in_fd, options->out_fd, err);
    /* The editor first: it looks the terminal up too, and the library's current terminal must be the
     * screen's. */
    if (status == STATUS_OK) status = editor_open(&ui->editor, &host, options->history_path, err);
    if (status == STATUS_OK)
        status = term_open(&ui->term, options->in_fd, options->out_fd, options->colour, notice, err);
    if (status == STATUS_OK && !options->keep_stderr) status = capture_open(&ui->capture, err);
    if (status < 0) {
        term_close(ui->term);
        editor_close(ui->editor);
        free(ui);
        return status;
    }
    last_handlers_on();
    ui->canvas.glyphs = term_glyphs(ui->term);
    ui->screen.digits = !term_has_colours(ui->term);
    if (options->mouse) mouse_switch(ui, true);
    if (notice[0]) ui_notice(ui, 5000, "%s", notice);
    ui->frame_wanted = true;
    *out = ui;
    return STATUS_OK;
}

void ui_close(struct ui *ui) {
    if (!ui) return;
    last_handlers_off();
    term_close(ui->term);
    capture_close(&ui->capture, true);
    editor_close(ui->editor);
    for (size_t i = ui->first_action; i < ui->n_actions; i++) free(ui->actions[i].text);
    free(ui->actions);
    free(ui->taken_text);
    buf_free(&ui->draft);
    keys_free(&ui->keys);
    screen_free(&ui->screen);
    canvas_free(&ui->canvas);
    buf_free(&ui->box_text);
    buf_free(&ui->box_search);
    free(ui);
}
