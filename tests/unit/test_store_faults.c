/* Disks that fail: under SQLite lies a file system whose n-th write, flush or cut fails, for every n.
 * Whatever happens, what was committed stays, the file stays whole, and what could not be written is written
 * when there is room again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/store_maker.h"

#include <stdatomic.h>

/* ---- a file system over the real one ---- */

struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *real_vfs;
static atomic_int n_syncs;
static atomic_int n_calls, fail_from, fail_until, fail_code; /* calls fail_from <= n < fail_until fail */

static int next_call(void) {
    int n = ++n_calls;
    return n >= fail_from && n < fail_until ? fail_code : SQLITE_OK;
}

#define REAL(file) (((struct faulty_file *)(file))->real)
#define PASS(name, arguments, ...)                                                                           \
    static int faulty_##name arguments {                                                                     \
        return REAL(file)->pMethods->x##name(REAL(file), ##__VA_ARGS__);                                     \
    }

PASS(Close, (sqlite3_file * file))
PASS(Read, (sqlite3_file * file, void *to, int n, sqlite3_int64 at), to, n, at)
PASS(FileSize, (sqlite3_file * file, sqlite3_int64 *size), size)
PASS(Lock, (sqlite3_file * file, int lock), lock)
PASS(Unlock, (sqlite3_file * file, int lock), lock)
PASS(CheckReservedLock, (sqlite3_file * file, int *out), out)
PASS(FileControl, (sqlite3_file * file, int op, void *argument), op, argument)
PASS(SectorSize, (sqlite3_file * file))
PASS(DeviceCharacteristics, (sqlite3_file * file))
PASS(ShmLock, (sqlite3_file * file, int offset, int n, int flags), offset, n, flags)
PASS(ShmUnmap, (sqlite3_file * file, int remove), remove)

static void faulty_ShmBarrier(sqlite3_file *file) {
    REAL(file)->pMethods->xShmBarrier(REAL(file));
}

static int faulty_ShmMap(sqlite3_file *file, int page, int size, int extend, void volatile **out) {
    int code = extend ? next_call() : SQLITE_OK;
    return code ? SQLITE_IOERR_SHMSIZE : REAL(file)->pMethods->xShmMap(REAL(file), page, size, extend, out);
}

/* A disk that fills up takes half of it. */
static int faulty_Write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at) {
    int code = next_call();
    if (code == SQLITE_FULL) REAL(file)->pMethods->xWrite(REAL(file), from, n / 2, at);
    return code ? code : REAL(file)->pMethods->xWrite(REAL(file), from, n, at);
}

static int faulty_Truncate(sqlite3_file *file, sqlite3_int64 size) {
    int code = next_call();
    return code ? SQLITE_IOERR_TRUNCATE : REAL(file)->pMethods->xTruncate(REAL(file), size);
}

static int faulty_Sync(sqlite3_file *file, int flags) {
    n_syncs++;
    int code = next_call();
    return code ? SQLITE_IOERR_FSYNC : REAL(file)->pMethods->xSync(REAL(file), flags);
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = faulty_Close,
                                           .xRead = faulty_Read,
                                           .xWrite = faulty_Write,
                                           .xTruncate = faulty_Truncate,
                                           .xSync = faulty_Sync,
                                           .xFileSize = faulty_FileSize,
                                           .xLock = faulty_Lock,
                                           .xUnlock = faulty_Unlock,
                                           .xCheckReservedLock = faulty_CheckReservedLock,
                                           .xFileControl = faulty_FileControl,
                                           .xSectorSize = faulty_SectorSize,
                                           .xDeviceCharacteristics = faulty_DeviceCharacteristics,
                                           .xShmMap = faulty_ShmMap,
                                           .xShmLock = faulty_ShmLock,
                                           .xShmBarrier = faulty_ShmBarrier,
                                           .xShmUnmap = faulty_ShmUnmap};

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
    (void)vfs;
    struct faulty_file *faulty = (struct faulty_file *)file;
    faulty->base.pMethods = NULL;
    faulty->real = (sqlite3_file *)(faulty + 1);
    if (flags & SQLITE_OPEN_CREATE && next_call()) return SQLITE_CANTOPEN;
    int code = real_vfs->xOpen(real_vfs, name, faulty->real, flags, out);
    if (faulty->real->pMethods) faulty->base.pMethods = &methods;
    return code;
}

