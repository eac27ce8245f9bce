/* options.c - where a value comes from.
 *
 *   default < file of --config or EBM_SERVER_CONFIG < EBM_SERVER_<NAME> < --flag
 *
 * Guarantees: a struct that is returned is within every bound; a flag that is unknown, lacks its value, is given twice
 * or is out of bounds is refused with what was expected. */
#include "server/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "server/options_internal.h"

#define PREFIX "EBM_SERVER_"
#define NAME_BYTES 96

struct command_line {
    int argc;
    char *const *argv;
    const char *const *environment;
};

/* ---- the environment ---- */

static const char *variable(const struct command_line *line, const char *name)
{
    size_t length = strlen(name);
    for (const char *const *item = line->environment; item && *item; item++)
        if (strncmp(*item, name, length) == 0 && (*item)[length] == '=')
            return *item + length + 1;
    return NULL;
}

/* Kubernetes sets such variables in every container beside a service of our name, or one that begins with it. */
static bool is_link_to_service(const char *value)
{
    return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0;
}

static bool is_part_of_link(const char *name)
{
    return strstr(name, "_SERVICE_") || strstr(name, "_PORT_");
}

static void warn_of_unknown(const char *name)
{
    char lower[96], near[96];
    size_t n = 0;
    for (const char *at = name + strlen(PREFIX); *at && n + 1 < sizeof lower; at++)
        lower[n++] = (char)tolower((unsigned char)*at);
    lower[n] = 0;
    options_suggest(lower, '_', near, sizeof near);
    ebm_log_warning("a variable is no option, and is passed over%s%s name=%s", near, near[0] ? "" : ":", name);
}

/* NULL: none of this name. */
static const struct option *option_of_variable(const char *name)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        char known[64];
        options_variable(&options_table[i], known, sizeof known);
        if (strcmp(known, name) == 0)
            return &options_table[i];
    }
    return NULL;
}

/* NAME=value of ours, with a value that is meant for us. */
static bool split(const char *item, char ret_name[NAME_BYTES], const char **ret_value)
{
    const char *equals = strchr(item, '=');
    if (strncmp(item, PREFIX, strlen(PREFIX)) != 0 || !equals || equals[1] == 0 || is_link_to_service(equals + 1))
        return false;
    (void)snprintf(ret_name, NAME_BYTES, "%.*s", (int)(equals - item), item);
    *ret_value = equals + 1;
    return true;
}

static enum ebm_status read_environment(const struct command_line *line, struct options *options,
                                        struct ebm_error *reterr)
{
    for (const char *const *item = line->environment; item && *item; item++) {
        char name[NAME_BYTES];
        const char *value;
        const struct option *option = split(*item, name, &value) ? option_of_variable(name) : NULL;
        if (option && options_assign(options, option, OPTIONS_ENVIRONMENT, name, value, reterr) != EBM_OK)
            return EBM_INVALID;
    }
    return EBM_OK;
}

void options_warn(const char *const *environment)
{
    for (const char *const *item = environment; item && *item; item++) {
        char name[NAME_BYTES];
        const char *value;
        if (split(*item, name, &value) && strcmp(name, PREFIX "CONFIG") != 0 && !option_of_variable(name) &&
            !is_part_of_link(name))
            warn_of_unknown(name);
    }
}

/* ---- flags ---- */

/* The value of the flag at argv[*at]; moves *at to the last word of it. NULL: there is none. */
static const char *flag_value(const struct command_line *line, int *at)
{
    const char *equals = strchr(line->argv[*at], '=');
    if (equals)
        return equals + 1;
    return *at + 1 < line->argc ? line->argv[++*at] : NULL;
}

static enum ebm_status read_flag(const struct command_line *line, int *at, struct options *options,
                                 struct ebm_error *reterr)
{
    const char *flag = line->argv[*at];
    size_t length = strcspn(flag, "=");
    bool is_flag = strncmp(flag, "--", 2) == 0;
    const struct option *option = is_flag ? options_find(flag + 2, length - 2, '-') : NULL;
    char name[64], near[96] = "";
    if (!option) {
        if (is_flag)
            options_suggest(flag + 2, '-', near, sizeof near);
        return ebm_error_set(reterr, EBM_INVALID, flag, "unknown option%s; --help lists all", near);
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)length, flag);
    if (options->sources[option - options_table] == OPTIONS_FLAG)
        return ebm_error_set(reterr, EBM_INVALID, name, "given twice");
    const char *value = flag_value(line, at);
    if (!value)
        return ebm_error_set(reterr, EBM_INVALID, name, "expected a value after it, got nothing");
    return options_assign(options, option, OPTIONS_FLAG, name, value, reterr);
}

