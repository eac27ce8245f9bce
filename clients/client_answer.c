/* client_answer.c - reads an answer in two looks: the first row says which members there are and how long, then every
 * row fills arrays of that size.
 *
 *   table of members (name, dimensions, where in the struct) -> measure row 0 -> take memory -> read rows
 *   quantiles, intervals, diagnostics' words, refinements: a function each
 *
 * Guarantees: a row that differs from the first is BAD_ANSWER, never a gap; no array has more numbers than the answer
 * had bytes, so a lying answer costs no more memory than an honest one. Does not know: requests. */
#include "clients/client_answer.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clients/client_memory.h"

#define NO_DIM SIZE_MAX
#define AT(member) offsetof(struct ebm_client_answer, member)

/* A member of a row, or of its diagnostics: numbers (dims[0], dims[1]). */
struct member {
    const char *name;
    size_t at; /* of its pointer in the answer */
    bool in_diagnostics;
    size_t dims[2]; /* where the answer has each size; NO_DIM: one number less deep */
};

static const struct member members[] = {
    {"mean", AT(mean), false, {AT(D), NO_DIM}},
    {"std", AT(std), false, {AT(D), NO_DIM}},
    {"variance", AT(variance), false, {AT(D), NO_DIM}},
    {"median", AT(median), false, {AT(D), NO_DIM}},
    {"covariance", AT(covariance), false, {AT(D), AT(D)}},
    {"entropy", AT(entropy), false, {NO_DIM, NO_DIM}},
    {"cdf", AT(cdf), false, {AT(n_cdf), NO_DIM}},
    {"crps", AT(crps), false, {AT(n_crps), NO_DIM}},
    {"mode", AT(mode), false, {AT(D), NO_DIM}},
    {"samples", AT(samples), false, {AT(n_samples), AT(D)}},
    {"log_weights", AT(log_weights), false, {AT(n_samples), NO_DIM}},
    {"targets", AT(targets), false, {AT(n_targets), AT(D)}},
    {"unnormalized_log_prob", AT(unnormalized_log_prob), false, {AT(n_targets), NO_DIM}},
    {"log_prob", AT(log_prob), false, {AT(n_targets), NO_DIM}},
    {"proposal_log_prob", AT(proposal_log_prob), false, {AT(n_targets), NO_DIM}},
    {"log_normalizer", AT(log_normalizer), false, {NO_DIM, NO_DIM}},
    {"log_normalizer_std_error", AT(log_normalizer_std_error), false, {NO_DIM, NO_DIM}},
    {"ess", AT(ess), true, {NO_DIM, NO_DIM}},
    {"ess_ratio", AT(ess_ratio), true, {NO_DIM, NO_DIM}},
    {"max_weight", AT(max_weight), true, {NO_DIM, NO_DIM}},
    {"mcse_mean", AT(mcse_mean), true, {AT(D), NO_DIM}},
    {"pareto_k", AT(pareto_k), true, {NO_DIM, NO_DIM}},
    {"pieces", AT(pieces), true, {NO_DIM, NO_DIM}},
    {"support", AT(support), true, {AT(n_ends), NO_DIM}},
    {"acceptance_rate", AT(acceptance_rate), true, {NO_DIM, NO_DIM}},
};

/* Of a refinement. */
static const struct member refined[] = {
    {"mode", AT(mode), false, {AT(D), NO_DIM}},
    {"unnormalized_log_prob", AT(mode_log_prob), false, {NO_DIM, NO_DIM}},
};

/* An answer while it is read. The first failure stays. */
struct reader {
    struct ebm_client_answer answer;
    size_t most_numbers; /* no array is longer */
    const json_t *rows;
    size_t row;       /* that is read, */
    const char *name; /* and its member: for errors */
    enum ebm_client_status status;
    struct ebm_client_error *error;
};

static size_t *size_of(struct reader *reader, size_t at)
{
    return (size_t *)(void *)((char *)&reader->answer + at);
}

/* ---- failures ---- */

static void bad(struct reader *reader, const char *expected)
{
    char where[64];
    if (reader->status != EBM_CLIENT_OK)
        return;
    (void)snprintf(where, sizeof where, "predictions[%zu].%.40s", reader->row, reader->name);
    reader->status = client_fail(reader->error, EBM_CLIENT_BAD_ANSWER, where, "expected %s", expected);
}