static void install(void) {
    static sqlite3_vfs vfs;
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.pNext = NULL;
    vfs.zName = "faulty";
    vfs.szOsFile += (int)sizeof(struct faulty_file);
    vfs.xOpen = faulty_open;
    assert_int_equal(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

static void arm(int from, int until, int code) {
    n_calls = 0;
    fail_code = code;
    fail_until = until;
    fail_from = from;
}

static void disarm(void) {
    fail_from = INT32_MAX;
}

/* ---- tests ---- */

static const int codes[] = {SQLITE_FULL, SQLITE_IOERR_WRITE};

/* A conversation that was there before stays as it is; the one that met the fault is there in the end. */
static void meet_fault(struct store *store, bool *failed) {
    keep_conversation(store, 100);
    struct store_look look = wait_store(store);
    *failed = look.error.code != STATUS_OK;
    if (*failed) assert_non_null(strstr(look.error.text, "chats.db"));
    assert_int_equal(look.epoch, 1);
}

/* From the n-th call on the disk is full, until somebody makes room. */
static void test_full_disk(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof codes / sizeof *codes; c++) {
        int n = 1;
        for (bool failed = true; failed; n++) {
            make_store_folder();
            struct store *store = must_open();
            keep_conversation(store, 0);
            assert_int_equal(wait_store(store).error.code, 0);
            check_conversation(store, 1); /* and the connection that reads is open */
            arm(n, INT32_MAX, codes[c]);
            meet_fault(store, &failed);
            check_conversation(store, 1);
            disarm();
            assert_int_equal(store_close(store, NULL), STATUS_OK); /* tries once more */
            store = must_open();
            check_conversation(store, 1);
            check_conversation(store, 2);
            store_close(store, NULL);
            check_integrity();
            remove_store_folder();
        }
        assert_true(n > 3);
        print_message("%s: %d places\n", sqlite3_errstr(codes[c]), n - 2);
    }
}

/* It stays full: leaving says what could not be kept, and what was kept before is whole. */
static void test_full_until_the_end(void **state) {
    (void)state;
    for (int n = 1; n < 8; n++) {
        make_store_folder();
        struct store *store = must_open();
        keep_conversation(store, 0);
        wait_store(store);
        bool failed;
        struct err err = {0};
        arm(n, INT32_MAX, SQLITE_FULL);
        meet_fault(store, &failed);
        int status = store_close(store, &err);
        if (failed) {
            assert_int_equal(status, STATUS_FAILED);
            assert_non_null(strstr(err.text, "could not be kept"));
        }
        disarm();
        store = must_open();
        check_conversation(store, 1);
        store_close(store, NULL);
        check_integrity();
        remove_store_folder();
    }
}

/* One call in the making of the database fails: the next start makes it. */
static void test_fault_while_opening(void **state) {
    (void)state;
    int n = 1;
    for (bool reached = true; reached; n++) {
        make_store_folder();
        struct store *store;
        struct err aside = {0}, err = {0};
        arm(n, n + 1, SQLITE_FULL);
        if ((store = try_open(&aside, &err))) {
            disarm();
            keep_conversation(store, 0);
            assert_int_equal(store_close(store, NULL), STATUS_OK);
        } else {
            assert_int_equal(err.code, STATUS_FAILED);
        }
        reached = n_calls >= n;
        disarm();
        store = must_open();
        int64_t id = newest_of(store);
        if (!id) {
            keep_conversation(store, 0);
            wait_store(store);
            id = newest_of(store);
        }
        check_conversation(store, id);
        store_close(store, NULL);
        check_integrity();
        remove_store_folder();
    }
    assert_true(n > 5);
    print_message("opening: %d places\n", n - 2);
}

/* A single failure heals by itself, without a word from anyone. */
static void test_tries_again(void **state) {
    (void)state;
    make_store_folder();
    struct store *store = must_open();
    arm(1, 2, SQLITE_FULL);
    keep_conversation(store, 0);
    struct store_look look;
    do {
        poll(&(struct pollfd){.fd = store_wake_fd(store), .events = POLLIN}, 1, 50);
        store_look(store, &look);
    } while (look.waiting);
    assert_int_equal(look.error.code, 0);
    check_conversation(store, 1);
    store_close(store, NULL);
    disarm();
    remove_store_folder();
}

/* A damaged file, and no room for a new one at first: nothing of it is lost on the way. */
static void test_full_while_repairing(void **state) {
    (void)state;
    for (int n = 1; n < 60; n += 3) {
        make_store_folder();
        struct store *store = must_open();
        for (uint64_t i = 0; i < 10; i++) keep_conversation(store, 10 * i);
        assert_int_equal(store_close(store, NULL), STATUS_OK);
        FILE *file = fopen(store_path, "r+b");
        fseek(file, 8192, SEEK_SET); /* an inner page, which a start does not read; the one before is none */
        for (int i = 0; i < 4096; i++) fputc(0xA5, file);
        fclose(file);
        struct err aside = {0}, err = {0};
        if (!(store = try_open(&aside, &err))) fail_msg("%s", err.text);
        arm(n, n + 1, SQLITE_FULL);
        struct arena arena = {0};
        struct store_row *rows;
        size_t n_rows;
        store_list(store, NULL, 100, &arena, &rows, &n_rows, NULL);
        arena_free(&arena);
        if (wait_store(store).error.code) {
            keep_conversation(store, 1000);
        }
        disarm();
        store_close(store, NULL);
        store = must_open();
        if (store_list(store, NULL, 100, &arena, &rows, &n_rows, NULL) <
            0) { /* the fault came before the damage */
            wait_store(store);
            store_list(store, NULL, 100, &arena, &rows, &n_rows, NULL);
        }
        if (n_rows < 10) fail_msg("fault at %d: %zu chats", n, n_rows);
        arena_free(&arena);
        store_close(store, NULL);
        check_integrity();
        remove_store_folder();
    }
}

/* The end of a message is flushed to the device, what streams before it is not. */
static void test_flushes(void **state) {
    (void)state;
    make_store_folder();
    struct store *store = must_open();
    keep_conversation(store, 0);
    wait_store(store);
    struct store_token token = token_of(1, 12);
    int before = n_syncs;
    store_append(store, 4, "abc", 3, 0, &token, 1);
    wait_store(store);
    assert_int_equal(n_syncs, before);
    end_message(store, 4, "", false);
    wait_store(store);
    assert_true(n_syncs > before);
    store_close(store, NULL);
    remove_store_folder();
}

int main(void) {
    install();
    disarm();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_full_until_the_end),
        cmocka_unit_test(test_fault_while_opening),
        cmocka_unit_test(test_tries_again),
        cmocka_unit_test(test_full_while_repairing),
        cmocka_unit_test(test_flushes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
