/* config.c - JSON text -> struct ebm_config.
 *
 *   text -> jansson (duplicate keys refused) -> one reader a section: known keys only, types, bounds -> plain arrays
 *           (config_reader.c: fields; config_input.c, config_layers.c: those sections)
 *        -> config_net.c, config_trunk.c: do the layers connect, where do their numbers lie
 *
 * Every reader answers with the key where it failed; its caller puts the section before it, so the error's `where` is
 * the whole path.
 * Guarantees: an accepted configuration is complete (statistics filled, sizes connected, all within limits.h); a
 * refused one leaves nothing behind. No I/O; any thread. */
#include "models/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/names.h"
#include "models/config_reader.h"

static void buf_donep(struct ebm_buf *buf)
{
    ebm_buf_done(buf);
}

/* ---- target ---- */

static const char *const support_words[] = {
    [EBM_SUPPORT_REAL] = "real",
    [EBM_SUPPORT_BOUNDED] = "bounded",
    [EBM_SUPPORT_PERIODIC] = "periodic",
};

const char *ebm_support_word(enum ebm_support_kind kind)
{
    return support_words[kind];
}

static enum ebm_status read_support_word(const struct ebm_reader *r, const json_t *json,
                                         enum ebm_support_kind *ret_kind)
{
    if (!json_is_string(json))
        return ebm_reader_wrong_type(r, "support", "a string", json);
    size_t kind = ebm_names_find(json_string_value(json), support_words, EBM_COUNT_OF(support_words));
    if (kind == EBM_COUNT_OF(support_words))
        return ebm_error_set(r->reterr, EBM_INVALID, "support",
                             "\"%.32s\", expected \"real\", \"bounded\" or \"periodic\"", json_string_value(json));
    *ret_kind = (enum ebm_support_kind)kind;
    return EBM_OK;
}

/* A word for each dimension, or one for all. */
static enum ebm_status read_support(const struct ebm_reader *r, const json_t *object, struct ebm_target_config *target)
{
    const json_t *support = json_object_get(object, "support");
    target->support = calloc(target->dim, sizeof *target->support);
    if (!target->support)
        return ebm_reader_no_memory(r);
    if (json_is_array(support) && json_array_size(support) != target->dim)
        return ebm_error_set(r->reterr, EBM_INVALID, "support", "has %zu entries, expected %u",
                             json_array_size(support), target->dim);
    enum ebm_status status = EBM_OK;
    for (uint32_t d = 0; support && d < target->dim && status == EBM_OK; d++)
        status = read_support_word(r, json_is_array(support) ? json_array_get(support, d) : support,
                                   &target->support[d]);
    return status;
}

/* Numbers, or null where a dimension has none: `none` stands for it. New: belongs to the config at once. */
static enum ebm_status read_ends(const struct ebm_reader *r, const json_t *object, const char *key, uint32_t n,
                                 double none, double **ret_values)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_array(json))
        return ebm_reader_wrong_type(r, key, "an array of numbers", json);
    if (json_array_size(json) != n)
        return ebm_error_set(r->reterr, EBM_INVALID, key, "has %zu numbers, expected %u", json_array_size(json), n);
    *ret_values = calloc(n, sizeof **ret_values);
    if (!*ret_values)
        return ebm_reader_no_memory(r);
    for (uint32_t i = 0; i < n; i++) {
        const json_t *number = json_array_get(json, i);
        if (!json_is_number(number) && !json_is_null(number))
            return ebm_reader_wrong_type(r, key, "numbers, or null where there is none", number);
        (*ret_values)[i] = json_is_null(number) ? none : json_number_value(number);
    }
    return EBM_OK;
}

