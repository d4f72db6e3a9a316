/* Writing a chat to a file beside everything else: what is copied stays as it was, whatever becomes of the
 * chat; and there is a whole file under its name or none. Disks are as slow and as bad as a test wants. */
#include "app/export.h"
#include "app/new_file.h"
#include "app/signals.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/paper.h"
#include "tests/unit/store_maker.h"

/* ---- the disk ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stuck, waits;       /* no write goes on; one is waiting */
    int fails, renames_fail; /* with this errno */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

bool __real_fd_write_all(int fd, const void *bytes, size_t len);
bool __wrap_fd_write_all(int fd, const void *bytes, size_t len);
bool __wrap_fd_write_all(int fd, const void *bytes, size_t len) {
    pthread_mutex_lock(&disk.lock);
    disk.waits = true;
    pthread_cond_broadcast(&disk.changed);
    while (disk.stuck) pthread_cond_wait(&disk.changed, &disk.lock);
    disk.waits = false;
    int number = disk.fails;
    pthread_mutex_unlock(&disk.lock);
    errno = number;
    return !number && __real_fd_write_all(fd, bytes, len);
}

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    errno = disk.renames_fail;
    return errno ? -1 : __real_renameat2(from_fd, from, to_fd, to, flags);
}

static void disk_stuck(bool stuck) {
    pthread_mutex_lock(&disk.lock);
    disk.stuck = stuck;
    pthread_cond_broadcast(&disk.changed);
    pthread_mutex_unlock(&disk.lock);
}

static void wait_for_a_write(void) {
    pthread_mutex_lock(&disk.lock);
    while (!disk.waits) pthread_cond_wait(&disk.changed, &disk.lock);
    pthread_mutex_unlock(&disk.lock);
}

/* ---- files ---- */

static char path[300], part[310];

static int folder(void **state) {
    (void)state;
    make_store_folder();
    snprintf(path, sizeof path, "%s/chat.json", store_folder);
    snprintf(part, sizeof part, "%s.part", path);
    disk.fails = disk.renames_fail = 0;
    return 0;
}

static char *read_file(const char *name) {
    static char all[1 << 16];
    FILE *file = fopen(name, "rb");
    if (!file) fail_msg("%s: %s", name, strerror(errno));
    all[fread(all, 1, sizeof all - 1, file)] = '\0';
    fclose(file);
    return all;
}

static bool there(const char *name) {
    return access(name, F_OK) == 0;
}

/* ---- tests ---- */

static void test_the_chat_goes_on_meanwhile(void **state) {
    (void)state;
    static struct chat chat;
    static struct paper paper;
    struct err err = {0};
    for (int format = EXPORT_MD; format < EXPORT_FORMAT_COUNT; format++) {
        struct export *export;
        open_chat(&chat, &paper, "be kind");
        make_ready(&chat, &paper);
        exchange(&chat, &paper, "why?", 5, "hello");
        assert_int_equal(export_begin(&export, &chat, format, path, &err), STATUS_OK);
        assert_int_equal(export_end(export, &err), STATUS_OK);
        char *expected = strdup(read_file(path));
        unlink(path);
        disk_stuck(true);
        assert_int_equal(export_begin(&export, &chat, format, path, &err), STATUS_OK);
        wait_for_a_write();
        chat_continue(&chat, &err); /* the answer itself grows, */
        say(&paper, 6, " and more");
        end(&paper, ENGINE_END);
        chat_pump(&chat);
        exchange(&chat, &paper, "and then?", 5, "nothing"); /* others follow, */
        conversation_drop_oldest(&chat.conversation);
        assert_int_equal(chat_new(&chat, &err), STATUS_OK); /* all of it goes, */
        paper.engine.ops = NULL;                            /* and so does the model */
        assert_false(there(path));
        disk_stuck(false);
        assert_int_equal(export_end(export, &err), STATUS_OK);
        assert_string_equal(read_file(path), expected);
        assert_false(there(part));
        unlink(path);
        free(expected);
        paper.engine.ops = &paper_ops;
        chat_close(&chat);
    }
}

static void test_nothing_is_left_of_what_fails(void **state) {
    (void)state;
    static struct chat chat;
    static struct paper paper;
    struct err err = {0};
    struct export *export;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    assert_int_equal(export_begin(&export, &chat, EXPORT_JSON, path, &err),
                     STATUS_USAGE); /* nothing was said */
    assert_null(export);
    exchange(&chat, &paper, "why?", 5, "hello");
    disk.fails = ENOSPC;
    assert_int_equal(export_begin(&export, &chat, EXPORT_JSON, path, &err), STATUS_OK);
    assert_int_equal(export_end(export, &err), STATUS_FAILED);
    assert_non_null(strstr(err.text, "No space left"));
    disk.fails = 0;
    assert_false(there(path) || there(part));

    chat_close(&chat);
}

/* A stand-in for a disk that answers once the signal was taken. */
static void *heal(void *unused) {
    struct pollfd fd = {.fd = signals_fd(), .events = POLLIN};
    while (poll(&fd, 1, 0) > 0) sched_yield();
    disk_stuck(false);
    return unused;
}

static void test_a_signal_gives_it_up(void **state) {
    (void)state;
    static struct chat chat;
    static struct paper paper;
    struct err err = {0};
    struct export *export;
    pthread_t thread;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    exchange(&chat, &paper, "why?", 5, "hello");
    assert_int_equal(signals_open(&err), STATUS_OK);
    disk_stuck(true);
    assert_int_equal(export_begin(&export, &chat, EXPORT_JSON, path, &err), STATUS_OK);
    wait_for_a_write();
    assert_true(there(part));
    raise(SIGTERM);
    assert_int_equal(pthread_create(&thread, NULL, heal, NULL), 0);
    export_wait(export);
    pthread_join(thread, NULL);
    assert_int_equal(export_end(export, &err), STATUS_STOPPED);
    assert_string_equal(err.text + strlen(err.text) - strlen("chat.json was not written"),
                        "chat.json was not written");
    assert_false(there(path) || there(part));
    chat_close(&chat);
}

static void test_a_name_that_is_taken(void **state) {
    (void)state;
    static const int fails[] = {0, EINVAL}; /* a file system that cannot rename so */
    const struct buf other = {"other", 5, 0};
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++) {
        struct new_file file;
        struct err err = {0};
        disk.renames_fail = fails[i];
        assert_int_equal(new_file_begin(&file, path, 0600, &err), STATUS_OK);
        assert_int_equal(new_file_append(&file, "mine", 4, &err), STATUS_OK);
        assert_int_equal(new_file_write(path, 0600, &other, &err), STATUS_OK); /* meanwhile */
        assert_int_equal(new_file_finish(&file, &err), STATUS_FAILED);
        assert_non_null(strstr(err.text, "there is such a file already"));
        assert_int_equal(new_file_begin(&file, path, 0600, &err), STATUS_FAILED);
        assert_string_equal(read_file(path), "other");
        assert_false(there(part));
        unlink(path);
    }
    struct err err = {0};
    const struct buf left = {"left", 4, 0}; /* by a program that was killed */
    assert_int_equal(new_file_write(part, 0600, &left, &err), STATUS_OK);
    assert_int_equal(new_file_write(path, 0600, &other, &err), STATUS_OK);
    assert_string_equal(read_file(path), "other");
    assert_string_equal(read_file(part), "left");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, folder, teardown_store_folder)
    const struct CMUnitTest tests[] = {
        TEST(the_chat_goes_on_meanwhile),
        TEST(nothing_is_left_of_what_fails),
        TEST(a_signal_gives_it_up),
        TEST(a_name_that_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
