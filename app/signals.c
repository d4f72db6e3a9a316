#include "app/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int pipe_fds[2] = {-1, -1};
static volatile sig_atomic_t ending, interrupted;

static void note(int number) {
    int kept = errno;
    unsigned char byte = (unsigned char)number;
    if ((number == SIGTERM || number == SIGHUP) && !ending) ending = number;
    if (number == SIGINT) interrupted = 1;
    /* A full pipe loses nothing that matters: it wakes the loop already, and endings are kept above. */
    ssize_t written = write(pipe_fds[1], &byte, 1);
    (void)written;
    errno = kept;
}

static void catch (int number) {
    struct sigaction old, action = {.sa_handler = note};
    sigfillset(&action.sa_mask);
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN) return;
    sigaction(number, &action, NULL);
}

int signals_open(struct err *err) {
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK))
        return err_set(err, STATUS_FAILED, "cannot make a pipe: %s", strerror(errno));
    catch (SIGINT);
    catch (SIGTERM);
    catch (SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* and EFBIG */
    return STATUS_OK;
}

void signals_add_screen(void) {
    catch (SIGWINCH);
    catch (SIGTSTP);
    catch (SIGCONT);
}

int signals_fd(void) {
    return pipe_fds[0];
}

int signals_next(void) {
    unsigned char byte;
    return read(pipe_fds[0], &byte, 1) == 1 ? byte : 0;
}

int signals_ending(void) {
    return ending ? ending : interrupted ? SIGINT : 0;
}

void signals_forget_interrupt(void) {
    interrupted = 0;
}

int signals_exit_code(int signal) {
    return 128 + signal;
}