/* Dimension d alone. */
static enum ebm_status check_bounds(const struct ebm_reader *r, const struct ebm_target_config *target, uint32_t d)
{
    bool has_lower = target->lower && isfinite(target->lower[d]),
         has_upper = target->upper && isfinite(target->upper[d]);
    if (target->support[d] != EBM_SUPPORT_REAL && (!has_lower || !has_upper))
        return ebm_error_set(r->reterr, EBM_INVALID, has_lower ? "upper" : "lower",
                             "dimension %u is %s: it needs numbers in lower and upper", d,
                             support_words[target->support[d]]);
    if (has_lower != has_upper)
        return ebm_error_set(r->reterr, EBM_INVALID, has_lower ? "upper" : "lower",
                             "number %u is null: lower and upper stand together", d);
    if (has_lower && !(target->lower[d] < target->upper[d]))
        return ebm_error_set(r->reterr, EBM_INVALID, "lower", "number %u is %g, expected less than upper, %g", d,
                             target->lower[d], target->upper[d]);
    if (has_lower && !isfinite(target->upper[d] - target->lower[d]))
        return ebm_error_set(r->reterr, EBM_INVALID, "lower", "numbers %u of lower and upper are too far apart", d);
    return EBM_OK;
}

/* Those of the defaults, which are finite. */
static enum ebm_status default_bounds(const struct ebm_reader *r, const struct ebm_config_defaults *defaults,
                                      struct ebm_target_config *target)
{
    target->lower = calloc(target->dim, sizeof *target->lower);
    target->upper = calloc(target->dim, sizeof *target->upper);
    if (!target->lower || !target->upper)
        return ebm_reader_no_memory(r);
    memcpy(target->lower, defaults->target_lower, target->dim * sizeof *target->lower);
    memcpy(target->upper, defaults->target_upper, target->dim * sizeof *target->upper);
    return EBM_OK;
}

static bool takes_default_bounds(const json_t *object, const struct ebm_config_defaults *defaults,
                                 const struct ebm_target_config *target)
{
    bool is_real = defaults->target_lower && defaults->target_upper && !json_object_get(object, "lower") &&
                   !json_object_get(object, "upper");
    for (uint32_t d = 0; is_real && d < target->dim; d++)
        is_real = target->support[d] == EBM_SUPPORT_REAL;
    return is_real;
}

static enum ebm_status read_bounds(const struct ebm_reader *r, const json_t *object,
                                   const struct ebm_config_defaults *defaults, struct ebm_target_config *target)
{
    if (takes_default_bounds(object, defaults, target))
        return default_bounds(r, defaults, target);
    enum ebm_status status = read_ends(r, object, "lower", target->dim, -INFINITY, &target->lower);
    if (status == EBM_OK)
        status = read_ends(r, object, "upper", target->dim, INFINITY, &target->upper);
    if (status == EBM_OK && !target->lower != !target->upper)
        return ebm_error_set(r->reterr, EBM_INVALID, target->lower ? "upper" : "lower",
                             "is missing: lower and upper stand together");
    for (uint32_t d = 0; status == EBM_OK && d < target->dim; d++)
        status = check_bounds(r, target, d);
    return status;
}

/* Statistics of angles depend on where the circle is cut: a periodic dimension whose statistics the data would give
 * gets the middle of its period and the standard deviation of a uniform angle instead. */
static enum ebm_status read_target_statistics(const struct ebm_reader *r, const json_t *object,
                                              const struct ebm_config_defaults *defaults,
                                              struct ebm_target_config *target)
{
    double means[LIMIT_TARGET_DIM], stds[LIMIT_TARGET_DIM];
    bool measured = defaults->target_mean && defaults->target_std;
    for (uint32_t d = 0; measured && d < target->dim; d++) {
        bool is_periodic = target->support[d] == EBM_SUPPORT_PERIODIC;
        means[d] = is_periodic ? 0.5 * target->lower[d] + 0.5 * target->upper[d] : defaults->target_mean[d];
        stds[d] = is_periodic ? (target->upper[d] - target->lower[d]) / sqrt(12.0) : defaults->target_std[d];
    }
    return ebm_reader_statistics(r, object, target->dim, measured ? means : NULL, measured ? stds : NULL, &target->mean,
                                 &target->std);
}

