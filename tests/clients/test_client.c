/* test_client.c - the C library against the fake server: URL names it, and tests/clients/client_library.py starts both.
 *
 * A plain main, for ThreadSanitizer: many threads share one client. Every allocation of ours and of jansson fails once.
 */
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clients/client_answer.h"
#include "clients/client_request.h"
#include "clients/ebm_client.h"
#include "tests/threads/check.h"

#define THREADS 8
#define CALLS 40

/* ---- allocations that fail ---- */

static uint32_t n_allocations, fails_at; /* 0: none fails; one thread */

static int fails(void)
{
    return fails_at != 0 && ++n_allocations == fails_at;
}

/* clang-format off */
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *old, size_t size) { return fails() ? NULL : __real_realloc(old, size); }
static void *failing_malloc(size_t size) { return fails() ? NULL : malloc(size); }
/* clang-format on */

/* ---- */

static struct ebm_client *client_for(const char *url, const char *how, const struct ebm_client_options *base)
{
    char server[256];
    struct ebm_client_options options = *base;
    struct ebm_client *client = NULL;
    (void)snprintf(server, sizeof server, "%s/%s", url, how);
    options.server = server;
    CHECK_EQ(ebm_client_new(&options, &client, NULL), EBM_CLIENT_OK);
    return client;
}

static enum ebm_client_status predict(struct ebm_client *client, double a, double b, double *ret_mean,
                                      struct ebm_client_error *reterr)
{
    const double inputs[] = {a, b};
    const struct ebm_client_predict_request request = {.rows = {.inputs = inputs, .n_rows = 1, .n_inputs = 2}};
    struct ebm_client_answer answer;
    enum ebm_client_status status = ebm_client_predict(client, &request, &answer, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    *ret_mean = answer.mean[0];
    ebm_client_answer_done(&answer);
    return status;
}

static void check_statuses(const char *url)
{
    static const struct {
        const char *how;
        enum ebm_client_status status;
        int http_status;
        const char *code, *request_id, *fragment;
    } cases[] = {
        {"ok", EBM_CLIENT_OK, 0, "", "", ""},
        {"busy,1,,lib", EBM_CLIENT_OK, 0, "", "", ""},
        {"refused", EBM_CLIENT_REFUSED, 400, "invalid", "r-1", "where: it is invalid"},
        {"late", EBM_CLIENT_REFUSED, 504, "timeout", "r-1", "timeout"},
        {"busy,9,,lib", EBM_CLIENT_REFUSED, 429, "queue_full", "r-1", "queue_full"},
        {"down,9", EBM_CLIENT_REFUSED, 500, "", "h-9", "without an ebm-server's error"},
        {"garbage", EBM_CLIENT_BAD_ANSWER, 0, "", "", ""},
        {"html", EBM_CLIENT_BAD_ANSWER, 0, "", "", "not JSON"},
        {"half", EBM_CLIENT_BAD_ANSWER, 0, "", "", ""},
        {"broken", EBM_CLIENT_BAD_ANSWER, 0, "", "", "not JSON"},
        {"silent", EBM_CLIENT_TIMEOUT, 0, "", "", "time"},
        {"drip", EBM_CLIENT_TIMEOUT, 0, "", "", "time"},
        {"close", EBM_CLIENT_CONNECT, 0, "", "", "server"},
        {"huge", EBM_CLIENT_TOO_LARGE, 0, "", "", "max_answer_bytes (100000)"},
    };
    struct ebm_client_options options = ebm_client_defaults();
    options.max_retries = 1;
    options.max_answer_bytes = 100000;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options.timeout_ms = cases[i].status == EBM_CLIENT_TIMEOUT ? 200 : 20000;
        struct ebm_client *client = client_for(url, cases[i].how, &options);
        struct ebm_client_error error = {.text = ""};
        double mean = -1.0;
        enum ebm_client_status status = predict(client, 1.0, 2.0, &mean, &error);
        client = ebm_client_free(client);
        (void)printf("%-12s %s: %s\n", cases[i].how, ebm_client_status_text(status), error.text);
        CHECK_EQ(status, cases[i].status);
        CHECK_EQ(error.http_status, cases[i].http_status);
        CHECK(strcmp(error.code, cases[i].code) == 0);
        CHECK(strcmp(error.request_id, cases[i].request_id) == 0);
        CHECK(strstr(error.text, cases[i].fragment) != NULL);
        CHECK(status == EBM_CLIENT_OK ? mean > 2.9 && mean < 3.1 : mean < 0.0);
    }
}

