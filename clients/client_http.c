/* client_http.c - libcurl: a pool of handles, one attempt, and the rule for the next one.
 *
 *   call -> take a handle -> attempt -> 200: the body
 *              ^               |----- 429, 503: wait, again; as long as retries and time last
 *              |               '----- anything else: an error
 *           put it back, with its open connection
 *
 * Guarantees: a call ends within timeout_ms; an answer never takes more than max_answer_bytes (twice that while it
 * grows); one handle serves one thread at a time. Does not know: what bodies mean, but for the three texts of an error.
 */
#include "clients/client_http.h"

#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define IDLE_HANDLES 16u /* that wait with an open connection; more are closed */
#define FIRST_WAIT_MS 100u
#define FIRST_BYTES 4096u
#define URL_BYTES 2048u
#define KEY_BYTES 256 /* longest key */

struct client_http {
    struct ebm_client_options options; /* .server is `base` */
    char base[URL_BYTES];              /* without a slash at the end */
    struct curl_slist *headers;
    pthread_mutex_t lock; /* of what follows */
    CURL *idle[IDLE_HANDLES];
    size_t n_idle;
};

enum ebm_client_status client_fail(struct ebm_client_error *error, enum ebm_client_status status, const char *where,
                                   const char *format, ...)
{
    if (!error)
        return status;
    va_list arguments;
    error->status = status;
    (void)snprintf(error->where, sizeof error->where, "%s", where);
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

/* ---- time ---- */

static uint64_t now_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static void sleep_ms(uint64_t ms)
{
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) != 0)
        ;
}

/* Up to a quarter of `ms`, by chance: clients that were refused together must not come back together. */
static uint64_t jitter_ms(uint64_t ms)
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != (ssize_t)sizeof bits)
        bits = now_ms();
    return bits % (ms / 4 + 1);
}

/* ---- handles ---- */

static void global_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Any thread. NULL: no memory. */
static CURL *take_handle(struct client_http *http)
{
    CURL *handle = NULL;
    (void)pthread_mutex_lock(&http->lock);
    if (http->n_idle > 0)
        handle = http->idle[--http->n_idle];
    (void)pthread_mutex_unlock(&http->lock);
    return handle ? handle : curl_easy_init();
}

static void put_handle(struct client_http *http, CURL *handle)
{
    curl_easy_reset(handle); /* keeps the connection */
    (void)pthread_mutex_lock(&http->lock);
    if (http->n_idle < IDLE_HANDLES) {
        http->idle[http->n_idle++] = handle;
        handle = NULL;
    }
    (void)pthread_mutex_unlock(&http->lock);
    curl_easy_cleanup(handle);
}

/* ---- the address ---- */

static enum ebm_client_status check_server(const char *server, struct ebm_client_error *reterr)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *query = NULL;
    if (!url)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "server", "no memory");
    bool is_fine = strlen(server) < URL_BYTES && curl_url_set(url, CURLUPART_URL, server, 0) == CURLUE_OK &&
                   curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                   (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
                   curl_url_get(url, CURLUPART_QUERY, &query, 0) != CURLUE_OK;
    curl_free(scheme);
    curl_free(query);
    curl_url_cleanup(url);
    if (is_fine)
        return EBM_CLIENT_OK;
    return client_fail(reterr, EBM_CLIENT_INVALID, "server",
                       "'%.100s' is no address of a server, expected one like http://127.0.0.1:8080", server);
}

/* Nothing that could end the line of a header. */
static bool is_key(const char *key)
{
    size_t n = 0;
    while (key[n] > ' ' && key[n] < 0x7f)
        n++;
    return n > 0 && n <= KEY_BYTES && !key[n];
}

