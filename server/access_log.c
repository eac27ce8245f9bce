/* access_log.c - key=value, at level info:
 *
 *   request time=... method=POST path=/predict status=200 model=toy rows=1 in=37 out=312 queue_us=21 compute_us=180
 *           total_us=260 sent=yes id=...
 *
 * queue_us: accepted to first row taken; compute_us: first row taken to answer written; total_us: headers read to
 * answer sent; for a request that was refused, given up or left, each ends with the request. status=0: the client left
 * before an answer. model and rows are there from the moment that they are known. Texts of clients are cut, and keep
 * only visible ASCII. Cheap: one line on the stack, the date formatted once a second. */
#include "server/access_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "core/clock.h"
#include "core/log.h"

#define WORD_BYTES 129

/* Copies what may stand in a line: no spaces, quotes, controls or bytes beyond ASCII. */
static void copy_word(char ret_word[WORD_BYTES], const char *text)
{
    size_t n = 0;
    for (; text[n] && n < WORD_BYTES - 1; n++)
        ret_word[n] = text[n] > ' ' && text[n] < 0x7f && text[n] != '"' && text[n] != '=' ? text[n] : '?';
    ret_word[n] = 0;
}

/* "2026-01-31T12:00:00.123Z", the date kept until the second changes. Loop thread: the one user of the cache. */
static const char *format_now(char *ret_text, size_t bytes)
{
    static time_t cached_s;
    static char date[32];
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != cached_s) {
        struct tm utc;
        (void)gmtime_r(&now.tv_sec, &utc);
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
        cached_s = now.tv_sec;
    }
    (void)snprintf(ret_text, bytes, "%s.%03ldZ", date, now.tv_nsec / 1000000);
    return ret_text;
}

void access_log_write(const struct http_exchange *exchange, const struct job *job, bool sent)
{
    if (!ebm_log_is_on(EBM_LOG_INFO))
        return;
    char method[WORD_BYTES], path[WORD_BYTES], now[48];
    uint64_t now_us = ebm_clock_us();
    struct job_times times = job && job->model_name ? job_times_of(job, now_us)
                                                    : (struct job_times){.has_begun = false};
    copy_word(method, http_method(exchange));
    copy_word(path, http_path(exchange));
    ebm_log_line(EBM_LOG_INFO,
                 "request time=%s method=%s path=%s status=%d model=%s rows=%" PRIu32 " in=%" PRIu64 " out=%" PRIu64
                 " queue_us=%" PRIu64 " compute_us=%" PRIu64 " total_us=%" PRIu64 " sent=%s id=%s",
                 format_now(now, sizeof now), method, path, http_answered_status(exchange),
                 job && job->model_name ? job->model_name : "-", job ? job->n_rows : 0, http_body_bytes(exchange),
                 http_answered_bytes(exchange), times.queue_us, times.compute_us, now_us - http_started_us(exchange),
                 sent ? "yes" : "no", http_request_id(exchange));
}