static void *take(struct reader *reader, size_t n, size_t size)
{
    if (reader->status != EBM_CLIENT_OK)
        return NULL;
    void *memory = n > reader->most_numbers ? NULL : client_memory_take(&reader->answer.memory, n, size);
    if (n > reader->most_numbers)
        bad(reader, "rows of one size");
    else if (!memory)
        reader->status = client_fail(reader->error, EBM_CLIENT_NO_MEMORY, "answer", "no memory");
    return memory;
}

/* B * n doubles; n is small enough not to overflow, being the length of a list. */
static double *take_rows(struct reader *reader, size_t n, size_t width)
{
    size_t total;
    if (__builtin_mul_overflow(n, width, &total) || __builtin_mul_overflow(total, reader->answer.n_rows, &total))
        total = SIZE_MAX;
    return take(reader, total, sizeof(double));
}

static const char *copy_text(struct reader *reader, const json_t *text)
{
    if (reader->status != EBM_CLIENT_OK)
        return NULL;
    char *copy = client_memory_text(&reader->answer.memory, json_string_value(text));
    if (!copy)
        reader->status = client_fail(reader->error, EBM_CLIENT_NO_MEMORY, "answer", "no memory");
    return copy;
}

/* ---- numbers ---- */

static void read_number(struct reader *reader, const json_t *value, double *to)
{
    if (json_is_number(value))
        *to = json_number_value(value);
    else if (json_is_null(value))
        *to = (double)NAN;
    else
        bad(reader, "a number or null");
}

/* Sets a size that is not known yet, compares one that is. */
static bool agree(struct reader *reader, size_t dim, const json_t *list)
{
    size_t n = json_array_size(list), *size = size_of(reader, dim);
    if (*size == 0)
        *size = n;
    if (!json_is_array(list) || n == 0 || n != *size)
        bad(reader, "a list that is not empty, as long as in the first row");
    return reader->status == EBM_CLIENT_OK;
}

/* Numbers (dims...) at `to`; NULL: only their sizes. */
static void read_numbers(struct reader *reader, const size_t *dims, size_t n_dims, const json_t *value, double *to)
{
    if (n_dims == 0 || dims[0] == NO_DIM) {
        if (to)
            read_number(reader, value, to);
        return;
    }
    if (!agree(reader, dims[0], value))
        return;
    if (!to) {
        read_numbers(reader, dims + 1, n_dims - 1, json_array_get(value, 0), NULL);
        return;
    }
    size_t n = json_array_size(value), width = n_dims > 1 && dims[1] != NO_DIM ? *size_of(reader, dims[1]) : 1;
    for (size_t i = 0; i < n && reader->status == EBM_CLIENT_OK; i++)
        read_numbers(reader, dims + 1, n_dims - 1, json_array_get(value, i), to + i * width);
}

static const json_t *value_of(struct reader *reader, size_t row, const struct member *member)
{
    const json_t *object = json_array_get(reader->rows, row);
    reader->row = row;
    reader->name = member->name;
    return json_object_get(member->in_diagnostics ? json_object_get(object, "diagnostics") : object, member->name);
}

/* The member in the first row, for diagnostics in the first that has it: rows may differ in how they were answered. */
static const json_t *first_of(struct reader *reader, const struct member *member)
{
    const json_t *first = value_of(reader, 0, member);
    for (size_t row = 1; !first && member->in_diagnostics && row < reader->answer.n_rows; row++)
        first = value_of(reader, row, member);
    return first;
}

static void fill_nan(double *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (double)NAN;
}

static void read_member(struct reader *reader, const struct member *member)
{
    const json_t *first = first_of(reader, member);
    size_t sizes[2] = {1, 1};
    if (!first)
        return;
    read_numbers(reader, member->dims, 2, first, NULL);
    for (size_t i = 0; i < 2; i++)
        if (member->dims[i] != NO_DIM)
            sizes[i] = *size_of(reader, member->dims[i]);
    double *values = take_rows(reader, sizes[0], sizes[1]);
    for (size_t row = 0; row < reader->answer.n_rows && reader->status == EBM_CLIENT_OK; row++) {
        const json_t *value = value_of(reader, row, member);
        if (!value && member->in_diagnostics)
            fill_nan(values + row * sizes[0] * sizes[1], sizes[0] * sizes[1]);
        else
            read_numbers(reader, member->dims, 2, value, values + row * sizes[0] * sizes[1]);
    }
    memcpy((char *)&reader->answer + member->at, &values, sizeof values);
}

