/* main.c - ebm-client: asks an ebm-server from the command line.
 *
 *   0 done   1 wrong usage   2 the server refused   3 not reachable, or no answer in time   4 anything else
 *
 * cli_args.h has the table of options, cli_rows.c the way of rows. Answers go to standard output, errors to standard
 * error. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli_output.h"
#include "clients/cli_rows.h"
#include "clients/client_http.h"

static int exit_code(enum ebm_client_status status)
{
    switch (status) {
    case EBM_CLIENT_OK:
        return 0;
    case EBM_CLIENT_INVALID:
        return 1;
    case EBM_CLIENT_REFUSED:
        return 2;
    case EBM_CLIENT_CONNECT:
    case EBM_CLIENT_TIMEOUT:
        return 3;
    case EBM_CLIENT_BAD_ANSWER:
    case EBM_CLIENT_TOO_LARGE:
    case EBM_CLIENT_NO_MEMORY:
        return 4;
    }
    return 4;
}

static int report(const struct ebm_client_error *error)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "ebm-client: %s: %s", error->where, error->text);
    if (error->status == EBM_CLIENT_REFUSED)
        (void)fprintf(stderr, " (status %d%s%s%s%s)", error->http_status, error->code[0] ? ", " : "", error->code,
                      error->request_id[0] ? ", request " : "", error->request_id);
    if (error->status == EBM_CLIENT_REFUSED && error->n_attempts > 1)
        (void)fprintf(stderr, ", asked %u times", error->n_attempts);
    (void)fputc('\n', stderr);
    return exit_code(error->status);
}

/* ---- models and health ---- */

static enum ebm_client_status run_models(struct ebm_client *client, const struct cli_args *args,
                                         struct ebm_client_error *reterr)
{
    const char *name = args->values[CLI_OPTION_MODEL];
    enum cli_format format;
    struct ebm_client_models models;
    struct ebm_client_model model;
    enum ebm_client_status status = cli_output_format(args, &format, reterr);
    if (status == EBM_CLIENT_OK)
        status = name ? ebm_client_get_model(client, name, &model, reterr)
                      : ebm_client_list_models(client, &models, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    if (name) {
        cli_output_model(&model, format);
        ebm_client_model_done(&model);
    } else {
        cli_output_models(&models, format);
        ebm_client_models_done(&models);
    }
    return EBM_CLIENT_OK;
}

static enum ebm_client_status run_health(struct ebm_client *client, const struct cli_args *args,
                                         struct ebm_client_error *reterr)
{
    enum cli_format format;
    enum ebm_client_status status = cli_output_format(args, &format, reterr);
    if (status == EBM_CLIENT_OK)
        status = ebm_client_live(client, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    status = ebm_client_ready(client, reterr);
    if (status == EBM_CLIENT_OK || status == EBM_CLIENT_REFUSED)
        cli_output_health(true, status == EBM_CLIENT_OK, format);
    return status;
}

/* ---- commands ---- */

static enum ebm_client_status connect_client(const struct cli_args *args, struct ebm_client **ret_client,
                                             struct ebm_client_error *reterr)
{
    struct ebm_client_options options = ebm_client_defaults();
    const char *server = args->values[CLI_OPTION_SERVER];
    uint64_t call_ms = options.timeout_ms, connect_ms = options.connect_timeout_ms, retries = options.max_retries,
             answer_bytes = options.max_answer_bytes;
    if (!server)
        server = getenv("EBM_SERVER");
    if (server && server[0])
        options.server = server;
    const char *key = getenv("EBM_API_KEY"); /* no option: everybody may read the words of a command */
    if (key && key[0])
        options.api_key = key;
    enum ebm_client_status status = cli_args_whole(args, CLI_OPTION_CALL_TIMEOUT_MS, 1, 86400000, &call_ms, reterr);
    if (status == EBM_CLIENT_OK)
        status = cli_args_whole(args, CLI_OPTION_CONNECT_TIMEOUT_MS, 1, 86400000, &connect_ms, reterr);
    if (status == EBM_CLIENT_OK)
        status = cli_args_whole(args, CLI_OPTION_RETRIES, 0, 1000, &retries, reterr);
    if (status == EBM_CLIENT_OK)
        status = cli_args_whole(args, CLI_OPTION_MAX_ANSWER_BYTES, 1, 1ull << 40, &answer_bytes, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    options.timeout_ms = (uint32_t)call_ms;
    options.connect_timeout_ms = (uint32_t)connect_ms;
    options.max_retries = (uint32_t)retries;
    options.max_answer_bytes = (size_t)answer_bytes;
    return ebm_client_new(&options, ret_client, reterr);
}

static enum ebm_client_status run_command(const struct cli_args *args, struct ebm_client_error *reterr)
{
    struct ebm_client *client;
    enum ebm_client_status status = connect_client(args, &client, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    if (args->command == CLI_MODELS)
        status = run_models(client, args, reterr);
    else if (args->command == CLI_HEALTH)
        status = run_health(client, args, reterr);
    else
        status = cli_rows_run(client, args, reterr);
    client = ebm_client_free(client);
    if (status == EBM_CLIENT_OK && (fflush(stdout) != 0 || ferror(stdout)))
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "standard output", "cannot be written: %s", strerror(errno));
    return status;
}

static int show(int argc, char **argv)
{
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        cli_print_usage(stdout);
        return 0;
    }
    if (strcmp(word, "--version") == 0) {
        (void)puts("ebm-client " EBM_VERSION);
        return 0;
    }
    if (argc == 3 && strcmp(argv[2], "bash") == 0) {
        cli_print_completion();
        return 0;
    }
    (void)fprintf(stderr, "ebm-client: %s: expected --help, --version, --completion bash or a command\n", word);
    return 1;
}

int main(int argc, char **argv)
{
    struct ebm_client_error error = {.where = "internal", .text = "failed without a reason"};
    struct cli_args args;
    (void)signal(SIGPIPE, SIG_IGN); /* a reader that left is an error of writing, not an end */
    if (argc < 2) {
        cli_print_usage(stderr);
        return 1;
    }
    if (argv[1][0] == '-' || strcmp(argv[1], "help") == 0)
        return show(argc, argv);
    enum ebm_client_status status = cli_args_parse(argc - 1, argv + 1, &args, &error);
    if (status == EBM_CLIENT_OK && args.wants_help)
        cli_print_help(args.command);
    else if (status == EBM_CLIENT_OK)
        status = run_command(&args, &error);
    cli_args_done(&args);
    return status == EBM_CLIENT_OK ? 0 : report(&error);
}