static enum ebm_client_status check_options(const struct ebm_client_options *options, struct ebm_client_error *reterr)
{
    if (!options->server || !options->server[0])
        return client_fail(reterr, EBM_CLIENT_INVALID, "server", "missing, expected http://HOST:PORT");
    if (options->timeout_ms == 0 || options->connect_timeout_ms == 0)
        return client_fail(reterr, EBM_CLIENT_INVALID, "timeout_ms",
                           "expected timeout_ms and connect_timeout_ms above 0; start from ebm_client_defaults()");
    if (options->max_answer_bytes == 0)
        return client_fail(reterr, EBM_CLIENT_INVALID, "max_answer_bytes",
                           "expected a number above 0; start from ebm_client_defaults()");
    if (options->api_key && !is_key(options->api_key))
        return client_fail(reterr, EBM_CLIENT_INVALID, "api_key", "expected 1 to %d visible ASCII characters",
                           KEY_BYTES);
    return check_server(options->server, reterr);
}

static bool add_header(struct client_http *http, const char *line)
{
    struct curl_slist *longer = curl_slist_append(http->headers, line);
    if (longer)
        http->headers = longer;
    return longer != NULL;
}

static bool add_key(struct client_http *http, const char *key)
{
    char line[sizeof "Authorization: Bearer " + KEY_BYTES];
    (void)snprintf(line, sizeof line, "Authorization: Bearer %s", key);
    return add_header(http, line);
}

static bool make_headers(struct client_http *http, const char *key)
{
    /* No "Expect": a large body would wait a second for a word that the server does not say. */
    static const char *const lines[] = {"Content-Type: application/json", "Accept: application/json", "Expect:"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!add_header(http, lines[i]))
            return false;
    return !key || add_key(http, key);
}

enum ebm_client_status client_http_new(const struct ebm_client_options *options, struct client_http **ret_http,
                                       struct ebm_client_error *reterr)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, global_init);
    enum ebm_client_status status = check_options(options, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    struct client_http *http = calloc(1, sizeof *http);
    if (!http || pthread_mutex_init(&http->lock, NULL) != 0) {
        free(http);
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "client", "no memory");
    }
    http->options = *options;
    http->options.server = http->base;
    (void)snprintf(http->base, sizeof http->base, "%s", options->server);
    for (size_t n = strlen(http->base); n > 0 && http->base[n - 1] == '/'; n--)
        http->base[n - 1] = '\0';
    http->options.api_key = NULL; /* the caller's text; a header has it */
    if (!make_headers(http, options->api_key)) {
        (void)client_http_free(http);
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "client", "no memory");
    }
    *ret_http = http;
    return EBM_CLIENT_OK;
}

struct client_http *client_http_free(struct client_http *http)
{
    if (!http)
        return NULL;
    for (size_t i = 0; i < http->n_idle; i++)
        curl_easy_cleanup(http->idle[i]);
    curl_slist_free_all(http->headers);
    (void)pthread_mutex_destroy(&http->lock);
    free(http);
    return NULL;
}

/* ---- one attempt ---- */

/* An answer on its way in. */
struct reception {
    struct client_bytes body;
    size_t max_bytes;
    enum ebm_client_status status; /* why it was broken off */
};

static bool grow(struct reception *reception, size_t wanted)
{
    struct client_bytes *body = &reception->body;
    if (wanted <= body->capacity)
        return true;
    size_t capacity = body->capacity ? body->capacity : FIRST_BYTES;
    while (capacity < wanted)
        capacity *= 2;
    char *bytes = realloc(body->bytes, capacity);
    if (!bytes)
        return false;
    body->bytes = bytes;
    body->capacity = capacity;
    return true;
}

/* libcurl's write function: anything but `n` breaks the transfer off. */
static size_t receive(char *bytes, size_t one, size_t n, void *user)
{
    struct reception *reception = user;
    struct client_bytes *body = &reception->body;
    (void)one;
    if (n > reception->max_bytes - body->size)
        reception->status = EBM_CLIENT_TOO_LARGE;
    else if (!grow(reception, body->size + n + 1))
        reception->status = EBM_CLIENT_NO_MEMORY;
    if (reception->status != EBM_CLIENT_OK)
        return 0;
    memcpy(body->bytes + body->size, bytes, n);
    body->size += n;
    body->bytes[body->size] = '\0';
    return n;
}