/* ---- quantiles and intervals ---- */

static const size_t only_D[] = {AT(D)};

static void read_quantiles(struct reader *reader)
{
    static const struct member member = {.name = "quantiles"};
    struct ebm_client_answer *answer = &reader->answer;
    const json_t *list = value_of(reader, 0, &member);
    if (!list || !agree(reader, AT(n_quantiles), list))
        return;
    read_numbers(reader, only_D, 1, json_object_get(json_array_get(list, 0), "value"), NULL);
    answer->probabilities = take(reader, answer->n_quantiles, sizeof(double));
    answer->quantiles = take_rows(reader, answer->n_quantiles, answer->D);
    double *to = answer->quantiles;
    for (size_t row = 0; row < answer->n_rows && reader->status == EBM_CLIENT_OK; row++) {
        list = value_of(reader, row, &member);
        if (!agree(reader, AT(n_quantiles), list))
            return;
        for (size_t q = 0; q < answer->n_quantiles && reader->status == EBM_CLIENT_OK; q++, to += answer->D) {
            const json_t *quantile = json_array_get(list, q);
            read_number(reader, json_object_get(quantile, "probability"), &answer->probabilities[q]);
            read_numbers(reader, only_D, 1, json_object_get(quantile, "value"), to);
        }
    }
}

/* The intervals of a row into its (n_intervals, D) numbers; those that it lacks are NAN. */
static void read_interval_row(struct reader *reader, const json_t *list, size_t row)
{
    struct ebm_client_answer *answer = &reader->answer;
    size_t at = row * answer->n_intervals * answer->D;
    for (size_t i = 0; i < answer->n_intervals && reader->status == EBM_CLIENT_OK; i++, at += answer->D) {
        const json_t *interval = json_array_get(list, i);
        if (interval) {
            read_numbers(reader, only_D, 1, json_object_get(interval, "lower"), answer->interval_lower + at);
            read_numbers(reader, only_D, 1, json_object_get(interval, "upper"), answer->interval_upper + at);
            continue;
        }
        for (size_t d = 0; d < answer->D; d++)
            answer->interval_lower[at + d] = answer->interval_upper[at + d] = (double)NAN;
    }
}

/* `member`'s list of intervals in a row; NULL after a failure. */
static const json_t *intervals_of(struct reader *reader, size_t row, const struct member *member)
{
    const json_t *list = json_object_get(value_of(reader, row, member), "intervals");
    if (!json_is_array(list) || json_array_size(list) == 0)
        bad(reader, "an object with a list of intervals");
    return reader->status == EBM_CLIENT_OK ? list : NULL;
}

static void read_intervals(struct reader *reader)
{
    static const struct member member = {.name = "interval"};
    struct ebm_client_answer *answer = &reader->answer;
    const json_t *first = value_of(reader, 0, &member), *list;
    if (!first)
        return;
    for (size_t row = 0; row < answer->n_rows; row++)
        if ((list = intervals_of(reader, row, &member)) && json_array_size(list) > answer->n_intervals)
            answer->n_intervals = json_array_size(list);
    if (!json_is_string(json_object_get(first, "kind")) || !json_is_number(json_object_get(first, "level")))
        bad(reader, "kind and level");
    answer->interval_kind = copy_text(reader, json_object_get(first, "kind"));
    answer->interval_level = json_number_value(json_object_get(first, "level"));
    list = json_object_get(first, "intervals");
    read_numbers(reader, only_D, 1, json_object_get(json_array_get(list, 0), "lower"), NULL);
    answer->interval_lower = take_rows(reader, answer->n_intervals, answer->D);
    answer->interval_upper = take_rows(reader, answer->n_intervals, answer->D);
    for (size_t row = 0; row < answer->n_rows && reader->status == EBM_CLIENT_OK; row++)
        read_interval_row(reader, intervals_of(reader, row, &member), row);
}

/* ---- diagnostics and the head ---- */

/* Rows mostly say the same few words: one copy of those that stand in the row before, too. */
static const char *share_text(struct reader *reader, const json_t *text, const char *before)
{
    return before && strcmp(before, json_string_value(text)) == 0 ? before : copy_text(reader, text);
}

