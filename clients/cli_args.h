/* cli_args.h - the command line of ebm-client: one table of options drives parsing, --help and the shell's completion.
 */
#ifndef EBM_CLIENTS_CLI_ARGS_H
#define EBM_CLIENTS_CLI_ARGS_H

#include <stdio.h>

#include "clients/ebm_client.h"

#define CLI_COMMAND_MAP(X)                                                                                             \
    X(PREDICT, "predict", "Mean, spread, quantiles of p(y given x), a line a row.")                                    \
    X(SAMPLE, "sample", "Samples from p(y given x), a line a sample.")                                                 \
    X(DENSITY, "density", "The density p(y given x) at targets or on a grid, a line a target; or a picture.")          \
    X(REFINE, "refine", "The most likely target near given or proposed starts, a line a row.")                         \
    X(MODELS, "models", "The models of the server, or what one takes and gives.")                                      \
    X(HEALTH, "health", "Does the server live, is it ready?")

enum cli_command {
#define X(id, name, summary) CLI_##id,
    CLI_COMMAND_MAP(X)
#undef X
        CLI_COMMANDS
};

#define CLI_P (1u << CLI_PREDICT)
#define CLI_S (1u << CLI_SAMPLE)
#define CLI_D (1u << CLI_DENSITY)
#define CLI_R (1u << CLI_REFINE)
#define CLI_M (1u << CLI_MODELS)
#define CLI_ESTIMATES (CLI_P | CLI_S | CLI_D)
#define CLI_ROWS (CLI_ESTIMATES | CLI_R)
#define CLI_ALL ((1u << CLI_COMMANDS) - 1)