static void check_nothing_sent(const char *url)
{
    const struct ebm_client_options options = ebm_client_defaults();
    struct ebm_client *client = client_for(url, "ok", &options), *none = NULL;
    struct ebm_client_options wrong = options;
    struct ebm_client_error error = {.text = ""};
    const double inputs[] = {1.0, (double)NAN};
    const struct ebm_client_predict_request request = {.rows = {.inputs = inputs, .n_rows = 1, .n_inputs = 2}};
    const struct ebm_client_predict_request empty = {.rows = {.inputs = inputs}};
    struct ebm_client_answer answer;
    CHECK_EQ(ebm_client_predict(client, &request, &answer, &error), EBM_CLIENT_INVALID);
    CHECK(strcmp(error.where, "inputs, number 1") == 0);
    CHECK_EQ(ebm_client_predict(client, &empty, &answer, NULL), EBM_CLIENT_INVALID);
    client = ebm_client_free(client);
    wrong.timeout_ms = 0;
    CHECK_EQ(ebm_client_new(&wrong, &none, &error), EBM_CLIENT_INVALID);
    wrong = options;
    wrong.server = "nonsense://x";
    CHECK_EQ(ebm_client_new(&wrong, &none, NULL), EBM_CLIENT_INVALID);
    CHECK(none == NULL);
}

static void check_arrays(const char *url)
{
    const struct ebm_client_options options = ebm_client_defaults();
    struct ebm_client *client = client_for(url, "ok", &options);
    const double inputs[] = {1.0, 2.0, 3.0, 4.0}, targets[] = {0.5, 1.5, 2.5, 3.5};
    const struct ebm_client_rows rows = {.inputs = inputs, .n_rows = 2, .n_inputs = 2, .id = "i", .has_seed = true};
    const struct ebm_client_sample_request sample = {.rows = rows};
    const struct ebm_client_density_request density = {.rows = rows, .targets = targets, .n_targets = 2, .D = 1};
    struct ebm_client_answer answer;
    CHECK_EQ(ebm_client_sample(client, &sample, &answer, NULL), EBM_CLIENT_OK);
    CHECK_EQ(answer.n_rows, 2);
    CHECK_EQ(answer.n_samples, 100);
    CHECK_EQ(answer.D, 1);
    CHECK(answer.samples[101] > 7.9 && answer.samples[101] < 8.1);
    CHECK(!answer.mean && !answer.log_weights && !answer.log_prob && !answer.quantiles && !answer.interval_lower);
    CHECK(strcmp(answer.id, "i") == 0 && answer.seed == 0 && answer.version == 3);
    CHECK(answer.reliable[1] && !answer.reason[1] && answer.num_samples[1] == 64 && answer.mcse_mean[1] > 0.2);
    ebm_client_answer_done(&answer);
    ebm_client_answer_done(&answer); /* zeroed is fine */
    CHECK_EQ(ebm_client_density(client, &density, &answer, NULL), EBM_CLIENT_OK);
    CHECK_EQ(answer.n_targets, 2);
    CHECK(answer.log_prob[3] < -3.4 && answer.targets[3] > 3.4 && !answer.samples && !answer.proposal_log_prob);
    ebm_client_answer_done(&answer);
    const double bad[] = {0.5, (double)INFINITY};
    struct ebm_client_refine_request refine = {
        .rows = rows, .initial = targets, .n_initial = 2, .D = 1, .steps = 3, .with_trajectory = true};
    CHECK_EQ(ebm_client_refine(client, &refine, &answer, NULL), EBM_CLIENT_OK);
    CHECK(answer.D == 1 && answer.mode[0] > 3.4 && answer.mode[1] > 8.4 && answer.mode_log_prob[1] < -6.9);
    CHECK(answer.converged[0] && answer.steps[0] == 1 && !answer.converged[1] && answer.steps[1] == 3);
    CHECK(answer.n_places == 4 && answer.trajectory[1] > 3.4 && isnan(answer.trajectory[2]) &&
          answer.trajectory[7] > 8.4);
    CHECK(!answer.samples && !answer.mean && !answer.reliable);
    ebm_client_answer_done(&answer);
    refine.step_lengths = bad;
    refine.n_step_lengths = 2;
    CHECK_EQ(ebm_client_refine(client, &refine, &answer, NULL), EBM_CLIENT_INVALID);
    struct ebm_client_models models;
    struct ebm_client_model model;
    CHECK_EQ(ebm_client_list_models(client, &models, NULL), EBM_CLIENT_OK);
    CHECK(models.n_models == 2 && !models.models[1].available && strchr(models.models[1].reason, '"') != NULL);
    ebm_client_models_done(&models);
    CHECK_EQ(ebm_client_get_model(client, "a/b c", &model, NULL), EBM_CLIENT_OK);
    CHECK(model.n_inputs == 2 && model.D == 1 && strcmp(model.input_names[1], "b") == 0);
    ebm_client_model_done(&model);
    CHECK_EQ(ebm_client_live(client, NULL), EBM_CLIENT_OK);
    CHECK_EQ(ebm_client_ready(client, NULL), EBM_CLIENT_OK);
    client = ebm_client_free(client);
}

