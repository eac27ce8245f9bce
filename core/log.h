/* log.h - one line a call, to a callback that the program sets (default: stderr).
 * core, models and proto never log above debug; server and trainer log once, where the decision is taken.
 * Any thread. */
#ifndef EBM_CORE_LOG_H
#define EBM_CORE_LOG_H

#include "core/base.h"

#define EBM_LOG_LEVEL_MAP(X) X(ERROR, "error") X(WARNING, "warning") X(INFO, "info") X(DEBUG, "debug")

enum ebm_log_level {
#define X(name, word) EBM_LOG_##name,
    EBM_LOG_LEVEL_MAP(X)
#undef X
};

/* Called with one line, no newline, on the thread that logs; must be thread-safe. */
typedef void ebm_log_fn(void *user, enum ebm_log_level level, const char *line);

/* Before threads start. NULL: back to stderr. */
void ebm_log_set(ebm_log_fn *callback, void *user);
void ebm_log_set_level(enum ebm_log_level most_verbose); /* any thread, any time */
enum ebm_log_level ebm_log_level(void);
const char *ebm_log_level_word(enum ebm_log_level level); /* static */
bool ebm_log_is_on(enum ebm_log_level level);
/* For callbacks that write to stderr: a whole line with its newline. What is not taken is counted, and told by a
 * warning after the next line that is. */
void ebm_log_put(const char *line, size_t size);
void ebm_log_line(enum ebm_log_level level, const char *format, ...) EBM_PRINTF(2, 3);

/* Arguments are evaluated only when the level is on. */
#define ebm_log(level, ...)                                                                                            \
    do {                                                                                                               \
        if (ebm_log_is_on(level))                                                                                      \
            ebm_log_line(level, __VA_ARGS__);                                                                          \
    } while (0)
#define ebm_log_error(...) ebm_log(EBM_LOG_ERROR, __VA_ARGS__)
#define ebm_log_warning(...) ebm_log(EBM_LOG_WARNING, __VA_ARGS__)
#define ebm_log_info(...) ebm_log(EBM_LOG_INFO, __VA_ARGS__)
#define ebm_log_debug(...) ebm_log(EBM_LOG_DEBUG, __VA_ARGS__)

#endif
