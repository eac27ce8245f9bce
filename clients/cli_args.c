/* cli_args.c - "--name value", "--name=value" and flags, by the table of options; help and completion from the same.
 *
 * Guarantees: an option that the command does not have, one without its value and one that stands twice are errors that
 * name it. The program never sets a locale, so numbers have a decimal point. */
#include "clients/cli_args.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/client_http.h"

static const struct {
    const char *name, *value;
    uint32_t commands;
    const char *words, *help;
} options[] = {
#define X(id, name, value, commands, words, help) {name, value, commands, words, help},
    CLI_OPTION_MAP(X)
#undef X
};

static const struct {
    const char *name, *summary;
} commands[] = {
#define X(id, name, summary) {name, summary},
    CLI_COMMAND_MAP(X)
#undef X
};

/* ---- parsing ---- */

static bool find_command(const char *word, enum cli_command *ret_command)
{
    for (size_t i = 0; i < CLI_COMMANDS; i++)
        if (strcmp(word, commands[i].name) == 0) {
            *ret_command = (enum cli_command)i;
            return true;
        }
    return false;
}

/* CLI_OPTIONS: the command has no such option. */
static size_t find_option(enum cli_command command, const char *name, size_t length)
{
    for (size_t i = 0; i < CLI_OPTIONS; i++)
        if ((options[i].commands & (1u << command)) && strlen(options[i].name) == length &&
            memcmp(options[i].name, name, length) == 0)
            return i;
    return CLI_OPTIONS;
}

static enum ebm_client_status keep(struct cli_args *args, size_t option, const char *value,
                                   struct ebm_client_error *reterr)
{
    if (option == CLI_OPTION_INPUT || option == CLI_OPTION_IMAGE)
        args->inputs[args->n_inputs++] = value;
    else if (option == CLI_OPTION_TARGETS || option == CLI_OPTION_INITIAL)
        args->targets[args->n_targets++] = value;
    else if (args->values[option])
        return client_fail(reterr, EBM_CLIENT_INVALID, options[option].name, "--%s stands twice", options[option].name);
    args->values[option] = value;
    return EBM_CLIENT_OK;
}

/* The option at argv[*at]; moves *at past it and its value. */
static enum ebm_client_status take_option(struct cli_args *args, int argc, char *const *argv, int *at,
                                          struct ebm_client_error *reterr)
{
    const char *command = commands[args->command].name, *word = argv[(*at)++];
    if (strncmp(word, "--", 2) != 0)
        return client_fail(reterr, EBM_CLIENT_INVALID, command, "'%.64s' is one argument too many", word);
    const char *name = word + 2, *equals = strchr(name, '='), *value = "";
    size_t option = find_option(args->command, name, equals ? (size_t)(equals - name) : strlen(name));
    if (option == CLI_OPTIONS)
        return client_fail(reterr, EBM_CLIENT_INVALID, command,
                           "unknown option '%.64s'; 'ebm-client %s --help' lists the options", word, command);
    if (!options[option].value && equals)
        return client_fail(reterr, EBM_CLIENT_INVALID, command, "--%s takes no value", options[option].name);
    if (equals)
        value = equals + 1;
    else if (options[option].value && *at >= argc)
        return client_fail(reterr, EBM_CLIENT_INVALID, command, "--%s needs a value: --%s %s", options[option].name,
                           options[option].name, options[option].value);
    else if (options[option].value)
        value = argv[(*at)++];
    return keep(args, option, value, reterr);
}

enum ebm_client_status cli_args_parse(int argc, char *const *argv, struct cli_args *ret_args,
                                      struct ebm_client_error *reterr)
{
    enum ebm_client_status status = EBM_CLIENT_OK;
    *ret_args = (struct cli_args){.wants_help = false};
    if (!find_command(argv[0], &ret_args->command))
        return client_fail(reterr, EBM_CLIENT_INVALID, "command",
                           "unknown command '%.64s'; 'ebm-client --help' lists them", argv[0]);
    ret_args->inputs = calloc((size_t)argc, sizeof *ret_args->inputs);
    ret_args->targets = calloc((size_t)argc, sizeof *ret_args->targets);
    if (!ret_args->inputs || !ret_args->targets)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "command", "no memory");
    for (int at = 1; at < argc && status == EBM_CLIENT_OK;) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            ret_args->wants_help = true;
            return EBM_CLIENT_OK;
        }
        status = take_option(ret_args, argc, argv, &at, reterr);
    }
    return status;
}

void cli_args_done(struct cli_args *args)
{
    free(args->inputs);
    free(args->targets);
    *args = (struct cli_args){.wants_help = false};
}

/* ---- values ---- */

