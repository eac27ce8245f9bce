/* test_log.c - levels, one line a call, the callback, a stderr that takes no more. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"

static char last[4096];
static int calls;

static void keep(void *user, enum ebm_log_level level, const char *line)
{
    (void)user;
    calls++;
    (void)snprintf(last, sizeof last, "%d %s", (int)level, line);
}

static int expensive(void)
{
    calls += 100;
    return 1;
}

Test(log, only_levels_that_are_on_are_formatted)
{
    ebm_log_set(keep, NULL);
    ebm_log_set_level(EBM_LOG_WARNING);
    ebm_log_info("not seen %d", expensive());
    cr_assert_eq(calls, 0, "%d", calls);
    ebm_log_warning("seen %d", 7);
    cr_assert_eq(calls, 1);
    cr_assert_str_eq(last, "1 seen 7");
    ebm_log_error("worse");
    cr_assert_str_eq(last, "0 worse");
    ebm_log_set(NULL, NULL);
}

Test(log, the_level_may_change)
{
    ebm_log_set(keep, NULL);
    ebm_log_set_level(EBM_LOG_ERROR);
    cr_assert_eq(ebm_log_level(), EBM_LOG_ERROR);
    ebm_log_debug("not seen");
    cr_assert_eq(calls, 0);
    ebm_log_set_level(EBM_LOG_DEBUG);
    cr_assert_str_eq(ebm_log_level_word(ebm_log_level()), "debug");
    ebm_log_debug("seen");
    cr_assert_eq(calls, 1);
    ebm_log_set(NULL, NULL);
}

Test(log, a_line_cannot_be_forged)
{
    ebm_log_set(keep, NULL);
    ebm_log_info("name='%s'", "a\nlevel=error\r\x1b[31m\tb");
    cr_assert_str_eq(last, "2 name='a?level=error??[31m?b'");
    ebm_log_set(NULL, NULL);
}

Test(log, a_long_line_is_cut)
{
    static char text[10000];
    memset(text, 'x', sizeof text - 1);
    ebm_log_set(keep, NULL);
    ebm_log_info("%s", text);
    cr_assert_eq(strlen(last), 2047 + 2, "%zu", strlen(last));
    ebm_log_set(NULL, NULL);
}

Test(log, lines_that_stderr_does_not_take_are_told)
{
    static char got[1 << 17];
    int ends[2];
    cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
    cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    ssize_t n = 0;
    for (memset(got, 'x', 4096); n >= 0;)
        n = write(ends[1], got, 4096); /* full */
    ebm_log_info("lost");
    ebm_log_info("lost too");
    cr_assert_gt(read(ends[0], got, sizeof got), 0);
    ebm_log_info("taken");
    ebm_log_info("and no more of it");
    n = read(ends[0], got, sizeof got - 1);
    cr_assert_gt(n, 0);
    got[n] = 0;
    cr_assert_str_eq(got, "info: taken\n"
                          "warning: stderr did not take lines of the log since the start: lost=2\n"
                          "info: and no more of it\n");
}
