/* config_reader.h - fields of a configuration: types, bounds, and errors that name the key. Private to models.
 *
 * An absent field leaves *ret untouched. An error's `where` is the key; who called puts the section before it
 * (ebm_reader_within). New arrays belong to the config at once, also when reading fails. */
#ifndef EBM_MODELS_CONFIG_READER_H
#define EBM_MODELS_CONFIG_READER_H

#include <jansson.h>

#include "models/config_internal.h"

struct ebm_reader {
    const struct ebm_config_defaults *defaults; /* NULL: nothing may be left out */
    struct ebm_config *config;
    struct ebm_error *reterr;
};

/* Puts `prefix` before where the error is, if there is one. */
enum ebm_status ebm_reader_within(const struct ebm_reader *r, const char *prefix, enum ebm_status status);
enum ebm_status ebm_reader_no_memory(const struct ebm_reader *r);
enum ebm_status ebm_reader_missing(const struct ebm_reader *r, const char *key);
enum ebm_status ebm_reader_wrong_type(const struct ebm_reader *r, const char *key, const char *expected,
                                      const json_t *got);
/* "an array". Borrow: static. */
const char *ebm_reader_type(const json_t *json);

/* Only these; `keys` ends with NULL. */
enum ebm_status ebm_reader_keys(const struct ebm_reader *r, json_t *object, const char *const *keys) EBM_MUST_USE;
/* least .. most */
enum ebm_status ebm_reader_unsigned(const struct ebm_reader *r, const json_t *object, const char *key, uint32_t least,
                                    uint32_t most, uint32_t *ret_value) EBM_MUST_USE;
enum ebm_status ebm_reader_bool(const struct ebm_reader *r, const json_t *object, const char *key, bool *ret_value)
    EBM_MUST_USE;
/* Borrow: valid while object lives. */
enum ebm_status ebm_reader_word(const struct ebm_reader *r, const json_t *object, const char *key,
                                const char **ret_word) EBM_MUST_USE;
/* New (n). */
enum ebm_status ebm_reader_numbers(const struct ebm_reader *r, const json_t *object, const char *key, uint32_t n,
                                   double **ret_values) EBM_MUST_USE;
/* A missing array becomes a copy of `fallback` (n), or of `constant` n times. New. */
enum ebm_status ebm_reader_fill(const struct ebm_reader *r, double **values, uint32_t n, const double *fallback,
                                double constant) EBM_MUST_USE;
enum ebm_status ebm_reader_copy(const struct ebm_reader *r, const char *text, char **ret_copy) EBM_MUST_USE;
enum ebm_status ebm_reader_name(const struct ebm_reader *r, const char *key, const char *name) EBM_MUST_USE;
/* Missing names are copies of `fallback`; without one there are none. New (n). */
enum ebm_status ebm_reader_names(const struct ebm_reader *r, const json_t *object, uint32_t n, char *const *fallback,
                                 char ***ret_names) EBM_MUST_USE;
/* mean and std of n numbers. New (n) each. */
enum ebm_status ebm_reader_statistics(const struct ebm_reader *r, const json_t *object, uint32_t n,
                                      const double *fallback_mean, const double *fallback_std, double **ret_mean,
                                      double **ret_std) EBM_MUST_USE;
/* A size that the text and the data may both give; 0 is none. */
enum ebm_status ebm_reader_settle(const struct ebm_reader *r, const char *key, uint32_t given, uint32_t *size)
    EBM_MUST_USE;

/* config_input.c: the section `input`. */
enum ebm_status ebm_read_input(const struct ebm_reader *r, json_t *object) EBM_MUST_USE;
/* config_layers.c: `key` of `object`, a list of layers; absent or empty: none. */
enum ebm_status ebm_read_net(const struct ebm_reader *r, const json_t *object, const char *key,
                             enum ebm_net_index index) EBM_MUST_USE;

#endif
