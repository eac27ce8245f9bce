/* repository_routes.h - POST /v2/repository/index, /v2/repository/models/M/load and .../unload: what the model
 * repository extension of the Open Inference Protocol asks for. Loop thread only. */
#ifndef EBM_SERVER_REPOSITORY_ROUTES_H
#define EBM_SERVER_REPOSITORY_ROUTES_H

#include "server/http.h"
#include "server/model_keeper.h"

struct repository_routes {
    struct model_store *store;   /* NULL until the models are loaded; borrow, as all below */
    struct model_keeper *keeper; /* NULL: nothing is loaded while it serves, or not yet */
    struct http *http;           /* woken when an answer came later */
    struct mailbox *mailbox;     /* where orders come back: calls repository_routes_on_mail */
    bool may_control;            /* --model-control: load and unload are allowed */
    const _Atomic bool *stopping;
    struct ebm_list waiting; /* requests that the keeper has */
};

void repository_routes_init(struct repository_routes *routes);

/* Each takes the exchange's body and answers, now or later. */
void repository_routes_index(struct repository_routes *routes, struct http_exchange *exchange);
void repository_routes_order(struct repository_routes *routes, struct http_exchange *exchange, const char *name,
                             bool loads);
/* The exchange is over, one of ours or not. */
void repository_routes_end(struct repository_routes *routes, struct http_exchange *exchange);
/* The callback of the keeper's mailbox; user is the routes. */
void repository_routes_on_mail(void *user, struct ebm_list *mail);

#endif
