/* serving.h - how the versions of one model are served: which of them, in what batches, with what defaults. What
 * DIR/<model>/serving.json says, and for the rest the server's options. Made once, never changed, counted; any thread.
 */
#ifndef EBM_SERVER_SERVING_H
#define EBM_SERVER_SERVING_H

#include <stdatomic.h>

#include "core/limits.h"
#include "proto/request_defaults.h"
#include "server/batcher.h"

#define SERVING_FILE "serving.json"
#define SERVING_SPECIFIC 64u /* versions that a policy may name */

enum serving_policy { SERVING_BY_LATEST, SERVING_BY_ALL, SERVING_BY_NAME };

struct serving {
    _Atomic uint32_t references;
    struct batcher_lane_limits lane;
    enum serving_policy policy;
    uint64_t n_latest; /* the highest so many that can be loaded */
    uint32_t n_specific;
    uint64_t specific[SERVING_SPECIFIC];
    struct request_defaults defaults;
    struct ebm_error error; /* status OK: these are the settings that the file has; else why they are older ones */
    bool is_unusable;       /* there are no older ones: the model must not be served */
};

/* What holds without a file; n_latest 0: all versions. NULL: no memory. New: unref. */
struct serving *serving_new(const struct batcher_lane_limits *lane, uint64_t n_latest);
struct serving *serving_ref(struct serving *serving);
struct serving *serving_unref(struct serving *serving); /* NULL is fine; returns NULL */

/* Reads a file over the settings of `standard`, whose max_rows is the most that it may say. INVALID with where =
 * "serving.json: key", and what was found, what was expected and what to do. New: unref. */
enum ebm_status serving_read(const char *path, const struct serving *standard, const struct request_limits *limits,
                             struct serving **ret_serving, struct ebm_error *reterr) EBM_MUST_USE;
/* The same of a text. */
enum ebm_status serving_parse(const char *text, size_t size, const struct serving *standard,
                              const struct request_limits *limits, struct serving **ret_serving,
                              struct ebm_error *reterr) EBM_MUST_USE;
/* `before` again, beside what was wrong with its file. NULL: no memory. New: unref. */
struct serving *serving_with_error(const struct serving *before, const struct ebm_error *error, bool is_unusable);

/* May this version be served, when so many higher ones are available? */
bool serving_wants(const struct serving *serving, uint64_t version, uint64_t n_available);
/* The priority of a request that names `priority`, 0: none. INVALID: the model has fewer. */
enum ebm_status serving_priority(const struct serving *serving, uint64_t priority, uint32_t *ret_priority,
                                 struct ebm_error *reterr) EBM_MUST_USE;

#endif
