/* Lines into files: whole, rotated, after the file was moved away, with a full disk, in several
 * places at once, and never waited for. */
#include "geo/hitlog.h"

#include "geo/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/hitlog-test-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf -- '%s'", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* The file's text, on the heap; "" if there is none. */
static char *content_of(const char *path)
{
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    FILE *file = fopen(path, "rb");
    if (file != NULL) {
        assert_true(fread(text, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
        fclose(file);
    }
    return text;
}

static void assert_content(const char *path, const char *expected)
{
    char *text = content_of(path);
    assert_string_equal(text, expected);
    free(text);
}

static bool push(struct hitlog *log, const char *line)
{
    return hitlog_push(log, line, strlen(line));
}

/* Until the store thread has dealt with `lines`, written or lost. */
static struct hitlog_totals wait_for(struct hitlog *log, uint64_t lines)
{
    struct hitlog_totals totals;
    for (;;) {
        hitlog_totals(log, &totals);
        if (totals.written + totals.dropped >= lines) {
            return totals;
        }
        const struct timespec pause = {.tv_nsec = 500000};
        (void)nanosleep(&pause, NULL); /* the store thread needs the processor */
    }
}

static struct hitlog *start(const struct hitlog_output *outputs, size_t count)
{
    struct hitlog *log = NULL;
    char error[HITLOG_ERROR_SIZE] = "";
    if (hitlog_start(outputs, count, &log, error) < 0) {
        print_error("%s\n", error);
    }
    assert_non_null(log);
    return log;
}

static void every_output_gets_every_line_in_order(void **state)
{
    (void)state;
    const struct hitlog_output outputs[] = {{.path = path_of("a")}, {.path = path_of("b")}};
    struct hitlog *log = start(outputs, 2);
    assert_true(push(log, "one\n"));
    assert_true(push(log, "two\n"));
    struct hitlog_totals totals = wait_for(log, 4);
    assert_int_equal(totals.written, 4);
    assert_true(push(log, "three\n"));
    hitlog_stop(log);
    assert_content(outputs[0].path, "one\ntwo\nthree\n");
    assert_content(outputs[1].path, "one\ntwo\nthree\n");
}

static void stopping_writes_what_is_queued_and_appends_to_what_was_there(void **state)
{
    (void)state;
    const struct hitlog_output output = {.path = path_of("kept")};
    for (unsigned run = 0; run < 2; run++) {
        struct hitlog *log = start(&output, 1);
        for (unsigned i = 0; i < 5000; i++) {
            assert_true(push(log, "0123456789\n"));
        }
        hitlog_stop(log);
    }
    struct stat status;
    assert_int_equal(stat(output.path, &status), 0);
    assert_int_equal(status.st_size, 2 * 5000 * 11);
    assert_int_equal(status.st_mode & 0137, 0);
}

static void a_file_that_was_moved_or_removed_is_opened_anew(void **state)
{
    (void)state;
    const struct hitlog_output output = {.path = path_of("moved")};
    struct hitlog *log = start(&output, 1);
    assert_true(push(log, "one\n"));
    (void)wait_for(log, 1);
    const char *away = path_of("moved.away");
    assert_int_equal(rename(output.path, away), 0);
    assert_true(push(log, "two\n"));
    (void)wait_for(log, 2);
    assert_int_equal(unlink(output.path), 0);
    assert_true(push(log, "three\n"));
    struct hitlog_totals totals = wait_for(log, 3);
    assert_int_equal(totals.written, 3);
    assert_int_equal(totals.failures, 0);
    assert_content(away, "one\n");
    assert_content(output.path, "three\n");
    hitlog_stop(log);
}

static void a_full_disk_loses_counted_lines_and_is_tried_again(void **state)
{
    (void)state;
    const struct hitlog_output outputs[] = {{.path = path_of("full")}, {.path = path_of("good")}};
    assert_int_equal(symlink("/dev/full", outputs[0].path), 0);
    struct hitlog *log = start(outputs, 2);
    assert_true(push(log, "lost\n"));
    struct hitlog_totals totals = wait_for(log, 2);
    assert_int_equal(totals.written, 1);
    assert_int_equal(totals.dropped, 1);
    assert_int_equal(totals.failures, 1);
    assert_non_null(strstr(totals.error, outputs[0].path));
    assert_non_null(strstr(totals.error, strerror(ENOSPC)));

    assert_int_equal(unlink(outputs[0].path), 0);
    assert_true(push(log, "kept\n"));
    totals = wait_for(log, 4);
    assert_int_equal(totals.written, 3);
    assert_int_equal(totals.dropped, 1);
    hitlog_stop(log);
    assert_content(outputs[0].path, "kept\n");
    assert_content(outputs[1].path, "lost\nkept\n");
}

static void a_folder_that_goes_away_and_comes_back_costs_the_lines_between(void **state)
{
    (void)state;
    const char *inner = path_of("inner");
    const char *away = path_of("inner-away");
    assert_int_equal(mkdir(inner, 0700), 0);
    const struct hitlog_output output = {.path = path_of("inner/hits")};
    struct hitlog *log = start(&output, 1);
    assert_int_equal(rename(inner, away), 0);
    assert_true(push(log, "lost\n"));
    struct hitlog_totals totals = wait_for(log, 1);
    assert_int_equal(totals.dropped, 1);
    assert_int_equal(rename(away, inner), 0);
    assert_true(push(log, "kept\n"));
    totals = wait_for(log, 2);
    assert_int_equal(totals.written, 1);
    hitlog_stop(log);
    assert_content(output.path, "kept\n");
}

static void rotation_keeps_whole_lines_and_as_many_old_files_as_asked_for(void **state)
{
    (void)state;
    struct logfile *file = NULL;
    char error[LOGFILE_ERROR_SIZE];
    uint64_t lines = 0;
    const char *path = path_of("rotated");
    assert_int_equal(logfile_open(path, 10, 2, &file, error), 0);
    static const char *writes[] = {
        "aaa\n",
        "bbb\n",                             /* 8 octets: fits */
        "ccc\n",                             /* would make 12: rotated first */
        "ddd\neee\nfff\n",                   /* the first still fits, then two, of a new file */
        "a line larger than a whole file\n", /* has a file of its own */
        "ggg\n",
    };
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        assert_int_equal(logfile_write(file, writes[i], strlen(writes[i]), &lines), 0);
        assert_int_equal(lines, i == 3 ? 3 : 1);
    }
    logfile_close(file);
    assert_content(path_of("rotated"), "ggg\n");
    assert_content(path_of("rotated.1"), "a line larger than a whole file\n");
    assert_content(path_of("rotated.2"), "eee\nfff\n");
    assert_int_equal(access(path_of("rotated.3"), F_OK), -1);
}

static void rotation_without_old_files_starts_anew(void **state)
{
    (void)state;
    struct logfile *file = NULL;
    char error[LOGFILE_ERROR_SIZE];
    uint64_t lines = 0;
    assert_int_equal(logfile_open(path_of("fresh"), 8, 0, &file, error), 0);
    assert_int_equal(logfile_write(file, "aaa\nbbb\nccc\n", 12, &lines), 0);
    assert_int_equal(lines, 3);
    logfile_close(file);
    assert_content(path_of("fresh"), "ccc\n");
    assert_int_equal(access(path_of("fresh.1"), F_OK), -1);
}

static void a_file_that_cannot_be_rotated_grows_and_loses_nothing(void **state)
{
    (void)state;
    struct logfile *file = NULL;
    char error[LOGFILE_ERROR_SIZE];
    uint64_t lines = 0;
    const char *path = path_of("stuck");
    assert_int_equal(mkdir(path_of("stuck.1"), 0700), 0);
    assert_int_equal(logfile_open(path, 8, 1, &file, error), 0);
    assert_int_equal(logfile_write(file, "aaa\nbbb\nccc\n", 12, &lines), -EISDIR);
    assert_int_equal(lines, 3);
    assert_content(path, "aaa\nbbb\nccc\n");
    assert_int_equal(rmdir(path_of("stuck.1")), 0);
    assert_int_equal(logfile_write(file, "ddd\n", 4, &lines), 0);
    logfile_close(file);
    assert_content(path, "ddd\n");
}

/* A limit on the file's size stops a write in the middle, as a disk that fills up does. */
static void a_write_cut_in_the_middle_leaves_whole_lines_only(void **state)
{
    (void)state;
    struct logfile *file = NULL;
    char error[LOGFILE_ERROR_SIZE];
    uint64_t lines = 0;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(logfile_open(path_of("cut"), 0, 0, &file, error), 0);
    struct rlimit small = {.rlim_cur = 10, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int r = logfile_write(file, "aaa\nbbb\nccc\n", 12, &lines);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(r, -EFBIG);
    assert_int_equal(lines, 2);
    assert_content(path_of("cut"), "aaa\nbbb\n");
    assert_int_equal(logfile_write(file, "ddd\n", 4, &lines), 0);
    logfile_close(file);
    assert_content(path_of("cut"), "aaa\nbbb\nddd\n");
}

static void a_pipe_whose_reader_left_is_a_failure_and_no_signal(void **state)
{
    (void)state;
    const struct hitlog_output output = {.path = path_of("pipe")};
    assert_int_equal(mkfifo(output.path, 0600), 0);
    struct hitlog *log = NULL;
    char error[HITLOG_ERROR_SIZE] = "";
    assert_int_equal(hitlog_start(&output, 1, &log, error), -ENXIO);
    assert_non_null(strstr(error, "nobody reads"));

    int reader = open(output.path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    log = start(&output, 1);
    assert_true(push(log, "one\n"));
    assert_int_equal(wait_for(log, 1).written, 1);
    char got[8] = "";
    assert_int_equal(read(reader, got, sizeof got), 4);
    assert_string_equal(got, "one\n");
    close(reader);
    assert_true(push(log, "two\n"));
    struct hitlog_totals totals = wait_for(log, 2);
    assert_int_equal(totals.dropped, 1);
    assert_non_null(strstr(totals.error, strerror(EPIPE)));
    hitlog_stop(log);
}

/* A pipe that nobody empties holds the store thread up; pushing goes on until the queue is full. */
static void a_full_queue_drops_and_counts_and_keeps_what_it_has(void **state)
{
    (void)state;
    const struct hitlog_output output = {.path = path_of("slow")};
    assert_int_equal(mkfifo(output.path, 0600), 0);
    int reader = open(output.path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    struct hitlog *log = start(&output, 1);

    static char line[8192];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    assert_true(hitlog_room(log) > 7u << 20);
    unsigned taken = 0;
    while (hitlog_push(log, line, sizeof line)) {
        taken++;
        assert_true(taken < 10000);
    }
    assert_in_range(taken, 900, 2100); /* 8 MiB, and at most as much on its way out */
    assert_true(hitlog_room(log) < sizeof line);
    struct hitlog_totals totals;
    hitlog_totals(log, &totals);
    assert_true(totals.dropped >= 1);
    close(reader); /* EPIPE from here on: the store thread gets through */
    hitlog_stop(log);
}

static void other_outputs_are_taken_on_and_bad_ones_change_nothing(void **state)
{
    (void)state;
    const struct hitlog_output first = {.path = path_of("first")};
    const struct hitlog_output second = {.path = path_of("second")};
    struct hitlog *log = start(&first, 1);
    assert_true(push(log, "one\n"));
    (void)wait_for(log, 1);

    char error[HITLOG_ERROR_SIZE] = "";
    const struct hitlog_output bad[] = {{.path = path_of("third")}, {.path = "/nowhere/at/all"}};
    assert_int_equal(hitlog_reload(log, bad, 2, error), -ENOENT);
    assert_non_null(strstr(error, "/nowhere/at/all"));
    assert_true(push(log, "two\n"));
    (void)wait_for(log, 2);

    assert_int_equal(hitlog_reload(log, &second, 1, error), 0);
    assert_true(push(log, "three\n"));
    (void)wait_for(log, 3);
    assert_int_equal(hitlog_reload(log, NULL, 0, error), 0);
    assert_true(push(log, "for nobody\n"));
    hitlog_stop(log);
    assert_content(first.path, "one\ntwo\n");
    assert_content(second.path, "three\n");
}

static void refuses_outputs_that_cannot_be_and_says_why(void **state)
{
    (void)state;
    struct hitlog *log = NULL;
    char error[HITLOG_ERROR_SIZE] = "";
    const struct hitlog_output twice[] = {{.path = path_of("same")}, {.path = path_of("same")}};
    assert_int_equal(hitlog_start(twice, 2, &log, error), -EEXIST);
    assert_non_null(strstr(error, "named twice"));
    const struct hitlog_output is_folder = {.path = folder};
    assert_int_equal(hitlog_start(&is_folder, 1, &log, error), -EISDIR);
    assert_non_null(strstr(error, folder));
    const struct hitlog_output hoard = {.path = path_of("x"), .keep = LOGFILE_KEEP_MAX + 1};
    assert_int_equal(hitlog_start(&hoard, 1, &log, error), -EINVAL);
    const struct hitlog_output nameless = {.path = ""};
    assert_int_equal(hitlog_start(&nameless, 1, &log, error), -EINVAL);
    assert_null(log);
    hitlog_stop(NULL);
}

#define PUSHERS 4
#define PUSHES 3000

static void *push_many(void *context)
{
    struct hitlog *log = context;
    bool taken = true;
    for (unsigned i = 0; i < PUSHES; i++) {
        taken &= push(log, "a line of some length, as hit lines have\n");
    }
    return taken ? context : NULL;
}

static void threads_push_at_once_while_outputs_change(void **state)
{
    (void)state;
    const struct hitlog_output outputs[] = {{.path = path_of("x"), .rotate_size = 65536, .keep = 3},
                                            {.path = path_of("y")}};
    struct hitlog *log = start(&outputs[1], 1);
    pthread_t pushers[PUSHERS];
    for (unsigned i = 0; i < PUSHERS; i++) {
        assert_int_equal(pthread_create(&pushers[i], NULL, push_many, log), 0);
    }
    char error[HITLOG_ERROR_SIZE];
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(hitlog_reload(log, &outputs[i % 2], 1, error), 0);
    }
    for (unsigned i = 0; i < PUSHERS; i++) {
        void *result = NULL;
        pthread_join(pushers[i], &result);
        assert_non_null(result);
    }
    struct hitlog_totals totals = wait_for(log, PUSHERS * PUSHES);
    assert_int_equal(totals.written, PUSHERS * PUSHES);
    assert_int_equal(totals.dropped, 0);
    hitlog_stop(log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_output_gets_every_line_in_order),
        TEST(stopping_writes_what_is_queued_and_appends_to_what_was_there),
        TEST(a_file_that_was_moved_or_removed_is_opened_anew),
        TEST(a_full_disk_loses_counted_lines_and_is_tried_again),
        TEST(a_folder_that_goes_away_and_comes_back_costs_the_lines_between),
        TEST(rotation_keeps_whole_lines_and_as_many_old_files_as_asked_for),
        TEST(rotation_without_old_files_starts_anew),
        TEST(a_file_that_cannot_be_rotated_grows_and_loses_nothing),
        TEST(a_write_cut_in_the_middle_leaves_whole_lines_only),
        TEST(a_pipe_whose_reader_left_is_a_failure_and_no_signal),
        TEST(a_full_queue_drops_and_counts_and_keeps_what_it_has),
        TEST(other_outputs_are_taken_on_and_bad_ones_change_nothing),
        TEST(refuses_outputs_that_cannot_be_and_says_why),
        TEST(threads_push_at_once_while_outputs_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
