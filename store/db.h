/* Inside store/: a connection with its schema and statements. Used by one thread at a time. */
#ifndef LOGITOP_STORE_DB_H
#define LOGITOP_STORE_DB_H

#include "base/err.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

enum db_kind { DB_WRITER /* makes the schema where there is none */, DB_READER };

/* STATUS_UNSUPPORTED: another version or another program's, not touched. STATUS_FAILED: *damaged tells
 * whether the file is broken rather than out of reach. *db is NULL on failure. */
int db_open(sqlite3 **db, const char *path, enum db_kind kind, bool *damaged, struct err *err);

/* To read what can be read of a damaged one, as it is. An SQLite result; *db is to be closed in any case. */
int db_open_damaged(sqlite3 **db, const char *path);

bool db_is_damage(int code); /* an SQLite result that means the file is broken */
int db_error(sqlite3 *db, const char *doing, struct err *err); /* STATUS_FAILED with SQLite's words */

/* Rename the database, with its journal, to PATH.damaged-DATE; err tells in one line how it is called now. */
int db_set_aside(const char *path, char **renamed, struct err *err);
/* A new database at `path` with all that can be read of `renamed`. The line tells how much that was. */
int db_salvage(const char *path, const char *renamed, struct err *line, struct err *err);

#endif
