/* criterion.h - a stand-in for Criterion where its own processes cannot be started, as under an emulator: the same
 * Test() and checks, as far as the core tests use them. Every test runs in a child of fork(); a failed check ends it.
 */
#ifndef EBM_TESTS_STANDIN_CRITERION_H
#define EBM_TESTS_STANDIN_CRITERION_H

#pragma GCC system_header /* checks take no message, or one with its arguments: an extension of GNU C */

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct standin_test {
    const char *suite, *name;
    void (*run)(void);
    int signal;     /* that ends it; 0: none */
    double timeout; /* seconds; 0: as long as it takes */
    struct standin_test *next;
};

static struct standin_test *standin_first;

/* The one suite of a file that has something before and after each test. */
static struct {
    void (*init)(void), (*fini)(void);
} standin_suite;

#define TestSuite(suite_name, ...)                                                                                     \
    __attribute__((constructor)) static void register_##suite_name(void)                                               \
    {                                                                                                                  \
        __typeof__(standin_suite) suite = {__VA_ARGS__};                                                               \
        standin_suite = suite;                                                                                         \
    }                                                                                                                  \
    _Static_assert(1, "")

#define Test(suite_name, test_name, ...)                                                                               \
    static void suite_name##_##test_name(void);                                                                        \
    __attribute__((constructor)) static void register_##suite_name##_##test_name(void)                                 \
    {                                                                                                                  \
        static struct standin_test test = {                                                                            \
            .suite = #suite_name, .name = #test_name, .run = suite_name##_##test_name, ##__VA_ARGS__};                 \
        test.next = standin_first;                                                                                     \
        standin_first = &test;                                                                                         \
    }                                                                                                                  \
    static void suite_name##_##test_name(void)

#define standin_say(...)                                                                                               \
    do {                                                                                                               \
        fprintf(stderr, "" __VA_ARGS__);                                                                               \
        fputc('\n', stderr);                                                                                           \
    } while (0)
#define cr_assert(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            standin_say(__VA_ARGS__);                                                                                  \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)
#define cr_assert_fail(...) cr_assert(false, __VA_ARGS__)
#define cr_assert_not(condition, ...) cr_assert(!(condition), ##__VA_ARGS__)
#define cr_assert_null(p, ...) cr_assert((p) == NULL, ##__VA_ARGS__)
#define cr_assert_not_null(p, ...) cr_assert((p) != NULL, ##__VA_ARGS__)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), ##__VA_ARGS__)
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b), ##__VA_ARGS__)
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b), ##__VA_ARGS__)
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b), ##__VA_ARGS__)
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b), ##__VA_ARGS__)
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b), ##__VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp((a), (b)) == 0, ##__VA_ARGS__)
#define cr_assert_float_eq(a, b, epsilon, ...) cr_assert(fabs((double)((a) - (b))) <= (double)(epsilon), ##__VA_ARGS__)
#define cr_expect cr_assert
#define cr_expect_eq cr_assert_eq
#define cr_expect_lt cr_assert_lt
#define cr_expect_gt cr_assert_gt
#define cr_expect_str_eq cr_assert_str_eq
#define cr_log_info(...) standin_say(__VA_ARGS__)
#define cr_skip_test(...)                                                                                              \
    do {                                                                                                               \
        standin_say(__VA_ARGS__);                                                                                      \
        _exit(0);                                                                                                      \
    } while (0)

static bool standin_passes(const struct standin_test *test)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm((unsigned)test->timeout);
        if (standin_suite.init != NULL)
            standin_suite.init();
        test->run();
        if (standin_suite.fini != NULL)
            standin_suite.fini();
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    if (test->signal != 0)
        return WIFSIGNALED(status) && WTERMSIG(status) == test->signal;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
    int tests = 0, failed = 0;
    for (const struct standin_test *test = standin_first; test != NULL; test = test->next, tests++) {
        bool passes = standin_passes(test);
        failed += !passes;
        printf("%s %s::%s\n", passes ? "ok  " : "FAIL", test->suite, test->name);
    }
    printf("%d tests, %d failed\n", tests, failed);
    return failed == 0 ? 0 : 1;
}

#endif
