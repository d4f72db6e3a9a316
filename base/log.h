/* A log of one process, for developers: off until log_open(). Any thread may write. Lines are kept as they are;
 * control characters are written as \xNN so that a log can be looked at in a terminal. */
#ifndef LOGITOP_BASE_LOG_H
#define LOGITOP_BASE_LOG_H

void log_open(const char *path); /* append to this file; a file that cannot be opened leaves the log off */
void log_close(void);
__attribute__((format(printf, 1, 2))) void log_line(const char *fmt, ...);

#endif
