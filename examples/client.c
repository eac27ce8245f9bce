/* client.c - asks an ebm-server from C: which models are there, and what does the first say about one input?
 *
 *   cc client.c $(pkg-config --cflags --libs ebm_client) -o client && ./client http://127.0.0.1:8080 80 */
#include <stdio.h>
#include <stdlib.h>

#include <ebm_client.h>

#define MOST_INPUTS 64

static int report(const struct ebm_client_error *error)
{
    (void)fprintf(stderr, "%s: %s (%s)\n", error->where, error->text, ebm_client_status_text(error->status));
    return 1;
}

static void show(const struct ebm_client_answer *answer)
{
    (void)printf("%s, version %llu, seed %llu\n", answer->model, (unsigned long long)answer->version,
                 (unsigned long long)answer->seed);
    for (size_t d = 0; d < answer->D; d++) {
        (void)printf("target %zu: mean %g, std %g\n", d, answer->mean[d], answer->std[d]);
        for (size_t q = 0; q < answer->n_quantiles; q++)
            (void)printf("  %g %%: %g\n", 100 * answer->probabilities[q], answer->quantiles[q * answer->D + d]);
    }
    if (!answer->reliable[0])
        (void)printf("do not rely on it: %s\n", answer->reason[0] ? answer->reason[0] : "no reason given");
}

static int ask(struct ebm_client *client, const double *inputs, size_t n_inputs)
{
    static const char *const outputs[] = {"mean", "std"};
    static const double quantiles[] = {0.05, 0.5, 0.95};
    struct ebm_client_error error;
    struct ebm_client_models models;
    struct ebm_client_answer answer;
    if (ebm_client_list_models(client, &models, &error) != EBM_CLIENT_OK)
        return report(&error);
    struct ebm_client_predict_request request = {
        .rows = {.inputs = inputs, .n_rows = 1, .n_inputs = n_inputs},
        .outputs = outputs,
        .n_outputs = 2,
        .quantiles = quantiles,
        .n_quantiles = 3,
    };
    if (models.n_models > 0)
        request.rows.model = models.models[0].name;
    enum ebm_client_status status = ebm_client_predict(client, &request, &answer, &error);
    ebm_client_models_done(&models);
    if (status != EBM_CLIENT_OK)
        return report(&error);
    show(&answer);
    ebm_client_answer_done(&answer);
    return 0;
}

int main(int argc, char **argv)
{
    struct ebm_client_options options = ebm_client_defaults();
    struct ebm_client_error error;
    struct ebm_client *client;
    double inputs[MOST_INPUTS];
    size_t n_inputs = 0;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: client URL NUMBER ...\n");
        return 2;
    }
    for (int i = 2; i < argc && n_inputs < MOST_INPUTS; i++)
        inputs[n_inputs++] = strtod(argv[i], NULL);
    options.server = argv[1];
    if (ebm_client_new(&options, &client, &error) != EBM_CLIENT_OK)
        return report(&error);
    int result = ask(client, inputs, n_inputs);
    client = ebm_client_free(client);
    return result;
}
