/* access.c - keys, hosts, origins.
 *
 *   key     Authorization: Bearer KEY, or X-API-Key: KEY -> its roles -> 401, 403, or in
 *   change  no page of another site can send it: application/json needs a preflight, which says no; and a name that a
 *           stranger's DNS resolves to our address is no name of ours. A request with a key of ours is no such page's.
 *   read    Origin among those allowed -> the headers that let a browser hand out the answer
 *
 * Guarantees: no answer and no log has a key; all is decided by headers. */
#include "server/access.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "core/log.h"
#include "server/reply.h"

#define HOST_BYTES 256u

/* ---- lists with commas ---- */

/* The next item, and its length; NULL: there is none. Moves *at behind it. */
static const char *next_item(const char **at, size_t *ret_length)
{
    *at += strspn(*at, ", ");
    const char *item = *at;
    *ret_length = strcspn(item, ", ");
    *at += *ret_length;
    return *ret_length > 0 ? item : NULL;
}

static bool is_listed(const char *list, const char *text)
{
    size_t length;
    for (const char *item; (item = next_item(&list, &length)) != NULL;)
        if (strlen(text) == length && strncasecmp(item, text, length) == 0)
            return true;
    return false;
}

static bool is_origin(const char *item, size_t length)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < EBM_COUNT_OF(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (length > n && strncmp(item, schemes[i], n) == 0)
            return !memchr(item + n, '/', length - n) && !memchr(item + n, '*', length - n);
    }
    return false;
}

static enum ebm_status check_origins(const char *list, struct ebm_error *reterr)
{
    size_t length;
    for (const char *item; (item = next_item(&list, &length)) != NULL;)
        if (!is_origin(item, length))
            return ebm_error_set(reterr, EBM_INVALID, "--cors-origin",
                                 "expected origins such as https://example.org:8443, without a path or '*', got '%.*s'",
                                 (int)(length < HOST_BYTES ? length : HOST_BYTES), item);
    return EBM_OK;
}

/* ---- from start to end ---- */

enum ebm_status access_init(struct access *access, const struct access_config *config, struct ebm_error *reterr)
{
    struct access made = {.config = *config};
    enum ebm_status status = check_origins(config->origins, reterr);
    if (status == EBM_OK && config->keys_file[0])
        status = api_keys_read(config->keys_file, &made.keys, reterr);
    if (status != EBM_OK)
        return status;
    *access = made;
    (void)pthread_rwlock_init(&access->lock, NULL);
    return EBM_OK;
}

void access_done(struct access *access)
{
    access->keys = api_keys_free(access->keys);
    (void)pthread_rwlock_destroy(&access->lock);
}

void access_reload(struct access *access)
{
    struct api_keys *keys;
    struct ebm_error error;
    if (!access->config.keys_file[0])
        return;
    if (api_keys_read(access->config.keys_file, &keys, &error) != EBM_OK) {
        ebm_log_error("keys not read again, those before stay: %s: %s", error.where, error.text);
        return;
    }
    size_t n = api_keys_count(keys);
    (void)pthread_rwlock_wrlock(&access->lock);
    struct api_keys *before = access->keys;
    access->keys = keys;
    (void)pthread_rwlock_unlock(&access->lock);
    (void)api_keys_free(before);
    ebm_log_info("keys read again: keys=%zu", n);
}

/* ---- keys ---- */

static bool has_keys(const struct access *access)
{
    return access->config.keys_file[0] != 0;
}

/* What the client sent as a key; NULL: nothing of the kind. */
static const char *sent_key(const struct http_exchange *exchange)
{
    static const char scheme[] = "Bearer";
    const char *authorization = http_header(exchange, "Authorization");
    size_t length = strlen(scheme);
    if (!authorization || strncasecmp(authorization, scheme, length) != 0 || authorization[length] != ' ')
        return http_header(exchange, "X-API-Key");
    return authorization + length + strspn(authorization + length, " ");
}