/* The support as devices read it: standardised, infinite where none is stated. */
static enum ebm_status settle_support(const struct ebm_reader *r, const struct ebm_target_config *target)
{
    struct ebm_support *support = calloc(target->dim, sizeof *support);
    if (!support)
        return ebm_reader_no_memory(r);
    r->config->net.support = r->config->support = support;
    for (uint32_t d = 0; d < target->dim; d++) {
        support[d] = (struct ebm_support){target->support[d], -INFINITY, INFINITY};
        if (!target->lower || !isfinite(target->lower[d]))
            continue;
        support[d].lower = (target->lower[d] - target->mean[d]) / target->std[d];
        support[d].upper = (target->upper[d] - target->mean[d]) / target->std[d];
        if (!((float)support[d].lower < (float)support[d].upper) || !isfinite((float)support[d].lower) ||
            !isfinite((float)support[d].upper))
            return ebm_error_set(r->reterr, EBM_INVALID, "lower",
                                 "in units of mean and std number %u is %.9g and upper %.9g: as floats these cannot be "
                                 "told apart, or are no numbers. Other mean and std may help",
                                 d, support[d].lower, support[d].upper);
    }
    return EBM_OK;
}

static enum ebm_status read_target(const struct ebm_reader *r, json_t *object)
{
    static const char *const keys[] = {"dim", "names", "mean", "std", "support", "lower", "upper", NULL};
    const struct ebm_config_defaults none = {0}, *defaults = r->defaults ? r->defaults : &none;
    struct ebm_target_config *target = &r->config->target;
    enum ebm_status status = ebm_reader_keys(r, object, keys);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "dim", 1, LIMIT_TARGET_DIM, &target->dim);
    if (status == EBM_OK)
        status = ebm_reader_settle(r, "dim", defaults->D, &target->dim);
    if (status == EBM_OK)
        status = read_support(r, object, target);
    if (status == EBM_OK)
        status = ebm_reader_names(r, object, target->dim, defaults->target_names, &target->names);
    if (status == EBM_OK)
        status = read_bounds(r, object, defaults, target);
    if (status == EBM_OK)
        status = read_target_statistics(r, object, defaults, target);
    if (status == EBM_OK)
        status = settle_support(r, target);
    r->config->net.D = target->dim;
    return status;
}

static enum ebm_status read_energy(const struct ebm_reader *r, const json_t *root)
{
    struct ebm_net_desc *net = &r->config->net;
    enum ebm_status status = ebm_read_net(r, root, "feature_net", EBM_NET_FEATURE);
    if (status == EBM_OK)
        status = ebm_read_net(r, root, "target_net", EBM_NET_TARGET);
    if (status == EBM_OK)
        status = ebm_read_net(r, root, "energy_net", EBM_NET_ENERGY);
    if (status != EBM_OK)
        return status;
    net->has_energy = net->energy.n_layers > 0;
    if (!net->has_energy && json_object_get(root, "energy_net"))
        return ebm_error_set(r->reterr, EBM_INVALID, "energy_net", "needs at least one layer");
    if (!net->has_energy && json_object_get(root, "target_net"))
        return ebm_error_set(r->reterr, EBM_INVALID, "target_net", "there is no energy_net to read it");
    return EBM_OK;
}

static enum ebm_status read_proposal_kind(const struct ebm_reader *r, const json_t *object)
{
    const char *kind = NULL;
    enum ebm_status status = ebm_reader_word(r, object, "kind", &kind);
    if (status != EBM_OK)
        return status;
    if (!kind)
        return ebm_reader_missing(r, "kind");
    if (strcmp(kind, "gaussian_mixture") != 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "kind", "\"%.32s\", expected \"gaussian_mixture\"", kind);
    return EBM_OK;
}

