#include "store/write.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void job_free(struct job *job) {
    buf_free(&job->text);
    buf_free(&job->note);
    buf_free(&job->model);
    buf_free(&job->settings);
    buf_free(&job->records);
    free(job->numbers);
    free(job->rows);
    free(job);
}

/* ---- statements ---- */

#define OF_MESSAGE "(SELECT conversation FROM message WHERE id = ?1)"

enum statement {
    BEGIN_CONVERSATION,
    CHANGE_CONVERSATION,
    TOUCH_CONVERSATION,
    SET_LEAF,
    ADD_MESSAGE,
    ADD_TEXT,
    ADD_RECORDS,
    END_MESSAGE,
    INDEX_MESSAGE,
    INDEXED,
    UNINDEX_MESSAGE,
    UNINDEXED,
    REMOVE_MESSAGE,
    SET_DRAFT,
    DELETE_DRAFT,
    INDEX_UNFINISHED,
    UNFINISHED_INDEXED,
    HIDE_CONVERSATION,
    NEXT_HIDDEN,
    NEXT_MESSAGE,
    NEXT_RECORDS,
    REMOVE_RECORDS,
    DELETE_CONVERSATION,
    MERGE_INDEX,
    STATEMENT_COUNT
};

static const char *const sql[STATEMENT_COUNT] = {
    [BEGIN_CONVERSATION] = "INSERT INTO conversation(title, named, model, settings, began, changed)"
                           " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [CHANGE_CONVERSATION] =
        "UPDATE conversation SET title = ?2, named = ?3, model = ?4, settings = ?5 WHERE id = ?1",
    [TOUCH_CONVERSATION] = "UPDATE conversation SET changed = ?2 WHERE id = " OF_MESSAGE,
    [SET_LEAF] = "UPDATE conversation SET leaf = ?2 WHERE id = ?1 AND " VISIBLE,
    [ADD_MESSAGE] =
        "INSERT INTO message(conversation, parent, role, born, dropped, text, note, model, vocabulary)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM conversation WHERE id = ?1 AND " VISIBLE,
    [ADD_TEXT] = "UPDATE message SET text = CAST(text || ?2 AS BLOB) WHERE id = ?1",
    [ADD_RECORDS] = "INSERT INTO tokens(message, first, records) VALUES(?1, ?2, ?3)",
    [END_MESSAGE] = "UPDATE message SET note = ?2, dropped = ?3, vocabulary = ?4 WHERE id = ?1 AND EXISTS"
                    " (SELECT 1 FROM conversation c WHERE c.id = message.conversation AND " VISIBLE ")",
    [INDEX_MESSAGE] = "INSERT INTO search(rowid, text) SELECT id, CAST(text AS TEXT) FROM message"
                      " WHERE id = ?1 AND searchable = 0",
    [INDEXED] = "UPDATE message SET searchable = 1 WHERE id = ?1",
    [UNINDEX_MESSAGE] =
        "INSERT INTO search(search, rowid, text) SELECT 'delete', id, CAST(text AS TEXT) FROM message"
        " WHERE id = ?1 AND searchable = 1",
    [UNINDEXED] = "UPDATE message SET searchable = 0 WHERE id = ?1 AND searchable = 1",
    [REMOVE_MESSAGE] = "DELETE FROM message WHERE id = ?1",
    [SET_DRAFT] = "INSERT OR REPLACE INTO draft(conversation, text) VALUES(?1, ?2)",
    [DELETE_DRAFT] = "DELETE FROM draft WHERE conversation = ?1",
    [INDEX_UNFINISHED] =
        "INSERT INTO search(rowid, text) SELECT id, CAST(text AS TEXT) FROM message WHERE searchable = 0",
    [UNFINISHED_INDEXED] = "UPDATE message SET searchable = 1 WHERE searchable = 0",
    [HIDE_CONVERSATION] = "UPDATE conversation SET leaf = ?2 WHERE id = ?1",
    [NEXT_HIDDEN] = "SELECT id FROM conversation WHERE id > ?1 AND leaf = ?2 ORDER BY id",
    [NEXT_MESSAGE] = "SELECT id, length(text) FROM message WHERE conversation = ?1 ORDER BY id",
    [NEXT_RECORDS] = "SELECT id, length(records) FROM tokens WHERE message = ?1",
    [REMOVE_RECORDS] = "DELETE FROM tokens WHERE id = ?1",
    [DELETE_CONVERSATION] = "DELETE FROM conversation WHERE id = ?1",
    [MERGE_INDEX] = "INSERT INTO search(search, rank) VALUES('merge', ?1)",
};
_Static_assert((int)STATEMENT_COUNT <= STATEMENTS_MAX, "room for the statements");