enum ebm_client_status cli_args_whole(const struct cli_args *args, enum cli_option option, uint64_t least,
                                      uint64_t most, uint64_t *ret_value, struct ebm_client_error *reterr)
{
    const char *text = args->values[option];
    char *end = NULL;
    if (!text)
        return EBM_CLIENT_OK;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least || value > most)
        return client_fail(reterr, EBM_CLIENT_INVALID, options[option].name,
                           "--%s is '%.40s', expected a whole number from %" PRIu64 " to %" PRIu64,
                           options[option].name, text, least, most);
    *ret_value = value;
    return EBM_CLIENT_OK;
}

bool cli_number(const char *text, double *ret_value)
{
    char *end = NULL;
    text += strspn(text, " \t");
    if (text[0] == '\0' || text[strspn(text, "0123456789+-.eE \t")] != '\0')
        return false; /* strtod would take nan, inf and hexadecimal numbers */
    double value = strtod(text, &end);
    if (end == text || end[strspn(end, " \t")] != '\0' || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

enum ebm_client_status cli_numbers(const char *text, enum cli_option option, double **ret_numbers, size_t *ret_n,
                                   struct ebm_client_error *reterr)
{
    size_t n = 1, i = 0;
    for (const char *c = text; *c; c++)
        n += *c == ',';
    double *numbers = calloc(n, sizeof *numbers);
    char *copy = strdup(text), *rest = copy, *field;
    if (!numbers || !copy) {
        free(numbers);
        free(copy);
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, options[option].name, "no memory");
    }
    while ((field = strsep(&rest, ",")) && cli_number(field, &numbers[i]))
        i++;
    free(copy);
    if (i < n) {
        free(numbers);
        return client_fail(reterr, EBM_CLIENT_INVALID, options[option].name,
                           "--%s is '%.100s', expected finite numbers with commas between, as in 1,2.5,-3e2",
                           options[option].name, text);
    }
    *ret_numbers = numbers;
    *ret_n = n;
    return EBM_CLIENT_OK;
}

/* ---- help ---- */

static const char exit_codes[] = "exit status: 0 done   1 wrong usage   2 the server refused   3 not reachable, or no "
                                 "answer in time   4 an answer that cannot be read, no memory, output that cannot be "
                                 "written\n";

void cli_print_usage(FILE *to)
{
    (void)fprintf(to, "usage: ebm-client COMMAND [options]\n\n");
    for (size_t i = 0; i < CLI_COMMANDS; i++)
        (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    (void)fprintf(to,
                  "\n'ebm-client COMMAND --help' lists the options of a command, 'ebm-client --version' says its "
                  "version;\n'ebm-client --completion bash' prints what a shell needs: "
                  "eval \"$(ebm-client --completion bash)\"\n\n%s",
                  exit_codes);
}

void cli_print_help(enum cli_command command)
{
    (void)printf("usage: ebm-client %s [options]\n\n%s\n\noptions\n", commands[command].name,
                 commands[command].summary);
    for (size_t i = 0; i < CLI_OPTIONS; i++) {
        char left[64];
        if (!(options[i].commands & (1u << command)))
            continue;
        (void)snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].value ? " " : "",
                       options[i].value ? options[i].value : "");
        (void)printf("  %-26s %s\n", left, options[i].help);
    }
    (void)printf("\n%s", exit_codes);
}

/* ---- completion ---- */

static void print_option_values(void)
{
    (void)printf("    case $previous in\n");
    for (size_t i = 0; i < CLI_OPTIONS; i++) {
        if (!options[i].value)
            continue;
        (void)printf("    --%s) ", options[i].name);
        if (options[i].words && strcmp(options[i].words, "FILE") == 0)
            (void)printf("COMPREPLY=($(compgen -f -- \"$current\")); ");
        else if (options[i].words)
            (void)printf("COMPREPLY=($(compgen -W \"%s\" -- \"$current\")); ", options[i].words);
        (void)printf("return ;;\n");
    }
    (void)printf("    esac\n");
}

void cli_print_completion(void)
{
    (void)printf("_ebm_client()\n{\n"
                 "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=\n"
                 "    COMPREPLY=()\n");
    print_option_values();
    (void)printf("    case ${COMP_WORDS[1]} in\n");
    for (size_t command = 0; command < CLI_COMMANDS; command++) {
        (void)printf("    %s) words=\"--help", commands[command].name);
        for (size_t i = 0; i < CLI_OPTIONS; i++)
            if (options[i].commands & (1u << command))
                (void)printf(" --%s", options[i].name);
        (void)printf("\" ;;\n");
    }
    (void)printf("    esac\n    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=\"");
    for (size_t i = 0; i < CLI_COMMANDS; i++)
        (void)printf("%s ", commands[i].name);
    (void)printf("--help --version --completion\"\n    fi\n"
                 "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}\n"
                 "complete -F _ebm_client ebm-client\n");
}
