/* test_model_store.c - what a repository's folders become, and how models are found in it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "server/model_loader.h"
#include "tests/unit/tiny_model.h"

static char root[64];

static void ignore_line(void *user, enum ebm_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static void set_up(void)
{
    (void)snprintf(root, sizeof root, "/tmp/ebm-store-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    ebm_log_set(ignore_line, NULL);
}

static void tear_down(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(model_store, .init = set_up, .fini = tear_down);

static char *folder(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    (void)mkdir(path, 0700);
    return path;
}

static void publish(const char *name, const char *version, double mean)
{
    cr_assert(tiny_publish(root, name, version, mean));
}

static _Atomic bool stop; /* false, but for the test of it */

/* What is in `folder`, loaded as at a start; max_versions 0: all. */
static enum ebm_status open_folder(const char *path, uint64_t max_versions, struct model_store **ret_store,
                                   struct ebm_error *reterr)
{
    struct serving *standard = serving_new(&(struct batcher_lane_limits){.max_rows = 8}, max_versions);
    struct model_store *store = model_store_new();
    struct model_loader_config config = {
        .folder = path, .ops = ebm_device_reference(), .standard = standard, .stop = &stop};
    struct model_loader *loader = model_loader_new(&config, store);
    enum ebm_status status = model_loader_start(loader, reterr);
    (void)model_loader_free(loader);
    (void)serving_unref(standard);
    if (status == EBM_OK)
        *ret_store = store;
    else
        (void)model_store_free(store);
    return status;
}

static enum ebm_status open_store(struct model_store **ret_store, struct ebm_error *reterr)
{
    return open_folder(root, 1, ret_store, reterr);
}

static size_t count(struct model_store *store)
{
    struct model_list *list = model_store_list(store);
    size_t n = list->n;
    (void)model_list_unref(list);
    return n;
}

/* The store keeps it. */
static const struct model_store_entry *at(struct model_store *store, size_t index)
{
    struct model_list *list = model_store_list(store);
    const struct model_store_entry *entry = list->entries[index];
    (void)model_list_unref(list);
    return entry;
}