/* One action more: printing and checking go together, otherwise the last one is meant. */
static enum options_action join_actions(enum options_action before, enum options_action now)
{
    bool prints = before == OPTIONS_PRINT_CONFIG || before == OPTIONS_PRINT_AND_CHECK_CONFIG;
    bool checks = before == OPTIONS_CHECK_CONFIG || before == OPTIONS_PRINT_AND_CHECK_CONFIG;
    if ((now == OPTIONS_PRINT_CONFIG && checks) || (now == OPTIONS_CHECK_CONFIG && prints))
        return OPTIONS_PRINT_AND_CHECK_CONFIG;
    return now;
}

/* Does the word say what to do? Then it is joined to *action. */
static bool read_action(const char *word, enum options_action *action)
{
    static const struct {
        const char *word;
        enum options_action action;
    } actions[] = {
        {"--help", OPTIONS_SHOW_HELP},
        {"-h", OPTIONS_SHOW_HELP},
        {"--version", OPTIONS_SHOW_VERSION},
        {"--help-markdown", OPTIONS_SHOW_MARKDOWN},
        {"--print-config", OPTIONS_PRINT_CONFIG},
        {"--check-config", OPTIONS_CHECK_CONFIG},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(actions); i++)
        if (strcmp(word, actions[i].word) == 0) {
            *action = join_actions(*action, actions[i].action);
            return true;
        }
    return false;
}

static bool is_config_flag(const char *word)
{
    return strcmp(word, "--config") == 0 || strncmp(word, "--config=", strlen("--config=")) == 0;
}

static enum ebm_status read_flags(const struct command_line *line, struct options *options, struct ebm_error *reterr)
{
    for (int i = 1; i < line->argc; i++) {
        enum options_action action = OPTIONS_RUN; /* find_file has read it */
        if (read_action(line->argv[i], &action))
            continue;
        if (is_config_flag(line->argv[i])) {
            (void)flag_value(line, &i); /* find_file has read it */
            continue;
        }
        enum ebm_status status = read_flag(line, &i, options, reterr);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

/* ---- together ---- */

/* The first pass over the words: what to do, and with which file. */
static enum ebm_status find_file(const struct command_line *line, enum options_action *ret_action,
                                 const char **ret_path, struct ebm_error *reterr)
{
    const char *path = NULL;
    *ret_action = OPTIONS_RUN;
    for (int i = 1; i < line->argc; i++) {
        if (read_action(line->argv[i], ret_action) || !is_config_flag(line->argv[i]))
            continue;
        if (path)
            return ebm_error_set(reterr, EBM_INVALID, "--config", "given twice");
        path = flag_value(line, &i);
        if (!path || !path[0])
            return ebm_error_set(reterr, EBM_INVALID, "--config", "expected a file after it");
    }
    *ret_path = path ? path : variable(line, PREFIX "CONFIG");
    return EBM_OK;
}

static enum ebm_status read_all(const struct command_line *line, enum options_action action, const char *path,
                                struct options *options, struct ebm_error *reterr)
{
    enum ebm_status status = path && path[0] ? options_read_file(options, path, reterr) : EBM_OK;
    if (status == EBM_OK)
        status = read_environment(line, options, reterr);
    if (status == EBM_OK)
        status = read_flags(line, options, reterr);
    if (status == EBM_OK && action != OPTIONS_PRINT_CONFIG && options->model_repository[0] == 0)
        status = ebm_error_set(reterr, EBM_INVALID, "--model-repository",
                               "missing: the folder with <model>/<version number>/model.safetensors; "
                               "EBM_SERVER_MODEL_REPOSITORY or a file of --config may name it too");
    return status;
}

enum ebm_status options_parse(int argc, char *const *argv, const char *const *environment, struct options *ret_options,
                              enum options_action *ret_action, struct ebm_error *reterr)
{
    struct command_line line = {argc, argv, environment};
    struct options options;
    enum options_action action;
    const char *path;
    options_set_defaults(&options);
    enum ebm_status status = find_file(&line, &action, &path, reterr);
    bool needs_values = action != OPTIONS_SHOW_HELP && action != OPTIONS_SHOW_MARKDOWN &&
                        action != OPTIONS_SHOW_VERSION;
    if (status == EBM_OK && needs_values)
        status = read_all(&line, action, path, &options, reterr);
    if (status != EBM_OK) {
        options_done(&options);
        return status;
    }
    *ret_options = options;
    *ret_action = action;
    return EBM_OK;
}