static enum ebm_client_status transfer_failed(const struct client_http *http, CURLcode code, const char *detail,
                                              const struct reception *reception, struct ebm_client_error *reterr)
{
    const char *where = http->base;
    const char *words = detail[0] ? detail : curl_easy_strerror(code);
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return client_fail(reterr, EBM_CLIENT_TIMEOUT, where, "%s; is the server at work, or the time too short?",
                           words);
    case CURLE_WRITE_ERROR:
        if (reception->status == EBM_CLIENT_TOO_LARGE)
            return client_fail(reterr, EBM_CLIENT_TOO_LARGE, where,
                               "the answer is larger than max_answer_bytes (%zu); ask for less, or raise it",
                               reception->max_bytes);
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, where, "no memory for the answer");
    case CURLE_OUT_OF_MEMORY:
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, where, "no memory");
    case CURLE_PARTIAL_FILE:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_HTTP2:
    case CURLE_BAD_CONTENT_ENCODING:
        return client_fail(reterr, EBM_CLIENT_BAD_ANSWER, where,
                           "%s; is this an ebm-server, and did it end in between?", words);
    default:
        return client_fail(reterr, EBM_CLIENT_CONNECT, where, "%s; does a server listen there?", words);
    }
}

static void set_up(const struct client_http *http, CURL *handle, const struct client_call *call, const char *url,
                   uint64_t rest_ms, struct reception *reception, char *detail)
{
    uint64_t connect_ms = http->options.connect_timeout_ms < rest_ms ? http->options.connect_timeout_ms : rest_ms;
    (void)curl_easy_setopt(handle, CURLOPT_URL, url);
    (void)curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L); /* a model may be asked for as ".." */
    (void)curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);
    (void)curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)rest_ms);
    (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(handle, CURLOPT_WRITEDATA, reception);
    if (call->body) {
        (void)curl_easy_setopt(handle, CURLOPT_HTTPHEADER, http->headers);
        (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
        (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call->body);
    }
}

static void copy_text(char *to, size_t to_bytes, const char *from)
{
    (void)snprintf(to, to_bytes, "%s", from ? from : "");
}

/* {"error","code","request_id"}, or whatever else a server or a proxy says with such a status. */
static enum ebm_client_status refused(const struct client_http *http, CURL *handle, long http_status,
                                      const struct client_bytes *body, struct ebm_client_error *reterr)
{
    struct curl_header *header = NULL;
    if (!reterr)
        return EBM_CLIENT_REFUSED;
    json_t *root = body->bytes ? json_loadb(body->bytes, body->size, 0, NULL) : NULL;
    const char *text = json_string_value(json_object_get(root, "error"));
    const char *request_id = json_string_value(json_object_get(root, "request_id"));
    if (!request_id && curl_easy_header(handle, "X-Request-Id", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
        request_id = header->value;
    reterr->http_status = (int)http_status;
    copy_text(reterr->code, sizeof reterr->code, json_string_value(json_object_get(root, "code")));
    copy_text(reterr->request_id, sizeof reterr->request_id, request_id);
    if (text)
        (void)client_fail(reterr, EBM_CLIENT_REFUSED, http->base, "%s", text);
    else
        (void)client_fail(reterr, EBM_CLIENT_REFUSED, http->base, "HTTP status %ld without an ebm-server's error",
                          http_status);
    json_decref(root);
    return EBM_CLIENT_REFUSED;
}

struct outcome {
    long http_status;         /* 0: no answer */
    curl_off_t retry_after_s; /* 0: not said */
    struct client_bytes body; /* new */
};

/* OK: ret_outcome has the body. Otherwise its http_status says whether another attempt makes sense. */
static enum ebm_client_status attempt(struct client_http *http, CURL *handle, const struct client_call *call,
                                      const char *url, uint64_t rest_ms, struct outcome *ret_outcome,
                                      struct ebm_client_error *reterr)
{
    struct reception reception = {.max_bytes = http->options.max_answer_bytes};
    struct outcome outcome = {.http_status = 0};
    char detail[CURL_ERROR_SIZE] = "";
    enum ebm_client_status status = EBM_CLIENT_OK;
    set_up(http, handle, call, url, rest_ms, &reception, detail);
    CURLcode code = curl_easy_perform(handle);
    (void)curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, NULL);
    if (code == CURLE_OK) {
        (void)curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &outcome.http_status);
        (void)curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &outcome.retry_after_s);
        if (outcome.http_status != 200)
            status = refused(http, handle, outcome.http_status, &reception.body, reterr);
    } else {
        status = transfer_failed(http, code, detail, &reception, reterr);
    }
    if (status == EBM_CLIENT_OK)
        outcome.body = reception.body;
    else
        free(reception.body.bytes);
    *ret_outcome = outcome;
    return status;
}

