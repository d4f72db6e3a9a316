/* What becomes of a damaged database: it is renamed, and all of it that can still be read goes into a new
 * one. */
#include "store/db.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int db_set_aside(const char *path, char **renamed, struct err *err) {
    static const char *const parts[] = {"",
                                        "-wal"}; /* the journal belongs to it; -shm is made anew from it */
    char date[32];
    time_t now = time(NULL);
    struct tm local;
    strftime(date, sizeof date, "%Y-%m-%dT%H-%M-%S", localtime_r(&now, &local));
    struct buf to = {0};
    int try = 0;
    do {
        buf_clear(&to);
        buf_printf(&to, "%s.damaged-%s", path, date);
        if (try) buf_printf(&to, "-%d", try);
    } while (access(to.data, F_OK) == 0 && ++try < 100);
    int status = STATUS_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == STATUS_OK; i++) {
        struct buf from_part = {0}, to_part = {0};
        buf_printf(&from_part, "%s%s", path, parts[i]);
        buf_printf(&to_part, "%s%s", to.data, parts[i]);
        if (rename(from_part.data, to_part.data) && errno != ENOENT)
            status = err_set(err, STATUS_FAILED, "cannot rename %s: %s", from_part.data, strerror(errno));
        buf_free(&from_part);
        buf_free(&to_part);
    }
    struct buf shm = {0};
    buf_printf(&shm, "%s-shm", path);
    unlink(shm.data);
    buf_free(&shm);
    *renamed = buf_take(&to);
    return status;
}

struct table {
    const char *name, *columns, *places; /* the first column is the rowid */
};

static const struct table tables[] = {
    {"conversation", "id, title, named, model, settings, began, changed, leaf", "?,?,?,?,?,?,?,?"},
    {"message", "id, conversation, parent, role, born, dropped, text, note, model, vocabulary",
     "?,?,?,?,?,?,?,?,?,?"},
    {"tokens", "id, message, first, records", "?,?,?,?"},
    {"draft", "conversation, text", "?,?"},
};
enum { N_TABLES = sizeof tables / sizeof *tables };

/* Is this the damage, rather than something that may be better at the next try? */
static bool is_end_of_readable(int code) {
    return code == SQLITE_OK || code == SQLITE_DONE || db_is_damage(code) || code == SQLITE_ERROR ||
           code == SQLITE_IOERR_READ || code == SQLITE_IOERR_SHORT_READ;
}

/* Rows in one direction, until all are there or the damage is reached. A row that breaks a rule of the schema
 * is part of the damage. */
static int copy_rows(sqlite3 *from, sqlite3_stmt *insert, const struct table *table, const char *direction) {
    char *sql =
        sqlite3_mprintf("SELECT %s FROM %s ORDER BY rowid %s", table->columns, table->name, direction);
    sqlite3_stmt *select = NULL;
    if (!sql) return SQLITE_NOMEM;
    int code = SQLITE_OK, read = sqlite3_prepare_v2(from, sql, -1, &select, NULL);
    while (read == SQLITE_OK && code == SQLITE_OK && (read = sqlite3_step(select)) == SQLITE_ROW) {
        read = SQLITE_OK;
        for (int i = 0; i < sqlite3_column_count(select); i++)
            sqlite3_bind_value(insert, i + 1, sqlite3_column_value(select, i));
        sqlite3_step(insert);
        code = sqlite3_reset(insert);
        if ((code & 0xff) == SQLITE_CONSTRAINT) code = SQLITE_OK;
    }
    sqlite3_finalize(select);
    sqlite3_free(sql);
    return code == SQLITE_OK && !is_end_of_readable(read) ? read : code;
}

/* From both ends: what lies between the first damage and the last one is lost, the rest is not. */
static int copy_table(sqlite3 *from, sqlite3 *to, const struct table *table) {
    char *sql = sqlite3_mprintf("INSERT OR IGNORE INTO %s(%s) VALUES(%s)", table->name, table->columns,
                                table->places);
    sqlite3_stmt *insert = NULL;
    int code = sql ? sqlite3_prepare_v2(to, sql, -1, &insert, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    if (code == SQLITE_OK) code = copy_rows(from, insert, table, "ASC");
    if (code == SQLITE_OK) code = copy_rows(from, insert, table, "DESC");
    sqlite3_finalize(insert);
    return code;
}

/* Messages whose conversation is lost get one to be found in; records without a message are of no use. */
static const char mend[] =
    "INSERT INTO conversation(id, title, named, model, settings, began, changed)"
    " SELECT conversation, '(from a damaged file)', 0, '', '{}', min(born), max(born) FROM message"
    " WHERE conversation NOT IN (SELECT id FROM conversation) GROUP BY conversation;"
    "DELETE FROM tokens WHERE message NOT IN (SELECT id FROM message);"
    "UPDATE message SET searchable = 1;"
    "INSERT INTO search(search) VALUES('rebuild');";

static void count(sqlite3 *db, long long n[2]) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, "SELECT (SELECT count(*) FROM conversation), (SELECT count(*) FROM message)",
                           -1, &statement, NULL) != SQLITE_OK)
        return;
    if (sqlite3_step(statement) == SQLITE_ROW)
        for (int i = 0; i < 2; i++) n[i] = sqlite3_column_int64(statement, i);
    sqlite3_finalize(statement);
}

int db_salvage(const char *path, const char *renamed, struct err *line, struct err *err) {
    sqlite3 *from = NULL, *to;
    bool damaged;
    int status = db_open(&to, path, DB_WRITER, &damaged, err);
    if (status < 0) return status;
    long long n[2] = {0};
    int code = sqlite3_exec(to, "PRAGMA foreign_keys=OFF; BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK) code = db_open_damaged(&from, renamed);
    for (int i = 0; i < N_TABLES && code == SQLITE_OK; i++) code = copy_table(from, to, &tables[i]);
    if (code == SQLITE_OK) code = sqlite3_exec(to, mend, NULL, NULL, NULL);
    if (code == SQLITE_OK) code = sqlite3_exec(to, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        status = err_set(err, STATUS_FAILED, "carrying %s over into a new file: %s", renamed,
                         sqlite3_errstr(code));
    sqlite3_close(from);
    count(to, n);
    sqlite3_close(to);
    if (status < 0) return status;
    err_set(line, STATUS_FAILED,
            "chats.db was damaged: it is set aside, %lld chat%s (%lld message%s) went into a new one", n[0],
            n[0] == 1 ? "" : "s", n[1], n[1] == 1 ? "" : "s");
    log_line("damaged, and now %s", renamed);
    return STATUS_OK;
}
