/* test_model.c - new, save, load, references; files that do not fit their configuration; parity values.
 *
 * A file is made by saving a good model, reading its tensors, changing the list and writing it again. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/rng.h"
#include "core/safetensors.h"
#include "models/model.h"

#define MAX_BYTES (1u << 26)
#define MAX_TENSORS 40

/* X 2, D 2, K 1; x and y go straight into one energy layer: f = w [x, y] + b. The mixture is one Gaussian whose mean
 * and log variance are linear in x. Small enough to compute by hand. */
static const char text[] = "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"vector\", \"shape\": [2]},"
                           "\"target\": {\"dim\": 2},"
                           "\"energy_net\": [{\"type\": \"linear\", \"in\": 4, \"out\": 1}],"
                           "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 1,"
                           "\"mean_net\": [{\"type\": \"linear\", \"in\": 2, \"out\": 2}],"
                           "\"log_variance_net\": [{\"type\": \"linear\", \"in\": 2, \"out\": 2}],"
                           "\"weight_net\": [{\"type\": \"linear\", \"in\": 2, \"out\": 1}]}}";

static char folder[] = "/tmp/ebm-test-XXXXXX";
static char path[64];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
}

static void remove_folder(void)
{
    (void)unlink(path);
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(model, .init = make_folder, .fini = remove_folder);

static struct ebm_config *make_config(void)
{
    struct ebm_config *config = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_config_parse(text, sizeof text - 1, NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    return config;
}

/* Parameter i of the flat block, gaps included. */
static float param(size_t i)
{
    uint32_t words[4];
    ebm_philox(3, 0, (uint32_t)i, EBM_STREAM_INIT, 0, words);
    return (float)(ebm_uniform(words[0]) - 0.5);
}

static struct ebm_model *make_model(void)
{
    struct ebm_config *config = make_config();
    float *params = calloc(config->net.n_params, sizeof *params);
    cr_assert_not_null(params);
    for (size_t i = 0; i < config->net.n_params; i++)
        params[i] = param(i);
    struct ebm_model *model = NULL;
    cr_assert_eq(ebm_model_new(config, params, &model, NULL), EBM_OK);
    free(params);
    return model;
}

/* ---- making, saving, loading ---- */

Test(model, holds_its_parameters_and_zero_between_them)
{
    struct ebm_model *model = make_model();
    const struct ebm_net_desc *net = ebm_model_net(model);
    const float *params = ebm_model_params(model);
    cr_assert_eq((uintptr_t)params % EBM_ALIGNMENT, 0);
    cr_assert_eq(params[net->energy.layers[0].weight + 3], param(net->energy.layers[0].weight + 3));
    cr_assert_eq(params[net->energy.layers[0].weight + 4], 0, "the gap behind 4 weights");
    cr_assert_eq(params[net->energy.layers[0].bias + 1], 0, "the gap behind a bias");
    ebm_model_unref(model);
}

Test(model, saved_and_loaded_is_the_same)
{
    struct ebm_model *model = make_model(), *loaded = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_model_save(model, path, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(ebm_model_load(path, MAX_BYTES, &loaded, &error), EBM_OK, "%s: %s", error.where, error.text);
    size_t n = ebm_model_net(model)->n_params;
    cr_assert_eq(ebm_model_net(loaded)->n_params, n);
    cr_assert_eq(memcmp(ebm_model_params(model), ebm_model_params(loaded), n * sizeof(float)), 0);
    char *before = NULL, *after = NULL;
    cr_assert_eq(ebm_config_text(ebm_model_config(model), &before, &error), EBM_OK, "%s", error.text);
    cr_assert_eq(ebm_config_text(ebm_model_config(loaded), &after, &error), EBM_OK, "%s", error.text);
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
    ebm_model_unref(model);
    ebm_model_unref(loaded);
}

Test(model, references_are_counted)
{
    struct ebm_model *model = make_model();
    cr_assert_eq(ebm_model_ref(model), model);
    cr_assert_null(ebm_model_unref(model));
    cr_assert_eq(ebm_model_net(model)->D, 2, "still there");
    ebm_model_unrefp(&model);
    cr_assert_null(model);
    cr_assert_null(ebm_model_unref(NULL));
}

Test(model, parameters_that_are_not_finite_are_refused)
{
    struct ebm_config *config = make_config();
    float *params = calloc(config->net.n_params, sizeof *params);
    cr_assert_not_null(params);
    struct ebm_model *model = NULL;
    struct ebm_error error = {0};
    params[config->net.mean.layers[0].weight + 2] = NAN;
    cr_assert_eq(ebm_model_new(config, params, &model, &error), EBM_DAMAGED);
    cr_assert_str_eq(error.where, "proposal.mean_net.0.weight");
    cr_assert_not_null(strstr(error.text, "number 2 is nan"), "%s", error.text);
    cr_assert_null(model);
    params[config->net.mean.layers[0].weight + 2] = 0;
    params[config->net.energy.layers[0].bias + 1] = NAN; /* a gap: not a parameter */
    cr_assert_eq(ebm_model_new(config, params, &model, &error), EBM_OK, "the config stayed the caller's");
    cr_assert_eq(ebm_model_params(model)[ebm_model_net(model)->energy.layers[0].bias + 1], 0);
    ebm_model_unref(model);
    free(params);
}

/* ---- files that do not fit ---- */

struct content {
    struct ebm_tensor tensors[MAX_TENSORS];
    size_t n;
    struct ebm_metadata metadata[4];
    size_t n_metadata;
};

/* A good model's file, changed by `change`, at `path`; then loads it. */
static enum ebm_status load_changed(void (*change)(struct content *), struct ebm_error *reterr)
{
    struct ebm_model *model = make_model();
    cr_assert_eq(ebm_model_save(model, path, NULL), EBM_OK);
    ebm_model_unref(model);
    struct ebm_safetensors *file = NULL;
    cr_assert_eq(ebm_safetensors_open(path, MAX_BYTES, &file, NULL), EBM_OK);
    struct content content = {.n = ebm_safetensors_count(file), .n_metadata = 3};
    for (size_t i = 0; i < content.n; i++)
        content.tensors[i] = *ebm_safetensors_at(file, i);
    static const char *const keys[] = {"format", "format_version", "config"};
    for (size_t i = 0; i < 3; i++)
        content.metadata[i] = (struct ebm_metadata){keys[i], ebm_safetensors_metadata(file, keys[i])};
    change(&content);
    struct ebm_error error = {0};
    cr_assert_eq(ebm_safetensors_write(path, content.metadata, content.n_metadata, content.tensors, content.n, &error),
                 EBM_OK, "%s: %s", error.where, error.text);
    ebm_safetensors_free(file);
    struct ebm_model *loaded = NULL;
    enum ebm_status status = ebm_model_load(path, MAX_BYTES, &loaded, reterr);
    cr_assert_eq(status == EBM_OK, loaded != NULL);
    ebm_model_unref(loaded);
    return status;
}

static struct ebm_tensor *tensor_of(struct content *content, const char *name)
{
    for (size_t i = 0; i < content->n; i++)
        if (strcmp(content->tensors[i].name, name) == 0)
            return &content->tensors[i];
    cr_assert_fail("no tensor %s", name);
    return NULL;
}

static void change_nothing(struct content *content)
{
    (void)content;
}

static void drop_tensor(struct content *content)
{
    *tensor_of(content, "energy_net.0.bias") = content->tensors[content->n - 1];
    content->n--;
}

static void add_tensor(struct content *content)
{
    content->tensors[content->n] = content->tensors[0];
    content->tensors[content->n++].name = "energy_net.1.bias";
}

static void add_unknown_parity(struct content *content)
{
    content->tensors[content->n] = content->tensors[0];
    content->tensors[content->n++].name = "parity.of_a_later_version";
}

static void transpose(struct content *content)
{
    struct ebm_tensor *tensor = tensor_of(content, "energy_net.0.weight");
    tensor->shape[0] = 4;
    tensor->shape[1] = 1;
}

static void flatten(struct content *content)
{
    struct ebm_tensor *tensor = tensor_of(content, "energy_net.0.weight");
    tensor->n_dims = 1;
    tensor->shape[0] = 4;
}

static const double doubles[4] = {0.5, -1e-300, 3.0, 1e38}, beyond[4] = {0, 0, -1e39, 0};
static const uint16_t halves[4] = {0x3800, 0x0001, 0xfbff, 0x8000}, half_nan[4] = {0, 0x7e01, 0, 0};
static const uint16_t brains[4] = {0x3f00, 0xc040, 0x7f7f, 0x0001}, brain_infinity[4] = {0xff80, 0, 0, 0};

static void retype(struct content *content, enum ebm_dtype dtype, const void *data)
{
    struct ebm_tensor *tensor = tensor_of(content, "energy_net.0.weight");
    tensor->dtype = dtype;
    tensor->data = data;
}

static void to_f64(struct content *content)
{
    retype(content, EBM_DTYPE_F64, doubles);
}

static void to_f64_beyond(struct content *content)
{
    retype(content, EBM_DTYPE_F64, beyond);
}

static void to_f16(struct content *content)
{
    retype(content, EBM_DTYPE_F16, halves);
}

static void to_f16_nan(struct content *content)
{
    retype(content, EBM_DTYPE_F16, half_nan);
}

static void to_bf16(struct content *content)
{
    retype(content, EBM_DTYPE_BF16, brains);
}

static void to_bf16_infinity(struct content *content)
{
    retype(content, EBM_DTYPE_BF16, brain_infinity);
}

static void to_i32(struct content *content)
{
    tensor_of(content, "energy_net.0.weight")->dtype = EBM_DTYPE_I32;
}

static const float with_infinity[4] = {1, 2, 3, INFINITY};

static void to_infinity(struct content *content)
{
    tensor_of(content, "energy_net.0.weight")->data = with_infinity;
}

static void drop_format(struct content *content)
{
    content->metadata[0].key = "other";
}

static void later_version(struct content *content)
{
    content->metadata[1].value = "2";
}

static void drop_config(struct content *content)
{
    content->n_metadata = 2;
}

static void spoil_config(struct content *content)
{
    content->metadata[2].value = "{\"format_version\": 1, \"name\": \"m\", \"input\": {\"kind\": \"text\"}}";
}

static void spoil_json(struct content *content)
{
    content->metadata[2].value = "{";
}

static const struct {
    void (*change)(struct content *);
    enum ebm_status status;
    const char *where, *fragment;
} changes[] = {
    {change_nothing, EBM_OK, NULL, NULL},
    {add_unknown_parity, EBM_OK, NULL, NULL},
    {drop_tensor, EBM_DAMAGED, "energy_net.0.bias", "is missing, expected F32 (1)"},
    {add_tensor, EBM_DAMAGED, "energy_net.1.bias", "the configuration knows no such tensor"},
    {transpose, EBM_DAMAGED, "energy_net.0.weight", "has the shape (4, 1), expected (1, 4)"},
    {flatten, EBM_DAMAGED, "energy_net.0.weight", "has the shape (4), expected (1, 4)"},
    {to_f64, EBM_OK, NULL, NULL},
    {to_f16, EBM_OK, NULL, NULL},
    {to_bf16, EBM_OK, NULL, NULL},
    {to_f64_beyond, EBM_DAMAGED, "energy_net.0.weight", "number 2 is -1e+39, beyond the range of F32"},
    {to_f16_nan, EBM_DAMAGED, "energy_net.0.weight", "number 1 is nan"},
    {to_bf16_infinity, EBM_DAMAGED, "energy_net.0.weight", "number 0 is -inf"},
    {to_i32, EBM_DAMAGED, "energy_net.0.weight", "is I32, expected F32, F64, F16 or BF16"},
    {to_infinity, EBM_DAMAGED, "energy_net.0.weight", "number 3 is inf"},
    {drop_format, EBM_INVALID, "format", "not a model file"},
    {later_version, EBM_INVALID, "format_version", "\"2\", expected \"1\""},
    {drop_config, EBM_INVALID, "config", "not a model file"},
    {spoil_config, EBM_INVALID, "config.input.kind", "expected \"vector\" or \"image\""},
    {spoil_json, EBM_INVALID, "config", "line 1, column 1"},
};

Test(model, files_that_do_not_fit_are_refused)
{
    for (size_t i = 0; i < EBM_COUNT_OF(changes); i++) {
        struct ebm_error error = {0};
        enum ebm_status status = load_changed(changes[i].change, &error);
        cr_assert_eq(status, changes[i].status, "change %zu: %s at '%s': %s", i, ebm_status_name(status), error.where,
                     error.text);
        if (status == EBM_OK)
            continue;
        cr_assert_str_eq(error.where, changes[i].where, "change %zu: where '%s' (%s)", i, error.where, error.text);
        cr_assert_not_null(strstr(error.text, changes[i].fragment), "change %zu: '%s' lacks '%s'", i, error.text,
                           changes[i].fragment);
    }
}

Test(model, a_file_that_is_not_there)
{
    struct ebm_model *model = NULL;
    struct ebm_error error = {0};
    cr_assert_eq(ebm_model_load(path, MAX_BYTES, &model, &error), EBM_NOT_FOUND);
    cr_assert_str_eq(error.where, path);
    cr_assert_null(model);
}

/* ---- parity ---- */

#define ROWS 3
#define TARGETS 2

static const float parity_x[ROWS * 2] = {0.5f, -1, 2, 0.25f, -0.75f, 3};
static const float parity_y[ROWS * TARGETS * 2] = {1, 2, -1, 0, 0.5f, 0.5f, 4, -2, 0, 0, 1.5f, -0.5f};
static float parity_f[ROWS * TARGETS], parity_log_q[ROWS * TARGETS];

/* sum_i w[i] x[i] + b of the layer's output `row` */
static double linear(const float *params, const struct ebm_layer *layer, uint32_t row, const double *x)
{
    double sum = (double)params[layer->bias + row];
    for (uint32_t i = 0; i < layer->in; i++)
        sum += (double)params[layer->weight + row * layer->in + i] * x[i];
    return sum;
}

/* f and log q by hand, in double. */
static void compute_parity(void)
{
    struct ebm_model *model = make_model();
    const struct ebm_net_desc *net = ebm_model_net(model);
    const float *params = ebm_model_params(model);
    for (size_t i = 0; i < ROWS * TARGETS; i++) {
        const float *x = parity_x + i / TARGETS * 2, *y = parity_y + i * 2;
        const double in[4] = {(double)x[0], (double)x[1], (double)y[0], (double)y[1]};
        parity_f[i] = (float)linear(params, &net->energy.layers[0], 0, in);
        double log_q = 0;
        for (uint32_t d = 0; d < 2; d++) {
            double mean = linear(params, &net->mean.layers[0], d, in);
            double log_variance = linear(params, &net->log_variance.layers[0], d, in);
            double distance = in[2 + d] - mean;
            log_q -= 0.5 * (log(2 * acos(-1.0)) + log_variance + distance * distance / exp(log_variance));
        }
        parity_log_q[i] = (float)log_q;
    }
    ebm_model_unref(model);
}

static void add_parity(struct content *content)
{
    const struct ebm_tensor tensors[4] = {
        {.name = "parity.x", .dtype = EBM_DTYPE_F32, .n_dims = 2, .shape = {ROWS, 2}, .count = 6, .data = parity_x},
        {.name = "parity.y",
         .dtype = EBM_DTYPE_F32,
         .n_dims = 3,
         .shape = {ROWS, TARGETS, 2},
         .count = 12,
         .data = parity_y},
        {.name = "parity.f",
         .dtype = EBM_DTYPE_F32,
         .n_dims = 2,
         .shape = {ROWS, TARGETS},
         .count = 6,
         .data = parity_f},
        {.name = "parity.log_q",
         .dtype = EBM_DTYPE_F32,
         .n_dims = 2,
         .shape = {ROWS, TARGETS},
         .count = 6,
         .data = parity_log_q},
    };
    compute_parity();
    memcpy(&content->tensors[content->n], tensors, sizeof tensors);
    content->n += 4;
}

static void parity_wrong_f(struct content *content)
{
    add_parity(content);
    parity_f[3] += 0.01f;
}

static void parity_nan(struct content *content)
{
    add_parity(content);
    parity_log_q[5] = NAN;
}

static void parity_close_enough(struct content *content)
{
    add_parity(content);
    parity_f[3] += 1e-6f;
}

/* (n, D): the first target of the first two rows */
static void parity_flat(struct content *content)
{
    static float y[4], f[2];
    add_parity(content);
    memcpy(y, parity_y, 2 * sizeof *y);
    memcpy(y + 2, parity_y + 4, 2 * sizeof *y);
    f[0] = parity_f[0];
    f[1] = parity_f[2];
    struct ebm_tensor *tensors = &content->tensors[content->n - 4];
    tensors[0].shape[0] = 2;
    tensors[0].count = 4;
    tensors[1].n_dims = 2;
    tensors[1].shape[0] = tensors[1].shape[1] = 2;
    tensors[1].count = 4;
    tensors[1].data = y;
    tensors[2].n_dims = 1;
    tensors[2].shape[0] = tensors[2].count = 2;
    tensors[2].data = f;
    content->n--;
}

static void parity_no_y(struct content *content)
{
    add_parity(content);
    *tensor_of(content, "parity.y") = content->tensors[content->n - 1];
    content->n--;
}

static void parity_f_alone(struct content *content)
{
    add_parity(content);
    content->tensors[content->n - 4] = content->tensors[content->n - 2];
    content->n -= 3;
}

static void parity_bad_shape(struct content *content)
{
    add_parity(content);
    struct ebm_tensor *f = tensor_of(content, "parity.f");
    f->shape[0] = TARGETS;
    f->shape[1] = ROWS;
}

static void parity_bad_x(struct content *content)
{
    add_parity(content);
    struct ebm_tensor *x = tensor_of(content, "parity.x");
    x->n_dims = 1;
    x->shape[0] = 6;
}

static void parity_too_many(struct content *content)
{
    static float many[65 * 2 * 2];
    add_parity(content);
    struct ebm_tensor *x = tensor_of(content, "parity.x"), *y = tensor_of(content, "parity.y");
    x->shape[0] = y->shape[0] = 65;
    x->count = 65 * 2;
    y->count = 65 * 2 * 2;
    x->data = y->data = many;
}

static const struct {
    void (*change)(struct content *);
    enum ebm_status status;
    const char *where, *fragment;
} parities[] = {
    {add_parity, EBM_OK, NULL, NULL},
    {parity_close_enough, EBM_OK, NULL, NULL},
    {parity_flat, EBM_OK, NULL, NULL},
    {parity_wrong_f, EBM_DAMAGED, "parity.f", "row 1, target 1: the file says"},
    {parity_nan, EBM_DAMAGED, "parity.log_q", "row 2, target 1: the file says nan"},
    {parity_no_y, EBM_DAMAGED, "parity.y", "stand together"},
    {parity_f_alone, EBM_DAMAGED, "parity.x", "stand together"},
    {parity_bad_shape, EBM_DAMAGED, "parity.f", "expected F32 of the shape (n, m) of parity.y"},
    {parity_bad_x, EBM_DAMAGED, "parity.x", "expected F32 of the shape (n, size of the input)"},
    {parity_too_many, EBM_TOO_LARGE, "parity.y", "at most 64 rows"},
};

Test(model, parity_values_are_recomputed)
{
    for (size_t i = 0; i < EBM_COUNT_OF(parities); i++) {
        struct ebm_error error = {0};
        enum ebm_status status = load_changed(parities[i].change, &error);
        cr_assert_eq(status, parities[i].status, "case %zu: %s at '%s': %s", i, ebm_status_name(status), error.where,
                     error.text);
        if (status == EBM_OK)
            continue;
        cr_assert_str_eq(error.where, parities[i].where, "case %zu: where '%s' (%s)", i, error.where, error.text);
        cr_assert_not_null(strstr(error.text, parities[i].fragment), "case %zu: '%s' lacks '%s'", i, error.text,
                           parities[i].fragment);
    }
}

/* What a model's file holds of `name`: the same shape and bytes as `expected`. */
static void expect_tensor(const char *name, uint32_t n_dims, const uint64_t *shape, const float *expected, double off)
{
    struct ebm_safetensors *file = NULL;
    cr_assert_eq(ebm_safetensors_open(path, MAX_BYTES, &file, NULL), EBM_OK);
    const struct ebm_tensor *tensor = ebm_safetensors_find(file, name);
    cr_assert_not_null(tensor, "%s is missing", name);
    cr_assert_eq(tensor->n_dims, n_dims, "%s has %u dimensions", name, tensor->n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        cr_assert_eq(tensor->shape[i], shape[i], "%s, dimension %u", name, i);
    for (size_t i = 0; i < tensor->count; i++) {
        double got = (double)((const float *)tensor->data)[i];
        cr_assert(fabs(got - (double)expected[i]) <= off, "%s, number %zu: %.9g, expected %.9g", name, i, got,
                  (double)expected[i]);
    }
    ebm_safetensors_free(file);
}

Test(model, parity_values_are_saved_again)
{
    static const uint64_t x[] = {ROWS, 2}, y[] = {ROWS, TARGETS, 2};
    struct ebm_error error = {0};
    struct ebm_model *model = NULL;
    cr_assert_eq(load_changed(add_parity, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(ebm_model_load(path, MAX_BYTES, &model, &error), EBM_OK);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(ebm_model_save(model, path, &error), EBM_OK, "%s: %s", error.where, error.text);
    expect_tensor("parity.x", 2, x, parity_x, 0);
    expect_tensor("parity.y", 3, y, parity_y, 0);
    expect_tensor("parity.f", 2, y, parity_f, 0);
    expect_tensor("parity.log_q", 2, y, parity_log_q, 0);
    ebm_model_unref(model);
}

/* Targets 0, 2 and 4 of the six above, one of each row. */
Test(model, parity_values_are_computed)
{
    static const uint64_t x[] = {ROWS, 2}, f[] = {ROWS};
    struct ebm_error error = {0};
    struct ebm_model *model = make_model(), *loaded = NULL;
    float y[ROWS * 2], expected_f[ROWS], expected_log_q[ROWS];
    compute_parity();
    for (size_t row = 0; row < ROWS; row++) {
        memcpy(&y[2 * row], &parity_y[row * TARGETS * 2], 2 * sizeof *y);
        expected_f[row] = parity_f[row * TARGETS];
        expected_log_q[row] = parity_log_q[row * TARGETS];
    }
    cr_assert_eq(ebm_model_compute_parity(model, parity_x, y, ROWS, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(ebm_model_save(model, path, &error), EBM_OK, "%s: %s", error.where, error.text);
    expect_tensor("parity.x", 2, x, parity_x, 0);
    expect_tensor("parity.y", 2, x, y, 0);
    expect_tensor("parity.f", 1, f, expected_f, 1e-5);
    expect_tensor("parity.log_q", 1, f, expected_log_q, 1e-5);
    cr_assert_eq(ebm_model_load(path, MAX_BYTES, &loaded, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_not_null(ebm_model_parity(loaded));
    ebm_model_unref(loaded);
    ebm_model_unref(model);
}
