/* options_table.c - the table of options.h as data.
 *
 * Guarantees: a value that was assigned is within its bounds. No state, no files. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/suggest.h"
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
    const char *names[OPTIONS_COUNT];
    size_t n = 0;
    for (; name[n] && name[n] != '=' && n + 1 < sizeof plain; n++)
        plain[n] = name[n] == separator ? '_' : name[n];
    plain[n] = 0;
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        names[i] = options_table[i].name;
    const char *near = ebm_suggest(plain, names, OPTIONS_COUNT);
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

static enum ebm_status assign_whole(struct options *options, const struct option *option, const char *where,
                                    const char *value, struct ebm_error *reterr)
{
    char *end = NULL;
    errno = 0;
    unsigned long long whole = value[0] >= '0' && value[0] <= '9' ? strtoull(value, &end, 10) : 0;
    if (!end || *end || errno != 0 || whole < option->min || whole > option->max)
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "expected a whole number from %" PRIu64 " to %" PRIu64 ", got '%.60s'", option->min,
                             option->max, value);
    set_whole(options, option, whole);
    return EBM_OK;
}

enum ebm_status options_assign(struct options *options, const struct option *option, enum options_source source,
                               const char *where, const char *value, struct ebm_error *reterr)
{
    if (option->kind == OPTION_WHOLE) {
        enum ebm_status status = assign_whole(options, option, where, value, reterr);
        if (status != EBM_OK)
            return status;
    } else if (option->kind == OPTION_WORD && !is_among(option->value, value)) {
        return ebm_error_set(reterr, EBM_INVALID, where, "expected one of %s, got '%.60s'", option->value, value);
    } else if (value[0] == 0) {
        return ebm_error_set(reterr, EBM_INVALID, where, "expected %s, got nothing", option->value);
    } else {
        set_text(options, option, value);
    }
    options->sources[option - options_table] = (uint8_t)source;
    return EBM_OK;
}