/* ---- threads ---- */

struct caller {
    struct ebm_client *client;
    unsigned number;
    bool is_refused;
};

static void *call_often(void *user)
{
    const struct caller *caller = user;
    for (unsigned i = 0; i < CALLS; i++) {
        double mean = -1.0;
        struct ebm_client_error error = {.text = ""};
        enum ebm_client_status status = predict(caller->client, caller->number, i, &mean, &error);
        CHECK_EQ(status, caller->is_refused ? EBM_CLIENT_REFUSED : EBM_CLIENT_OK);
        if (status == EBM_CLIENT_OK)
            CHECK_EQ(mean, caller->number + i);
        else
            CHECK(strcmp(error.code, "invalid") == 0);
    }
    return NULL;
}

static void check_threads(const char *url, const char *how)
{
    const struct ebm_client_options options = ebm_client_defaults();
    struct ebm_client *client = client_for(url, how, &options);
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){client, i, strcmp(how, "refused") == 0};
        CHECK_EQ(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    client = ebm_client_free(client);
}

/* ---- no memory ---- */

static const char good[] =
    "{'model':'m','version':1,'id':'i','seed':2,'predictions':[{'mean':[1],'quantiles':[{'probability':0.5,'value':[1]}"
    "],'interval':{'kind':'k','level':0.5,'intervals':[{'lower':[1],'upper':[2]}]},'samples':[[1],[2]],"
    "'diagnostics':{'estimator':'e','reliable':false,'reason':'r'}}]}";
static const char catalogue[] =
    "{'name':'m','versions':['1'],'inputs':[{'shape':[-1,1]}],'outputs':[{'name':'mean','shape':[-1,1]}],"
    "'input_names':['x'],'models':[{'name':'m','version':1,'available':false,'reason':'r'}],'routes':['r']}";

static const char climbed[] =
    "{'model':'m','version':1,'seed':2,'predictions':[{'mode':[1],'unnormalized_log_prob':-1,'converged':true,"
    "'steps':1,'trajectory':[[2],[1]]}]}";

