#include "store/read.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"
#include "store/db.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
    char *path;
    const atomic_bool *stop;
    sqlite3 *db; /* NULL: not open */
    struct stat file;
};

struct reader *reader_new(const char *path, const atomic_bool *stop) {
    struct reader *reader = xcalloc(1, sizeof *reader);
    reader->path = xstrdup(path);
    reader->stop = stop;
    return reader;
}

static void reader_close(struct reader *reader) {
    sqlite3_close(reader->db);
    reader->db = NULL;
}

void reader_free(struct reader *reader) {
    reader_close(reader);
    free(reader->path);
    free(reader);
}

/* Called by SQLite after so many of its steps. sqlite3_interrupt() would be lost on a statement that is about
 * to begin. */
enum { STOP_STEPS = 2000 };

static int wants_stop(void *context) {
    const struct reader *reader = context;
    return atomic_load(reader->stop);
}

/* has(text, word): text_find() does. */
static void sql_has(sqlite3_context *context, int n, sqlite3_value **values) {
    (void)n;
    const char *text = sqlite3_value_blob(values[0]), *word = sqlite3_value_blob(values[1]);
    size_t len = (size_t)sqlite3_value_bytes(values[0]), word_len = (size_t)sqlite3_value_bytes(values[1]);
    sqlite3_result_int(context, text && text_find(text, len, word, word_len) != SIZE_MAX);
}

static int reader_open(struct reader *reader, bool *damaged, struct err *err) {
    struct stat now = {0};
    *damaged = false;
    if (stat(reader->path, &now) || now.st_ino != reader->file.st_ino || now.st_dev != reader->file.st_dev)
        reader_close(reader);
    reader->file = now;
    if (reader->db) return STATUS_OK;
    int status = db_open(&reader->db, reader->path, DB_READER, damaged, err);
    if (status < 0) return status;
    sqlite3_progress_handler(reader->db, STOP_STEPS, wants_stop, reader);
    int code = sqlite3_create_function_v2(reader->db, "has", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                          sql_has, NULL, NULL, NULL);
    if (code == SQLITE_OK) return STATUS_OK;
    status = db_error(reader->db, "reading", err);
    reader_close(reader);
    return status;
}

/* The end of a reading: SQLITE_DONE, or what went wrong. */
static int reader_done(struct reader *reader, sqlite3_stmt *statement, int code, bool *damaged,
                       struct err *err) {
    bool stopped = (code & 0xff) == SQLITE_INTERRUPT;
    int status = code == SQLITE_DONE ? STATUS_OK
                 : stopped           ? err_set(err, STATUS_STOPPED, "stopped")
                                     : db_error(reader->db, "reading", err);
    *damaged = db_is_damage(code);
    sqlite3_finalize(statement);
    if (status < 0 && !stopped) reader_close(reader);
    return status;
}

/* Bytes with a NUL behind them; NULL is NULL. */
static char *text_column(sqlite3_stmt *statement, int column, struct arena *arena) {
    if (sqlite3_column_type(statement, column) == SQLITE_NULL) return NULL;
    const void *text = sqlite3_column_blob(statement, column);
    return arena_dup(arena, text ? text : "", (size_t)sqlite3_column_bytes(statement, column));
}

static char *text_or_empty(sqlite3_stmt *statement, int column, struct arena *arena) {
    char *text = text_column(statement, column, arena);
    return text ? text : arena_dup(arena, "", 0);
}

/* ---- finding ---- */

enum { WORDS_MAX = 16, TRIGRAM = 3, SCANNED_MAX = 20000 /* messages, without the index: some 20 ms */ };

struct query {
    char *words[WORDS_MAX];
    bool indexed[WORDS_MAX]; /* long enough for the index */
    bool ascii[WORDS_MAX];   /* LIKE knows upper and lower case of these, and is fast; of others has() does */
    size_t n;
    struct buf match; /* for the index: "word" "word"; empty: no word is long enough */
};

static size_t count_characters(const char *word) {
    size_t n = 0;
    for (; *word; word++) n += ((unsigned char)*word & 0xC0) != 0x80;
    return n;
}

static bool is_ascii(const char *word) {
    while (*word && (unsigned char)*word < 0x80) word++;
    return !*word;
}

