/* tiny_model.h - the smallest model there is, in a repository of a test: y ~ a mixture of one Gaussian over one number.
 */
#ifndef EBM_TESTS_TINY_MODEL_H
#define EBM_TESTS_TINY_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "models/model.h"

/* Writes ROOT/NAME/VERSION/model.safetensors over what there is, renamed into place. False: says why on stderr. */
static inline bool tiny_publish(const char *root, const char *name, const char *version, double mean)
{
    char text[1024], path[512];
    (void)snprintf(text, sizeof text,
                   "{\"format_version\":1,\"name\":\"tiny\",\"input\":{\"kind\":\"vector\",\"shape\":[1]},"
                   "\"target\":{\"dim\":1,\"mean\":[%g],\"std\":[1]},\"proposal\":{\"kind\":\"gaussian_mixture\","
                   "\"components\":1,\"mean_net\":[{\"type\":\"linear\",\"in\":1,\"out\":1}],"
                   "\"log_variance_net\":[{\"type\":\"linear\",\"in\":1,\"out\":1}],"
                   "\"weight_net\":[{\"type\":\"linear\",\"in\":1,\"out\":1}]}}",
                   mean);
    struct ebm_config *config = NULL;
    struct ebm_model *model = NULL;
    struct ebm_error error = {.status = EBM_OK};
    float params[6 * 16] = {0}; /* six numbers, each at a multiple of 16 floats */
    enum ebm_status status = ebm_config_parse(text, strlen(text), NULL, &config, &error);
    if (status == EBM_OK && config->net.n_params <= EBM_COUNT_OF(params))
        status = ebm_model_new(config, params, &model, &error);
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/%s/%s", root, name, version);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/%s/%s/model.safetensors", root, name, version);
    if (status == EBM_OK)
        status = ebm_model_save(model, path, &error);
    if (status != EBM_OK)
        (void)fprintf(stderr, "%s: %s: %s\n", path, error.where, error.text);
    (void)ebm_model_unref(model);
    return status == EBM_OK;
}

#endif
