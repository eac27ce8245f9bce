/* access_log.c - key=value:
 *
 *   request time=... method=POST path=/predict status=200 model=toy version=1 rows=1 in=37 out=312 queue_us=21
 *           compute_us=180 total_us=260 sent=yes trace=- id=...
 *
 * or the same as JSON, where times are seconds. queue: accepted to first row taken; compute: first row taken to answer
 * written; total: headers read to answer sent; for a request that was refused, given up or left, each ends with the
 * request. Model, version and rows are there from the moment that they are known. Texts of clients are cut; in text
 * they keep only visible ASCII, in JSON what is UTF-8. Cheap: one line on the stack, or in a buffer that is kept. */
#include "server/access_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "proto/json_write.h"
#include "server/log_json.h"

#define WORD_BYTES 129
#define JSON_BYTES (16u << 10)

/* Copies what may stand in a line: no spaces, quotes, controls or bytes beyond ASCII. */
static void copy_word(char ret_word[WORD_BYTES], const char *text)
{
    size_t n = 0;
    for (; text[n] && n < WORD_BYTES - 1; n++)
        ret_word[n] = text[n] > ' ' && text[n] < 0x7f && text[n] != '"' && text[n] != '=' ? text[n] : '?';
    ret_word[n] = 0;
}

static void write_text(const struct access_line *line)
{
    char method[WORD_BYTES], path[WORD_BYTES], now[LOG_TIME_BYTES];
    copy_word(method, line->method);
    copy_word(path, line->path);
    ebm_log_line(EBM_LOG_INFO,
                 "request time=%s method=%s path=%s status=%d model=%s version=%" PRIu64 " rows=%" PRIu32 " in=%" PRIu64
                 " out=%" PRIu64 " queue_us=%" PRIu64 " compute_us=%" PRIu64 " total_us=%" PRIu64
                 " sent=%s trace=%s id=%s",
                 log_time(now), method, path, line->status, line->model ? line->model : "-", line->version, line->rows,
                 line->bytes_in, line->bytes_out, line->queue_us, line->compute_us, line->total_us,
                 line->sent ? "yes" : "no", line->trace ? line->trace->id : "-", line->request_id);
}

/* ---- JSON ---- */

/* ,"name":"text" of at most WORD_BYTES - 1 bytes; null for NULL. */
static void write_word(struct ebm_buf *buf, const char *name, const char *text)
{
    (void)ebm_buf_text(buf, name);
    if (!text) {
        (void)ebm_buf_text(buf, "null");
        return;
    }
    char word[WORD_BYTES];
    size_t n = strnlen(text, WORD_BYTES - 1);
    memcpy(word, text, n);
    word[n] = 0;
    json_write_text(buf, word);
}

static void write_whole(struct ebm_buf *buf, const char *name, uint64_t value)
{
    (void)ebm_buf_text(buf, name);
    (void)ebm_buf_whole(buf, value);
}

static void write_seconds(struct ebm_buf *buf, const char *name, uint64_t us)
{
    (void)ebm_buf_printf(buf, "%s%" PRIu64 ".%06" PRIu64, name, us / 1000000, us % 1000000);
}

void access_log_json(struct ebm_buf *buf, const struct access_line *line)
{
    const struct trace *trace = line->trace;
    log_json_begin(buf, EBM_LOG_INFO, "request");
    write_word(buf, ",\"request_id\":", line->request_id);
    write_word(buf, ",\"trace_id\":", trace ? trace->id : NULL);
    write_word(buf, ",\"span_id\":", trace ? trace->span : NULL);
    write_word(buf, ",\"parent_span_id\":", trace ? trace->parent : NULL);
    write_word(buf, ",\"method\":", line->method);
    write_word(buf, ",\"path\":", line->path);
    write_word(buf, ",\"route\":", line->route);
    write_whole(buf, ",\"status\":", (uint64_t)line->status);
    write_word(buf, ",\"model\":", line->model);
    if (line->model)
        write_whole(buf, ",\"version\":", line->version);
    else
        (void)ebm_buf_text(buf, ",\"version\":null");
    write_whole(buf, ",\"rows\":", line->rows);
    write_seconds(buf, ",\"queue_seconds\":", line->queue_us);
    write_seconds(buf, ",\"compute_seconds\":", line->compute_us);
    write_seconds(buf, ",\"total_seconds\":", line->total_us);
    write_whole(buf, ",\"bytes_in\":", line->bytes_in);
    write_whole(buf, ",\"bytes_out\":", line->bytes_out);
    (void)ebm_buf_text(buf, line->sent ? ",\"sent\":true}\n" : ",\"sent\":false}\n");
}

static void write_json(const struct access_line *line, struct ebm_buf *kept)
{
    if (kept->max_bytes == 0)
        ebm_buf_init(kept, JSON_BYTES);
    ebm_buf_clear(kept);
    access_log_json(kept, line);
    log_json_put(kept);
}

void access_log_write(struct ebm_buf *kept, const struct http_exchange *exchange, const char *route,
                      const struct job *job, bool sent)
{
    if (!ebm_log_is_on(EBM_LOG_INFO))
        return;
    uint64_t now_us = ebm_clock_us();
    bool has_model = job && job->model_name;
    struct job_times times = has_model ? job_times_of(job, now_us) : (struct job_times){.has_begun = false};
    struct access_line line = {
        .method = http_method(exchange),
        .path = http_path(exchange),
        .route = route,
        .model = has_model ? job->model_name : NULL,
        .version = has_model ? job->model_version : 0,
        .rows = job ? job->n_rows : 0,
        .status = http_answered_status(exchange),
        .bytes_in = http_body_bytes(exchange),
        .bytes_out = http_answered_bytes(exchange),
        .queue_us = times.queue_us,
        .compute_us = times.compute_us,
        .total_us = now_us - http_started_us(exchange),
        .sent = sent,
        .request_id = http_request_id(exchange),
        .trace = http_trace(exchange),
    };
    if (log_json_is_on())
        write_json(&line, kept);
    else
        write_text(&line);
}
