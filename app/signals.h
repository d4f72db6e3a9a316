/* Signals as bytes in a pipe: the loop polls them like everything else. The handler writes one byte and
 * nothing more. */
#ifndef LOGITOP_APP_SIGNALS_H
#define LOGITOP_APP_SIGNALS_H

#include "base/err.h"

#include <stdbool.h>

/* Catch INT, TERM and HUP; a signal the parent process ignores stays ignored (nohup). SIGPIPE and SIGXFSZ are
 * ignored: writes say EPIPE and EFBIG. Not restarted: a read or write that waits is interrupted. Once in a
 * process, before anything that takes time. */
int signals_open(struct err *err);
void signals_add_screen(void); /* and WINCH, TSTP, CONT, which only a screen can obey */
int signals_fd(void);          /* readable when one came */
int signals_next(void);        /* its number, oldest first; 0: none */

/* The first of TERM and HUP that came, else INT if that came, else 0. Stays set: for places that must not
 * wait any more. */
int signals_ending(void);
void signals_forget_interrupt(void); /* that INT was dealt with */

int signals_exit_code(int signal); /* 128 + signal */

#endif
