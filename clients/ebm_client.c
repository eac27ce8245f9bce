/* ebm_client.c - the calls of the library: request -> JSON -> exchange -> JSON -> structs.
 *
 * Each step lives in a file of its own: client_request.c, client_http.c, client_answer.c. Here is only their order, and
 * what belongs to whom in between. */
#include "clients/ebm_client.h"

#include <stdlib.h>
#include <string.h>

#include "clients/client_answer.h"
#include "clients/client_http.h"
#include "clients/client_request.h"

struct ebm_client {
    struct client_http *http;
};

const char *ebm_client_status_text(enum ebm_client_status status)
{
    static const char *const texts[] = {
#define X(name, text) text,
        EBM_CLIENT_STATUS_MAP(X)
#undef X
    };
    return (size_t)status < sizeof texts / sizeof texts[0] ? texts[status] : "unknown status";
}

struct ebm_client_options ebm_client_defaults(void)
{
    return (struct ebm_client_options){
        .server = "http://127.0.0.1:8080",
        .connect_timeout_ms = 3000,
        .timeout_ms = 60000,
        .max_retries = 4,
        .max_wait_ms = 5000,
        .max_answer_bytes = 64u << 20,
    };
}

enum ebm_client_status ebm_client_new(const struct ebm_client_options *options, struct ebm_client **ret_client,
                                      struct ebm_client_error *reterr)
{
    if (reterr)
        *reterr = (struct ebm_client_error){.status = EBM_CLIENT_OK};
    struct ebm_client *client = calloc(1, sizeof *client);
    if (!client)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "client", "no memory");
    enum ebm_client_status status = client_http_new(options, &client->http, reterr);
    if (status != EBM_CLIENT_OK) {
        free(client);
        return status;
    }
    *ret_client = client;
    return EBM_CLIENT_OK;
}

struct ebm_client *ebm_client_free(struct ebm_client *client)
{
    if (client)
        (void)client_http_free(client->http);
    free(client);
    return NULL;
}

/* Sends `body` (taken) and reads the answer. */
static enum ebm_client_status post(struct ebm_client *client, const char *path, char *body, size_t n_rows,
                                   struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr)
{
    struct client_call call = {.path = path, .body = body};
    struct client_bytes bytes = {.bytes = NULL};
    enum ebm_client_status status = client_http_call(client->http, &call, &bytes, reterr);
    free(body);
    if (status == EBM_CLIENT_OK)
        status = client_read_answer(&bytes, n_rows, strcmp(path, "/refine") == 0, ret_answer, reterr);
    free(bytes.bytes);
    return status;
}

enum ebm_client_status ebm_client_predict(struct ebm_client *client, const struct ebm_client_predict_request *request,
                                          struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr)
{
    char *body = NULL;
    enum ebm_client_status status = client_write_predict(request, &body, reterr);
    return status == EBM_CLIENT_OK ? post(client, "/predict", body, request->rows.n_rows, ret_answer, reterr) : status;
}

enum ebm_client_status ebm_client_sample(struct ebm_client *client, const struct ebm_client_sample_request *request,
                                         struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr)
{
    char *body = NULL;
    enum ebm_client_status status = client_write_sample(request, &body, reterr);
    return status == EBM_CLIENT_OK ? post(client, "/sample", body, request->rows.n_rows, ret_answer, reterr) : status;
}

enum ebm_client_status ebm_client_density(struct ebm_client *client, const struct ebm_client_density_request *request,
                                          struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr)
{
    char *body = NULL;
    enum ebm_client_status status = client_write_density(request, &body, reterr);
    return status == EBM_CLIENT_OK ? post(client, "/density", body, request->rows.n_rows, ret_answer, reterr) : status;
}

enum ebm_client_status ebm_client_refine(struct ebm_client *client, const struct ebm_client_refine_request *request,
                                         struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr)
{
    char *body = NULL;
    enum ebm_client_status status = client_write_refine(request, &body, reterr);
    return status == EBM_CLIENT_OK ? post(client, "/refine", body, request->rows.n_rows, ret_answer, reterr) : status;
}

enum ebm_client_status ebm_client_list_models(struct ebm_client *client, struct ebm_client_models *ret_models,
                                              struct ebm_client_error *reterr)
{
    struct client_call call = {.path = "/"};
    struct client_bytes bytes = {.bytes = NULL};
    enum ebm_client_status status = client_http_call(client->http, &call, &bytes, reterr);
    if (status == EBM_CLIENT_OK)
        status = client_read_models(&bytes, ret_models, reterr);
    free(bytes.bytes);
    return status;
}

enum ebm_client_status ebm_client_get_model(struct ebm_client *client, const char *name,
                                            struct ebm_client_model *ret_model, struct ebm_client_error *reterr)
{
    struct client_call call = {.path = "/v2/models/", .segment = name};
    struct client_bytes bytes = {.bytes = NULL};
    enum ebm_client_status status = client_http_call(client->http, &call, &bytes, reterr);
    if (status == EBM_CLIENT_OK)
        status = client_read_model(&bytes, ret_model, reterr);
    free(bytes.bytes);
    return status;
}

static enum ebm_client_status probe(struct ebm_client *client, const char *path, const char *member,
                                    struct ebm_client_error *reterr)
{
    struct client_call call = {.path = path, .is_probe = true};
    struct client_bytes bytes = {.bytes = NULL};
    enum ebm_client_status status = client_http_call(client->http, &call, &bytes, reterr);
    if (status == EBM_CLIENT_OK)
        status = client_read_true(&bytes, member, reterr);
    free(bytes.bytes);
    return status;
}

enum ebm_client_status ebm_client_live(struct ebm_client *client, struct ebm_client_error *reterr)
{
    return probe(client, "/livez", "live", reterr);
}

enum ebm_client_status ebm_client_ready(struct ebm_client *client, struct ebm_client_error *reterr)
{
    return probe(client, "/readyz", "ready", reterr);
}