/* ---- again ---- */

/* Before attempt n + 1, from n = 1. */
static uint64_t wait_ms(const struct client_http *http, const struct outcome *outcome, uint32_t n)
{
    uint64_t most = http->options.max_wait_ms, wait = most;
    if (outcome->retry_after_s > 0 && (uint64_t)outcome->retry_after_s < most / 1000 + 1)
        wait = (uint64_t)outcome->retry_after_s * 1000;
    else if (outcome->retry_after_s <= 0 && n < 16)
        wait = (uint64_t)FIRST_WAIT_MS << (n - 1);
    wait = wait < most ? wait : most;
    return wait + jitter_ms(wait);
}

static enum ebm_client_status call_with(struct client_http *http, CURL *handle, const struct client_call *call,
                                        const char *url, struct client_bytes *ret_body, struct ebm_client_error *reterr)
{
    const uint64_t end = now_ms() + http->options.timeout_ms;
    const uint32_t most = call->is_probe ? 1 : http->options.max_retries + 1;
    for (uint32_t n = 1;; n++) {
        struct outcome outcome;
        uint64_t now = now_ms();
        if (reterr)
            *reterr = (struct ebm_client_error){.n_attempts = n};
        enum ebm_client_status status = attempt(http, handle, call, url, end > now ? end - now : 1, &outcome, reterr);
        if (status == EBM_CLIENT_OK) {
            *ret_body = outcome.body;
            return EBM_CLIENT_OK;
        }
        bool may_pass = outcome.http_status == 429 || outcome.http_status == 503;
        uint64_t wait = wait_ms(http, &outcome, n);
        if (!may_pass || n >= most || now_ms() + wait >= end)
            return status;
        sleep_ms(wait);
    }
}

static enum ebm_client_status make_url(const struct client_http *http, CURL *handle, const struct client_call *call,
                                       char *ret_url, struct ebm_client_error *reterr)
{
    char *escaped = call->segment ? curl_easy_escape(handle, call->segment, 0) : NULL;
    if (call->segment && !escaped)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "client", "no memory");
    int length = snprintf(ret_url, 2 * URL_BYTES, "%s%s%s", http->base, call->path, escaped ? escaped : "");
    curl_free(escaped);
    if (length >= (int)(2 * URL_BYTES))
        return client_fail(reterr, EBM_CLIENT_INVALID, "model", "the name is too long for an address");
    return EBM_CLIENT_OK;
}

enum ebm_client_status client_http_call(struct client_http *http, const struct client_call *call,
                                        struct client_bytes *ret_body, struct ebm_client_error *reterr)
{
    char url[2 * URL_BYTES];
    CURL *handle = take_handle(http);
    if (!handle)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "client", "no memory");
    enum ebm_client_status status = make_url(http, handle, call, url, reterr);
    if (status == EBM_CLIENT_OK)
        status = call_with(http, handle, call, url, ret_body, reterr);
    put_handle(http, handle);
    return status;
}
