#include "store/db.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "logi" and the version of the tables below, in the header of the file
 * (https://sqlite.org/fileformat2.html). */
enum { APPLICATION_ID = 0x6c6f6769, SCHEMA_VERSION = 1 };
enum { WRITER_PATIENCE_MS = 5000, READER_PATIENCE_MS = 500 };

/* Times are seconds since the epoch. A message's parent is 0 for the first one, a leaf 0 before the first
 * one, -1 at the newest, LEAF_DELETED where nothing is left to see. What is searched are complete messages:
 * `searchable` tells that the index has this text, and only then. */
static const char schema[] =
    "CREATE TABLE conversation(id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, named INTEGER NOT "
    "NULL,"
    " model TEXT NOT NULL, settings TEXT NOT NULL, began INTEGER NOT NULL, changed INTEGER NOT NULL,"
    " leaf INTEGER NOT NULL DEFAULT -1);"
    "CREATE INDEX conversation_changed ON conversation(changed);"
    "CREATE TABLE message(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " conversation INTEGER NOT NULL REFERENCES conversation(id) ON DELETE CASCADE, parent INTEGER NOT NULL,"
    " role TEXT NOT NULL, born INTEGER NOT NULL, dropped INTEGER NOT NULL, text BLOB NOT NULL, note TEXT,"
    " model TEXT, vocabulary INTEGER NOT NULL, searchable INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX message_conversation ON message(conversation);"
    "CREATE INDEX message_unfinished ON message(id) WHERE searchable = 0;"
    "CREATE TABLE tokens(id INTEGER PRIMARY KEY,"
    " message INTEGER NOT NULL REFERENCES message(id) ON DELETE CASCADE, first INTEGER NOT NULL,"
    " records BLOB NOT NULL);" /* store/tokens.h */
    "CREATE UNIQUE INDEX tokens_message ON tokens(message, first);"
    "CREATE TABLE draft(conversation INTEGER PRIMARY KEY, text TEXT NOT NULL);" /* -PID: of a chat that has
                                                                                   not begun */
    "CREATE VIRTUAL TABLE search USING fts5(text, content='message', content_rowid='id', "
    "tokenize='trigram');";

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool db_is_damage(int code) {
    code &= 0xff;
    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

int db_error(sqlite3 *db, const char *doing, struct err *err) {
    const char *name = sqlite3_db_filename(db, "main");
    const char *slash = name ? strrchr(name, '/') : NULL;
    return err_set(err, STATUS_FAILED, "%s %s: %s", doing, slash ? slash + 1 : "the chats",
                   sqlite3_errmsg(db));
}

/* ---- opening ---- */

static int check_version(const char *path, uint32_t application, uint32_t version, struct err *err) {
    if (application != APPLICATION_ID)
        return err_set(err, STATUS_UNSUPPORTED, "%s: found the database of another program", file_name(path));
    if (version != SCHEMA_VERSION)
        return err_set(err, STATUS_UNSUPPORTED, "%s: found version %u of the format, expected %d%s",
                       file_name(path), version, SCHEMA_VERSION,
                       version > SCHEMA_VERSION ? ": a newer logitop wrote it" : "");
    return STATUS_OK;
}

/* For its owner only. A file that is there is not opened here: closing it would drop the locks that SQLite
 * holds on it in this process (https://sqlite.org/howtocorrupt.html, 2.2). */
static int make_file(const char *path, struct err *err) {
    struct stat facts;
    if (stat(path, &facts) == 0) {
        if (facts.st_mode & 077) chmod(path, 0600);
        return STATUS_OK;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return err_set(err, STATUS_FAILED, "cannot make %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return STATUS_OK;
}

int db_number(sqlite3 *db, const char *sql, uint32_t *value) {
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code != SQLITE_OK) return code;
    code = sqlite3_step(statement);
    *value = (uint32_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* Another program may be doing the same. */
static int make_schema(sqlite3 *db) {
    char numbers[100];
    uint32_t version;
    sqlite3_snprintf(sizeof numbers, numbers, "PRAGMA application_id=%d; PRAGMA user_version=%d",
                     APPLICATION_ID, SCHEMA_VERSION);
    int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK) code = db_number(db, "PRAGMA user_version", &version);
    if (code == SQLITE_OK && version == 0) {
        code = sqlite3_exec(db, schema, NULL, NULL, NULL);
        if (code == SQLITE_OK) code = sqlite3_exec(db, numbers, NULL, NULL, NULL);
    }
    if (code == SQLITE_OK) return sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

struct facts {
    uint32_t version, application, n_tables;
};

/* As they are at one moment: another program may be making the schema. */
static int read_facts(sqlite3 *db, struct facts *facts) {
    int code = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    if (code == SQLITE_OK) code = db_number(db, "SELECT count(*) FROM sqlite_master", &facts->n_tables);
    if (code == SQLITE_OK) code = db_number(db, "PRAGMA user_version", &facts->version);
    if (code == SQLITE_OK) code = db_number(db, "PRAGMA application_id", &facts->application);
    if (code == SQLITE_OK) return sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* Where several programs make the file at one moment SQLite answers BUSY at once, whatever the busy timeout:
 * it is tried again. A file system without shared memory keeps its rollback journal, which is as safe, only
 * slower. */
static int use_wal(sqlite3 *db) {
    enum { PAUSE_MS = 5 };
    int code = SQLITE_BUSY;
    for (int ms = 0; (code & 0xFF) == SQLITE_BUSY && ms < WRITER_PATIENCE_MS; ms += PAUSE_MS) {
        if (ms) sqlite3_sleep(PAUSE_MS);
        code = sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    }
    return code;
}

static int prepare_connection(sqlite3 *db, const char *path, enum db_kind kind, struct err *err) {
    struct facts facts = {0};
    sqlite3_busy_timeout(db, kind == DB_WRITER ? WRITER_PATIENCE_MS : READER_PATIENCE_MS);
    sqlite3_extended_result_codes(db, 1);
    int code = read_facts(db, &facts);
    if (code != SQLITE_OK) return code;
    bool empty = !facts.version && !facts.application && !facts.n_tables;
    if (!empty && check_version(path, facts.application, facts.version, err) < 0) {
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* not a byte of it is changed */
        return SQLITE_OK;
    }
    if (kind == DB_READER)
        return sqlite3_exec(db, "PRAGMA query_only=ON; PRAGMA temp_store=MEMORY", NULL, NULL, NULL);
    code = sqlite3_exec(db, "PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY", NULL,
                        NULL, NULL);
    if (code == SQLITE_OK && empty) /* before all else: the file can be made smaller again, in parts */
        code = sqlite3_exec(db, "PRAGMA auto_vacuum=INCREMENTAL", NULL, NULL, NULL);
    if (code == SQLITE_OK) code = use_wal(db);
    return code == SQLITE_OK && empty ? make_schema(db) : code;
}

int db_open(sqlite3 **db, const char *path, enum db_kind kind, bool *damaged, struct err *err) {
    struct err refused = {0};
    *db = NULL;
    *damaged = false;
    int status = make_file(path, err);
    if (status < 0) return status;
    int code = sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK) code = prepare_connection(*db, path, kind, &refused);
    if (code == SQLITE_OK && !refused.code && kind == DB_WRITER && sqlite3_db_readonly(*db, "main"))
        err_set(&refused, STATUS_FAILED, "%s: found it read-only, expected to write there", file_name(path));
    if (code == SQLITE_OK && !refused.code) return STATUS_OK;
    *damaged = db_is_damage(code);
    status = refused.code ? err_set(err, refused.code, "%s", refused.text)
                          : err_set(err, STATUS_FAILED, "%s: %s", file_name(path),
                                    *db ? sqlite3_errmsg(*db) : "no memory");
    sqlite3_close(*db);
    *db = NULL;
    return status;
}

int db_open_damaged(sqlite3 **db, const char *path) {
    int code = sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) return code;
    sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_extended_result_codes(*db, 1);
    return sqlite3_exec(*db, "PRAGMA query_only=ON", NULL, NULL, NULL);
}
