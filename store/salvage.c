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

/* With its journal, which goes first: a database must never meet the journal of another. */
static int rename_database(const char *from, const char *to, struct err *err) {
    static const char *const parts[] = {"-wal", ""};
    int status = STATUS_OK;
    struct buf old = {0}, new = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == STATUS_OK; i++) {
        buf_clear(&old);
        buf_clear(&new);
        buf_printf(&old, "%s%s", from, parts[i]);
        buf_printf(&new, "%s%s", to, parts[i]);
        if (rename(old.data, new.data) && errno != ENOENT)
            status = err_set(err, STATUS_FAILED, "cannot rename %s: %s", old.data, strerror(errno));
    }
    buf_clear(&old);
    buf_printf(&old, "%s-shm", from); /* made anew from the journal */
    unlink(old.data);
    buf_free(&old);
    buf_free(&new);
    return status;
}

/* Where a damaged database is until all that can be read of it is in the new one. */
static char *repairing(const char *path) {
    struct buf name = {0};
    buf_printf(&name, "%s.repairing", path);
    return buf_take(&name);
}

static int rename_for_good(const char *path, const char *from, struct err *err) {
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
    int status = rename_database(from, to.data, err);
    log_line("damaged, and now %s", to.data);
    buf_free(&to);
    return status;
}

bool db_repair_waits(const char *path) {
    char *from = repairing(path);
    bool waits = access(from, F_OK) == 0;
    free(from);
    return waits;
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
    if (sqlite3_prepare_v2(db,
                           "SELECT (SELECT count(*) FROM conversation WHERE " VISIBLE
                           "), (SELECT count(*) FROM message)",
                           -1, &statement, NULL) != SQLITE_OK)
        return;
    if (sqlite3_step(statement) == SQLITE_ROW)
        for (int i = 0; i < 2; i++) n[i] = sqlite3_column_int64(statement, i);
    sqlite3_finalize(statement);
}

static int salvage(const char *path, const char *renamed, struct err *line, struct err *err) {
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
        status =
            err_set(err, STATUS_FAILED, "carrying the chats over into a new file: %s", sqlite3_errstr(code));
    sqlite3_close(from);
    count(to, n);
    sqlite3_close(to);
    if (status < 0) return status;
    err_set(line, STATUS_FAILED,
            "chats.db was damaged: it is set aside, %lld chat%s (%lld message%s) went into a new one", n[0],
            n[0] == 1 ? "" : "s", n[1], n[1] == 1 ? "" : "s");
    return STATUS_OK;
}

int db_repair(const char *path, struct err *line, struct err *err) {
    char *from = repairing(path);
    int status = db_repair_waits(path) ? STATUS_OK : rename_database(path, from, err);
    if (status == STATUS_OK) status = salvage(path, from, line, err);
    if (status == STATUS_OK) status = rename_for_good(path, from, err);
    free(from);
    return status;
}