static void add_phrase(struct buf *match, const char *word) {
    buf_putc(match, '"');
    for (; *word; word++) {
        if (*word == '"') buf_putc(match, '"');
        buf_putc(match, *word);
    }
    buf_puts(match, "\" ");
}

static void split_query(struct query *query, const char *text, struct arena *arena) {
    static const char blanks[] = " \t\r\n";
    for (const char *at = text ? text : ""; query->n < WORDS_MAX; at += strcspn(at, blanks)) {
        at += strspn(at, blanks);
        if (!*at) break;
        char *word = arena_dup(arena, at, strcspn(at, blanks));
        bool indexed = query->indexed[query->n] = count_characters(word) >= TRIGRAM;
        if (indexed) add_phrase(&query->match, word);
        query->ascii[query->n] = is_ascii(word);
        query->words[query->n++] = word;
    }
}

/* Parts of words, as LIKE finds them: %50\%% */
static char *like_pattern(const char *word, struct arena *arena) {
    struct buf pattern = {0};
    buf_putc(&pattern, '%');
    for (; *word; word++) {
        if (strchr("%_\\", *word)) buf_putc(&pattern, '\\');
        buf_putc(&pattern, *word);
    }
    buf_putc(&pattern, '%');
    char *copy = arena_dup(arena, pattern.data, pattern.len);
    buf_free(&pattern);
    return copy;
}

/* AND this text has the i-th word. */
static void and_has(const struct query *query, size_t i, const char *text, struct buf *sql) {
    if (query->ascii[i])
        buf_printf(sql, " AND CAST(%s AS TEXT) LIKE ?%zu ESCAPE '\\'", text, i + 3);
    else
        buf_printf(sql, " AND has(%s, ?%zu)", text, i + 3);
}

/* ?1 is the limit, ?2 what the index looks for, ?3 and on the words, as patterns where they are ASCII. Words
 * that are too short for the index of trigrams are looked for in all the text that is left. */
static void list_sql(const struct query *query, struct buf *sql) {
    static const char columns[] = "c.id, c.title, c.model, c.changed, (SELECT count(*) FROM message m WHERE"
                                  " m.conversation = c.id AND m.role <> 'note')";
    if (!query->n) {
        buf_printf(sql,
                   "SELECT %s FROM conversation c WHERE " VISIBLE " AND EXISTS (SELECT 1 FROM message"
                   " WHERE conversation = c.id) ORDER BY c.changed DESC, c.id DESC LIMIT ?1",
                   columns);
        return;
    }
    buf_puts(sql,
             "WITH hit(conversation, message) AS (SELECT m.conversation, max(m.id) FROM message m WHERE 1");
    if (!query->match.len) buf_printf(sql, " AND m.id > (SELECT max(id) FROM message) - %d", SCANNED_MAX);
    if (query->match.len) buf_puts(sql, " AND m.id IN (SELECT rowid FROM search WHERE search MATCH ?2)");
    for (size_t i = 0; i < query->n; i++)
        if (!query->indexed[i]) and_has(query, i, "m.text", sql);
    buf_printf(
        sql,
        " GROUP BY m.conversation) SELECT %s, f.text FROM conversation c LEFT JOIN hit ON hit.conversation ="
        " c.id LEFT JOIN message f ON f.id = hit.message WHERE " VISIBLE
        " AND (hit.message IS NOT NULL OR (1",
        columns);
    for (size_t i = 0; i < query->n; i++) and_has(query, i, "c.title", sql);
    buf_puts(sql, ")) ORDER BY c.changed DESC, c.id DESC LIMIT ?1");
}

/* Around the first word that is found, else the beginning. */
static char *found_place(const char *text, size_t len, const struct query *query, struct arena *arena) {
    enum { BEFORE = 8, LENGTH = 160 };
    size_t at = 0;
    for (size_t w = 0; w < query->n && !at; w++) {
        at = text_find(text, len, query->words[w], strlen(query->words[w]));
        if (at == SIZE_MAX) at = 0;
    }
    size_t start = at > BEFORE ? at - BEFORE : 0;
    while (start && start < len && ((unsigned char)text[start] & 0xC0) == 0x80) start++;
    size_t n = len - start < LENGTH ? len - start : LENGTH;
    if (n < len - start) n -= utf8_incomplete_tail(text + start, n);
    struct buf place = {0};
    if (start) buf_puts(&place, "\xE2\x80\xA6");
    buf_append(&place, text + start, n);
    char *copy = arena_dup(arena, place.data, place.len);
    buf_free(&place);
    return copy;
}