static enum ebm_client_status one_by_one(int which)
{
    const struct ebm_client_image image = {.bytes = "file", .n_bytes = 4};
    const struct ebm_client_sample_request sample = {.rows = {.images = &image, .n_rows = 1}, .steps = 1};
    const double numbers[] = {1.0, 2.0};
    const char *const words[] = {"mean"};
    const struct ebm_client_rows rows = {.inputs = numbers, .n_rows = 2, .n_inputs = 1, .model = "m", .seed = 1};
    const struct ebm_client_predict_request predict_request = {rows, words, 1, numbers, 1, "k", 0.5};
    const struct ebm_client_density_request density = {.rows = rows, .targets = numbers, .n_targets = 1, .D = 1};
    const struct ebm_client_refine_request refine = {.rows = rows,
                                                     .initial = numbers,
                                                     .n_initial = 1,
                                                     .D = 1,
                                                     .step_lengths = numbers,
                                                     .n_step_lengths = 1,
                                                     .decay = 0.5,
                                                     .with_trajectory = true};
    char *body = NULL;
    struct ebm_client_answer answer = {.model = NULL};
    struct ebm_client_models models = {.server = NULL};
    struct ebm_client_model model = {.name = NULL};
    struct ebm_client *client = NULL;
    const struct ebm_client_options options = ebm_client_defaults();
    char text[sizeof good + sizeof catalogue];
    (void)snprintf(text, sizeof text, "%s", which == 0 ? good : which == 6 ? climbed : catalogue);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    const struct client_bytes bytes = {.bytes = text, .size = strlen(text)};
    enum ebm_client_status status = which == 0   ? client_read_answer(&bytes, 1, false, &answer, NULL)
                                    : which == 1 ? client_read_models(&bytes, &models, NULL)
                                    : which == 2 ? client_read_model(&bytes, &model, NULL)
                                    : which == 3 ? client_write_predict(&predict_request, &body, NULL)
                                    : which == 4 ? client_write_density(&density, &body, NULL)
                                    : which == 6 ? client_read_answer(&bytes, 1, true, &answer, NULL)
                                    : which == 7 ? client_write_refine(&refine, &body, NULL)
                                    : which == 8 ? client_write_sample(&sample, &body, NULL)
                                                 : ebm_client_new(&options, &client, NULL);
    free(body);
    ebm_client_answer_done(&answer);
    ebm_client_models_done(&models);
    ebm_client_model_done(&model);
    client = ebm_client_free(client);
    return status;
}

static void check_no_memory(void)
{
    json_set_alloc_funcs(failing_malloc, free);
    for (int which = 0; which < 9; which++) {
        enum ebm_client_status status = EBM_CLIENT_NO_MEMORY;
        uint32_t n = 0;
        for (fails_at = 1; status != EBM_CLIENT_OK && fails_at < 1000; fails_at++, n++) {
            n_allocations = 0;
            status = one_by_one(which);
            /* jansson calls some failures of its own bad JSON, and texts not UTF-8 */
            enum ebm_client_status jansson = which > 2 && which != 6 ? EBM_CLIENT_INVALID : EBM_CLIENT_BAD_ANSWER;
            CHECK(status == EBM_CLIENT_OK || status == EBM_CLIENT_NO_MEMORY || status == jansson);
        }
        (void)printf("no memory, %d: %u allocations failed\n", which, n - 1);
        CHECK_EQ(status, EBM_CLIENT_OK);
        CHECK(n > 1);
    }
    fails_at = 0;
    json_set_alloc_funcs(malloc, free);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    check_nothing_sent(argv[1]);
    check_no_memory();
    check_statuses(argv[1]);
    check_arrays(argv[1]);
    check_threads(argv[1], "ok");
    check_threads(argv[1], "once");
    check_threads(argv[1], "refused");
    return check_result("client");
}