/* X(id, name, value or NULL for a flag, commands that have it, its words or "FILE" for the completion, help) */
#define CLI_OPTION_MAP(X)                                                                                              \
    X(INPUT, "input", "X1,X2,...", CLI_ROWS, NULL, "one input, its numbers in the model's order; may repeat")          \
    X(IMAGE, "image", "FILE", CLI_ROWS, "FILE", "one input of a model that reads images: PNG or JPEG; may repeat")     \
    X(DATA, "data", "FILE", CLI_ROWS, "FILE",                                                                          \
      "inputs from a CSV with a header line, by the model's names; - is stdin")                                        \
    X(BLOCK_ROWS, "block-rows", "N", CLI_ROWS, NULL, "rows in one request (default 256); block k has seed + k")        \
    X(MODEL, "model", "NAME", CLI_ROWS | CLI_M, NULL, "default: the only one of the server")                           \
    X(VERSION, "version", "N", CLI_ROWS, NULL, "of the model; default: the one that is loaded")                        \
    X(ESTIMATOR, "estimator", "WORD", CLI_ESTIMATES, "auto exact quadrature importance mixture",                       \
      "auto, exact, quadrature, importance or mixture")                                                                \
    X(DRAWS, "draws", "WORD", CLI_ESTIMATES, "sobol independent", "how to draw: sobol (the default) or independent")   \
    X(TARGET_ESS, "target-ess", "N", CLI_P | CLI_D, NULL, "more draws until each row has N effective ones")            \
    X(MAX_SAMPLES, "max-samples", "N", CLI_P | CLI_D, NULL, "with --target-ess: at most so many draws a row")          \
    X(WEIGHTS, "weights", "raw|smoothed", CLI_ESTIMATES, "raw smoothed", "smoothed tames the largest weights")         \
    X(NUM_SAMPLES, "num-samples", "N", CLI_ROWS, NULL, "draws a row; of 'sample': samples to return")                  \
    X(NUM_PROPOSALS, "num-proposals", "N", CLI_S, NULL, "draws of the proposal, among which to choose")                \
    X(RESAMPLE, "resample", "true|false", CLI_S, "true false", "false: all proposals with their log weights")          \
    X(SEED, "seed", "N", CLI_ROWS, NULL, "the same seed gives the same answer; default: the server picks")             \
    X(OUTPUTS, "outputs", "WORD,...", CLI_P | CLI_D, NULL, "what to answer with, as in docs/API.md")                   \
    X(QUANTILES, "quantiles", "P,...", CLI_P, NULL, "probabilities above 0 and below 1")                               \
    X(INTERVAL_LEVEL, "interval-level", "P", CLI_P, NULL, "the interval that holds this mass")                         \
    X(INTERVAL_KIND, "interval-kind", "WORD", CLI_P, "equal_tailed highest_density",                                   \
      "equal_tailed or highest_density")                                                                               \
    X(CDF, "cdf", "Y,...", CLI_P, NULL, "targets of one number: their cumulative probability")                         \
    X(CRPS_AT, "crps-at", "Y,...", CLI_P, NULL, "the same: continuous ranked probability score")                       \
    X(TARGETS, "targets", "Y1,Y2;...", CLI_D, NULL, "targets with ; between; once for all rows, or once an --input")   \
    X(GRID, "grid", "L:U:POINTS", CLI_D, NULL, "evenly spaced targets instead; default: 4 std around the means")       \
    X(INITIAL, "initial", "Y1,Y2;...", CLI_R, NULL, "starts with ; between; once for all rows, or once an --input")    \
    X(STARTS, "starts", "N", CLI_R, NULL, "without --initial: how many draws of the proposal")                         \
    X(STEPS, "steps", "N", CLI_S | CLI_R, NULL, "at most; of 'sample': Langevin steps that move the samples")          \
    X(STEP_LENGTH, "step-length", "A,...", CLI_S | CLI_R, NULL, "one number, or one for each of the target")           \
    X(DECAY, "decay", "P", CLI_R, NULL, "what a refused step leaves of the step length")                               \
    X(TRAJECTORY, "trajectory", NULL, CLI_R, NULL, "the way too; with --format json")                                  \
    X(PLOT, "plot", NULL, CLI_D, NULL, "draws the density of each row, for one target dimension")                      \
    X(TIMEOUT_MS, "timeout-ms", "N", CLI_ROWS, NULL, "the server's time for a request")                                \
    X(PRIORITY, "priority", "N", CLI_ROWS, NULL, "in the model's queue: 1 is first")                                   \
    X(ID, "id", "TEXT", CLI_ROWS, NULL, "comes back in JSON answers")                                                  \
    X(FORMAT, "format", "table|json|csv", CLI_ALL, "table json csv", "default: table")                                 \
    X(SERVER, "server", "URL", CLI_ALL, NULL, "default: $EBM_SERVER, or http://127.0.0.1:8080")                        \
    X(CALL_TIMEOUT_MS, "call-timeout-ms", "N", CLI_ALL, NULL, "for a request with all repetitions (default 60000)")    \
    X(CONNECT_TIMEOUT_MS, "connect-timeout-ms", "N", CLI_ALL, NULL, "for a connection (default 3000)")                 \
    X(RETRIES, "retries", "N", CLI_ALL, NULL, "times to ask again after 429 and 503 (default 4)")                      \
    X(MAX_ANSWER_BYTES, "max-answer-bytes", "N", CLI_ALL, NULL, "largest answer to take (default 67108864)")

enum cli_option {
#define X(id, name, value, commands, words, help) CLI_OPTION_##id,
    CLI_OPTION_MAP(X)
#undef X
        CLI_OPTIONS
};

/* Texts are borrowed from argv. */
struct cli_args {
    enum cli_command command;
    bool wants_help;
    const char *values[CLI_OPTIONS]; /* the last one given; NULL: none; a flag: "" */
    const char **inputs, **targets;  /* every --input or --image, and every --targets or --initial */
    size_t n_inputs, n_targets;
};

/* argv[0] is the command. INVALID with a text for the user. New: cli_args_done, after a failure too. */
enum ebm_client_status cli_args_parse(int argc, char *const *argv, struct cli_args *ret_args,
                                      struct ebm_client_error *reterr);
void cli_args_done(struct cli_args *args);

/* A whole number within bounds, into *ret_value; which stays as it is when the option was not given. */
enum ebm_client_status cli_args_whole(const struct cli_args *args, enum cli_option option, uint64_t least,
                                      uint64_t most, uint64_t *ret_value, struct ebm_client_error *reterr);
/* The numbers of "1,2.5,-3", which is the value of `option`. New: free(*ret_numbers). */
enum ebm_client_status cli_numbers(const char *text, enum cli_option option, double **ret_numbers, size_t *ret_n,
                                   struct ebm_client_error *reterr);
/* A finite decimal number that is all of `text` but for blanks around it. */
bool cli_number(const char *text, double *ret_value);

void cli_print_usage(FILE *to);
void cli_print_help(enum cli_command command);
void cli_print_completion(void); /* for bash */

#endif
