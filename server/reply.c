/* reply.c - statuses and errors -> HTTP answers.
 *
 *   enum ebm_status -> enum reply_kind -> status line, code word, JSON body
 *
 * Texts of errors may quote what a client sent; json_write_text makes them valid JSON. Guarantees: every exchange that
 * comes here is answered, without memory too (then with an empty body). */
#include "server/reply.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/json_write.h"

#define ERROR_BYTES 4096u
#define RETRY_AFTER_MOST_S 3600u

static const struct {
    int status;
    const char *code;
} kinds[] = {
#define X(name, status, code) {status, code},
    REPLY_MAP(X)
#undef X
};

enum reply_kind reply_kind_of(enum ebm_status status)
{
    switch (status) {
    case EBM_OK:
        return REPLY_OK;
    case EBM_INVALID:
        return REPLY_INVALID;
    case EBM_TOO_LARGE:
        return REPLY_TOO_LARGE;
    case EBM_NOT_FOUND:
        return REPLY_NOT_FOUND;
    case EBM_BUSY:
        return REPLY_QUEUE_FULL;
    case EBM_TIMEOUT:
        return REPLY_TIMEOUT;
    case EBM_DAMAGED:
    case EBM_DEVICE:
        return REPLY_NOT_READY;
    case EBM_CANCELLED:
    case EBM_NO_MEMORY:
    case EBM_INTERNAL:
        return REPLY_INTERNAL;
    }
    return REPLY_INTERNAL;
}

int reply_http_status(enum reply_kind kind)
{
    return kinds[kind].status;
}

/* Rounded up. */
static uint32_t seconds_of(uint64_t ms)
{
    uint64_t seconds = ms / 1000 + (ms % 1000 > 0);
    seconds = seconds > 0 ? seconds : 1;
    return seconds < RETRY_AFTER_MOST_S ? (uint32_t)seconds : RETRY_AFTER_MOST_S;
}

/* What an error's answer has besides. */
struct extras {
    const char *allow;
    const struct http_field *fields;
    uint64_t retry_after_ms; /* 0: not known */
};

static void answer_error(struct http_exchange *exchange, enum reply_kind kind, const struct ebm_error *error,
                         const struct extras *extras)
{
    char text[sizeof error->where + sizeof error->text + 2];
    (void)snprintf(text, sizeof text, "%s%s%s", error->where, error->where[0] ? ": " : "", error->text);
    struct ebm_buf body;
    ebm_buf_init(&body, ERROR_BYTES);
    (void)ebm_buf_text(&body, "{\"error\":");
    json_write_text(&body, text);
    (void)ebm_buf_printf(&body, ",\"code\":\"%s\"", kinds[kind].code);
    if (extras->retry_after_ms > 0)
        (void)ebm_buf_printf(&body, ",\"retry_after_ms\":%" PRIu64, extras->retry_after_ms);
    (void)ebm_buf_printf(&body, ",\"request_id\":\"%s\"}\n", http_request_id(exchange));
    bool may_retry = kind == REPLY_QUEUE_FULL || kind == REPLY_BUSY || kind == REPLY_NOT_READY;
    struct http_answer answer = {
        .status = kinds[kind].status,
        .content_type = "application/json",
        .allow = extras->allow,
        .fields = extras->fields,
        .retry_after_s = may_retry ? seconds_of(extras->retry_after_ms) : 0,
    };
    http_answer(exchange, &answer, &body);
}

void reply_error(struct http_exchange *exchange, enum reply_kind kind, const struct ebm_error *error)
{
    answer_error(exchange, kind, error, &(struct extras){.allow = NULL});
}

void reply_refuse(struct http_exchange *exchange, enum reply_kind kind, const char *where, const char *text)
{
    struct ebm_error error;
    (void)ebm_error_set(&error, EBM_INVALID, where, "%s", text);
    reply_error(exchange, kind, &error);
}

void reply_queue_full(struct http_exchange *exchange, const struct ebm_error *error, uint64_t wait_ms)
{
    answer_error(exchange, REPLY_QUEUE_FULL, error, &(struct extras){.retry_after_ms = wait_ms > 0 ? wait_ms : 1});
}

void reply_not_allowed(struct http_exchange *exchange, const char *allow)
{
    struct ebm_error error;
    (void)ebm_error_set(&error, EBM_INVALID, "", "method not allowed here, expected %s", allow);
    answer_error(exchange, REPLY_METHOD_NOT_ALLOWED, &error, &(struct extras){.allow = allow});
}

void reply_unauthorized(struct http_exchange *exchange, const struct ebm_error *error)
{
    static const struct http_field fields[] = {{"WWW-Authenticate", "Bearer"}, {NULL, NULL}};
    answer_error(exchange, REPLY_UNAUTHORIZED, error, &(struct extras){.fields = fields});
}

void reply_parts(struct http_exchange *exchange, const char *content_type, struct ebm_buf *body, size_t json_bytes)
{
    struct http_answer answer = {.status = 200, .content_type = content_type, .json_bytes = json_bytes};
    if (body->status == EBM_OK) {
        http_answer(exchange, &answer, body);
        return;
    }
    struct ebm_error error;
    (void)ebm_error_set(&error, body->status, "", "the answer could not be written: %s", ebm_status_text(body->status));
    reply_error(exchange, REPLY_INTERNAL, &error);
}

void reply_text(struct http_exchange *exchange, const char *content_type, struct ebm_buf *body)
{
    reply_parts(exchange, content_type, body, 0);
}

void reply_json(struct http_exchange *exchange, struct ebm_buf *body)
{
    reply_text(exchange, "application/json", body);
}
