/* test_model_loader.c - what becomes of models whose files change, break, go, and are asked for while jobs have them.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "server/model_loader.h"
#include "tests/unit/tiny_model.h"

static char root[64];
static _Atomic bool stop;
static const struct request_limits limits = {4096, 8192, 1000, 30000, 30000000};
static struct model_store *store;
static struct model_loader *loader;
static uint32_t n_prepared;
static enum ebm_status prepare_status;

static void publish(const char *name, const char *version, double mean)
{
    cr_assert(tiny_publish(root, name, version, mean));
}

static void ignore_line(void *user, enum ebm_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static enum ebm_status prepare(void *user, struct model_store_entry *entry, struct ebm_error *reterr)
{
    (void)user;
    cr_assert(entry->model && entry->plan);
    n_prepared++;
    return prepare_status == EBM_OK ? EBM_OK : ebm_error_set(reterr, prepare_status, "worker", "no memory");
}

static void set_up(void)
{
    (void)snprintf(root, sizeof root, "/tmp/ebm-loader-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    ebm_log_set(ignore_line, NULL);
    struct serving *standard = serving_new(&(struct batcher_lane_limits){.max_rows = 8}, 1);
    struct model_loader_config config = {.folder = root,
                                         .ops = ebm_device_reference(),
                                         .standard = standard,
                                         .limits = &limits,
                                         .stop = &stop,
                                         .may_be_empty = true};
    store = model_store_new();
    loader = model_loader_new(&config, store);
    (void)serving_unref(standard);
}

static void tear_down(void)
{
    char command[128];
    loader = model_loader_free(loader);
    store = model_store_free(store);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(model_loader, .init = set_up, .fini = tear_down);

static void start(void)
{
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(model_loader_start(loader, &error), EBM_OK, "%s: %s", error.where, error.text);
    model_loader_set_prepare(loader, prepare, NULL);
}

static void poll_twice(void)
{
    model_loader_poll(loader);
    model_loader_poll(loader);
}

/* "3 READY, 2 UNAVAILABLE" of model a; what is told of the first in ret_reason. */
static const char *index_of(char ret_reason[MODEL_STORE_REASON_BYTES])
{
    static const char *const words[] = {
#define X(name, word) word,
        MODEL_STATE_MAP(X)
#undef X
    };
    static char text[512];
    struct model_store_row *rows;
    size_t n, used = 0;
    (void)model_store_collect(store);
    cr_assert_eq(model_store_index(store, &rows, &n), EBM_OK);
    text[0] = ret_reason[0] = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, "a") != 0)
            continue;
        if (used == 0)
            (void)snprintf(ret_reason, MODEL_STORE_REASON_BYTES, "%s", rows[i].reason);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d %s", used ? ", " : "", (int)rows[i].version,
                                 words[rows[i].state]);
    }
    free(rows);
    return text;
}

static void expect_index(const char *expected, const char *reason)
{
    char told[MODEL_STORE_REASON_BYTES];
    const char *index = index_of(told);
    cr_expect_str_eq(index, expected, "%s, expected %s", index, expected);
    cr_expect_not_null(strstr(told, reason), "'%s', expected '%s' in it", told, reason);
}

/* The mean of the highest version that is available, and a reference. */
static double mean_found(struct model_store_entry **ret_entry)
{
    struct ebm_error error = {.status = EBM_OK};
    cr_assert_eq(model_store_find(store, "a", 0, ret_entry, &error), EBM_OK, "%s", error.text);
    return ebm_model_config((*ret_entry)->model)->target.mean[0];
}

static void expect_mean(double expected)
{
    struct model_store_entry *entry;
    double mean = mean_found(&entry);
    cr_expect_eq(mean, expected, "%g, expected %g", mean, expected);
    (void)model_store_entry_unref(entry);
}

static void path_of(const char *file, char ret_path[256])
{
    (void)snprintf(ret_path, 256, "%s/a/%s", root, file);
}

/* Over what is there: the same inode. */
static void write_over(const char *file, const char *text)
{
    char path[256];
    path_of(file, path);
    FILE *stream = fopen(path, "we");
    cr_assert_not_null(stream);
    (void)fputs(text, stream);
    (void)fclose(stream);
}

static void drop_version(const char *version)
{
    char path[256], file[64];
    (void)snprintf(file, sizeof file, "%s/model.safetensors", version);
    path_of(file, path);
    (void)unlink(path);
    path_of(version, path);
    cr_assert_eq(rmdir(path), 0);
}

