/* options_file.c - a JSON object whose keys are names of options.
 *
 *   file -> at most FILE_BYTES -> jansson -> every member through the table
 *
 * Guarantees: what is unknown, of another type or out of bounds is refused with the file, the key and what was
 * expected. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/options_internal.h"

#define FILE_BYTES (1u << 20)
#define WHERE_BYTES 96

static enum ebm_status read_text(const char *path, char **ret_text, size_t *ret_size, struct ebm_error *reterr)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot read the configuration: %s", strerror(errno));
    char *text = malloc(FILE_BYTES + 1);
    size_t size = text ? fread(text, 1, FILE_BYTES + 1, file) : 0;
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (text && !failed && size <= FILE_BYTES) {
        *ret_text = text;
        *ret_size = size;
        return EBM_OK;
    }
    free(text);
    if (!text)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    return ebm_error_set(reterr, EBM_INVALID, path,
                         failed ? "cannot be read: is it a file?" : "expected a configuration of at most %u bytes",
                         FILE_BYTES);
}

static enum ebm_status assign_member(struct options *options, const char *path, const char *key, const json_t *value,
                                     struct ebm_error *reterr)
{
    char where[WHERE_BYTES], near[96], number[32];
    const struct option *option = options_find(key, strlen(key), '_');
    (void)snprintf(where, sizeof where, "%.60s: %.30s", path, key);
    options_suggest(key, '_', near, sizeof near);
    if (!option)
        return ebm_error_set(reterr, EBM_INVALID, where, "unknown option%s", near);
    if (option->kind == OPTION_WHOLE) {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return ebm_error_set(reterr, EBM_INVALID, where, "expected a whole number from %" PRIu64 " to %" PRIu64,
                                 option->min, option->max);
        (void)snprintf(number, sizeof number, "%lld", json_integer_value(value));
        return options_assign(options, option, OPTIONS_FILE, where, number, reterr);
    }
    if (!json_is_string(value))
        return ebm_error_set(reterr, EBM_INVALID, where, "expected a text in quotes");
    return options_assign(options, option, OPTIONS_FILE, where, json_string_value(value), reterr);
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
        return ebm_error_set(reterr, EBM_INVALID, path, "line %d, column %d: not valid JSON: %s", error.line,
                             error.column, error.text);
    if (!json_is_object(options->file))
        return ebm_error_set(reterr, EBM_INVALID, path, "expected an object such as {\"port\": 8080}");
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
