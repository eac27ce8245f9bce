/* test_model_keeper.c - a model is published, loaded and unloaded over and over while threads find it, read it, hold
 * it, list and index what there is: everyone sees one whole version, every order comes back, nothing is left. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/log.h"
#include "server/model_keeper.h"
#include "tests/threads/check.h"
#include "tests/unit/tiny_model.h"

enum { READERS = 3, ORDERS = 60 };

static char root[64];
static struct model_store *store;
static struct model_keeper *keeper;
static struct mailbox *mailbox;
static uv_loop_t loop;
static struct model_keeper_order orders[ORDERS];
static uint32_t n_back, n_loaded; /* loop thread */
static _Atomic bool over, stop;
static _Atomic uint32_t n_found, n_missing;

static void ignore_line(void *user, enum ebm_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

/* Version v has the mean 10 v. */
static void publish(uint32_t version)
{
    char name[16];
    (void)snprintf(name, sizeof name, "%" PRIu32, version);
    CHECK(tiny_publish(root, "a", name, 10.0 * version));
}

static void *read_models(void *argument)
{
    (void)argument;
    struct model_store_entry *held = NULL;
    while (!atomic_load(&over)) {
        struct model_store_entry *entry = NULL;
        struct ebm_error error;
        struct model_store_row *rows;
        size_t n;
        if (model_store_find(store, "a", 0, &entry, &error) == EBM_OK) {
            CHECK(ebm_model_config(entry->model)->target.mean[0] == 10.0 * (double)entry->version);
            (void)atomic_fetch_add(&n_found, 1);
            (void)model_store_entry_unref(held);
            held = entry; /* until the next one is found */
        } else {
            (void)atomic_fetch_add(&n_missing, 1);
        }
        if (held)
            CHECK(ebm_model_config(held->model)->target.mean[0] == 10.0 * (double)held->version);
        CHECK_EQ(model_store_index(store, &rows, &n), EBM_OK);
        free(rows);
    }
    (void)model_store_entry_unref(held);
    return NULL;
}

/* Every third takes the model out, all others publish a version more and load it. */
static void give(uint32_t i)
{
    orders[i] = (struct model_keeper_order){.home = mailbox, .loads = i % 3 < 2, .name = "a"};
    ebm_list_init(&orders[i].link);
    if (orders[i].loads)
        publish(i + 2);
    CHECK_EQ(model_keeper_order(keeper, &orders[i]), EBM_OK);
}

static void on_mail(void *user, struct ebm_list *mail)
{
    (void)user;
    struct ebm_list *link;
    while ((link = ebm_list_pop(mail)) != NULL) {
        struct model_keeper_order *order = EBM_CONTAINER_OF(link, struct model_keeper_order, link);
        CHECK_EQ(order->error.status, EBM_OK);
        n_loaded += order->loads;
        if (++n_back < ORDERS)
            give(n_back);
    }
    if (n_back == ORDERS)
        mailbox = mailbox_close(mailbox);
}

static void test_orders_beside_readers(void)
{
    pthread_t readers[READERS];
    struct ebm_error error;
    static const struct request_limits limits = {4096, 8192, 1000, 30000, 30000000};
    struct serving *standard = serving_new(&(struct batcher_lane_limits){.max_rows = 8}, 1);
    struct model_loader_config config = {
        .folder = root, .ops = ebm_device_reference(), .standard = standard, .limits = &limits, .stop = &stop};
    store = model_store_new();
    struct model_loader *loader = model_loader_new(&config, store);
    publish(1);
    CHECK_EQ(model_loader_start(loader, &error), EBM_OK);
    CHECK_EQ(uv_loop_init(&loop), 0);
    CHECK_EQ(mailbox_new(&loop, on_mail, NULL, &mailbox), EBM_OK);
    CHECK_EQ(model_keeper_new(loader, store, 1, &keeper, &error), EBM_OK); /* polls as often as it can */
    for (uint32_t i = 0; i < READERS; i++)
        CHECK_EQ(pthread_create(&readers[i], NULL, read_models, NULL), 0);
    while (atomic_load(&n_found) == 0)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    give(0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    atomic_store(&over, true);
    for (uint32_t i = 0; i < READERS; i++)
        CHECK_EQ(pthread_join(readers[i], NULL), 0);
    keeper = model_keeper_free(keeper);
    CHECK_EQ(model_store_collect(store), 0);
    CHECK_EQ(uv_loop_close(&loop), 0);
    (void)model_loader_free(loader);
    (void)model_store_free(store);
    (void)serving_unref(standard);
    (void)printf("loaded %" PRIu32 " times, found %" PRIu32 " times, %" PRIu32 " times there was none\n", n_loaded,
                 atomic_load(&n_found), atomic_load(&n_missing));
}

int main(void)
{
    char command[128];
    (void)snprintf(root, sizeof root, "/tmp/ebm-keeper-XXXXXX");
    if (!mkdtemp(root))
        return 1;
    ebm_log_set(ignore_line, NULL);
    test_orders_beside_readers();
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    CHECK_EQ(system(command), 0);
    return check_result("model_keeper");
}