static void read_words_of_row(struct reader *reader, size_t row)
{
    static const struct member member = {.name = "diagnostics"};
    struct ebm_client_answer *answer = &reader->answer;
    const json_t *diagnostics = value_of(reader, row, &member);
    const json_t *estimator = json_object_get(diagnostics, "estimator"),
                 *reason = json_object_get(diagnostics, "reason");
    const json_t *num_samples = json_object_get(diagnostics, "num_samples");
    const json_t *reliable = json_object_get(diagnostics, "reliable");
    if (!json_is_string(estimator) || !json_is_boolean(reliable)) {
        bad(reader, "an object with a text estimator and a boolean reliable");
        return;
    }
    if ((num_samples && !(json_is_integer(num_samples) && json_integer_value(num_samples) >= 0)) ||
        (reason && !json_is_string(reason) && !json_is_null(reason))) {
        bad(reader, "a whole num_samples, and a text or null as reason");
        return;
    }
    answer->estimator[row] = share_text(reader, estimator, row ? answer->estimator[row - 1] : NULL);
    if (json_is_string(reason))
        answer->reason[row] = share_text(reader, reason, row ? answer->reason[row - 1] : NULL);
    answer->num_samples[row] = (uint64_t)json_integer_value(num_samples);
    answer->reliable[row] = json_is_true(reliable);
    answer->proper[row] = !json_is_false(json_object_get(diagnostics, "proper"));
    answer->draws_ignored |= json_is_true(json_object_get(diagnostics, "num_samples_ignored")) ||
                             json_is_true(json_object_get(diagnostics, "num_proposals_ignored"));
}

static void read_words(struct reader *reader)
{
    struct ebm_client_answer *answer = &reader->answer;
    answer->estimator = take(reader, answer->n_rows, sizeof *answer->estimator);
    answer->num_samples = take(reader, answer->n_rows, sizeof *answer->num_samples);
    answer->reliable = take(reader, answer->n_rows, sizeof *answer->reliable);
    answer->proper = take(reader, answer->n_rows, sizeof *answer->proper);
    answer->reason = take(reader, answer->n_rows, sizeof *answer->reason);
    for (size_t row = 0; row < answer->n_rows && reader->status == EBM_CLIENT_OK; row++)
        read_words_of_row(reader, row);
}

/* ---- refinements ---- */

static void read_progress(struct reader *reader)
{
    static const struct member converged = {.name = "converged"}, steps = {.name = "steps"};
    struct ebm_client_answer *answer = &reader->answer;
    answer->converged = take(reader, answer->n_rows, sizeof *answer->converged);
    answer->steps = take(reader, answer->n_rows, sizeof *answer->steps);
    for (size_t row = 0; row < answer->n_rows && reader->status == EBM_CLIENT_OK; row++) {
        const json_t *flag = value_of(reader, row, &converged);
        if (!json_is_boolean(flag))
            bad(reader, "true or false");
        const json_t *count = value_of(reader, row, &steps);
        if (!json_is_integer(count) || json_integer_value(count) < 0)
            bad(reader, "a count");
        if (reader->status != EBM_CLIENT_OK)
            return;
        answer->converged[row] = json_is_true(flag);
        answer->steps[row] = (uint64_t)json_integer_value(count);
    }
}

/* The ways are of different lengths: the longest says how many places each row has. */
static void read_trajectories(struct reader *reader)
{
    static const struct member member = {.name = "trajectory"};
    struct ebm_client_answer *answer = &reader->answer;
    if (!value_of(reader, 0, &member))
        return;
    for (size_t row = 0; row < answer->n_rows; row++) {
        const json_t *list = value_of(reader, row, &member);
        if (json_array_size(list) != answer->steps[row] + 1)
            bad(reader, "a list of one place more than steps");
        if (json_array_size(list) > answer->n_places)
            answer->n_places = json_array_size(list);
    }
    double *to = take_rows(reader, answer->n_places, answer->D);
    answer->trajectory = to;
    for (size_t row = 0; row < answer->n_rows && reader->status == EBM_CLIENT_OK; row++) {
        const json_t *list = value_of(reader, row, &member);
        for (size_t i = 0; i < answer->n_places && reader->status == EBM_CLIENT_OK; i++, to += answer->D) {
            if (i < json_array_size(list))
                read_numbers(reader, only_D, 1, json_array_get(list, i), to);
            for (size_t d = 0; i >= json_array_size(list) && d < answer->D; d++)
                to[d] = (double)NAN;
        }
    }
}

