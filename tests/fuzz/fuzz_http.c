/* fuzz_http.c - requests as libmicrohttpd passes them on: its callbacks, our exchange, the table of routes, the short
 * answers. The input is a request as on the wire: "METHOD PATH VERSION", lines of headers, an empty line, the body.
 *
 * The library's side is played here: its functions are defined again, over a request that was cut up already. No
 * socket, no model: what a worker would answer is refused as not ready. Whatever comes is answered once, with a status,
 * with headers that are one line each, and with JSON where it says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/routes.h"

#define CHECKED_BYTES 4096u /* of an answer's JSON; the long ones do not depend on what is asked */
#define CONTENT_TYPE "Content-Type"

struct MHD_Connection {
    struct fuzz_lines headers; /* "name\0value" */
    void *peer;
    unsigned status; /* of the answer; 0: none yet */
    union MHD_ConnectionInfo info;
};

struct MHD_Response {
    char *bytes;
    size_t size;
    bool is_json, is_owned;
};

/* ---- the library's side ---- */

static const char *value_of(const char *header)
{
    return header + strlen(header) + 1;
}

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind, const char *key)
{
    (void)kind;
    for (int i = 0; i < connection->headers.n; i++)
        if (strcasecmp(connection->headers.at[i], key) == 0)
            return value_of(connection->headers.at[i]);
    return NULL;
}

int MHD_get_connection_values(struct MHD_Connection *connection, enum MHD_ValueKind kind, MHD_KeyValueIterator iterator,
                              void *user)
{
    for (int i = 0; i < connection->headers.n; i++)
        (void)iterator(user, kind, connection->headers.at[i], value_of(connection->headers.at[i]));
    return connection->headers.n;
}

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *connection,
                                                        enum MHD_ConnectionInfoType type, ...)
{
    memset(&connection->info, 0, sizeof connection->info);
    if (type == MHD_CONNECTION_INFO_SOCKET_CONTEXT)
        connection->info.socket_context = connection->peer;
    else if (type == MHD_CONNECTION_INFO_CONNECTION_FD)
        connection->info.connect_fd = -1;
    else
        connection->info.header_size = 100;
    return &connection->info;
}

struct MHD_Response *MHD_create_response_from_buffer(size_t size, void *bytes, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = calloc(1, sizeof *response);
    EBM_ASSERT(response != NULL);
    response->bytes = bytes;
    response->size = size;
    response->is_owned = mode == MHD_RESPMEM_MUST_FREE;
    return response;
}

enum MHD_Result MHD_add_response_header(struct MHD_Response *response, const char *name, const char *value)
{
    EBM_ASSERT(name[0] != 0 && value[0] != 0);
    for (const char *at = value; *at; at++)
        EBM_ASSERT((unsigned char)*at >= ' ' && (unsigned char)*at < 0x7f);
    if (strcmp(name, CONTENT_TYPE) == 0)
        response->is_json = strcmp(value, "application/json") == 0;
    return MHD_YES;
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
    EBM_ASSERT(connection->status == 0 && status >= 200 && status < 600);
    connection->status = status;
    if (response->is_json && response->size <= CHECKED_BYTES)
        fuzz_check_json(response->bytes, response->size);
    return MHD_YES;
}

void MHD_destroy_response(struct MHD_Response *response)
{
    if (response->is_owned)
        free(response->bytes);
    free(response);
}

void MHD_resume_connection(struct MHD_Connection *connection)
{
    (void)connection;
}

void MHD_suspend_connection(struct MHD_Connection *connection)
{
    (void)connection;
}

/* ---- the server's side ---- */

static struct routes *routes;
static struct http_budget budget = {.max_bytes = 4 * FUZZ_BODY_BYTES};
static struct http http = {.leaver_fd = -1, .body_timeout_us = 1000000, .budget = &budget};
static uv_loop_t loop;

static void begin_once(void)
{
    if (routes)
        return;
    routes = fuzz_routes();
    EBM_ASSERT(uv_loop_init(&loop) == 0);
    http.handler = routes_handler(routes);
    ebm_list_init(&http.peers);
    ebm_list_init(&http.exchanges);
    timeouts_init(&http.timeouts, &loop, http_on_due, &http);
}

