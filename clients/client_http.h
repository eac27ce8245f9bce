/* client_http.h - one exchange with a server: connections, time, asking again. libcurl stays behind this page. */
#ifndef EBM_CLIENTS_CLIENT_HTTP_H
#define EBM_CLIENTS_CLIENT_HTTP_H

#include "clients/ebm_client.h"

#if defined(__GNUC__)
#define CLIENT_PRINTF(text_at, first_at) __attribute__((format(printf, text_at, first_at)))
#else
#define CLIENT_PRINTF(text_at, first_at)
#endif

/* Fills `error` (NULL is fine) and returns `status`. What the error knows of the exchange (attempts) stays. */
enum ebm_client_status client_fail(struct ebm_client_error *error, enum ebm_client_status status, const char *where,
                                   const char *format, ...) CLIENT_PRINTF(4, 5);

struct client_http;

/* Checks the address. New: client_http_free. */
enum ebm_client_status client_http_new(const struct ebm_client_options *options, struct client_http **ret_http,
                                       struct ebm_client_error *reterr);
struct client_http *client_http_free(struct client_http *http); /* NULL is fine; returns NULL */

struct client_call {
    const char *path;    /* from '/'; escaped already */
    const char *segment; /* appended to the path, escaped; NULL: none */
    const char *body;    /* a POST of JSON; NULL: a GET */
    bool is_probe;       /* asked once, whatever comes */
};

/* Bytes of an answer, always followed by a 0 that is not counted. */
struct client_bytes {
    char *bytes;
    size_t size, capacity;
};

/* The body of a 200 answer; anything else is an error. New: free(ret_body->bytes). Any thread. */
enum ebm_client_status client_http_call(struct client_http *http, const struct client_call *call,
                                        struct client_bytes *ret_body, struct ebm_client_error *reterr);

#endif
