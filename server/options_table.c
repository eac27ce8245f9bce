/* options_table.c - the table of options.h as data.
 *
 * Guarantees: a value that was assigned is within its bounds. No state, no files. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"
#include "server/options_internal.h"

#define NAME_BYTES 64

#define TEXT_ROW(member, value, standard, help)                                                                        \
    {OPTION_TEXT, #member, offsetof(struct options, member), value, standard, 0, 0, 0, help},
#define WORD_ROW(member, words, standard, help)                                                                        \
    {OPTION_WORD, #member, offsetof(struct options, member), words, standard, 0, 0, 0, help},
#define WHOLE_ROW(member, standard, min, max, help)                                                                    \
    {OPTION_WHOLE, #member, offsetof(struct options, member), "N", NULL, standard, min, max, help},

const struct option options_table[OPTIONS_COUNT] = {OPTIONS_MAP(TEXT_ROW, WORD_ROW, WHOLE_ROW)};

static void set_text(struct options *options, const struct option *option, const char *text)
{
    memcpy((char *)options + option->at, &text, sizeof text);
}

static void set_whole(struct options *options, const struct option *option, uint64_t whole)
{
    memcpy((char *)options + option->at, &whole, sizeof whole);
}

uint64_t options_whole(const struct options *options, const struct option *option)
{
    uint64_t whole;
    memcpy(&whole, (const char *)options + option->at, sizeof whole);
    return whole;
}

const char *options_text(const struct options *options, const struct option *option)
{
    const char *text;
    memcpy(&text, (const char *)options + option->at, sizeof text);
    return text;
}

void options_set_defaults(struct options *options)
{
    *options = (struct options){.file = NULL};
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (options_table[i].kind == OPTION_WHOLE)
            set_whole(options, &options_table[i], options_table[i].standard);
        else
            set_text(options, &options_table[i], options_table[i].standard_text);
    }
}

/* ---- names ---- */

const struct option *options_find(const char *name, size_t length, char separator)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const char *known = options_table[i].name;
        size_t at = 0;
        while (at < length && known[at] && name[at] == (known[at] == '_' ? separator : known[at]))
            at++;
        if (at == length && known[at] == 0)
            return &options_table[i];
    }
    return NULL;
}

void options_suggest(const char *name, char separator, char *ret_text, size_t bytes)
{
    char plain[NAME_BYTES];
    const char *names[OPTIONS_COUNT + 3] = {"config", "print_config", "check_config"}; /* a file has none of these */
    size_t n = 0, n_names = separator == '-' ? 3 : 0;
    for (; name[n] && name[n] != '=' && n + 1 < sizeof plain; n++)
        plain[n] = name[n] == separator ? '_' : name[n];
    plain[n] = 0;
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        names[n_names++] = options_table[i].name;
    const char *near = ebm_names_near(plain, names, n_names);
    ret_text[0] = 0;
    if (!near)
        return;
    (void)snprintf(ret_text, bytes, ", did you mean '%s'?", near);
    for (char *at = ret_text + strlen(", did you mean '"); *at; at++)
        if (*at == '_')
            *at = separator;
}

void options_variable(const struct option *option, char *ret_name, size_t bytes)
{
    size_t prefix = (size_t)snprintf(ret_name, bytes, "EBM_SERVER_%s", option->name);
    for (size_t i = 0; i < prefix && i < bytes; i++)
        ret_name[i] = (char)toupper((unsigned char)ret_name[i]);
}

/* ---- values ---- */

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

static bool read_whole(const struct option *option, const char *value, uint64_t *ret_whole)
{
    char *end = NULL;
    errno = 0;
    unsigned long long whole = value[0] >= '0' && value[0] <= '9' ? strtoull(value, &end, 10) : 0;
    bool is_good = end && *end == 0 && errno == 0 && whole >= option->min && whole <= option->max;
    if (is_good)
        *ret_whole = whole;
    return is_good;
}

enum ebm_status options_refuse(const struct option *option, enum options_source source, const char *where,
                               const char *got, struct ebm_error *reterr)
{
    static const char *const without[] = {"", "remove the key", "unset the variable", "leave it out"};
    char standard[32], fix[96] = "";
    (void)snprintf(standard, sizeof standard, "%" PRIu64, option->standard);
    const char *text = option->kind == OPTION_WHOLE ? standard : option->standard_text;
    if (text[0])
        (void)snprintf(fix, sizeof fix, "; %s for the default, %s", without[source], text);
    if (option->kind == OPTION_WHOLE)
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "expected a whole number from %" PRIu64 " to %" PRIu64 ", got %s%s", option->min,
                             option->max, got, fix);
    return ebm_error_set(reterr, EBM_INVALID, where, "expected %s%s, got %s%s",
                         option->kind == OPTION_WORD ? "one of " : "", option->value, got, fix);
}

enum ebm_status options_assign(struct options *options, const struct option *option, enum options_source source,
                               const char *where, const char *value, struct ebm_error *reterr)
{
    uint64_t whole = 0;
    bool is_good = value[0] != 0;
    if (option->kind == OPTION_WHOLE)
        is_good = read_whole(option, value, &whole);
    else if (option->kind == OPTION_WORD)
        is_good = is_among(option->value, value);
    if (!is_good) {
        char got[NAME_BYTES];
        (void)snprintf(got, sizeof got, "'%.60s'", value);
        return options_refuse(option, source, where, value[0] ? got : "nothing", reterr);
    }
    if (option->kind == OPTION_WHOLE)
        set_whole(options, option, whole);
    else
        set_text(options, option, value);
    options->sources[option - options_table] = (uint8_t)source;
    return EBM_OK;
}
