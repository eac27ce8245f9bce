/* options.c - the table of options.h as data, and the three things that read it: defaults, command line, help.
 *
 *   argv -> flag -> row of the table -> check -> member at its offset
 *
 * Guarantees: a struct that is returned is within every bound; a flag that is unknown, lacks its value, is given twice
 * or is out of bounds is refused with what was expected. No state, no files. */
#include "server/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_TEXT, KIND_WORD, KIND_WHOLE };

struct option {
    enum kind kind;
    const char *name; /* with '_' */
    size_t at;
    const char *value; /* what --help calls it, or the words */
    const char *standard_text;
    uint64_t standard, min, max;
    const char *help;
};

#define TEXT_ROW(member, value, standard, help)                                                                        \
    {KIND_TEXT, #member, offsetof(struct options, member), value, standard, 0, 0, 0, help},
#define WORD_ROW(member, words, standard, help)                                                                        \
    {KIND_WORD, #member, offsetof(struct options, member), words, standard, 0, 0, 0, help},
#define WHOLE_ROW(member, standard, min, max, help)                                                                    \
    {KIND_WHOLE, #member, offsetof(struct options, member), "N", NULL, standard, min, max, help},

static const struct option table[] = {OPTIONS_MAP(TEXT_ROW, WORD_ROW, WHOLE_ROW)};

static void set_text(struct options *options, const struct option *option, const char *text)
{
    memcpy((char *)options + option->at, &text, sizeof text);
}

static void set_whole(struct options *options, const struct option *option, uint64_t whole)
{
    memcpy((char *)options + option->at, &whole, sizeof whole);
}

static void set_defaults(struct options *options)
{
    for (size_t i = 0; i < EBM_COUNT_OF(table); i++) {
        if (table[i].kind == KIND_WHOLE)
            set_whole(options, &table[i], table[i].standard);
        else
            set_text(options, &table[i], table[i].standard_text);
    }
}

/* Is `flag` (length bytes, after the dashes) this option? */
static bool is_named(const struct option *option, const char *flag, size_t length)
{
    if (strlen(option->name) != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (flag[i] != (option->name[i] == '_' ? '-' : option->name[i]))
            return false;
    return true;
}

static const struct option *find(const char *flag, size_t length)
{
    for (size_t i = 0; i < EBM_COUNT_OF(table); i++)
        if (is_named(&table[i], flag, length))
            return &table[i];
    return NULL;
}

static bool is_among(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; length > 0; at++) {
        size_t span = strcspn(at, "|");
        if (span == length && memcmp(at, word, length) == 0)
            return true;
        at += span;
        if (*at == 0)
            break;
    }
    return false;
}

static enum ebm_status assign_whole(struct options *options, const struct option *option, const char *flag,
                                    const char *value, struct ebm_error *reterr)
{
    char *end = NULL;
    errno = 0;
    unsigned long long whole = value[0] >= '0' && value[0] <= '9' ? strtoull(value, &end, 10) : 0;
    if (!end || *end || errno != 0 || whole < option->min || whole > option->max)
        return ebm_error_set(reterr, EBM_INVALID, flag,
                             "expected a whole number from %" PRIu64 " to %" PRIu64 ", got '%.60s'", option->min,
                             option->max, value);
    set_whole(options, option, whole);
    return EBM_OK;
}

static enum ebm_status assign(struct options *options, const struct option *option, const char *flag, const char *value,
                              struct ebm_error *reterr)
{
    if (option->kind == KIND_WHOLE)
        return assign_whole(options, option, flag, value, reterr);
    if (option->kind == KIND_WORD && !is_among(option->value, value))
        return ebm_error_set(reterr, EBM_INVALID, flag, "expected one of %s, got '%.60s'", option->value, value);
    if (value[0] == 0)
        return ebm_error_set(reterr, EBM_INVALID, flag, "expected %s, got nothing", option->value);
    set_text(options, option, value);
    return EBM_OK;
}

/* Reads the flag at argv[*at] and its value; moves *at to the last of them. */
static enum ebm_status read_flag(int argc, char *const *argv, int *at, struct options *options, uint32_t *seen,
                                 struct ebm_error *reterr)
{
    const char *flag = argv[*at], *equals = strchr(flag, '=');
    size_t length = equals ? (size_t)(equals - flag) : strlen(flag);
    const struct option *option = strncmp(flag, "--", 2) == 0 ? find(flag + 2, length - 2) : NULL;
    if (!option)
        return ebm_error_set(reterr, EBM_INVALID, flag, "unknown option; --help lists all");
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", (int)length, flag);
    uint32_t bit = 1u << (option - table);
    if (*seen & bit)
        return ebm_error_set(reterr, EBM_INVALID, name, "given twice");
    *seen |= bit;
    if (!equals && *at + 1 >= argc)
        return ebm_error_set(reterr, EBM_INVALID, name, "expected a value after it");
    return assign(options, option, name, equals ? equals + 1 : argv[++*at], reterr);
}

enum ebm_status options_parse(int argc, char *const *argv, struct options *ret_options, enum options_action *ret_action,
                              struct ebm_error *reterr)
{
    struct options options;
    uint32_t seen = 0;
    set_defaults(&options);
    for (int i = 1; i < argc; i++) {
        bool help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        if (help || strcmp(argv[i], "--version") == 0) {
            *ret_action = help ? OPTIONS_SHOW_HELP : OPTIONS_SHOW_VERSION;
            return EBM_OK;
        }
        enum ebm_status status = read_flag(argc, argv, &i, &options, &seen, reterr);
        if (status != EBM_OK)
            return status;
    }
    if (options.model_repository[0] == 0)
        return ebm_error_set(reterr, EBM_INVALID, "--model-repository",
                             "missing: the folder with <model>/<version number>/model.safetensors");
    *ret_options = options;
    *ret_action = OPTIONS_RUN;
    return EBM_OK;
}

/* ---- help ---- */

static void help_row(struct ebm_buf *buf, const struct option *option)
{
    char left[64];
    int used = snprintf(left, sizeof left, "--%s %s", option->name, option->value);
    for (int i = 2; i < used && left[i] != ' '; i++)
        if (left[i] == '_')
            left[i] = '-';
    (void)ebm_buf_printf(buf, "  %-40s %s", left, option->help);
    if (option->kind == KIND_WHOLE)
        (void)ebm_buf_printf(buf, " [%" PRIu64 "; %" PRIu64 " to %" PRIu64 "]\n", option->standard, option->min,
                             option->max);
    else if (option->standard_text[0])
        (void)ebm_buf_printf(buf, " [%s]\n", option->standard_text);
    else
        (void)ebm_buf_text(buf, "\n");
}

enum ebm_status options_help(struct ebm_buf *buf)
{
    (void)ebm_buf_text(buf, "Usage: ebm-server --model-repository DIR [option ...]\n\n"
                            "Serves energy-based regression models over HTTP. Options [default; bounds]:\n");
    for (size_t i = 0; i < EBM_COUNT_OF(table); i++)
        help_row(buf, &table[i]);
    (void)ebm_buf_printf(buf, "  %-40s %s\n", "--help", "Show this and exit");
    (void)ebm_buf_printf(buf, "  %-40s %s\n", "--version", "Show the version and exit");
    return ebm_buf_text(buf, "\nSIGTERM and SIGINT stop the server once every accepted request is answered.\n");
}
