/* Inside store/: a connection with its schema. Used by one thread at a time. */
#ifndef LOGITOP_STORE_DB_H
#define LOGITOP_STORE_DB_H

#include "base/err.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The leaf of a conversation that is being deleted, part by part: nobody is to see it again. Of all others:
 */
enum { LEAF_DELETED = -2 };
#define VISIBLE "leaf <> -2"

enum db_kind { DB_WRITER /* makes the schema where there is none */, DB_READER };

/* STATUS_UNSUPPORTED: another version or another program's, not touched. STATUS_FAILED: *damaged tells
 * whether the file is broken rather than out of reach. *db is NULL on failure. */
int db_open(sqlite3 **db, const char *path, enum db_kind kind, bool *damaged, struct err *err);

/* To read what can be read of a damaged one, as it is. An SQLite result; *db is to be closed in any case. */
int db_open_damaged(sqlite3 **db, const char *path);

bool db_is_damage(int code); /* an SQLite result that means the file is broken */
int db_number(sqlite3 *db, const char *sql, uint32_t *value);  /* of the first row; an SQLite code */
int db_error(sqlite3 *db, const char *doing, struct err *err); /* STATUS_FAILED with SQLite's words */

/* In place of a damaged database a new one with all that can be read of it; the line tells how much that was.
 * The old file is called PATH.damaged-DATE in the end. Where this fails half-way, or the program ends, the
 * next call goes on: it is waited for. */
int db_repair(const char *path, struct err *line, struct err *err);
bool db_repair_waits(const char *path);

#endif