static enum ebm_status read_proposal_nets(const struct ebm_reader *r, const json_t *object)
{
    static const struct {
        const char *key;
        enum ebm_net_index index;
    } nets[] = {{"mean_net", EBM_NET_MEAN}, {"log_variance_net", EBM_NET_LOG_VARIANCE}, {"weight_net", EBM_NET_WEIGHT}};
    for (size_t i = 0; i < EBM_COUNT_OF(nets); i++) {
        enum ebm_status status = ebm_read_net(r, object, nets[i].key, nets[i].index);
        if (status != EBM_OK)
            return status;
        if (ebm_net_of(&r->config->net, nets[i].index)->n_layers == 0)
            return ebm_error_set(r->reterr, EBM_INVALID, nets[i].key, "needs at least one layer");
    }
    return EBM_OK;
}

static enum ebm_status read_proposal(const struct ebm_reader *r, json_t *object)
{
    static const char *const keys[] = {"kind",       "components",      "mean_net", "log_variance_net",
                                       "weight_net", "trains_features", NULL};
    struct ebm_net_desc *net = &r->config->net;
    enum ebm_status status = ebm_reader_keys(r, object, keys);
    if (status == EBM_OK)
        status = read_proposal_kind(r, object);
    if (status == EBM_OK)
        status = ebm_reader_unsigned(r, object, "components", 1, LIMIT_COMPONENTS, &net->K);
    if (status == EBM_OK && net->K == 0)
        status = ebm_reader_missing(r, "components");
    if (status == EBM_OK)
        status = ebm_reader_bool(r, object, "trains_features", &net->trains_features);
    if (status == EBM_OK)
        status = read_proposal_nets(r, object);
    return status;
}

/* ---- what is only recorded ---- */

/* Recursion is as deep as jansson let the text be (2048). Failed appends stay in the buffer. */
static void print_json(struct ebm_buf *buf, const json_t *json)
{
    size_t i;
    json_t *value;
    const char *key;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        (void)ebm_buf_text(buf, "{");
        i = 0;
        json_object_foreach ((json_t *)json, key, value) {
            (void)ebm_buf_text(buf, i++ ? ", " : "");
            (void)ebm_buf_json_text(buf, key);
            (void)ebm_buf_text(buf, ": ");
            print_json(buf, value);
        }
        (void)ebm_buf_text(buf, "}");
        return;
    case JSON_ARRAY:
        (void)ebm_buf_text(buf, "[");
        json_array_foreach (json, i, value) {
            (void)ebm_buf_text(buf, i ? ", " : "");
            print_json(buf, value);
        }
        (void)ebm_buf_text(buf, "]");
        return;
    case JSON_STRING:
        (void)ebm_buf_json_text(buf, json_string_value(json));
        return;
    case JSON_INTEGER:
        (void)ebm_buf_printf(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        return;
    case JSON_REAL:
        (void)ebm_buf_json_number(buf, json_real_value(json));
        return;
    case JSON_TRUE:
        (void)ebm_buf_text(buf, "true");
        return;
    case JSON_FALSE:
        (void)ebm_buf_text(buf, "false");
        return;
    case JSON_NULL:
        (void)ebm_buf_text(buf, "null");
        return;
    }
}

/* Replaces *text by the text of `json`, an object. */
static enum ebm_status record_object(const char *key, const json_t *json, char **text, struct ebm_error *reterr)
{
    if (!json_is_object(json))
        return ebm_error_set(reterr, EBM_INVALID, key, "expected an object, got %s", ebm_reader_type(json));
    EBM_AUTO(buf_donep) struct ebm_buf buf;
    ebm_buf_init(&buf, LIMIT_CONFIG_BYTES);
    print_json(&buf, json);
    if (buf.status != EBM_OK)
        return ebm_error_set(reterr, buf.status, key, "%s (at most %u bytes)", ebm_status_text(buf.status),
                             LIMIT_CONFIG_BYTES);
    free(*text);
    *text = EBM_TAKE_PTR(buf.bytes);
    return EBM_OK;
}