static struct store_row read_row(sqlite3_stmt *statement, const struct query *query, struct arena *arena) {
    enum { FOUND = 5 };
    struct store_row row = {.id = sqlite3_column_int64(statement, 0),
                            .title = text_or_empty(statement, 1, arena),
                            .model = text_or_empty(statement, 2, arena),
                            .changed = sqlite3_column_int64(statement, 3),
                            .n_messages = (uint32_t)sqlite3_column_int64(statement, 4)};
    const char *text = query->n ? sqlite3_column_blob(statement, FOUND) : NULL;
    if (text) row.found = found_place(text, (size_t)sqlite3_column_bytes(statement, FOUND), query, arena);
    return row;
}

static int bind_query(sqlite3_stmt *statement, const struct query *query, uint32_t limit,
                      struct arena *arena) {
    int code = sqlite3_bind_int64(statement, 1, limit);
    if (query->match.len && code == SQLITE_OK)
        code = sqlite3_bind_text64(statement, 2, query->match.data, query->match.len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    for (size_t i = 0; i < query->n && code == SQLITE_OK; i++)
        code = sqlite3_bind_text(statement, (int)i + 3,
                                 query->ascii[i] ? like_pattern(query->words[i], arena) : query->words[i], -1,
                                 SQLITE_STATIC);
    return code;
}

int reader_list(struct reader *reader, const char *text, uint32_t limit, struct arena *arena,
                struct store_row **rows, size_t *n, bool *damaged, struct err *err) {
    struct query query = {0};
    struct store_row *list = NULL;
    size_t cap = 0;
    *rows = NULL;
    *n = 0;
    int status = reader_open(reader, damaged, err);
    if (status < 0) return status;
    split_query(&query, text, arena);
    struct buf sql = {0};
    list_sql(&query, &sql);
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(reader->db, sql.data, -1, &statement, NULL);
    if (code == SQLITE_OK) code = bind_query(statement, &query, limit, arena);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        if ((code = sqlite3_step(statement)) != SQLITE_ROW) break;
        grow_array(&list, &cap, *n + 1, sizeof *list);
        list[(*n)++] = read_row(statement, &query, arena);
    }
    status = reader_done(reader, statement, code, damaged, err);
    if (*n) *rows = (struct store_row *)arena_dup(arena, list, *n * sizeof *list);
    free(list);
    buf_free(&sql);
    buf_free(&query.match);
    return status;
}

/* ---- reading one ---- */

static sqlite3_stmt *prepare(struct reader *reader, const char *sql, int64_t id, int *code) {
    sqlite3_stmt *statement = NULL;
    *code = sqlite3_prepare_v2(reader->db, sql, -1, &statement, NULL);
    if (*code == SQLITE_OK) *code = sqlite3_bind_int64(statement, 1, id);
    return statement;
}

bool doomed_has(const struct doomed *doomed, int64_t id) {
    size_t i = 0;
    while (i < doomed->n && doomed->ids[i] != id) i++;
    return i < doomed->n;
}

static int read_newest(struct reader *reader, const struct doomed *doomed, int64_t *id, bool *damaged,
                       struct err *err) {
    int code;
    sqlite3_stmt *statement =
        prepare(reader,
                "SELECT c.id FROM conversation c WHERE " VISIBLE " AND EXISTS (SELECT 1 FROM message WHERE"
                " conversation = c.id) ORDER BY c.changed DESC, c.id DESC LIMIT ?1",
                (int64_t)doomed->n + 1, &code);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        *id = sqlite3_column_int64(statement, 0);
        code = doomed_has(doomed, *id) ? SQLITE_OK : SQLITE_DONE;
        if (code == SQLITE_OK) *id = STORE_NEWEST;
    }
    int status = reader_done(reader, statement, code, damaged, err);
    bool none = status == STATUS_OK && *id == STORE_NEWEST;
    return none ? err_set(err, STATUS_USAGE, "no chat was kept yet") : status;
}