static void read_refinement(struct reader *reader)
{
    for (size_t i = 0; i < sizeof refined / sizeof refined[0] && reader->status == EBM_CLIENT_OK; i++)
        read_member(reader, &refined[i]);
    if (reader->status == EBM_CLIENT_OK && (!reader->answer.mode || !reader->answer.mode_log_prob))
        bad(reader, "the member");
    if (reader->status == EBM_CLIENT_OK)
        read_progress(reader);
    if (reader->status == EBM_CLIENT_OK)
        read_trajectories(reader);
}

static void read_distribution(struct reader *reader)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0] && reader->status == EBM_CLIENT_OK; i++)
        read_member(reader, &members[i]);
    if (reader->status == EBM_CLIENT_OK)
        read_quantiles(reader);
    if (reader->status == EBM_CLIENT_OK)
        read_intervals(reader);
    if (reader->status == EBM_CLIENT_OK)
        read_words(reader);
}

static void read_head(struct reader *reader, const json_t *root)
{
    const json_t *model = json_object_get(root, "model"), *version = json_object_get(root, "version");
    const json_t *seed = json_object_get(root, "seed"), *id = json_object_get(root, "id");
    reader->rows = json_object_get(root, "predictions");
    if (!json_is_string(model) || !json_is_integer(version) || !json_is_integer(seed) || !json_is_array(reader->rows) ||
        json_array_size(reader->rows) == 0) {
        reader->status = client_fail(reader->error, EBM_CLIENT_BAD_ANSWER, "answer",
                                     "expected an object with model, version, seed and a list of predictions; is this "
                                     "an ebm-server?");
        return;
    }
    reader->answer.model = copy_text(reader, model);
    if (json_is_string(id))
        reader->answer.id = copy_text(reader, id);
    reader->answer.version = (uint64_t)json_integer_value(version);
    reader->answer.seed = (uint64_t)json_integer_value(seed);
    reader->answer.n_rows = json_array_size(reader->rows);
}

/* ---- the whole ---- */

enum ebm_client_status client_load(const struct client_bytes *body, struct json_t **ret_root,
                                   struct ebm_client_error *reterr)
{
    json_error_t error;
    json_t *root = json_loadb(body->bytes ? body->bytes : "", body->size, 0, &error);
    if (json_is_object(root)) {
        *ret_root = root;
        return EBM_CLIENT_OK;
    }
    json_decref(root);
    if (root)
        return client_fail(reterr, EBM_CLIENT_BAD_ANSWER, "answer", "expected an object; is this an ebm-server?");
    if (json_error_code(&error) == json_error_unknown || json_error_code(&error) == json_error_out_of_memory)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "answer", "no memory");
    return client_fail(reterr, EBM_CLIENT_BAD_ANSWER, "answer", "not JSON: byte %d: %.100s; is this an ebm-server?",
                       error.position, error.text);
}

enum ebm_client_status client_read_answer(const struct client_bytes *body, size_t n_rows, bool is_refinement,
                                          struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr)
{
    json_t *root = NULL;
    enum ebm_client_status status = client_load(body, &root, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    struct reader reader = {.most_numbers = body->size, .error = reterr};
    read_head(&reader, root);
    if (reader.status == EBM_CLIENT_OK && reader.answer.n_rows != n_rows)
        reader.status = client_fail(reterr, EBM_CLIENT_BAD_ANSWER, "predictions", "expected %zu rows, got %zu", n_rows,
                                    reader.answer.n_rows);
    if (reader.status == EBM_CLIENT_OK && is_refinement)
        read_refinement(&reader);
    else if (reader.status == EBM_CLIENT_OK)
        read_distribution(&reader);
    json_decref(root);
    if (reader.status == EBM_CLIENT_OK)
        *ret_answer = reader.answer;
    else
        client_memory_free(reader.answer.memory);
    return reader.status;
}

void ebm_client_answer_done(struct ebm_client_answer *answer)
{
    client_memory_free(answer->memory);
    *answer = (struct ebm_client_answer){.model = NULL};
}

enum ebm_client_status client_read_true(const struct client_bytes *body, const char *name,
                                        struct ebm_client_error *reterr)
{
    json_t *root = NULL;
    enum ebm_client_status status = client_load(body, &root, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    if (!json_is_true(json_object_get(root, name)))
        status = client_fail(reterr, EBM_CLIENT_BAD_ANSWER, name, "expected true; is this an ebm-server?");
    json_decref(root);
    return status;
}