static enum ebm_status read_recorded(const struct ebm_reader *r, const json_t *root, const char *key, char **text)
{
    const json_t *json = json_object_get(root, key);
    return json ? record_object(key, json, text, r->reterr) : EBM_OK;
}

/* ---- the whole ---- */

static enum ebm_status read_version(const struct ebm_reader *r, const json_t *root)
{
    const json_t *version = json_object_get(root, "format_version");
    if (!version)
        return r->defaults ? EBM_OK : ebm_reader_missing(r, "format_version");
    if (!json_is_integer(version))
        return ebm_reader_wrong_type(r, "format_version", "the integer 1", version);
    if (json_integer_value(version) != 1)
        return ebm_error_set(r->reterr, EBM_INVALID, "format_version",
                             "%" JSON_INTEGER_FORMAT " is not available in this version, expected 1",
                             json_integer_value(version));
    return EBM_OK;
}

static enum ebm_status read_about(const struct ebm_reader *r, const json_t *root)
{
    const char *name = r->defaults ? r->defaults->name : NULL, *description = NULL;
    enum ebm_status status = ebm_reader_word(r, root, "name", &name);
    if (status == EBM_OK)
        status = ebm_reader_word(r, root, "description", &description);
    if (status != EBM_OK)
        return status;
    if (!name)
        return ebm_reader_missing(r, "name");
    if ((status = ebm_reader_name(r, "name", name)) != EBM_OK)
        return status;
    if ((status = ebm_reader_copy(r, name, &r->config->name)) != EBM_OK)
        return status;
    return description ? ebm_reader_copy(r, description, &r->config->description) : EBM_OK;
}

static enum ebm_status read_members(const struct ebm_reader *r, const json_t *root)
{
    const json_t *members = json_object_get(root, "members");
    r->config->net.members = 1;
    if (!members)
        return EBM_OK;
    if (!json_is_integer(members) || json_integer_value(members) < 1 || json_integer_value(members) > LIMIT_MEMBERS)
        return ebm_error_set(r->reterr, EBM_INVALID, "members",
                             "expected a whole number from 1 to %u: how many networks of an ensemble", LIMIT_MEMBERS);
    r->config->net.members = (uint32_t)json_integer_value(members);
    return EBM_OK;
}

/* A section that is an object; absent it is an empty one where defaults may fill it. */
static enum ebm_status read_section(const struct ebm_reader *r, json_t *root, const char *key, json_t *empty,
                                    enum ebm_status (*read)(const struct ebm_reader *, json_t *))
{
    json_t *section = json_object_get(root, key);
    if (!section && r->defaults)
        section = empty;
    return section ? ebm_reader_within(r, key, read(r, section)) : ebm_reader_missing(r, key);
}

static enum ebm_status read_root(const struct ebm_reader *r, json_t *root, json_t *empty)
{
    static const char *const keys[] = {"format_version", "name",        "description", "input",      "target",
                                       "members",        "feature_net", "target_net",  "energy_net", "proposal",
                                       "training",       "extensions",  NULL};
    enum ebm_status status = ebm_reader_keys(r, root, keys);
    if (status == EBM_OK)
        status = read_version(r, root);
    if (status == EBM_OK)
        status = read_about(r, root);
    if (status == EBM_OK)
        status = read_section(r, root, "input", empty, ebm_read_input);
    if (status == EBM_OK)
        status = read_section(r, root, "target", empty, read_target);
    if (status == EBM_OK)
        status = read_members(r, root);
    if (status == EBM_OK)
        status = read_energy(r, root);
    json_t *proposal = json_object_get(root, "proposal");
    if (status == EBM_OK && proposal)
        status = ebm_reader_within(r, "proposal", read_proposal(r, proposal));
    if (status == EBM_OK && !proposal && !r->config->net.has_energy)
        status = ebm_error_set(r->reterr, EBM_INVALID, "energy_net", "a model needs energy_net, proposal or both");
    if (status == EBM_OK)
        status = read_recorded(r, root, "training", &r->config->training);
    if (status == EBM_OK)
        status = read_recorded(r, root, "extensions", &r->config->extensions);
    return status == EBM_OK ? ebm_config_connect(r->config, r->defaults != NULL, r->reterr) : status;
}

