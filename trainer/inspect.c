/* inspect.c - a model's description as tables: file, columns, layers, parts, how it was trained.
 *
 * The file is loaded as a server would load it, so what is shown is also known to be whole. Names come from a file that
 * anyone may have written: bytes that could steer a terminal are shown as '?'. */
#include "trainer/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/safetensors.h"
#include "models/estimate.h"
#include "trainer/model_file.h"
#include "trainer/options.h"

#define TOLD_COLUMNS 24u /* inputs that are listed */
#define NAME_BYTES 129u
#define TEXT_BYTES (4u << 20)

/* ---- columns ---- */

/* `text` without control characters, cut to `space`. */
static const char *plain(const char *text, char *space, size_t bytes)
{
    (void)snprintf(space, bytes, "%s", text);
    for (char *at = space; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    return space;
}

static void put_columns(struct ebm_buf *buf, const char *word, char *const *names, const double *mean,
                        const double *std, uint32_t n)
{
    char space[NAME_BYTES];
    (void)ebm_buf_printf(buf, "\n%-8s  %4s  %-28s  %12s  %12s\n", word, "", "name", "mean", "std");
    for (uint32_t i = 0; i < n && i < TOLD_COLUMNS; i++)
        (void)ebm_buf_printf(buf, "%-8s  %4u  %-28s  %12.6g  %12.6g\n", "", i,
                             names != NULL ? plain(names[i], space, sizeof space) : "(no name)", mean[i], std[i]);
    if (n > TOLD_COLUMNS)
        (void)ebm_buf_printf(buf, "%-8s  ... %u in all\n", "", n);
}

static void put_image(struct ebm_buf *buf, const struct ebm_input_config *input)
{
    const struct ebm_shape *shape = &input->shape;
    (void)ebm_buf_printf(buf, "\n%-8s  %-34s  %12s  %12s\n", "images", "channels x height x width", "mean", "std");
    (void)ebm_buf_printf(buf, "%-8s  %ux%ux%u, values times %.6g\n", "", shape->channels, shape->height, shape->width,
                         input->scale);
    for (uint32_t c = 0; c < shape->channels; c++)
        (void)ebm_buf_printf(buf, "%-8s  channel %-26u  %12.6g  %12.6g\n", "", c, input->channel_mean[c],
                             input->channel_std[c]);
}

/* ---- layers ---- */

static uint64_t layer_parameters(const struct ebm_layer *layer)
{
    return ((uint64_t)layer->in + 1) * layer->out;
}

/* `first`: number of the net's first layer in the file. */
static uint64_t put_net(struct ebm_buf *buf, const char *word, const struct ebm_net *net, uint32_t first)
{
    static const char *const activations[] = {
#define X(name, text) text,
        EBM_ACTIVATION_MAP(X)
#undef X
    };
    uint64_t total = 0;
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        char name[64], shape[32];
        (void)snprintf(name, sizeof name, "%s.%u", word, first + i);
        (void)snprintf(shape, sizeof shape, "%u -> %u", layer->in, layer->out);
        (void)ebm_buf_printf(buf, "%-8s  %-30s  %16s  %-9s%-10s  %12" PRIu64 "\n", "", name, shape,
                             activations[layer->activation], layer->residual ? "residual" : "",
                             layer_parameters(layer));
        total += layer_parameters(layer);
    }
    return total;
}

/* One operation a line: convolutions, pools, with what belongs to them. */
static uint64_t put_trunk(struct ebm_buf *buf, const struct ebm_trunk *trunk)
{
    static const char *const kinds[] = {[EBM_IMAGE_CONV] = "convolution",
                                        [EBM_IMAGE_MAX_POOL] = "max pool",
                                        [EBM_IMAGE_MEAN] = "mean over the image",
                                        [EBM_IMAGE_PASS] = "as it is"};
    uint64_t total = 0;
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        const struct ebm_image_op *op = &trunk->ops[i];
        bool is_conv = op->kind == EBM_IMAGE_CONV, has_bias = is_conv && op->bias != EBM_NO_TENSOR;
        uint64_t C = op->to.channels, window = (uint64_t)op->from.channels * op->kernel * op->kernel;
        uint64_t parameters = C * ((is_conv ? window : 0) + (has_bias ? 1 : 0) + (op->has_norm ? 2 : 0));
        char name[64], shape[48];
        (void)snprintf(name, sizeof name, "%s", kinds[op->kind]);
        if (op->kernel > 0)
            (void)snprintf(name, sizeof name, "%s %ux%u/%u", kinds[op->kind], op->kernel, op->kernel, op->stride);
        (void)snprintf(shape, sizeof shape, "-> %ux%ux%u", op->to.channels, op->to.height, op->to.width);
        (void)ebm_buf_printf(buf, "%-8s  %-30s  %16s  %-5s%-4s%-10s  %12" PRIu64 "\n", "", name, shape,
                             op->has_norm ? "norm" : "", op->add != EBM_IMAGE_NONE ? "add" : "",
                             op->has_relu ? "relu" : "", parameters);
        total += parameters;
    }
    return total;
}

