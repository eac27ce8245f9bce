/* client_request.c - a jansson tree of what was given, and its text.
 *
 *   rows (what all kinds share) -> kind's own fields -> finish
 *
 * Jansson's setters take a NULL value for a failure, so one look at `failed` at the end tells of memory. Numbers have
 * 17 significant digits: the server reads the very doubles that the caller gave. */
#include "clients/client_request.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A body while it is made. */
struct draft {
    json_t *root;
    bool failed; /* no memory */
    enum ebm_client_status status;
    struct ebm_client_error *error;
};

static struct draft begin(struct ebm_client_error *reterr)
{
    struct draft draft = {.root = json_object(), .error = reterr};
    draft.failed = draft.root == NULL;
    if (reterr)
        *reterr = (struct ebm_client_error){.status = EBM_CLIENT_OK};
    return draft;
}

static void set(struct draft *draft, const char *name, json_t *value)
{
    if (json_object_set_new(draft->root, name, value) != 0)
        draft->failed = true;
}

static void set_text(struct draft *draft, const char *name, const char *text)
{
    if (!text)
        return;
    json_t *value = json_string(text);
    if (value)
        set(draft, name, value);
    else
        draft->status = client_fail(draft->error, EBM_CLIENT_INVALID, name, "not UTF-8, or no memory for it");
}

static void set_whole(struct draft *draft, const char *name, uint64_t value)
{
    if (value > INT64_MAX)
        draft->status = client_fail(draft->error, EBM_CLIENT_INVALID, name, "larger than 2^63 - 1");
    else if (value > 0)
        set(draft, name, json_integer((json_int_t)value));
}

static void not_finite(struct draft *draft, const char *name, size_t index)
{
    char where[64];
    (void)snprintf(where, sizeof where, "%s, number %zu", name, index);
    draft->status = client_fail(draft->error, EBM_CLIENT_INVALID, where, "not finite; JSON has finite numbers alone");
}

/* [n] numbers; `at`: how many stand before them, for errors. */
static json_t *numbers(struct draft *draft, const char *name, const double *values, size_t n, size_t at)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i]))
            not_finite(draft, name, at + i);
        else if (json_array_append_new(list, json_real(values[i])) != 0)
            draft->failed = true;
    }
    return list;
}

/* [n][width] numbers */
static json_t *vectors(struct draft *draft, const char *name, const double *values, size_t n, size_t width, size_t at)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, numbers(draft, name, values + i * width, width, at + i * width)) != 0)
            draft->failed = true;
    return list;
}

/* [rows][n][width] numbers */
static void set_targets(struct draft *draft, const char *name, const double *values, size_t n_rows, size_t n,
                        size_t width)
{
    if (!values || draft->status != EBM_CLIENT_OK)
        return;
    json_t *rows = json_array();
    for (size_t i = 0; i < n_rows; i++) {
        size_t at = i * n * width;
        if (json_array_append_new(rows, vectors(draft, name, values + at, n, width, at)) != 0)
            draft->failed = true;
    }
    set(draft, name, rows);
}

static void set_words(struct draft *draft, const char *name, const char *const *words, size_t n)
{
    if (n == 0)
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_string(words[i])) != 0)
            draft->failed = true;
    set(draft, name, list);
}

/* Base64 of RFC 4648, section 4, with a NUL at the end. New: free(). NULL: no memory. */
static char *base64_of(const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = calloc(n / 3 + 1, 4 + 1), *to = text;
    for (size_t i = 0; text && i < n; i += 3) {
        uint32_t left = n - i < 3 ? (uint32_t)(n - i) : 3, word = 0;
        for (uint32_t j = 0; j < 3; j++)
            word = word << 8 | (j < left ? bytes[i + j] : 0);
        for (uint32_t j = 0; j < 4; j++)
            *to++ = j <= left ? digits[word >> (18 - 6 * j) & 63] : '=';
    }
    return text;
}

/* [n] {"b64": "..."} */
static json_t *image_rows(struct draft *draft, const struct ebm_client_image *images, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n && !draft->failed; i++) {
        char *text = base64_of(images[i].bytes, images[i].n_bytes);
        json_t *row = text ? json_pack("{s:s}", "b64", text) : NULL;
        free(text);
        draft->failed = json_array_append_new(list, row) != 0;
    }
    return list;
}

static void set_inputs(struct draft *draft, const struct ebm_client_rows *rows)
{
    if (rows->n_rows == 0 || (!rows->images && (!rows->inputs || rows->n_inputs == 0)))
        draft->status = client_fail(draft->error, EBM_CLIENT_INVALID, "inputs",
                                    "expected at least one row of one number");
    else if (rows->images && rows->inputs)
        draft->status = client_fail(draft->error, EBM_CLIENT_INVALID, "images", "expected inputs or images, not both");
    else if (rows->images)
        set(draft, "inputs", image_rows(draft, rows->images, rows->n_rows));
    else
        set(draft, "inputs", vectors(draft, "inputs", rows->inputs, rows->n_rows, rows->n_inputs, 0));
}

