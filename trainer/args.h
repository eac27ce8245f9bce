/* args.h - command lines from tables: one table a command drives parsing, --help and error messages. */
#ifndef EBM_TRAINER_ARGS_H
#define EBM_TRAINER_ARGS_H

#include "core/status.h"

#define ARGS_OPTIONS 20u /* most options of a command */
#define ARGS_REPEATS 64u /* most values of an option that may stand several times */
#define ARGS_POSITIONAL 2u

struct args_option {
    const char *name;  /* without the dashes */
    const char *value; /* what stands behind it in the help ("FILE"); NULL: a flag */
    const char *help;
    bool repeats; /* at most one option of a command */
};

struct args;

struct args_command {
    const char *name, *summary;
    const char *positional[ARGS_POSITIONAL]; /* names of the arguments without dashes, all required */
    const struct args_option *options;
    uint32_t n_options;
    enum ebm_status (*run)(const struct args *args, struct ebm_error *reterr);
};

/* Values borrow argv. */
struct args {
    const struct args_command *command;
    const char *values[ARGS_OPTIONS]; /* one an option of the table; NULL: not given; flags: "" */
    const char *repeats[ARGS_REPEATS];
    uint32_t n_repeats;
    const char *positional[ARGS_POSITIONAL];
    bool wants_help;
};

/* argv: what follows the command's name. Unknown options are errors with a suggestion. */
enum ebm_status args_parse(const struct args_command *command, int argc, const char *const *argv, struct args *ret_args,
                           struct ebm_error *reterr) EBM_MUST_USE;

/* The value of an option that stands in the command's table; NULL when it was not given. */
const char *args_get(const struct args *args, const char *name);
enum ebm_status args_require(const struct args *args, const char *name, const char **ret_value,
                             struct ebm_error *reterr) EBM_MUST_USE;
/* A whole number within bounds; *ret_value stays as it is when the option was not given. */
enum ebm_status args_number(const struct args *args, const char *name, uint64_t least, uint64_t most,
                            uint64_t *ret_value, struct ebm_error *reterr) EBM_MUST_USE;

void args_print_help(const struct args_command *command);

#endif