/* The numbers of the first row; SQLITE_DONE if there is none. */
static int look_up(struct writer *writer, enum statement which, int64_t first, int64_t second, int64_t *id,
                   int64_t *size) {
    sqlite3_stmt *statement = writer->statements[which];
    sqlite3_bind_int64(statement, 1, first);
    if (sqlite3_bind_parameter_count(statement) > 1) sqlite3_bind_int64(statement, 2, second);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *id = sqlite3_column_int64(statement, 0);
        if (size) *size = sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* Values of a statement: 'i' int64_t, 't' const struct buf * as text, 'b' as a blob, 'n' as NULL. */
static int run(struct writer *writer, enum statement which, const char *types, ...) {
    sqlite3_stmt *statement = writer->statements[which];
    va_list values;
    va_start(values, types);
    for (int i = 0; types[i]; i++) {
        const struct buf *buf;
        switch (types[i]) {
        case 'i': sqlite3_bind_int64(statement, i + 1, va_arg(values, int64_t)); break;
        case 't':
            buf = va_arg(values, const struct buf *);
            sqlite3_bind_text64(statement, i + 1, buf->data ? buf->data : "", buf->len, SQLITE_STATIC,
                                SQLITE_UTF8);
            break;
        case 'b':
            buf = va_arg(values, const struct buf *);
            sqlite3_bind_blob64(statement, i + 1, buf->data ? buf->data : "", buf->len, SQLITE_STATIC);
            break;
        default:
            va_arg(values, const struct buf *);
            sqlite3_bind_null(statement, i + 1);
            break;
        }
    }
    va_end(values);
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

static const struct buf *text_of(const char *text, struct buf *buf) {
    *buf = (struct buf){.data = (char *)text, .len = strlen(text)};
    return buf;
}

/* ---- one piece of work ---- */

/* The row of what a number or a handle means; 0 where it means nothing. */
static int64_t lookup(const int64_t *rows, size_t cap, uint64_t at) {
    return at < cap ? rows[at] : 0;
}

void note_row(int64_t **rows, size_t *cap, uint64_t at, int64_t row) {
    size_t before = *cap;
    grow_array(rows, cap, at + 1, sizeof **rows);
    memset(*rows + before, 0, (*cap - before) * sizeof **rows);
    (*rows)[at] = row;
}

static int64_t conversation_row(const struct writer *writer, const struct job *job) {
    return lookup(writer->conversations, writer->cap_conversations, job->conversation);
}

static int64_t message_row(const struct writer *writer, uint64_t number) {
    return lookup(writer->rows, writer->cap_rows, number);
}

static int begin(struct writer *writer, const struct job *job) {
    int code = run(writer, BEGIN_CONVERSATION, "tittii", &job->text, (int64_t)job->flag, &job->model,
                   &job->settings, job->time, (int64_t)time(NULL));
    if (code == SQLITE_OK)
        note_row(&writer->conversations, &writer->cap_conversations, job->conversation,
                 sqlite3_last_insert_rowid(writer->db));
    return code;
}

static int add(struct writer *writer, const struct job *job) {
    static const char *const roles[STORE_ROLE_COUNT] = {
        [STORE_SYSTEM] = "system", [STORE_USER] = "user", [STORE_MODEL] = "assistant", [STORE_NOTE] = "note"};
    struct buf role;
    int code =
        run(writer, ADD_MESSAGE, job->has_note ? "iitiibtti" : "iitiibnti", conversation_row(writer, job),
            message_row(writer, job->parent), text_of(roles[job->role], &role), job->time, (int64_t)job->flag,
            &job->text, &job->note, &job->model, (int64_t)job->vocabulary);
    if (code == SQLITE_OK && sqlite3_changes(writer->db) == 0) return SQLITE_CONSTRAINT; /* it was deleted */
    if (code != SQLITE_OK) return code;
    int64_t row = sqlite3_last_insert_rowid(writer->db);
    note_row(&writer->rows, &writer->cap_rows, job->message, row);
    if (job->records.len) code = run(writer, ADD_RECORDS, "iib", row, (int64_t)0, &job->records);
    return code == SQLITE_OK ? run(writer, TOUCH_CONVERSATION, "ii", row, (int64_t)time(NULL)) : code;
}

static int append(struct writer *writer, const struct job *job, int64_t row) {
    int code = run(writer, UNINDEX_MESSAGE, "i", row);
    if (code == SQLITE_OK) code = run(writer, UNINDEXED, "i", row);
    if (code == SQLITE_OK && job->text.len) code = run(writer, ADD_TEXT, "ib", row, &job->text);
    if (code == SQLITE_OK && job->records.len)
        code = run(writer, ADD_RECORDS, "iib", row, (int64_t)job->first, &job->records);
    return code;
}

static int end(struct writer *writer, const struct job *job, int64_t row) {
    int code =
        run(writer, END_MESSAGE, "itii", row, &job->note, (int64_t)job->flag, (int64_t)job->vocabulary);
    if (code == SQLITE_OK && sqlite3_changes(writer->db) == 0) return SQLITE_CONSTRAINT; /* it was deleted */
    if (code == SQLITE_OK) code = run(writer, INDEX_MESSAGE, "i", row);
    if (code == SQLITE_OK) code = run(writer, INDEXED, "i", row);
    return code == SQLITE_OK ? run(writer, TOUCH_CONVERSATION, "ii", row, (int64_t)time(NULL)) : code;
}

static int remove_message(struct writer *writer, int64_t row) {
    int code = run(writer, UNINDEX_MESSAGE, "i", row);
    return code == SQLITE_OK ? run(writer, REMOVE_MESSAGE, "i", row) : code;
}

/* Deleted words leave the index when its parts are cleaned into one ("merge" in
 * https://sqlite.org/fts5.html#the_merge_command), which takes long where there are many. `all` begins that;
 * it goes on, in the next run of the program too, with every call until one finds nothing to do. */
static int merge_index(struct writer *writer, bool all) {
    enum { PAGES = 400 }; /* some 50 ms */
    int before = sqlite3_total_changes(writer->db);
    int code = run(writer, MERGE_INDEX, "i", (int64_t)(all ? -1 : PAGES));
    writer->cleaning = all || sqlite3_total_changes(writer->db) - before >= 2;
    return code;
}

/* Pages that are of no use any more go back to the file system, but for some. A file that cannot shrink so,
 * made by an earlier version, stays. */
static int shrink(struct writer *writer) {
    enum { PAGES = 2000, SPARE = 256 };
    static const char count[] = "PRAGMA freelist_count";
    uint32_t before = 0, after = 0;
    char part[48];
    int code = db_number(writer->db, count, &before);
    if (code != SQLITE_OK || before <= SPARE) return code;
    sqlite3_snprintf(sizeof part, part, "PRAGMA incremental_vacuum(%d)",
                     before - SPARE < PAGES ? (int)before - SPARE : PAGES);
    code = sqlite3_exec(writer->db, part, NULL, NULL, NULL);
    if (code == SQLITE_OK) code = db_number(writer->db, count, &after);
    writer->cleaning = after < before && after > SPARE;
    return code;
}

/* ---- deleting ---- */

/* What one transaction deletes, in bytes of records: some 30 ms. A byte of text costs as much as forty of
 * them, for the index, and a message that is empty something, too. */
enum { PART = 6 << 20, OF_TEXT = 40, OF_MESSAGE_ALONE = 4096 };

static int delete_records(struct writer *writer, int64_t message, int64_t *left) {
    int64_t id, size;
    int code = SQLITE_OK;
    while (code == SQLITE_OK && *left > 0 &&
           (code = look_up(writer, NEXT_RECORDS, message, 0, &id, &size)) == SQLITE_OK) {
        code = run(writer, REMOVE_RECORDS, "i", id);
        *left -= size;
    }
    return code;
}

/* SQLITE_DONE: nothing is left of it. */
static int delete_messages(struct writer *writer, int64_t conversation, int64_t *left) {
    int64_t id, size;
    int code = SQLITE_OK;
    while (code == SQLITE_OK && *left > 0 &&
           (code = look_up(writer, NEXT_MESSAGE, conversation, 0, &id, &size)) == SQLITE_OK) {
        code = delete_records(writer, id, left);
        if (code != SQLITE_DONE) continue;
        code = remove_message(writer, id);
        *left -= OF_TEXT * size + OF_MESSAGE_ALONE;
    }
    return code;
}

/* A part of what is hidden already. *any: there was some. */
static int delete_hidden(struct writer *writer, bool *any) {
    int64_t id = INT64_MIN, left = PART;
    int code = SQLITE_OK;
    bool words = false;
    *any = false;
    while (code == SQLITE_OK && left > 0 &&
           (code = look_up(writer, NEXT_HIDDEN, id, LEAF_DELETED, &id, NULL)) == SQLITE_OK) {
        *any = true;
        code = delete_messages(writer, id, &left);
        if (code != SQLITE_DONE) continue;
        code = run(writer, DELETE_CONVERSATION, "i", id);
        words = true;
    }
    if (code == SQLITE_DONE) code = SQLITE_OK;
    return code == SQLITE_OK && words ? merge_index(writer, true) : code;
}

/* A part of what is left to do after deleting. */
static int clean(struct writer *writer) {
    bool deleted;
    int code = delete_hidden(writer, &deleted);
    if (code == SQLITE_OK && !deleted) code = merge_index(writer, false);
    if (code == SQLITE_OK && !deleted && !writer->cleaning) code = shrink(writer);
    writer->cleaning |= deleted;
    return code;
}

/* From now on nobody sees it. */
static int hide_conversation(struct writer *writer, int64_t id) {
    writer->cleaning = true;
    int code = run(writer, HIDE_CONVERSATION, "ii", id, (int64_t)LEAF_DELETED);
    return code == SQLITE_OK ? run(writer, DELETE_DRAFT, "i", id) : code;
}

/* What the end of a program left open is complete now. Where another program is still writing it, that one
 * takes it out of the index again with its next words. */
static int index_unfinished(struct writer *writer) {
    int code = run(writer, INDEX_UNFINISHED, "");
    if (code == SQLITE_OK) code = run(writer, UNFINISHED_INDEXED, "");
    return code == SQLITE_OK ? clean(writer) : code;
}

static void resume(struct writer *writer, const struct job *job) {
    note_row(&writer->conversations, &writer->cap_conversations, job->conversation, job->id);
    for (size_t i = 0; i < job->n; i++)
        note_row(&writer->rows, &writer->cap_rows, job->numbers[i], job->rows[i]);
}

static int run_job(struct writer *writer, const struct job *job) {
    int64_t conversation = conversation_row(writer, job), message = message_row(writer, job->message);
    switch (job->kind) {
    case JOB_BEGIN: return begin(writer, job);
    case JOB_CHANGE:
        return run(writer, CHANGE_CONVERSATION, "ititt", conversation, &job->text, (int64_t)job->flag,
                   &job->model, &job->settings);
    case JOB_ADD: return add(writer, job);
    case JOB_APPEND: return append(writer, job, message);
    case JOB_END: return end(writer, job, message);
    case JOB_REMOVE: return remove_message(writer, message);
    case JOB_LEAF: return run(writer, SET_LEAF, "ii", conversation, message);
    case JOB_DRAFT:
        return job->text.len ? run(writer, SET_DRAFT, "it", job->id ? job->id : conversation, &job->text)
                             : run(writer, DELETE_DRAFT, "i", job->id ? job->id : conversation);
    case JOB_DELETE: return hide_conversation(writer, job->id);
    case JOB_RESUME: resume(writer, job); return SQLITE_OK;
    case JOB_TIDY: return index_unfinished(writer);
    case JOB_CLEAN: return clean(writer);
    case JOB_REPAIR: return SQLITE_CORRUPT;
    }
    return SQLITE_OK;
}

/* ---- the connection ---- */

static void disconnect(struct writer *writer) {
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(writer->statements[i]);
        writer->statements[i] = NULL;
    }
    sqlite3_close(writer->db);
    writer->db = NULL;
}

static int connect(struct writer *writer, bool *damaged, struct err *err) {
    int status = db_open(&writer->db, writer->path, DB_WRITER, damaged, err);
    if (status < 0) return status;
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        int code = sqlite3_prepare_v3(writer->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &writer->statements[i], NULL);
        if (code == SQLITE_OK) continue;
        *damaged = db_is_damage(code) || (code & 0xff) == SQLITE_ERROR; /* tables are missing */
        status = db_error(writer->db, "reading", err);
        disconnect(writer);
        return status;
    }
    if (stat(writer->path, &writer->file)) writer->file = (struct stat){0};
    return STATUS_OK;
}