/* A copy, as others may read the file again. False: nobody's. */
static bool find_key(struct access *access, const char *sent, struct api_key *ret_key)
{
    (void)pthread_rwlock_rdlock(&access->lock);
    const struct api_key *key = api_keys_find(access->keys, sent);
    if (key)
        *ret_key = *key;
    (void)pthread_rwlock_unlock(&access->lock);
    return key != NULL;
}

bool access_let_in(struct access *access, struct http_exchange *exchange, enum access_role role)
{
    struct api_key key;
    if (role == ACCESS_ANYBODY || !has_keys(access))
        return true;
    const char *sent = sent_key(exchange);
    if (!sent || !find_key(access, sent, &key)) {
        struct ebm_error error;
        (void)ebm_error_set(&error, EBM_INVALID, "", "expected a key of this server: Authorization: Bearer KEY");
        reply_unauthorized(exchange, &error);
        return false;
    }
    if (role != ACCESS_ANY_KEY && !(key.roles >> role & 1u)) {
        reply_refuse(exchange, REPLY_FORBIDDEN, "", "this key does not have the role that the route asks for");
        return false;
    }
    if (role == ACCESS_ADMIN)
        ebm_log_info("an administrator asks: key=%s id=%s", key.name, http_request_id(exchange));
    return true;
}

/* ---- changes ---- */

/* "name:port", "[::1]:port" -> the name. False: too long. */
static bool cut_port(const char *host, char *ret_name)
{
    bool is_bracketed = host[0] == '[';
    const char *name = host + (is_bracketed ? 1 : 0);
    size_t length = strcspn(name, is_bracketed ? "]" : ":");
    if (length >= HOST_BYTES)
        return false;
    memcpy(ret_name, name, length);
    ret_name[length] = 0;
    return true;
}

/* A number, or a name of ours: no stranger's name resolves to either. */
static bool is_known_host(const struct access *access, const char *host)
{
    char name[HOST_BYTES];
    struct in6_addr address;
    if (!host) /* HTTP/1.0: no browser */
        return true;
    return cut_port(host, name) &&
           (strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &address) == 1 ||
            inet_pton(AF_INET6, name, &address) == 1 || is_listed(access->config.host_names, name));
}

/* Browsers say that they are some; clients of the protocol send no type. */
static bool is_plain_client(const struct http_exchange *exchange)
{
    return !http_header(exchange, "Content-Type") && !http_header(exchange, "Origin") &&
           !http_header(exchange, "Sec-Fetch-Site");
}

bool access_let_change(const struct access *access, struct http_exchange *exchange)
{
    const char *type = http_header(exchange, "Content-Type");
    if (!(type ? http_is_type(type, "application/json") : is_plain_client(exchange)))
        reply_refuse(exchange, REPLY_UNSUPPORTED_TYPE, "Content-Type", "expected application/json");
    else if (!has_keys(access) && !is_known_host(access, http_header(exchange, "Host")))
        reply_refuse(exchange, REPLY_FORBIDDEN, "Host", "expected an address, localhost, or a name of --host-names");
    else
        return true;
    return false;
}

/* ---- pages of other origins ---- */

bool access_let_read(const struct access *access, struct http_exchange *exchange)
{
    static const struct http_field preflight[] = {
        {"Access-Control-Allow-Methods", "GET, HEAD, POST"},
        {"Access-Control-Allow-Headers", "Authorization, X-API-Key, Content-Type, Content-Encoding, X-Request-Id, "
                                         "Inference-Header-Content-Length"},
        {"Access-Control-Max-Age", "600"},
        {NULL, NULL},
    };
    const char *origin = http_header(exchange, "Origin");
    if (!origin || !is_listed(access->config.origins, origin))
        return false;
    http_allow_origin(exchange, origin);
    if (strcmp(http_method(exchange), "OPTIONS") != 0 || !http_header(exchange, "Access-Control-Request-Method"))
        return false;
    struct ebm_buf nothing;
    struct http_answer answer = {.status = 204, .content_type = "text/plain", .fields = preflight};
    ebm_buf_init(&nothing, 0);
    http_answer(exchange, &answer, &nothing);
    return true;
}
