/* options_internal.h - what options.c (reads), options_text.c (writes) and options_parameters.c (does both for the
 * method's parameters) share. Private to them. */
#ifndef EBM_TRAINER_OPTIONS_INTERNAL_H
#define EBM_TRAINER_OPTIONS_INTERNAL_H

#include "trainer/options.h"

enum kind { KIND_U32, KIND_SEED, KIND_NUMBER, KIND_BOOL, KIND_TEXT, KIND_NAMES, KIND_NUMBERS, KIND_OTHER };

/* A key of an object of the configuration. */
struct field {
    const char *key;
    enum kind kind;
    size_t at;          /* offset of the value */
    size_t count_at;    /* offset of the uint32_t count: KIND_NAMES, KIND_NUMBERS */
    double least, most; /* numbers, inclusive */
    bool may_be_null;
};

struct field_table {
    const struct field *fields;
    size_t n;
};

extern const struct field_table options_data_table, options_jitter_table, options_augment_table, options_schedule_table,
    options_training_table;

enum ebm_status options_no_memory(struct ebm_error *reterr);

/* The "parameters" object (NULL: left out) of options->method, completed by what the method publishes. */
struct json_t;
enum ebm_status options_read_parameters(const struct json_t *json, struct options *options, struct ebm_error *reterr)
    EBM_MUST_USE;
struct json_t *options_parameters_json(const struct options *options); /* new */
void options_free_parameters(struct options *options);

/* Fills options->run and options->recorded from all that was read, and the "model" object as JSON text. */
enum ebm_status options_write_effective(struct options *options, struct ebm_error *reterr) EBM_MUST_USE;

#endif