static int read_facts(struct reader *reader, struct store_conversation *out, int64_t *leaf, bool *damaged,
                      struct err *err) {
    int code;
    sqlite3_stmt *statement =
        prepare(reader,
                "SELECT c.title, c.named, c.model, c.settings, c.began, c.leaf, d.text FROM"
                " conversation c LEFT JOIN draft d ON d.conversation = c.id WHERE c.id = ?1 AND " VISIBLE,
                out->id, &code);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    bool there = code == SQLITE_ROW;
    if (there) {
        out->facts = (struct store_facts){.title = text_or_empty(statement, 0, &out->arena),
                                          .named = sqlite3_column_int(statement, 1),
                                          .model = text_or_empty(statement, 2, &out->arena),
                                          .settings = text_or_empty(statement, 3, &out->arena),
                                          .began = sqlite3_column_int64(statement, 4)};
        *leaf = sqlite3_column_int64(statement, 5);
        out->draft = text_column(statement, 6, &out->arena);
        code = SQLITE_DONE;
    }
    int status = reader_done(reader, statement, code, damaged, err);
    if (status == STATUS_OK && !there)
        return err_set(err, STATUS_USAGE, "there is no chat %lld", (long long)out->id);
    return status;
}

static enum store_role read_role(const char *name) {
    static const char *const roles[] = {
        [STORE_SYSTEM] = "system", [STORE_USER] = "user", [STORE_MODEL] = "assistant", [STORE_NOTE] = "note"};
    for (int i = 0; i < STORE_ROLE_COUNT; i++)
        if (name && strcmp(name, roles[i]) == 0) return (enum store_role)i;
    return STORE_NOTE;
}

static int by_row(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Number of the message in this row, among the first n; 0 if it is not there. */
static uint64_t number_of(const int64_t *rows, size_t n, int64_t row) {
    const int64_t *at = n ? bsearch(&row, rows, n, sizeof *rows, by_row) : NULL;
    return at ? (uint64_t)(at - rows) + 1 : 0;
}

struct message_list {
    struct store_message *messages;
    int64_t *rows;
    size_t n, cap, cap_rows;
};

static int read_messages(struct reader *reader, struct store_conversation *out, struct message_list *list,
                         bool *damaged, struct err *err) {
    int code;
    sqlite3_stmt *statement = prepare(reader,
                                      "SELECT id, parent, role, born, dropped, text, note, model, vocabulary"
                                      " FROM message WHERE conversation = ?1 ORDER BY id",
                                      out->id, &code);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        if ((code = sqlite3_step(statement)) != SQLITE_ROW) break;
        grow_array(&list->messages, &list->cap, list->n + 1, sizeof *list->messages);
        grow_array(&list->rows, &list->cap_rows, list->n + 1, sizeof *list->rows);
        size_t i = list->n++;
        list->rows[i] = sqlite3_column_int64(statement, 0);
        list->messages[i] =
            (struct store_message){.number = i + 1,
                                   .parent = number_of(list->rows, i, sqlite3_column_int64(statement, 1)),
                                   .role = read_role((const char *)sqlite3_column_text(statement, 2)),
                                   .born = sqlite3_column_int64(statement, 3),
                                   .dropped = sqlite3_column_int(statement, 4),
                                   .text = text_or_empty(statement, 5, &out->arena),
                                   .len = (size_t)sqlite3_column_bytes(statement, 5),
                                   .note = text_column(statement, 6, &out->arena),
                                   .model = text_column(statement, 7, &out->arena),
                                   .vocabulary = (uint64_t)sqlite3_column_int64(statement, 8)};
    }
    return reader_done(reader, statement, code, damaged, err);
}

/* Token records of one message, unless they are not whole: then it has none, and its text stands alone. */
struct records {
    size_t message; /* index; SIZE_MAX: none */
    struct store_token *tokens;
    size_t n, cap;
    bool broken;
};

static void finish_records(struct records *records, struct message_list *list) {
    if (records->message < list->n && !records->broken && records->n) {
        list->messages[records->message].tokens = records->tokens;
        list->messages[records->message].n_tokens = records->n;
    } else {
        free(records->tokens);
    }
    *records = (struct records){.message = SIZE_MAX};
}