static enum ebm_status load(struct ebm_error *reterr)
{
    *reterr = (struct ebm_error){.status = EBM_OK};
    return model_loader_load(loader, "a", reterr);
}

/* ---- polls ---- */

Test(model_loader, a_poll_takes_what_has_settled_and_leaves_what_is_new)
{
    publish("a", "1", 10);
    start();
    publish("a", "2", 20);
    model_loader_poll(loader);
    expect_index("2 UNAVAILABLE, 1 READY", "still being written");
    cr_expect_eq(n_prepared, 0);
    model_loader_poll(loader);
    expect_index("2 READY, 1 UNAVAILABLE", "");
    expect_mean(20);
    cr_expect_eq(n_prepared, 1, "before it is published, once");
    poll_twice();
    cr_expect_eq(n_prepared, 1, "nothing new, nothing loaded");
}

Test(model_loader, a_file_that_keeps_changing_is_left_alone)
{
    publish("a", "1", 10);
    start();
    for (int i = 0; i < 5; i++) {
        publish("a", "1", 20 + i);
        model_loader_poll(loader);
        expect_mean(10);
    }
    model_loader_poll(loader);
    expect_mean(24);
}

Test(model_loader, a_broken_file_changes_nothing_and_is_tried_when_it_changes)
{
    publish("a", "1", 10);
    start();
    write_over("1/model.safetensors", "half of a file");
    poll_twice();
    expect_index("1 READY", "header");
    expect_mean(10);
    cr_expect_eq(model_store_events(store, MODEL_EVENT_REFUSED), 1);
    poll_twice();
    cr_expect_eq(model_store_events(store, MODEL_EVENT_REFUSED), 1, "not tried again");
    publish("a", "1", 30);
    poll_twice();
    expect_index("1 READY", "");
    expect_mean(30);
}

Test(model_loader, versions_that_are_deleted_give_way_to_the_one_before)
{
    publish("a", "1", 10);
    publish("a", "2", 20);
    publish("b", "1", 0);
    start();
    expect_mean(20);
    drop_version("2");
    poll_twice();
    expect_index("1 READY", "");
    expect_mean(10);
    write_over("1/model.safetensors", "");
    write_over("serving.json", "{\"version_policy\": {\"specific\": [1, 9]}}");
    poll_twice();
    expect_index("9 UNAVAILABLE, 1 READY", "not there: serving.json names it");
    expect_mean(10); /* what answered goes on: nothing else can */
    char path[256], command[300];
    path_of("", path);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", path);
    cr_assert_eq(system(command), 0);
    poll_twice();
    expect_index("", "");
    cr_expect_eq(model_store_events(store, MODEL_EVENT_UNLOADED), 1);
}

Test(model_loader, an_empty_repository_is_a_disk_that_went_away)
{
    char command[128];
    publish("a", "1", 10);
    start();
    (void)snprintf(command, sizeof command, "rm -rf '%s'/a", root);
    cr_assert_eq(system(command), 0);
    poll_twice();
    expect_mean(10);
    publish("b", "1", 0);
    poll_twice();
    expect_index("", "");
}

/* ---- requests ---- */

Test(model_loader, a_request_loads_at_once_and_says_what_it_refused)
{
    struct ebm_error error;
    start();
    cr_expect_eq(load(&error), EBM_NOT_FOUND, "%s", error.text);
    publish("a", "1", 10);
    cr_assert_eq(load(&error), EBM_OK, "%s: %s", error.where, error.text);
    expect_mean(10);
    publish("a", "2", 20);
    write_over("2/model.safetensors", "x");
    for (int i = 0; i < 2; i++) { /* the second time too */
        cr_expect_eq(load(&error), EBM_INVALID);
        cr_expect_not_null(strstr(error.text, "version 2 was refused"), "%s", error.text);
        expect_index("2 UNAVAILABLE, 1 READY", "header");
    }
    publish("a", "2", 20);
    cr_expect_eq(load(&error), EBM_OK, "%s", error.text);
    expect_mean(20);
}