static int replace(struct writer *writer, struct err *err) {
    bool damaged;
    int status = db_repair(writer->path, &writer->notice, err);
    return status == STATUS_OK ? connect(writer, &damaged, err) : status;
}

int writer_open(struct writer *writer, struct err *err) {
    bool damaged = false;
    if (db_repair_waits(writer->path)) return replace(writer, err);
    struct err broken = {0};
    int status = connect(writer, &damaged, &broken);
    if (status < 0 && damaged) return replace(writer, err);
    return status < 0 ? err_set(err, broken.code, "%s", broken.text) : STATUS_OK;
}

void writer_free(struct writer *writer) {
    disconnect(writer);
    free(writer->path);
    free(writer->conversations);
    free(writer->rows);
    *writer = (struct writer){0};
}

/* Somebody removed or replaced the file: what is open has no name any more. */
static bool file_is_gone(const struct writer *writer) {
    struct stat now;
    return stat(writer->path, &now) || now.st_ino != writer->file.st_ino || now.st_dev != writer->file.st_dev;
}

/* Ends of messages survive the loss of power; what streams is soon followed by one. */
static bool is_durable(const struct job *jobs) {
    for (; jobs; jobs = jobs->next)
        if (jobs->kind != JOB_APPEND && jobs->kind != JOB_DRAFT && jobs->kind != JOB_TIDY &&
            jobs->kind != JOB_CLEAN)
            return true;
    return false;
}