static void add_records(struct records *records, sqlite3_stmt *statement, const struct store_message *message,
                        struct arena *arena) {
    size_t before = records->n;
    if ((size_t)sqlite3_column_int64(statement, 1) != records->n ||
        tokens_decode(sqlite3_column_blob(statement, 2), (size_t)sqlite3_column_bytes(statement, 2), arena,
                      &records->tokens, &records->n, &records->cap, NULL) < 0)
        records->broken = true;
    for (size_t i = before; i < records->n; i++) {
        uint32_t last = i ? records->tokens[i - 1].end : 0;
        const struct store_token *token = &records->tokens[i];
        if (token->end < last || token->end > message->len || (token->ended && token->end != last))
            records->broken = true;
    }
}

static int read_records(struct reader *reader, struct store_conversation *out, struct message_list *list,
                        bool *damaged, struct err *err) {
    int code;
    struct records records = {.message = SIZE_MAX};
    sqlite3_stmt *statement =
        prepare(reader,
                "SELECT t.message, t.first, t.records FROM message m JOIN tokens t ON t.message"
                " = m.id WHERE m.conversation = ?1 ORDER BY t.message, t.first",
                out->id, &code);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        if ((code = sqlite3_step(statement)) != SQLITE_ROW) break;
        uint64_t number = number_of(list->rows, list->n, sqlite3_column_int64(statement, 0));
        if (!number) continue;
        if (records.message != number - 1) finish_records(&records, list);
        records.message = number - 1;
        add_records(&records, statement, &list->messages[number - 1], &out->arena);
    }
    finish_records(&records, list);
    return reader_done(reader, statement, code, damaged, err);
}

int reader_load(struct reader *reader, int64_t id, const struct doomed *doomed,
                struct store_conversation *out, bool *damaged, struct err *err) {
    struct message_list list = {0};
    int64_t leaf = 0;
    *out = (struct store_conversation){.id = id};
    if (doomed_has(doomed, id)) return err_set(err, STATUS_USAGE, "there is no chat %lld", (long long)id);
    int status = reader_open(reader, damaged, err);
    if (status < 0) return status;
    sqlite3_exec(reader->db, "BEGIN", NULL, NULL, NULL); /* all of it as it was at one moment */
    if (id == STORE_NEWEST) status = read_newest(reader, doomed, &out->id, damaged, err);
    if (status == STATUS_OK) status = read_facts(reader, out, &leaf, damaged, err);
    if (status == STATUS_OK) status = read_messages(reader, out, &list, damaged, err);
    if (status == STATUS_OK) status = read_records(reader, out, &list, damaged, err);
    if (reader->db) sqlite3_exec(reader->db, "COMMIT", NULL, NULL, NULL);
    out->messages =
        (struct store_message *)arena_dup(&out->arena, list.messages, list.n * sizeof *list.messages);
    out->rows = (int64_t *)arena_dup(&out->arena, list.rows, list.n * sizeof *list.rows);
    out->n = list.n;
    out->leaf = leaf ? number_of(list.rows, list.n, leaf) : 0;
    if (leaf && !out->leaf) out->leaf = list.n;
    free(list.messages);
    free(list.rows);
    return status;
}

/* Does the program that left this draft run? Rows of drafts are negative numbers of processes; what was never
 * one is nobody's. */
static bool is_alive(int64_t row) {
    pid_t pid = row >= -INT32_MAX ? (pid_t)-row : 0;
    return pid > 0 && pid != getpid() && (kill(pid, 0) == 0 || errno == EPERM);
}

char *reader_draft(struct reader *reader, int64_t *id) {
    bool damaged;
    int code;
    char *text = NULL;
    if (reader_open(reader, &damaged, NULL) < 0) return NULL;
    sqlite3_stmt *statement =
        prepare(reader, "SELECT conversation, text FROM draft WHERE conversation < ?1", 0, &code);
    while (code == SQLITE_OK && !text && sqlite3_step(statement) == SQLITE_ROW) {
        *id = sqlite3_column_int64(statement, 0);
        const char *found = (const char *)sqlite3_column_text(statement, 1);
        if (found && !is_alive(*id)) text = xstrdup(found);
    }
    sqlite3_finalize(statement);
    return text;
}
