/* check.h - asserting in tests with a plain main: prints both values, counts, never stops. */
#ifndef EBM_TESTS_THREADS_CHECK_H
#define EBM_TESTS_THREADS_CHECK_H

#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

static _Atomic uint32_t n_failed; /* any thread */

/* Are they equal? Says so when they are not. Any thread. */
#define CHECK_EQ(actual, expected)                                                                                     \
    check_eq((uint64_t)(actual), (uint64_t)(expected), #actual " == " #expected, __FILE__, __LINE__)
#define CHECK(condition) CHECK_EQ(!(condition), 0)

static inline void check_eq(uint64_t actual, uint64_t expected, const char *text, const char *file, int line)
{
    if (actual == expected)
        return;
    if (atomic_fetch_add(&n_failed, 1) < 20)
        (void)fprintf(stderr, "%s:%d: %s: %" PRIu64 " and %" PRIu64 "\n", file, line, text, actual, expected);
}

/* For main to return. */
static inline int check_result(const char *name)
{
    uint32_t failed = atomic_load(&n_failed);
    (void)printf("%s: %" PRIu32 " checks failed\n", name, failed);
    return failed != 0;
}

#endif
