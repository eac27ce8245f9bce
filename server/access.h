/* access.h - who may ask what: decided once for each request, by its headers, before its body is kept.
 *
 * Without a file of keys everybody may ask everything that the server does. One for all loops. Any thread. */
#ifndef EBM_SERVER_ACCESS_H
#define EBM_SERVER_ACCESS_H

#include <pthread.h>

#include "server/api_keys.h"
#include "server/http.h"

/* What a route asks for. The first is the strictest: a route that says nothing is the administrator's. */
enum access_role {
    ACCESS_ADMIN = API_KEYS_ADMIN,
    ACCESS_METRICS = API_KEYS_METRICS,
    ACCESS_INFER = API_KEYS_INFER,
    ACCESS_ANY_KEY = API_KEYS_ROLES,
    ACCESS_ANYBODY /* no key is looked at */
};

struct access_config {
    const char *keys_file;  /* "": no keys; borrow, as all */
    const char *host_names; /* by which the server is called, with commas between them; "": localhost alone */
    const char *origins;    /* whose pages may ask, likewise; "": none */
};

struct access {
    struct access_config config; /* fixed */
    pthread_rwlock_t lock;       /* not taken by a server without keys */
    /* under lock */
    struct api_keys *keys; /* NULL: no keys; that is fixed */
};

/* Reads the file; INVALID with the option and what was expected. New: access_done. */
enum ebm_status access_init(struct access *access, const struct access_config *config, struct ebm_error *reterr)
    EBM_MUST_USE;
void access_done(struct access *access);
/* Reads the file again; one that is broken changes nothing. Logs what came of it. */
void access_reload(struct access *access);

/* False: the exchange was answered with 401 (no key, or nobody's) or 403 (a key without the role). */
bool access_let_in(struct access *access, struct http_exchange *exchange, enum access_role role);
/* The same of requests that change what is served, which no page of another site may send: 415, 403. */
bool access_let_change(const struct access *access, struct http_exchange *exchange);
/* Tells browsers that a page of an allowed origin may read the answer. True: that was all it asked (a preflight), and
 * it was answered. */
bool access_let_read(const struct access *access, struct http_exchange *exchange);

#endif
