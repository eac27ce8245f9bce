/* args.c - parses "--name value", "--name=value", flags and positional arguments by a command's table.
 *
 * A table row is all there is to an option: its help line, whether a value follows, whether it repeats. Numbers are
 * checked where they are read, by args_number, because their bounds belong to the command.
 * Guarantees: nothing is copied; an unknown option, a missing value, a value too many are errors that name the option.
 */
#include "trainer/args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"

/* ---- parsing ---- */

static enum ebm_status unknown_option(const struct args_command *command, const char *name, struct ebm_error *reterr)
{
    const char *names[ARGS_OPTIONS];
    for (uint32_t i = 0; i < command->n_options; i++)
        names[i] = command->options[i].name;
    const char *near = ebm_names_near(name, names, command->n_options);
    if (near != NULL)
        return ebm_error_set(reterr, EBM_INVALID, command->name, "unknown option '--%.64s', did you mean '--%s'?", name,
                             near);
    return ebm_error_set(reterr, EBM_INVALID, command->name,
                         "unknown option '--%.64s'; 'ebm-trainer %s --help' lists the options", name, command->name);
}

static const struct args_option *find_option(const struct args_command *command, const char *text, size_t length,
                                             uint32_t *ret_at)
{
    for (uint32_t i = 0; i < command->n_options; i++) {
        const char *name = command->options[i].name;
        if (strlen(name) == length && memcmp(name, text, length) == 0) {
            *ret_at = i;
            return &command->options[i];
        }
    }
    return NULL;
}

static enum ebm_status store(struct args *args, const struct args_option *option, uint32_t at, const char *value,
                             struct ebm_error *reterr)
{
    if (option->repeats) {
        if (args->n_repeats == ARGS_REPEATS)
            return ebm_error_set(reterr, EBM_TOO_LARGE, option->name, "more than %u times --%s", ARGS_REPEATS,
                                 option->name);
        args->repeats[args->n_repeats++] = value;
    } else if (args->values[at] != NULL) {
        return ebm_error_set(reterr, EBM_INVALID, args->command->name, "--%s stands twice", option->name);
    }
    args->values[at] = value;
    return EBM_OK;
}

/* One option at argv[*at]; moves *at past it. */
static enum ebm_status take_option(struct args *args, int argc, const char *const *argv, int *at,
                                   struct ebm_error *reterr)
{
    const struct args_command *command = args->command;
    const char *name = argv[(*at)++] + 2, *equals = strchr(name, '='), *value = "";
    uint32_t index = 0;
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct args_option *option = find_option(command, name, length, &index);
    if (option == NULL)
        return unknown_option(command, name, reterr);
    if (option->value == NULL && equals != NULL)
        return ebm_error_set(reterr, EBM_INVALID, command->name, "--%s takes no value", option->name);
    if (option->value != NULL && equals != NULL)
        value = equals + 1;
    else if (option->value != NULL && *at >= argc)
        return ebm_error_set(reterr, EBM_INVALID, command->name, "--%s needs a value: --%s %s", option->name,
                             option->name, option->value);
    else if (option->value != NULL)
        value = argv[(*at)++];
    return store(args, option, index, value, reterr);
}

static enum ebm_status check_positional(const struct args *args, uint32_t n_given, struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < ARGS_POSITIONAL; i++)
        if (args->command->positional[i] != NULL && i >= n_given)
            return ebm_error_set(reterr, EBM_INVALID, args->command->name,
                                 "%s is missing; 'ebm-trainer %s --help' shows the usage", args->command->positional[i],
                                 args->command->name);
    return EBM_OK;
}

enum ebm_status args_parse(const struct args_command *command, int argc, const char *const *argv, struct args *ret_args,
                           struct ebm_error *reterr)
{
    struct args args = {.command = command};
    uint32_t n_given = 0;
    EBM_ASSERT(command->n_options <= ARGS_OPTIONS);
    for (int at = 0; at < argc;) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            args.wants_help = true;
            *ret_args = args;
            return EBM_OK;
        }
        if (strncmp(argv[at], "--", 2) == 0) {
            enum ebm_status status = take_option(&args, argc, argv, &at, reterr);
            if (status != EBM_OK)
                return status;
            continue;
        }
        if (n_given == ARGS_POSITIONAL || command->positional[n_given] == NULL)
            return ebm_error_set(reterr, EBM_INVALID, command->name, "'%.64s' is one argument too many", argv[at]);
        args.positional[n_given++] = argv[at++];
    }
    enum ebm_status status = check_positional(&args, n_given, reterr);
    if (status == EBM_OK)
        *ret_args = args;
    return status;
}

/* ---- values ---- */

const char *args_get(const struct args *args, const char *name)
{
    uint32_t at = 0;
    const struct args_option *option = find_option(args->command, name, strlen(name), &at);
    EBM_ASSERT(option != NULL);
    return args->values[at];
}

enum ebm_status args_require(const struct args *args, const char *name, const char **ret_value,
                             struct ebm_error *reterr)
{
    const char *value = args_get(args, name);
    if (value == NULL)
        return ebm_error_set(reterr, EBM_INVALID, args->command->name,
                             "--%s is missing; 'ebm-trainer %s --help' shows the usage", name, args->command->name);
    *ret_value = value;
    return EBM_OK;
}

enum ebm_status args_number(const struct args *args, const char *name, uint64_t least, uint64_t most,
                            uint64_t *ret_value, struct ebm_error *reterr)
{
    const char *text = args_get(args, name);
    if (text == NULL)
        return EBM_OK;
    char *end = NULL;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least || value > most)
        return ebm_error_set(reterr, EBM_INVALID, args->command->name,
                             "--%s is '%.40s', expected a whole number from %" PRIu64 " to %" PRIu64, name, text, least,
                             most);
    *ret_value = value;
    return EBM_OK;
}

void args_print_help(const struct args_command *command)
{
    (void)printf("usage: ebm-trainer %s", command->name);
    for (uint32_t i = 0; i < ARGS_POSITIONAL && command->positional[i] != NULL; i++)
        (void)printf(" %s", command->positional[i]);
    (void)printf("%s\n\n%s\n", command->n_options > 0 ? " [options]" : "", command->summary);
    if (command->n_options > 0)
        (void)printf("\noptions\n");
    for (uint32_t i = 0; i < command->n_options; i++) {
        const struct args_option *option = &command->options[i];
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s%s", option->name, option->value != NULL ? " " : "",
                       option->value != NULL ? option->value : "");
        (void)printf("  %-26s %s\n", left, option->help);
    }
}