static int transaction(struct writer *writer, const struct job *jobs) {
    bool cleaned = false;
    int code =
        sqlite3_exec(writer->db, is_durable(jobs) ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
                     NULL, NULL, NULL);
    if (code == SQLITE_OK) code = sqlite3_exec(writer->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    writer->cleaning = false;
    for (; jobs && code == SQLITE_OK; jobs = jobs->next) {
        code = run_job(writer, jobs);
        cleaned |= jobs->kind == JOB_CLEAN;
    }
    if (code == SQLITE_OK) code = sqlite3_exec(writer->db, "COMMIT", NULL, NULL, NULL);
    if (code == SQLITE_OK && cleaned && !writer->cleaning) /* out of the journal too */
        sqlite3_exec(writer->db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    return code;
}

static enum outcome open_again(struct writer *writer, struct err *err) {
    if (writer->db)
        err_set(&writer->notice, STATUS_FAILED,
                "chats.db was removed or replaced; this chat goes into what is there now");
    disconnect(writer);
    return writer_open(writer, err) < 0 ? OUTCOME_RETRY : OUTCOME_VOID;
}

enum outcome writer_run(struct writer *writer, const struct job *jobs, struct err *err) {
    if (!writer->db || file_is_gone(writer)) return open_again(writer, err);
    int code = transaction(writer, jobs);
    if (code == SQLITE_OK) return OUTCOME_DONE;
    db_error(writer->db, "writing", err);
    if (!sqlite3_get_autocommit(writer->db)) sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL);
    if (db_is_damage(code)) {
        sqlite3_db_config(writer->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        disconnect(writer);
        return replace(writer, err) < 0 ? OUTCOME_RETRY : OUTCOME_VOID;
    }
    return (code & 0xff) == SQLITE_CONSTRAINT ? OUTCOME_VOID : OUTCOME_RETRY;
}
