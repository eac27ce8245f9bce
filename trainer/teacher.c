/* teacher.c - the teacher's description is read as a model's of its own, with the mixture's input and target; the
 * mixture's layers are copied, and their places moved behind the teacher's. */
#include "trainer/teacher.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"

void teacher_done(struct teacher *teacher)
{
    (void)ebm_config_free(teacher->config);
    free(teacher->mixture_layers);
    *teacher = (struct teacher){.config = NULL};
}

/* The teacher as a model: `nets` with the brace opened for the rest. */
static enum ebm_status parse_teacher(const struct ebm_config *mixture, const char *nets, struct ebm_config **ret_config,
                                     struct ebm_error *reterr)
{
    const struct ebm_config_defaults defaults = {.name = "teacher", .X = mixture->net.X, .D = mixture->net.D};
    const char *inner = strchr(nets, '{');
    EBM_AUTO(ebm_buf_done) struct ebm_buf text;
    ebm_buf_init(&text, LIMIT_CONFIG_BYTES);
    EBM_ASSERT(inner != NULL);
    bool is_empty = strspn(inner + 1, " \n\t\r") == strcspn(inner + 1, "}");
    (void)ebm_buf_printf(&text, "{\"input\":{\"kind\":\"vector\"},\"target\":{}%s", is_empty ? "" : ",");
    (void)ebm_buf_text(&text, inner + 1);
    if (text.status != EBM_OK)
        return ebm_error_set(reterr, text.status, "training.parameters.teacher", "the description is too long");
    enum ebm_status status = ebm_config_parse(text.bytes, strlen(text.bytes), &defaults, ret_config, reterr);
    return status == EBM_OK ? EBM_OK : ebm_error_prefix(reterr, "training.parameters.teacher");
}

static enum ebm_status check_parts(const struct ebm_config *mixture, const struct ebm_config *teacher,
                                   struct ebm_error *reterr)
{
    if (mixture->net.has_energy)
        return ebm_error_set(reterr, EBM_INVALID, "training.method",
                             "mdn_kl_teacher trains a mixture, whose teacher is described under "
                             "training.parameters.teacher: move model.energy_net and model.target_net there, or use "
                             "nce_kl to keep the energy");
    if (mixture->net.trunk.n_ops > 0)
        return ebm_error_set(
            reterr, EBM_INVALID, "training.method",
            "mdn_kl_teacher trains two feature nets at once, which those of images cannot: use nce_kl");
    if (mixture->net.K == 0)
        return ebm_error_set(reterr, EBM_INVALID, "training.method",
                             "mdn_kl_teacher trains a mixture, and model.proposal is missing");
    if (teacher != NULL && !teacher->net.has_energy)
        return ebm_error_set(reterr, EBM_INVALID, "training.parameters.teacher", "its energy_net is missing");
    if (teacher != NULL && teacher->net.K > 0)
        return ebm_error_set(reterr, EBM_INVALID, "training.parameters.teacher.proposal",
                             "a teacher has none: its noise is the mixture");
    return EBM_OK;
}

/* Copies a net's layers to *next, `shift` parameters further. */
static struct ebm_net moved(const struct ebm_net *net, size_t shift, struct ebm_layer **next)
{
    struct ebm_layer *layers = *next;
    for (uint32_t i = 0; i < net->n_layers; i++) {
        layers[i] = net->layers[i];
        layers[i].weight += shift;
        layers[i].bias += shift;
    }
    *next += net->n_layers;
    return (struct ebm_net){.n_layers = net->n_layers, .layers = layers};
}

static void join(struct teacher *t, const struct ebm_net_desc *mixture)
{
    const struct ebm_net_desc *own = &t->config->net;
    struct ebm_layer *next = t->mixture_layers;
    t->mixture = (struct ebm_range){own->n_params, mixture->n_params};
    t->net = *own;
    t->net.K = mixture->K;
    t->net.support = mixture->support;
    t->net.own_H = mixture->H;
    t->net.own = moved(&mixture->feature, own->n_params, &next);
    t->net.mean = moved(&mixture->mean, own->n_params, &next);
    t->net.log_variance = moved(&mixture->log_variance, own->n_params, &next);
    t->net.weight = moved(&mixture->weight, own->n_params, &next);
    t->net.n_params = own->n_params + mixture->n_params;
    t->net.part[EBM_PART_PROPOSAL] = t->mixture;
}

enum ebm_status teacher_make(const struct ebm_config *mixture, const char *nets, struct teacher *ret_teacher,
                             struct ebm_error *reterr)
{
    struct teacher t = {.config = NULL};
    const struct ebm_net_desc *net = &mixture->net;
    enum ebm_status status = check_parts(mixture, NULL, reterr);
    if (status == EBM_OK)
        status = parse_teacher(mixture, nets, &t.config, reterr);
    if (status == EBM_OK)
        status = check_parts(mixture, t.config, reterr);
    if (status == EBM_OK && t.config->net.n_params + net->n_params > LIMIT_PARAMETERS)
        status = ebm_error_set(reterr, EBM_TOO_LARGE, "training.parameters.teacher",
                               "more than %u parameters with the mixture's", LIMIT_PARAMETERS);
    if (status == EBM_OK) {
        size_t n = (size_t)net->feature.n_layers + net->mean.n_layers + net->log_variance.n_layers +
                   net->weight.n_layers;
        t.mixture_layers = calloc(n + 1, sizeof *t.mixture_layers);
        if (t.mixture_layers == NULL)
            status = ebm_error_set(reterr, EBM_NO_MEMORY, "training.parameters.teacher", "no memory");
    }
    if (status != EBM_OK) {
        teacher_done(&t);
        return status;
    }
    join(&t, net);
    *ret_teacher = t;
    return EBM_OK;
}