/* The body in two pieces, then its end. False: the connection is to be closed. */
static bool pass_body(struct MHD_Connection *connection, const char *const words[3], const char *body, void **state)
{
    size_t size = strlen(body), half = size / 2, none = 0;
    for (size_t at = 0; at < size && connection->status == 0;) {
        size_t piece = at == 0 && half > 0 ? half : size - at, left = piece;
        if (http_on_access(&http, connection, words[1], words[0], words[2], body + at, &left, state) != MHD_YES)
            return false;
        EBM_ASSERT(left == 0);
        at += piece;
    }
    return connection->status != 0 ||
           http_on_access(&http, connection, words[1], words[0], words[2], NULL, &none, state) == MHD_YES;
}

static void exchange(struct MHD_Connection *connection, const char *const words[3], const char *body)
{
    void *state = NULL;
    size_t none = 0;
    http_on_connection(&http, connection, &connection->peer, MHD_CONNECTION_NOTIFY_STARTED);
    EBM_ASSERT(connection->peer != NULL);
    bool goes_on = http_on_access(&http, connection, words[1], words[0], words[2], NULL, &none, &state) == MHD_YES;
    goes_on = goes_on && pass_body(connection, words, body, &state);
    EBM_ASSERT(!goes_on || connection->status != 0);
    http_on_completed(&http, connection, &state,
                      goes_on ? MHD_REQUEST_TERMINATED_COMPLETED_OK : MHD_REQUEST_TERMINATED_WITH_ERROR);
    http.closing = true; /* there is no socket to linger on */
    http_on_connection(&http, connection, &connection->peer, MHD_CONNECTION_NOTIFY_CLOSED);
    http.closing = false;
    EBM_ASSERT(http.n_pending == 0 && budget.used_bytes == 0 && routes->metrics->in_flight == 0);
    EBM_ASSERT(ebm_list_is_empty(&http.peers) && ebm_list_is_empty(&http.exchanges));
}

/* ---- the input ---- */

/* Cuts "METHOD PATH?QUERY VERSION" as the library does. */
static bool cut_request_line(char *line, const char *ret_words[3])
{
    char *rest = NULL;
    for (int i = 0; i < 3; i++)
        ret_words[i] = strtok_r(i == 0 ? line : NULL, " \r", &rest);
    if (!ret_words[2])
        return false;
    char *path = (char *)(uintptr_t)ret_words[1];
    path[strcspn(path, "?")] = 0;
    size_t length = http_unescape(NULL, NULL, path);
    EBM_ASSERT(length == strlen(path));
    return true;
}

/* "Name: value" -> "Name\0value". A line without a colon is not passed on. */
static void cut_headers(struct fuzz_lines *lines)
{
    int n = 0;
    for (int i = 0; i < lines->n; i++) {
        char *line = lines->at[i], *colon = strchr(line, ':');
        line[strcspn(line, "\r")] = 0;
        if (!colon || strlen(line) <= (size_t)(colon - line))
            continue;
        size_t blanks = strspn(colon + 1, " \t");
        memmove(colon + 1, colon + 1 + blanks, strlen(colon + 1 + blanks) + 1);
        *colon = 0;
        lines->at[n++] = line;
    }
    lines->n = n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct MHD_Connection connection = {.status = 0};
    struct fuzz_lines lines;
    const char *words[3];
    char *text = fuzz_text(bytes, size), *rest = text;
    begin_once();
    fuzz_cut_lines(&rest, &lines);
    bool is_request = lines.n > 0 && cut_request_line(lines.at[0], words);
    if (is_request) {
        connection.headers.n = lines.n - 1;
        memcpy(connection.headers.at, lines.at + 1, (size_t)lines.n * sizeof *lines.at);
        cut_headers(&connection.headers);
        exchange(&connection, words, rest);
    }
    free(text);
    return is_request ? 0 : -1;
}