static void put_layers(struct ebm_buf *buf, const struct ebm_config *config)
{
    const struct ebm_net_desc *net = &config->net;
    (void)ebm_buf_printf(buf, "\n%-8s  %-30s  %16s  %-19s  %12s\n", "layers", "", "in -> out", "activation",
                         "parameters");
    uint64_t total = put_trunk(buf, &net->trunk);
#define X(name, member, word, part)                                                                                    \
    total += put_net(buf, word, &net->member, EBM_NET_##name == EBM_NET_FEATURE ? config->n_image_layers : 0);
    EBM_NET_MAP(X)
#undef X
    if (net->members > 1)
        (void)ebm_buf_printf(buf, "%-8s  %-69s  %12" PRIu64 "\n", "", "each member", total);
    (void)ebm_buf_printf(buf, "%-8s  %-69s  %12" PRIu64 "\n", "", "in all",
                         total * (net->members > 1 ? net->members : 1));
}

/* The estimators that a request may name; what it gets without a name comes first. */
static void put_estimators(struct ebm_buf *buf, const struct ebm_net_desc *net)
{
    static const enum ebm_estimator all[] = {EBM_ESTIMATE_EXACT, EBM_ESTIMATE_QUADRATURE, EBM_ESTIMATE_IMPORTANCE,
                                             EBM_ESTIMATE_MIXTURE};
    enum ebm_estimator usual = ebm_estimator_auto(net);
    if (!ebm_estimator_applies(net, usual)) {
        (void)ebm_buf_text(buf, "asked by  nothing but /refine: several targets without a proposal have no log Z\n");
        return;
    }
    bool is_blended = net->members > 1 && usual == EBM_ESTIMATE_EXACT;
    (void)ebm_buf_printf(buf, "asked by  %s%s", ebm_estimator_word(usual),
                         is_blended        ? " (default; exact for each member, their mean by quadrature)"
                         : net->has_energy ? " (default)"
                                           : "");
    for (size_t i = 0; i < EBM_COUNT_OF(all); i++)
        if (all[i] != usual && ebm_estimator_applies(net, all[i]))
            (void)ebm_buf_printf(buf, ", %s", ebm_estimator_word(all[i]));
    (void)ebm_buf_text(buf, "\n");
}

static void put_kind(struct ebm_buf *buf, const struct ebm_net_desc *net)
{
    (void)ebm_buf_text(buf, "kind      ");
    if (net->members > 1)
        (void)ebm_buf_printf(buf, "ensemble of %u members, each: ", net->members);
    if (net->has_energy)
        (void)ebm_buf_text(buf, "energy-based model");
    if (net->K > 0)
        (void)ebm_buf_printf(buf, "%s of %u Gaussians",
                             net->has_energy ? ", its proposal a mixture" : "mixture density network", net->K);
    (void)ebm_buf_text(buf, "\n");
    put_estimators(buf, net);
}

/* ---- the whole ---- */

static void put_training(struct ebm_buf *buf, const struct ebm_config *config)
{
    EBM_AUTO(ebm_freep) char *text = NULL;
    if (config->training == NULL)
        (void)ebm_buf_text(buf, "\ntraining  nothing is recorded\n");
    else if (options_pretty(config->training, &text, NULL) == EBM_OK)
        (void)ebm_buf_printf(buf, "\ntraining  %s", text);
}

void inspect_text(const struct ebm_config *config, struct ebm_buf *buf)
{
    char space[512];
    (void)ebm_buf_printf(buf, "model     %s\n", plain(config->name, space, sizeof space));
    if (config->description != NULL)
        (void)ebm_buf_printf(buf, "about     %s\n", plain(config->description, space, sizeof space));
    put_kind(buf, &config->net);
    if (config->input.is_image)
        put_image(buf, &config->input);
    else
        put_columns(buf, "inputs", config->input.names, config->input.mean, config->input.std, config->input.size);
    put_columns(buf, "targets", config->target.names, config->target.mean, config->target.std, config->target.dim);
    (void)ebm_buf_printf(buf, "%-8s  the networks see (value - mean) / std\n", "");
    put_layers(buf, config);
    put_training(buf, config);
}

/* The types in which a file keeps its parameters; in memory all are F32. */
static enum ebm_status put_types(struct ebm_buf *buf, const char *path, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_safetensors_freep) struct ebm_safetensors *file = NULL;
    uint32_t told = 0;
    enum ebm_status status = ebm_safetensors_open(path, LIMIT_FILE_BYTES, &file, reterr);
    if (status != EBM_OK)
        return status;
    for (size_t i = 0; i < ebm_safetensors_count(file); i++) {
        enum ebm_dtype dtype = ebm_safetensors_at(file, i)->dtype;
        if ((told & 1u << dtype) == 0)
            (void)ebm_buf_printf(buf, ", %s", ebm_dtype_name(dtype));
        told |= 1u << dtype;
    }
    return EBM_OK;
}

enum ebm_status inspect_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *model = NULL;
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    const char *path = args->positional[0];
    struct stat info;
    ebm_buf_init(&buf, TEXT_BYTES);
    enum ebm_status status = model_file_load(path, &model, reterr);
    if (status != EBM_OK)
        return status;
    (void)ebm_buf_printf(&buf, "file      %s", path);
    if (stat(path, &info) == 0)
        (void)ebm_buf_printf(&buf, ", %lld bytes", (long long)info.st_size);
    status = put_types(&buf, path, reterr);
    if (status != EBM_OK)
        return status;
    (void)ebm_buf_printf(&buf, "\n");
    inspect_text(ebm_model_config(model), &buf);
    if (buf.status != EBM_OK)
        return ebm_error_set(reterr, buf.status, path, "its description is longer than %u bytes", TEXT_BYTES);
    (void)fputs(buf.bytes, stdout);
    return EBM_OK;
}
