/* stats.h - GET /stats: each model's cost, queue, batches and latest latencies as JSON, for people who tune. */
#ifndef EBM_SERVER_STATS_H
#define EBM_SERVER_STATS_H

#include "core/buf.h"
#include "server/model_list.h"

/* Everything of the models of `models` (NULL: not loaded yet). Loop thread; a lock of the batcher for each model. */
void stats_write(struct ebm_buf *buf, const struct model_list *models, struct batcher *batcher);

#endif