Test(model_loader, a_version_that_workers_have_no_room_for_is_not_published)
{
    struct ebm_error error;
    publish("a", "1", 10);
    start();
    publish("a", "2", 20);
    prepare_status = EBM_NO_MEMORY;
    cr_expect_eq(load(&error), EBM_INVALID);
    expect_index("2 UNAVAILABLE, 1 READY", "no memory");
    prepare_status = EBM_OK;
    poll_twice(); /* memory may come back without another file */
    expect_index("2 READY, 1 UNAVAILABLE", "");
}

Test(model_loader, what_was_unloaded_stays_out_until_it_is_asked_for)
{
    struct ebm_error error = {.status = EBM_OK};
    publish("a", "1", 10);
    start();
    cr_assert_eq(model_loader_unload(loader, "nobody", &error), EBM_NOT_FOUND);
    cr_assert_eq(model_loader_unload(loader, "a", &error), EBM_OK);
    expect_index("1 UNAVAILABLE", "unloaded");
    poll_twice();
    expect_index("1 UNAVAILABLE", "unloaded");
    cr_assert_eq(load(&error), EBM_OK, "%s", error.text);
    expect_index("1 READY", "");
}

Test(model_loader, an_entry_lives_until_its_last_job_is_over)
{
    struct ebm_error error = {.status = EBM_OK};
    struct model_store_entry *job = NULL, *next = NULL;
    publish("a", "1", 10);
    start();
    (void)mean_found(&job);
    publish("a", "1", 20);
    cr_assert_eq(load(&error), EBM_OK, "%s", error.text);
    cr_expect_eq(ebm_model_config(job->model)->target.mean[0], 10, "the job keeps what it began with");
    cr_expect_eq(mean_found(&next), 20);
    cr_expect_eq(next->counts, job->counts, "one version, one count");
    (void)model_store_entry_unref(next);
    cr_expect_eq(model_store_collect(store), 1);
    expect_index("1 READY", ""); /* the version answers, whatever becomes of what it was */
    cr_assert_eq(model_loader_unload(loader, "a", &error), EBM_OK);
    cr_expect_eq(model_store_collect(store), 1, "the job's; nobody had the other");
    expect_index("1 UNLOADING", "");
    (void)model_store_entry_unref(job);
    cr_expect_eq(model_store_collect(store), 0);
    expect_index("1 UNAVAILABLE", "unloaded");
}

/* ---- settings ---- */

static const struct batcher_lane_limits *lane_found(void)
{
    static struct batcher_lane_limits lane;
    struct model_store_entry *entry;
    (void)mean_found(&entry);
    lane = entry->serving->lane;
    (void)model_store_entry_unref(entry);
    return &lane;
}

Test(model_loader, settings_change_without_loading_anything)
{
    publish("a", "1", 10);
    publish("a", "2", 20);
    start();
    struct model_store_entry *before, *after;
    (void)mean_found(&before);
    write_over("serving.json", "{\"max_batch_size\": 3, \"version_policy\": \"all\"}");
    poll_twice();
    expect_index("2 READY, 1 READY", "");
    (void)mean_found(&after);
    cr_expect_eq(after->model, before->model, "shared");
    cr_expect_eq(after->lane.limits.max_rows, 3);
    cr_expect_eq(model_store_events(store, MODEL_EVENT_LOADED), 2, "one at the start, and version 1");
    (void)model_store_entry_unref(before);
    (void)model_store_entry_unref(after);
    write_over("serving.json", "{\"max_batch_size\": 300}");
    poll_twice();
    expect_index("2 READY, 1 READY", "serving.json: max_batch_size: got 300");
    cr_expect_eq(lane_found()->max_rows, 3, "as before");
    char path[256];
    path_of("serving.json", path);
    (void)unlink(path);
    poll_twice();
    expect_index("2 READY, 1 UNAVAILABLE", "");
    cr_expect_eq(lane_found()->max_rows, 8);
}

Test(model_loader, settings_that_were_never_good_keep_the_model_out)
{
    struct ebm_error error;
    publish("a", "1", 10);
    write_over("serving.json", "{\"max_batch_sise\": 3}");
    start();
    expect_index("1 UNAVAILABLE", "serving.json: max_batch_sise: unknown key, did you mean 'max_batch_size'?");
    cr_expect_eq(load(&error), EBM_INVALID);
    cr_expect_not_null(strstr(error.text, "did you mean"), "%s", error.text);
    write_over("serving.json", "{\"max_batch_size\": 3}");
    poll_twice();
    expect_index("1 READY", "");
    cr_expect_eq(lane_found()->max_rows, 3);
}
