/* test_worker.c - a model is made ready on every worker, and each is held to the parity values of its file: one worker
 * whose device computes something else is enough to refuse it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/safetensors.h"
#include "server/worker.h"
#include "tests/threads/check.h"

enum { WORKERS = 3, ROWS = 2, TARGETS = 3, MOST_TENSORS = 10 };

static struct ebm_device_ops ops;            /* the CPU's, but for the next two */
static _Atomic(struct ebm_ctx *) bad_ctx;    /* whose log q is off; NULL: nobody's */
static struct ebm_ctx *contexts[WORKERS];    /* in the order in which they were made */
static _Atomic uint32_t n_contexts, n_asked; /* how often log q was fetched */

static enum ebm_status new_ctx(const struct ebm_ctx_limits *limits, struct ebm_ctx **ret_ctx, struct ebm_error *reterr)
{
    enum ebm_status status = ebm_device_cpu()->ctx_new(limits, ret_ctx, reterr);
    if (status == EBM_OK)
        contexts[atomic_fetch_add(&n_contexts, 1)] = *ret_ctx;
    return status;
}

static enum ebm_status fetch(struct ebm_ctx *ctx, enum ebm_fetch what, uint32_t b, float *h_dst)
{
    enum ebm_status status = ebm_device_cpu()->fetch(ctx, what, b, h_dst);
    atomic_fetch_add(&n_asked, 1);
    if (ctx == atomic_load(&bad_ctx))
        h_dst[0] += 0.01f;
    return status;
}

/* y ~ N(0, 1) whatever x is: all parameters are 0, and log q is known. */
static struct ebm_model *load_model(void)
{
    static const char text[] =
        "{\"format_version\":1,\"name\":\"tiny\",\"input\":{\"kind\":\"vector\",\"shape\":[1]},"
        "\"target\":{\"dim\":1,\"mean\":[0],\"std\":[1]},\"proposal\":{\"kind\":\"gaussian_mixture\",\"components\":1,"
        "\"mean_net\":[{\"type\":\"linear\",\"in\":1,\"out\":1}],"
        "\"log_variance_net\":[{\"type\":\"linear\",\"in\":1,\"out\":1}],"
        "\"weight_net\":[{\"type\":\"linear\",\"in\":1,\"out\":1}]}}";
    static const float x[ROWS] = {-1, 2}, y[ROWS * TARGETS] = {0, 1, -2, 3, 0.5f, -0.25f}, zero[1];
    float log_q[ROWS * TARGETS];
    for (size_t i = 0; i < EBM_COUNT_OF(y); i++)
        log_q[i] = (float)(-0.5 * log(2 * acos(-1.0)) - 0.5 * (double)y[i] * (double)y[i]);
    struct ebm_tensor tensors[MOST_TENSORS] = {
        {.name = "parity.x", .n_dims = 2, .shape = {ROWS, 1}, .count = ROWS, .data = x},
        {.name = "parity.y", .n_dims = 3, .shape = {ROWS, TARGETS, 1}, .count = ROWS * TARGETS, .data = y},
        {.name = "parity.log_q", .n_dims = 2, .shape = {ROWS, TARGETS}, .count = ROWS * TARGETS, .data = log_q},
    };
    struct ebm_error error = {.status = EBM_OK};
    struct ebm_config *config = NULL;
    struct ebm_model *model = NULL;
    char path[] = "/tmp/ebm-worker-XXXXXX";
    size_t n = 3;
    CHECK_EQ(ebm_config_parse(text, sizeof text - 1, NULL, &config, &error), EBM_OK);
    for (size_t i = 0; i < config->n_params; i++)
        tensors[n++] = (struct ebm_tensor){.name = config->params[i].name,
                                           .n_dims = config->params[i].columns ? 2 : 1,
                                           .shape = {1, 1},
                                           .count = 1,
                                           .data = zero};
    for (size_t i = 0; i < n; i++)
        tensors[i].dtype = EBM_DTYPE_F32;
    const struct ebm_metadata metadata[] = {{"format", "ebm-model"}, {"format_version", "1"}, {"config", text}};
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(ebm_safetensors_write(path, metadata, EBM_COUNT_OF(metadata), tensors, n, &error), EBM_OK);
    CHECK_EQ(ebm_model_load(path, LIMIT_FILE_BYTES, &model, &error), EBM_OK);
    ebm_config_free(config);
    (void)close(fd);
    (void)unlink(path);
    return model;
}

static void test_each_worker_is_held_to_the_file(struct worker_pool *pool, const struct ebm_model *model,
                                                 const struct ebm_plan *plan)
{
    struct ebm_error error = {.status = EBM_OK};
    CHECK_EQ(worker_pool_prepare(pool, model, plan, &error), EBM_OK);
    CHECK_EQ(atomic_load(&n_asked), WORKERS * ROWS * 2); /* a ctx takes two targets, there are three */
    for (uint32_t i = 0; i < WORKERS; i++) {
        atomic_store(&bad_ctx, contexts[i]);
        CHECK_EQ(worker_pool_prepare(pool, model, plan, &error), EBM_DAMAGED);
        CHECK(strcmp(error.where, "parity.log_q") == 0);
        CHECK(strstr(error.text, "row 0, target 0: the file says") != NULL);
    }
    atomic_store(&bad_ctx, NULL);
    CHECK_EQ(worker_pool_prepare(pool, model, plan, &error), EBM_OK);
}

int main(void)
{
    struct ebm_error error = {.status = EBM_OK};
    struct batcher_lane read_lane;
    struct ebm_plan *plan = NULL;
    struct worker_pool *pool = NULL;
    struct devices devices = {.ops = &ops};
    struct worker_config config = {
        .n_workers = WORKERS,
        .compute = {.devices = &devices, .limits = {.max_rows = 4, .max_samples = 2}},
        .read_lane = &read_lane,
    };
    ops = *ebm_device_cpu();
    ops.ctx_new = new_ctx;
    ops.fetch = fetch;
    struct ebm_model *model = load_model();
    batcher_lane_init(&read_lane, &(struct batcher_lane_limits){.max_rows = 1});
    CHECK_EQ(batcher_new(&(struct batcher_limits){.max_rows = 16, .n_threads = WORKERS}, &config.compute.batcher),
             EBM_OK);
    CHECK_EQ(ops.plan_new(ebm_model_net(model), ebm_model_params(model), 0, &plan, &error), EBM_OK);
    CHECK_EQ(worker_pool_new(&config, &pool, &error), EBM_OK);
    test_each_worker_is_held_to_the_file(pool, model, plan);
    batcher_stop(config.compute.batcher);
    (void)worker_pool_free(pool);
    (void)batcher_free(config.compute.batcher);
    (void)ops.plan_unref(plan);
    (void)ebm_model_unref(model);
    return check_result("worker");
}