static struct draft begin_rows(const struct ebm_client_rows *rows, struct ebm_client_error *reterr)
{
    struct draft draft = begin(reterr);
    set_inputs(&draft, rows);
    if (draft.status != EBM_CLIENT_OK)
        return draft;
    set_text(&draft, "model", rows->model);
    set_whole(&draft, "version", rows->version);
    set_text(&draft, "estimator", rows->estimator);
    set_text(&draft, "draws", rows->draws);
    set_text(&draft, "weights", rows->weights);
    set_text(&draft, "id", rows->id);
    if (rows->has_seed && rows->seed == 0)
        set(&draft, "seed", json_integer(0));
    else if (rows->has_seed)
        set_whole(&draft, "seed", rows->seed);
    set_whole(&draft, "num_samples", rows->num_samples);
    set_whole(&draft, "target_ess", rows->target_ess);
    set_whole(&draft, "max_samples", rows->max_samples);
    set_whole(&draft, "timeout_ms", rows->timeout_ms);
    set_whole(&draft, "priority", rows->priority);
    return draft;
}

static enum ebm_client_status finish(struct draft *draft, char **ret_body)
{
    char *body = NULL;
    if (draft->status == EBM_CLIENT_OK && !draft->failed)
        body = json_dumps(draft->root, JSON_COMPACT);
    json_decref(draft->root);
    if (draft->status != EBM_CLIENT_OK)
        return draft->status;
    if (!body)
        return client_fail(draft->error, EBM_CLIENT_NO_MEMORY, "request", "no memory for it, or a word is not UTF-8");
    *ret_body = body;
    return EBM_CLIENT_OK;
}

enum ebm_client_status client_write_predict(const struct ebm_client_predict_request *request, char **ret_body,
                                            struct ebm_client_error *reterr)
{
    struct draft draft = begin_rows(&request->rows, reterr);
    set_words(&draft, "outputs", request->outputs, request->n_outputs);
    if (request->n_quantiles > 0)
        set(&draft, "quantiles", numbers(&draft, "quantiles", request->quantiles, request->n_quantiles, 0));
    if (request->n_cdf > 0)
        set(&draft, "cdf", numbers(&draft, "cdf", request->cdf, request->n_cdf, 0));
    if (request->n_crps > 0)
        set(&draft, "crps_at", numbers(&draft, "crps_at", request->crps_at, request->n_crps, 0));
    if (request->interval_kind || request->interval_level != 0.0) {
        struct draft interval = begin(NULL);
        set_text(&interval, "kind", request->interval_kind);
        if (request->interval_level != 0.0)
            set(&interval, "level", json_real(request->interval_level));
        draft.failed |= interval.failed;
        set(&draft, "interval", interval.root);
    }
    return finish(&draft, ret_body);
}

enum ebm_client_status client_write_sample(const struct ebm_client_sample_request *request, char **ret_body,
                                           struct ebm_client_error *reterr)
{
    struct draft draft = begin_rows(&request->rows, reterr);
    set_whole(&draft, "num_proposals", request->num_proposals);
    if (request->is_weighted)
        set(&draft, "resample", json_false());
    if (request->steps > 0 || request->n_step_lengths > 0) {
        struct draft refine = begin(NULL);
        set_whole(&refine, "steps", request->steps);
        if (request->n_step_lengths > 0)
            set(&refine, "step_length",
                numbers(&draft, "step_length", request->step_lengths, request->n_step_lengths, 0));
        draft.failed |= refine.failed;
        set(&draft, "refine", refine.root);
    }
    return finish(&draft, ret_body);
}

static void set_grid(struct draft *draft, const struct ebm_client_density_request *request)
{
    struct draft grid = begin(NULL);
    if (!isfinite(request->grid_lower) || !isfinite(request->grid_upper))
        not_finite(draft, "grid", 0);
    set(&grid, "lower", json_real(isfinite(request->grid_lower) ? request->grid_lower : 0.0));
    set(&grid, "upper", json_real(isfinite(request->grid_upper) ? request->grid_upper : 0.0));
    set_whole(&grid, "points", request->grid_points);
    draft->failed |= grid.failed;
    set(draft, "grid", grid.root);
}

enum ebm_client_status client_write_density(const struct ebm_client_density_request *request, char **ret_body,
                                            struct ebm_client_error *reterr)
{
    struct draft draft = begin_rows(&request->rows, reterr);
    set_targets(&draft, "targets", request->targets, request->rows.n_rows, request->n_targets, request->D);
    if (request->grid_points > 0)
        set_grid(&draft, request);
    set_words(&draft, "outputs", request->outputs, request->n_outputs);
    return finish(&draft, ret_body);
}

enum ebm_client_status client_write_refine(const struct ebm_client_refine_request *request, char **ret_body,
                                           struct ebm_client_error *reterr)
{
    struct draft draft = begin_rows(&request->rows, reterr);
    set_targets(&draft, "initial", request->initial, request->rows.n_rows, request->n_initial, request->D);
    set_whole(&draft, "starts", request->starts);
    set_whole(&draft, "steps", request->steps);
    if (request->n_step_lengths > 0)
        set(&draft, "step_length", numbers(&draft, "step_length", request->step_lengths, request->n_step_lengths, 0));
    if (!isfinite(request->decay))
        not_finite(&draft, "decay", 0);
    else if (request->decay != 0.0)
        set(&draft, "decay", json_real(request->decay));
    if (request->with_trajectory)
        set(&draft, "trajectory", json_true());
    return finish(&draft, ret_body);
}
