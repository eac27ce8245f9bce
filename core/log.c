/* log.c - formats one line and hands it to the callback.
 *
 *   ebm_log_info(...) -> level on? -> format into a line on the stack -> control characters out -> callback
 *
 * Guarantees: one call is one line, whatever the arguments contain: control characters become '?', so that nothing that
 * a client sent can forge a line; a line longer than LINE_BYTES is cut. The default callback writes a line with one
 * write(2), so lines of several threads never mix. Lines that stderr did not take are counted, and the next that it
 * takes is followed by their number. No allocation, no lock.
 * The callback is set before threads start and only read afterwards; the level may change at any time. */
#include "core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 2048u

static const char *const words[] = {
#define X(name, word) word,
    EBM_LOG_LEVEL_MAP(X)
#undef X
};

static _Atomic unsigned long n_lost, n_told; /* lines since the start */

void ebm_log_put(const char *line, size_t size)
{
    if (write(STDERR_FILENO, line, size) != (ssize_t)size) {
        atomic_fetch_add(&n_lost, 1);
        return;
    }
    unsigned long lost = atomic_load(&n_lost);
    if (atomic_exchange(&n_told, lost) != lost)
        ebm_log_warning("stderr did not take lines of the log since the start: lost=%lu", lost);
}

static void write_to_stderr(void *user, enum ebm_log_level level, const char *line)
{
    (void)user;
    char whole[LINE_BYTES + 16];
    int length = snprintf(whole, sizeof whole, "%s: %s\n", words[level], line);
    ebm_log_put(whole, (size_t)length);
}

static ebm_log_fn *log_callback = write_to_stderr;
static void *log_user;
static _Atomic uint32_t log_level = EBM_LOG_INFO;

void ebm_log_set(ebm_log_fn *callback, void *user)
{
    log_callback = callback ? callback : write_to_stderr;
    log_user = callback ? user : NULL;
}

void ebm_log_set_level(enum ebm_log_level most_verbose)
{
    atomic_store_explicit(&log_level, (uint32_t)most_verbose, memory_order_relaxed);
}

enum ebm_log_level ebm_log_level(void)
{
    return (enum ebm_log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

const char *ebm_log_level_word(enum ebm_log_level level)
{
    return words[level];
}

bool ebm_log_is_on(enum ebm_log_level level)
{
    return level <= ebm_log_level();
}

void ebm_log_line(enum ebm_log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    log_callback(log_user, level, line);
}
