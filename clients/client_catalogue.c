/* client_catalogue.c - what a server has: GET / and GET /v2/models/M as structs.
 *
 * Both are read member by member; a failure leaves what was taken in the chain, which is then freed as a whole. */
#include <jansson.h>
#include <string.h>

#include "clients/client_answer.h"
#include "clients/client_memory.h"

struct catalogue {
    struct ebm_client_memory *memory;
    bool no_memory;
};

static const char *text_of(struct catalogue *catalogue, const json_t *value)
{
    const char *text = json_string_value(value);
    char *copy = text ? client_memory_text(&catalogue->memory, text) : NULL;
    if (text && !copy)
        catalogue->no_memory = true;
    return copy;
}

static void *take(struct catalogue *catalogue, size_t n, size_t size)
{
    void *memory = client_memory_take(&catalogue->memory, n, size);
    if (!memory)
        catalogue->no_memory = true;
    return memory;
}

/* A list of texts; NULL with *ret_n = 0 when it is none. */
static const char **texts_of(struct catalogue *catalogue, const json_t *list, size_t *ret_n)
{
    size_t n = json_array_size(list);
    *ret_n = 0;
    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(list, i)))
            return NULL;
    const char **texts = n > 0 ? take(catalogue, n, sizeof *texts) : NULL;
    for (size_t i = 0; texts && i < n; i++)
        texts[i] = text_of(catalogue, json_array_get(list, i));
    *ret_n = texts ? n : 0;
    return texts;
}

static enum ebm_client_status verdict(struct catalogue *catalogue, json_t *root, const char *wrong,
                                      const char *expected, struct ebm_client_error *reterr)
{
    enum ebm_client_status status = EBM_CLIENT_OK;
    if (catalogue->no_memory)
        status = client_fail(reterr, EBM_CLIENT_NO_MEMORY, "answer", "no memory");
    else if (wrong)
        status = client_fail(reterr, EBM_CLIENT_BAD_ANSWER, wrong, "%s; is this an ebm-server?", expected);
    json_decref(root);
    if (status != EBM_CLIENT_OK)
        client_memory_free(catalogue->memory);
    return status;
}

/* ---- GET / ---- */

static bool read_entry(struct catalogue *catalogue, const json_t *object, struct ebm_client_model_entry *entry)
{
    const json_t *version = json_object_get(object, "version"), *available = json_object_get(object, "available");
    if (!json_is_string(json_object_get(object, "name")) || !json_is_integer(version) || !json_is_boolean(available))
        return false;
    entry->name = text_of(catalogue, json_object_get(object, "name"));
    entry->version = (uint64_t)json_integer_value(version);
    entry->available = json_is_true(available);
    entry->reason = text_of(catalogue, json_object_get(object, "reason"));
    return true;
}

enum ebm_client_status client_read_models(const struct client_bytes *body, struct ebm_client_models *ret_models,
                                          struct ebm_client_error *reterr)
{
    struct catalogue catalogue = {.no_memory = false};
    json_t *root = NULL;
    enum ebm_client_status status = client_load(body, &root, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    const json_t *list = json_object_get(root, "models");
    bool is_fine = json_is_array(list) && json_is_string(json_object_get(root, "name"));
    struct ebm_client_models models = {.n_models = json_array_size(list)};
    models.server = text_of(&catalogue, json_object_get(root, "name"));
    models.routes = texts_of(&catalogue, json_object_get(root, "routes"), &models.n_routes);
    models.models = take(&catalogue, models.n_models, sizeof *models.models);
    for (size_t i = 0; models.models && is_fine && i < models.n_models; i++)
        is_fine = read_entry(&catalogue, json_array_get(list, i), &models.models[i]);
    status = verdict(&catalogue, root, is_fine ? NULL : "models",
                     "expected a name and a list of objects with name, version and available", reterr);
    models.memory = catalogue.memory;
    if (status == EBM_CLIENT_OK)
        *ret_models = models;
    return status;
}

void ebm_client_models_done(struct ebm_client_models *models)
{
    client_memory_free(models->memory);
    *models = (struct ebm_client_models){.server = NULL};
}

/* ---- GET /v2/models/M ---- */

/* Numbers of a row of `list`'s tensor `name` (NULL: of the first): the product of its shape but for the rows; 0: there
 * is none. */
static size_t width_of(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *tensor = json_array_get(list, i), *shape = json_object_get(tensor, "shape");
        const char *own = json_string_value(json_object_get(tensor, "name"));
        size_t n = json_array_size(shape);
        if (name && (!own || strcmp(own, name) != 0))
            continue;
        size_t width = n > 1;
        for (size_t d = 1; d < n; d++) {
            json_int_t dim = json_integer_value(json_array_get(shape, d));
            if (dim <= 0 || __builtin_mul_overflow(width, (size_t)dim, &width))
                return 0;
        }
        return width;
    }
    return 0;
}

enum ebm_client_status client_read_model(const struct client_bytes *body, struct ebm_client_model *ret_model,
                                         struct ebm_client_error *reterr)
{
    struct catalogue catalogue = {.no_memory = false};
    const char *wrong = NULL;
    size_t n_input_names, n_target_names;
    json_t *root = NULL;
    enum ebm_client_status status = client_load(body, &root, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    struct ebm_client_model model = {.name = text_of(&catalogue, json_object_get(root, "name"))};
    model.platform = text_of(&catalogue, json_object_get(root, "platform"));
    model.versions = texts_of(&catalogue, json_object_get(root, "versions"), &model.n_versions);
    model.n_inputs = width_of(json_object_get(root, "inputs"), NULL);
    model.D = width_of(json_object_get(root, "outputs"), "mean");
    model.input_names = texts_of(&catalogue, json_object_get(root, "input_names"), &n_input_names);
    model.target_names = texts_of(&catalogue, json_object_get(root, "target_names"), &n_target_names);
    if (!model.name)
        wrong = "name";
    else if (model.n_inputs == 0 || (n_input_names > 0 && n_input_names != model.n_inputs))
        wrong = "inputs";
    else if (model.D == 0 || (n_target_names > 0 && n_target_names != model.D))
        wrong = "outputs";
    status = verdict(&catalogue, root, wrong, "expected a text, or a tensor's shape and as many names", reterr);
    model.memory = catalogue.memory;
    if (status == EBM_CLIENT_OK)
        *ret_model = model;
    return status;
}

void ebm_client_model_done(struct ebm_client_model *model)
{
    client_memory_free(model->memory);
    *model = (struct ebm_client_model){.name = NULL};
}
