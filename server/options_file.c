/* options_file.c - a JSON object whose keys are names of options.
 *
 *   file -> at most 64 KiB -> jansson -> every member through the table
 *
 * Guarantees: what is unknown, of another type or out of bounds is refused with the file, the key and what was
 * expected. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/options_internal.h"
#include "server/small_file.h"

#define SHOWN_PATH_BYTES 48u /* of a longer path its end, so that the key behind it is seen too */
#define WHERE_BYTES 96
#define GOT_BYTES 96

static const char *shown(const char *path)
{
    size_t length = strlen(path);
    return length > SHOWN_PATH_BYTES ? path + length - SHOWN_PATH_BYTES : path;
}

static enum ebm_status read_text(const char *path, char **ret_text, size_t *ret_size, struct ebm_error *reterr)
{
    switch (small_file_read(path, LIMIT_OPTIONS_FILE_BYTES, ret_text, ret_size)) {
    case EBM_OK:
        return EBM_OK;
    case EBM_NOT_FOUND:
        return ebm_error_set(reterr, EBM_INVALID, shown(path),
                             "cannot read the configuration: %s; --config and EBM_SERVER_CONFIG name it",
                             strerror(errno));
    case EBM_NO_MEMORY:
        return ebm_error_set(reterr, EBM_NO_MEMORY, shown(path), "no memory");
    case EBM_TOO_LARGE:
        return ebm_error_set(reterr, EBM_INVALID, shown(path), "expected a configuration of at most %u bytes",
                             LIMIT_OPTIONS_FILE_BYTES);
    default:
        return ebm_error_set(reterr, EBM_INVALID, shown(path), "cannot be read: is it a file?");
    }
}

/* A value of a kind that the option does not take, as the file has it. */
static enum ebm_status refuse_kind(const struct option *option, const char *where, const json_t *value,
                                   struct ebm_error *reterr)
{
    char got[GOT_BYTES];
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    (void)snprintf(got, sizeof got, "%.40s%s", text ? text : "another value",
                   option->kind != OPTION_WHOLE ? " without quotes"
                   : json_is_string(value)      ? ", a text: write a number without quotes"
                                                : "");
    free(text);
    return options_refuse(option, OPTIONS_FILE, where, got, reterr);
}

static enum ebm_status assign_member(struct options *options, const char *path, const char *key, const json_t *value,
                                     struct ebm_error *reterr)
{
    char where[WHERE_BYTES], near[96], number[32];
    const struct option *option = options_find(key, strlen(key), '_');
    (void)snprintf(where, sizeof where, "%s: %.40s", shown(path), key);
    if (!option) {
        options_suggest(key, '_', near, sizeof near);
        return ebm_error_set(reterr, EBM_INVALID, where, "unknown option%s; docs/OPTIONS.md and --help list all", near);
    }
    if (option->kind == OPTION_WHOLE ? !json_is_integer(value) : !json_is_string(value))
        return refuse_kind(option, where, value, reterr);
    (void)snprintf(number, sizeof number, "%lld", json_integer_value(value));
    return options_assign(options, option, OPTIONS_FILE, where,
                          option->kind == OPTION_WHOLE ? number : json_string_value(value), reterr);
}

enum ebm_status options_read_file(struct options *options, const char *path, struct ebm_error *reterr)
{
    char *text = NULL;
    size_t size = 0;
    json_error_t error;
    enum ebm_status status = read_text(path, &text, &size, reterr);
    if (status != EBM_OK)
        return status;
    options->file = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!options->file)
        return ebm_error_set(reterr, EBM_INVALID, shown(path),
                             "line %d, column %d: not valid JSON: %.120s; --print-config shows a valid file",
                             error.line, error.column, error.text);
    if (!json_is_object(options->file))
        return ebm_error_set(reterr, EBM_INVALID, shown(path), "expected an object such as {\"port\": 8080}");
    const char *key;
    json_t *value;
    json_object_foreach (options->file, key, value) {
        status = assign_member(options, path, key, value, reterr);
        if (status != EBM_OK)
            break;
    }
    return status;
}

void options_done(struct options *options)
{
    json_decref(options->file);
    options->file = NULL;
}
