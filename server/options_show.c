/* options_show.c - the table as text: --help, docs/OPTIONS.md, a configuration file. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/options_internal.h"

/* Besides the table: name with its value, meaning. */
static const struct {
    const char *flag, *help;
} others[] = {
    {"--config FILE", "Read options from a JSON file; EBM_SERVER_CONFIG names one too"},
    {"--print-config", "Show the values in force as a configuration file, and exit; with --check-config both"},
    {"--check-config", "Check the options and load every model, say what was found, and exit"},
    {"--make-key ROLES NAME", "First of all: make a key for --api-keys, show it and its line of the file, and exit"},
    {"--gpu-selftest [DEVICE]", "First of all: compare GPUs with the CPU and measure: cuda, cuda:N,... or cuda:all"},
    {"--help", "Show this and exit"},
    {"--help-markdown", "Show this as a page of the documentation and exit"},
    {"--version", "Show the version and exit"},
};

static void write_flag(const struct option *option, char *ret_flag, size_t bytes)
{
    int used = snprintf(ret_flag, bytes, "--%s", option->name);
    for (int i = 2; i < used; i++)
        if (ret_flag[i] == '_')
            ret_flag[i] = '-';
}

static void write_bounds(const struct option *option, char *ret_text, size_t bytes)
{
    ret_text[0] = 0;
    if (option->kind == OPTION_WHOLE)
        (void)snprintf(ret_text, bytes, "%" PRIu64 "; %" PRIu64 " to %" PRIu64, option->standard, option->min,
                       option->max);
    else if (option->standard_text[0])
        (void)snprintf(ret_text, bytes, "%s", option->standard_text);
}

enum ebm_status options_help(struct ebm_buf *buf)
{
    (void)ebm_buf_text(buf, "Usage: ebm-server --model-repository DIR [option ...]\n\n"
                            "Serves energy-based regression models over HTTP. Options [default; bounds]:\n");
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option *option = &options_table[i];
        char flag[64], left[96], bounds[96];
        write_flag(option, flag, sizeof flag);
        write_bounds(option, bounds, sizeof bounds);
        (void)snprintf(left, sizeof left, "%s %s", flag, option->value);
        (void)ebm_buf_printf(buf, bounds[0] ? "  %-40s %s [%s]\n" : "  %-40s %s%s\n", left, option->help, bounds);
    }
    for (size_t i = 0; i < EBM_COUNT_OF(others); i++)
        (void)ebm_buf_printf(buf, "  %-40s %s\n", others[i].flag, others[i].help);
    return ebm_buf_text(
        buf, "\nA flag beats the environment (EBM_SERVER_PORT for --port), which beats the file, which beats "
             "the default.\nSIGTERM and SIGINT stop the server once every accepted request is "
             "answered. SIGHUP reads keys and certificates again.\n");
}

static void write_cell(struct ebm_buf *buf, const char *text)
{
    for (; *text; text++)
        if (*text == '<')
            (void)ebm_buf_text(buf, "&lt;");
        else
            (void)ebm_buf_append(buf, text, 1);
}

enum ebm_status options_markdown(struct ebm_buf *buf)
{
    (void)ebm_buf_text(buf,
                       "# Options of ebm-server\n\n"
                       "Made by `ebm-server --help-markdown`. A flag beats the environment, which beats the file of "
                       "`--config`\n(JSON, keys as in the table), which beats the default.\n\n"
                       "| flag | variable | key in a file | default; bounds | |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option *option = &options_table[i];
        char flag[64], variable[64], bounds[96];
        write_flag(option, flag, sizeof flag);
        options_variable(option, variable, sizeof variable);
        write_bounds(option, bounds, sizeof bounds);
        (void)ebm_buf_printf(buf, "| `%s` | `%s` | `%s` | %s | ", flag, variable, option->name, bounds);
        write_cell(buf, option->help);
        if (option->kind == OPTION_WORD) {
            (void)ebm_buf_text(buf, ": ");
            for (const char *at = option->value; *at; at++)
                (void)ebm_buf_append(buf, *at == '|' ? ", " : at, *at == '|' ? 2 : 1);
        }
        (void)ebm_buf_text(buf, " |\n");
    }
    (void)ebm_buf_text(buf, "\n| besides | |\n| --- | --- |\n");
    for (size_t i = 0; i < EBM_COUNT_OF(others); i++)
        (void)ebm_buf_printf(buf, "| `%s` | %s |\n", others[i].flag, others[i].help);
    return ebm_buf_text(buf,
                        "\nAn empty variable counts as not set. A variable EBM_SERVER_... that is no option is passed "
                        "over with a warning;\nwhat Kubernetes sets for a service of the name "
                        "`ebm-server` (`EBM_SERVER_PORT=tcp://...`) in silence.\n"
                        "A file has at most 64 KiB. `ebm-server --print-config > server.json` starts one.\n");
}

/* ---- the values in force ---- */

static void write_value(const struct options *options, const struct option *option, struct ebm_buf *buf)
{
    if (option->kind == OPTION_WHOLE)
        (void)ebm_buf_printf(buf, "%" PRIu64, options_whole(options, option));
    else
        (void)ebm_buf_json_text(buf, options_text(options, option));
}

static bool is_empty(const struct options *options, const struct option *option)
{
    return option->kind != OPTION_WHOLE && options_text(options, option)[0] == 0;
}

enum ebm_status options_print(const struct options *options, struct ebm_buf *buf)
{
    bool first = true;
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (is_empty(options, &options_table[i]))
            continue; /* an empty text is no value */
        (void)ebm_buf_printf(buf, "%s  \"%s\": ", first ? "{\n" : ",\n", options_table[i].name);
        write_value(options, &options_table[i], buf);
        first = false;
    }
    return ebm_buf_text(buf, "\n}\n");
}

enum ebm_status options_print_sources(const struct options *options, struct ebm_buf *buf)
{
#define X(name, word) word,
    static const char *const words[] = {OPTIONS_SOURCE_MAP(X)};
#undef X
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (options->sources[i] == OPTIONS_DEFAULT)
            continue;
        (void)ebm_buf_printf(buf, "%s = ", options_table[i].name);
        write_value(options, &options_table[i], buf);
        (void)ebm_buf_printf(buf, "  (%s)\n", words[options->sources[i]]);
    }
    return buf->status;
}