Test(model_store, takes_the_highest_number_of_each_folder)
{
    struct model_store *store = NULL;
    struct ebm_error error = {.status = EBM_OK};
    publish("b", "9", 0);
    publish("b", "10", 0);
    publish("a", "1", 0);
    (void)folder("b/011"); /* not numbers as we write them */
    (void)folder("b/x12");
    (void)folder("b/.13");
    (void)folder("b/99"); /* a number without a model in it */
    (void)folder("c");
    (void)folder("no spaces");
    cr_assert_eq(open_store(&store, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(count(store), 2, "%zu", count(store));
    cr_assert_str_eq(at(store, 0)->name, "a");
    cr_assert_str_eq(at(store, 1)->name, "b");
    cr_assert_eq(at(store, 1)->version, 10);
    store = model_store_free(store);
    cr_assert_null(store);
}

Test(model_store, finds_by_name_and_version)
{
    static const struct {
        const char *name;
        uint64_t version;
        enum ebm_status status;
        const char *where, *fragment;
    } cases[] = {
        {"a", 0, EBM_OK, "", ""},
        {"a", 3, EBM_OK, "", ""},
        {"a", 2, EBM_NOT_FOUND, "version", "has no version 2 here, it has: 3"},
        {"A", 0, EBM_NOT_FOUND, "model", "there is no model 'A' here, there is: a, b, broken"},
        {"", 0, EBM_NOT_FOUND, "model", "there is no model ''"},
        {NULL, 0, EBM_INVALID, "model", "more than one model: a, b, broken"},
        {"broken", 0, EBM_DAMAGED, "model", "'broken' version 1 is not available"},
    };
    struct model_store *store = NULL;
    struct ebm_error error = {.status = EBM_OK};
    publish("a", "3", 0);
    publish("b", "1", 0);
    (void)folder("broken");
    (void)folder("broken/1");
    cr_assert_eq(open_store(&store, &error), EBM_OK, "%s: %s", error.where, error.text);
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct model_store_entry *entry = NULL;
        error = (struct ebm_error){.status = EBM_OK};
        enum ebm_status status = model_store_find(store, cases[i].name, cases[i].version, &entry, &error);
        cr_expect_eq(status, cases[i].status, "case %zu: %s", i, ebm_status_name(status));
        cr_expect_str_eq(error.where, cases[i].where, "case %zu: where '%s'", i, error.where);
        cr_expect_not_null(strstr(error.text, cases[i].fragment), "case %zu: '%s'", i, error.text);
        cr_expect_eq(entry != NULL, status == EBM_OK, "case %zu: the output was touched", i);
        (void)model_store_entry_unref(entry);
    }
    (void)model_store_free(store);
}

Test(model_store, an_error_names_the_first_of_many_models_and_their_number)
{
    static const char long_name[] = "a-name-of-more-than-twenty-four-letters";
    struct model_store *store = NULL;
    struct model_store_entry *entry = NULL;
    struct ebm_error error = {.status = EBM_OK};
    publish(long_name, "1", 0);
    publish(long_name, "2", 0);
    for (char name[] = "b"; name[0] <= 'g'; name[0]++)
        publish(name, "1", 0);
    cr_assert_eq(open_store(&store, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(model_store_find(store, "nobody", 0, &entry, &error), EBM_NOT_FOUND);
    cr_expect_str_eq(error.text, "there is no model 'nobody' here, there is: a-name-of-more-than..., b, c, d, e, "
                                 "... (7 in all, GET / lists them)");
    (void)model_store_free(store);
}

Test(model_store, the_only_available_model_needs_no_name_and_outlives_the_store)
{
    struct model_store *store = NULL;
    struct model_store_entry *entry = NULL;
    struct ebm_error error = {.status = EBM_OK};
    publish("good", "1", 0);
    (void)folder("hollow");
    (void)folder("hollow/1");
    cr_assert_eq(open_store(&store, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(model_store_find(store, NULL, 0, &entry, &error), EBM_OK, "%s", error.text);
    (void)model_store_free(store);
    cr_assert_str_eq(entry->name, "good");
    cr_assert_eq(ebm_model_net(entry->model)->K, 1);
    (void)model_store_entry_unref(entry);
}

Test(model_store, numbers_get_the_digits_that_their_unit_needs)
{
    static const struct {
        double mean;
        int digits;
    } cases[] = {{0, 9}, {1, 9}, {-1000, 12}, {1.7e9, 17}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "m%zu", i);
        publish(name, "1", cases[i].mean);
    }
    struct model_store *store = NULL;
    cr_assert_eq(open_store(&store, NULL), EBM_OK);
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++)
        cr_expect_eq(at(store, i)->digits, cases[i].digits, "mean %g: %d digits", cases[i].mean, at(store, i)->digits);
    (void)model_store_free(store);
}

Test(model_store, stops_loading_when_told)
{
    struct model_store *store = NULL;
    struct ebm_error error;
    publish("a", "1", 0);
    atomic_store(&stop, true);
    cr_assert_eq(open_store(&store, &error), EBM_CANCELLED, "%s", error.text);
    cr_assert_null(store);
}

Test(model_store, refuses_a_repository_without_any_model)
{
    struct model_store *store = NULL;
    struct ebm_error error;
    cr_assert_eq(open_store(&store, &error), EBM_INVALID);
    cr_assert_not_null(strstr(error.text, "no model could be loaded"), "%s", error.text);
    cr_assert_eq(open_folder("/nowhere/at/all", 1, &store, &error), EBM_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "No such file"), "%s", error.text);
    cr_assert_null(store);
}

static struct model_store *open_versions(uint64_t max_versions)
{
    struct model_store *store = NULL;
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(open_folder(root, max_versions, &store, &error), EBM_OK, "%s: %s", error.where, error.text);
    return store;
}

static uint64_t version_found(struct model_store *store, uint64_t version)
{
    struct model_store_entry *entry;
    if (model_store_find(store, "a", version, &entry, NULL) != EBM_OK)
        return 0;
    uint64_t found = entry->version;
    (void)model_store_entry_unref(entry);
    return found;
}

Test(model_store, serves_several_versions_and_the_highest_good_one_without_a_number)
{
    publish("a", "1", 0);
    publish("a", "3", 0);
    publish("a", "20", 0);
    struct model_store *store = open_versions(2);
    cr_assert_eq(count(store), 2);
    cr_assert_eq(at(store, 0)->version, 20);
    cr_assert(version_found(store, 0) == 20 && version_found(store, 3) == 3 && version_found(store, 1) == 0);
    (void)model_store_free(store);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder("a/20"));
    FILE *file = fopen(path, "we");
    (void)fputs("no model", file);
    (void)fclose(file);
    store = open_versions(1);
    cr_assert_eq(count(store), 2, "the broken one, and the next lower one in its place");
    cr_assert(version_found(store, 0) == 3 && version_found(store, 20) == 0 && version_found(store, 1) == 0);
    (void)model_store_free(store);
    store = open_versions(0);
    cr_assert(version_found(store, 0) == 3 && version_found(store, 1) == 1);
    (void)model_store_free(store);
}

/* Folders come in an order that nobody promises, so they are made in one that is neither rising nor falling. */
Test(model_store, of_more_versions_than_it_looks_at_it_takes_the_highest)
{
    char name[32], path[512];
    publish("a", "7000", 0);
    for (int i = 0; i < 1100; i++) {
        (void)snprintf(name, sizeof name, "a/%d", 1000 + i * 7 % 1100);
        (void)snprintf(path, sizeof path, "%s/model.safetensors", folder(name));
        FILE *file = fopen(path, "we");
        cr_assert_not_null(file);
        (void)fclose(file);
    }
    struct model_store *store = open_versions(0);
    size_t n = count(store);
    cr_assert_eq(n, 1024, "%zu", n);
    cr_expect_eq(at(store, 0)->version, 7000);
    cr_expect_eq(at(store, n - 1)->version, 1077, "%d", (int)at(store, n - 1)->version);
    (void)model_store_free(store);
}

Test(model_store, an_error_names_the_highest_versions_whole)
{
    struct model_store_entry *entry = NULL;
    struct ebm_error error;
    for (int i = 0; i < 9; i++) {
        char version[32];
        (void)snprintf(version, sizeof version, "10000000000000%d", i);
        publish("a", version, 0);
    }
    struct model_store *store = open_versions(0);
    cr_assert_eq(model_store_find(store, "a", 1, &entry, &error), EBM_NOT_FOUND);
    cr_expect_str_eq(error.text, "model 'a' has no version 1 here, it has: 100000000000008, 100000000000007, "
                                 "100000000000006, 100000000000005, 100000000000004, 100000000000003, ...");
    (void)model_store_free(store);
}
