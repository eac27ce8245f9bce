/* log_json.c - what ebm_log_line formats, as JSON. A line of its own memory each: there are few but for the access log,
 * which keeps its buffer. */
#include "server/log_json.h"

#include <stdio.h>
#include <time.h>

#include "proto/json_write.h"

#define LINE_BYTES (32u << 10) /* of a message of 2 KiB, all of it escaped */

static bool is_on;

const char *log_time(char ret_text[LOG_TIME_BYTES])
{
    static _Thread_local time_t cached_s; /* the date is kept until the second changes */
    static _Thread_local char date[32];
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != cached_s) {
        struct tm utc;
        (void)gmtime_r(&now.tv_sec, &utc);
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
        cached_s = now.tv_sec;
    }
    (void)snprintf(ret_text, LOG_TIME_BYTES, "%s.%03ldZ", date, now.tv_nsec / 1000000);
    return ret_text;
}

void log_json_begin(struct ebm_buf *buf, enum ebm_log_level level, const char *message)
{
    char now[LOG_TIME_BYTES];
    (void)ebm_buf_printf(buf, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", log_time(now),
                         ebm_log_level_word(level));
    json_write_text(buf, message);
}

void log_json_put(struct ebm_buf *line)
{
    static const char lost[] = "{\"level\":\"error\",\"message\":\"a line of the log is lost: no memory\"}\n";
    bool is_whole = line->status == EBM_OK;
    ebm_log_put(is_whole ? line->bytes : lost, is_whole ? line->size : sizeof lost - 1);
}

static void write_line(void *user, enum ebm_log_level level, const char *message)
{
    struct ebm_buf line;
    (void)user;
    ebm_buf_init(&line, LINE_BYTES);
    log_json_begin(&line, level, message);
    (void)ebm_buf_text(&line, "}\n");
    log_json_put(&line);
    ebm_buf_done(&line);
}

void log_json_start(void)
{
    is_on = true;
    ebm_log_set(write_line, NULL);
}

bool log_json_is_on(void)
{
    return is_on;
}
