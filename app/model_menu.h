/* Models on the screen: the list to choose from (F2, /model), and one that is being fetched (/pull). Looking
 * for models and fetching one are done by threads, so that the chat stays usable meanwhile. UI thread only.
 */
#ifndef LOGITOP_APP_MODEL_MENU_H
#define LOGITOP_APP_MODEL_MENU_H

#include "app/chat.h"
#include "app/model_choice.h"
#include "models/pull.h"
#include "ui/ui.h"

#include <poll.h>

struct model_scan;
struct model_row;

struct model_menu { /* zero it, then set ui and chat */
    struct ui *ui;
    struct chat *chat;
    bool open;
    struct model_scan *scan; /* looking for models; NULL: nobody is */
    struct model_list list;
    struct ui_picker picker;
    struct ui_picker_row *rows; /* [list.n] */
    struct model_row *texts;    /* [list.n] of their columns */
    struct pull *pull;          /* NULL: nothing is fetched */
    struct buf task;            /* how far it is, for the status line */
};

enum { MODEL_MENU_FDS = 3 };
void model_menu_fds(const struct model_menu *menu, struct pollfd fds[MODEL_MENU_FDS]);
/* Take what came from the threads and from a model that is being loaded. */
void model_menu_pump(struct model_menu *menu);
/* True: this was for the list, or for what goes on beside the chat. */
bool model_menu_act(struct model_menu *menu, const struct ui_action *action);

void model_menu_open(struct model_menu *menu);
int model_menu_pull(struct model_menu *menu, const char *name,
                    struct err *err); /* "stop" stops the one that runs */
bool model_menu_stop(
    struct model_menu *menu); /* loading another model, or fetching one; false: neither is done */

void model_menu_view(struct model_menu *menu, struct ui_model *model); /* after view_fill() */
void model_menu_close(struct model_menu *menu);                        /* stops and frees everything */

#endif
