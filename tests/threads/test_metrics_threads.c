/* test_metrics_threads.c - workers count batches of one model while the loop writes: nothing is lost, no sum goes down,
 * a word has one slot. ThreadSanitizer looks for the rest. */
#include <pthread.h>
#include <string.h>

#include "models/estimate.h"
#include "server/metrics.h"
#include "tests/threads/check.h"

enum { WORKERS = 4, BATCHES = 20000, ROWS = 3 };

static struct metrics metrics;
static struct metrics_model model;
static _Atomic uint32_t n_working = WORKERS;

static void *work(void *argument)
{
    static const char *const reasons[ROWS] = {NULL, "low_ess", "noisy_mean"};
    struct ebm_prediction predictions[ROWS];
    struct ebm_item items[ROWS];
    struct metrics_batch batch = {.items = items, .n = ROWS};
    (void)argument;
    memset(predictions, 0, sizeof predictions);
    memset(items, 0, sizeof items);
    for (uint32_t i = 0; i < ROWS; i++) {
        predictions[i].reason = reasons[i];
        predictions[i].estimator = EBM_ESTIMATE_IMPORTANCE;
        predictions[i].num_samples = 4;
        predictions[i].ess = i + 1;
        items[i].out = &predictions[i];
    }
    for (uint32_t i = 0; i < BATCHES; i++)
        metrics_count_batch(&metrics, &model, &batch);
    atomic_fetch_sub(&n_working, 1);
    return NULL;
}

int main(void)
{
    pthread_t threads[WORKERS];
    struct metrics_now now = {.n_routes = 0};
    uint64_t before = 0;
    metrics_init(&metrics, 1);
    for (uint32_t i = 0; i < WORKERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, work, NULL), 0);
    while (atomic_load(&n_working) > 0) {
        struct ebm_buf buf;
        ebm_buf_init(&buf, 1u << 20);
        metrics_write(&metrics, 1, &now, &buf);
        const char *at = buf.status == EBM_OK ? strstr(buf.bytes, "\nebm_batch_rows_sum ") : NULL;
        uint64_t rows = 0;
        CHECK(at != NULL && sscanf(at, " ebm_batch_rows_sum %" SCNu64, &rows) == 1);
        CHECK(rows >= before);
        before = rows;
        ebm_buf_done(&buf);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        (void)pthread_join(threads[i], NULL);
    CHECK_EQ(model.rows, (uint64_t)WORKERS * BATCHES * ROWS);
    CHECK_EQ(model.values[METRICS_ESS_RATIO].sum_millionths, (uint64_t)WORKERS * BATCHES * 1500000);
    CHECK_EQ(metrics.batch_rows, (uint64_t)WORKERS * BATCHES * ROWS);
    CHECK_EQ(model.unreliable[0].rows, (uint64_t)WORKERS * BATCHES);
    CHECK_EQ(model.unreliable[1].rows, (uint64_t)WORKERS * BATCHES);
    CHECK(model.unreliable[2].word == NULL);
    return check_result("test_metrics_threads");
}