/* New: json_decref. */
static enum ebm_status load_json(const char *text, size_t length, json_t **ret_json, struct ebm_error *reterr)
{
    if (length > LIMIT_CONFIG_BYTES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "", "%zu bytes of JSON, the limit is %u", length,
                             LIMIT_CONFIG_BYTES);
    json_error_t error;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!json && error.text[0] == 0) /* jansson finds no words only when it finds no memory */
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no memory for %zu bytes of JSON", length);
    if (!json)
        return ebm_error_set(reterr, EBM_INVALID, "", "line %d, column %d: %s", error.line, error.column, error.text);
    *ret_json = json;
    return EBM_OK;
}

enum ebm_status ebm_config_parse(const char *text, size_t length, const struct ebm_config_defaults *defaults,
                                 struct ebm_config **ret_config, struct ebm_error *reterr)
{
    EBM_AUTO(json_decrefp) json_t *root = NULL;
    enum ebm_status status = load_json(text, length, &root, reterr);
    if (status != EBM_OK)
        return status;
    EBM_AUTO(json_decrefp) json_t *empty = json_object();
    EBM_AUTO(ebm_config_freep) struct ebm_config *config = calloc(1, sizeof *config);
    struct ebm_reader reader = {.defaults = defaults, .config = config, .reterr = reterr};
    if (!config || !empty)
        return ebm_reader_no_memory(&reader);
    if ((status = read_root(&reader, root, empty)) != EBM_OK)
        return status;
    *ret_config = EBM_TAKE_PTR(config);
    return EBM_OK;
}

enum ebm_status ebm_config_set_training(struct ebm_config *config, const char *json, struct ebm_error *reterr)
{
    EBM_AUTO(json_decrefp) json_t *object = NULL;
    enum ebm_status status = load_json(json, strlen(json), &object, reterr);
    if (status != EBM_OK)
        return reterr ? ebm_error_prefix(reterr, "training") : status;
    return record_object("training", object, &config->training, reterr);
}

static void free_names(char **names, uint32_t n)
{
    for (uint32_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
}

struct ebm_config *ebm_config_free(struct ebm_config *config)
{
    if (!config)
        return NULL;
    free(config->name);
    free(config->description);
    free_names(config->input.names, config->input.size);
    free(config->input.mean);
    free(config->input.std);
    free(config->input.channel_mean);
    free(config->input.channel_std);
    free_names(config->target.names, config->target.dim);
    free(config->target.mean);
    free(config->target.std);
    free(config->target.support);
    free(config->target.lower);
    free(config->target.upper);
    free(config->training);
    free(config->extensions);
    for (int i = 0; i < EBM_NETS; i++)
        free(config->layers[i]);
    free(config->image_layers);
    free(config->image_ops);
    free(config->image_names);
    free(config->params);
    free(config->support);
    free(config);
    return NULL;
}

void ebm_config_freep(struct ebm_config **config)
{
    *config = ebm_config_free(*config);
}

bool ebm_name_is_valid(const char *name)
{
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return length >= 1 && length <= LIMIT_NAME_BYTES && name[length] == 0 && name[0] != '.';
}

uint64_t ebm_model_version_of(const char *name)
{
    size_t length = strlen(name);
    bool is_number = length > 0 && length <= EBM_MODEL_VERSION_DIGITS && name[0] != '0' &&
                     strspn(name, "0123456789") == length;
    return is_number ? strtoull(name, NULL, 10) : 0;
}
