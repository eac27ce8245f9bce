/* log_json.h - lines of the log as JSON (--log-format json): one object a line, valid whatever its texts hold. */
#ifndef EBM_SERVER_LOG_JSON_H
#define EBM_SERVER_LOG_JSON_H

#include "core/buf.h"
#include "core/log.h"

#define LOG_TIME_BYTES 48u

/* From now on lines are JSON; before threads start. */
void log_json_start(void);
bool log_json_is_on(void);

/* Writes a buffer that holds a line to stderr, in one piece; one that failed has lost its line, and says so. Any
 * thread. */
void log_json_put(struct ebm_buf *line);

/* {"time":"...","level":"info","message":"..." - more members may follow, then "}\n". `message`: bytes of unknown
 * origin, what is not UTF-8 becomes '?'. Any thread. */
void log_json_begin(struct ebm_buf *buf, enum ebm_log_level level, const char *message);

/* Now, in UTC: 2026-01-31T12:00:00.123Z. Any thread; borrow: ret_text. */
const char *log_time(char ret_text[LOG_TIME_BYTES]);

#endif
