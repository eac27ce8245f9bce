/* config.h - the architecture of a model: JSON text <-> plain structs (docs/MODEL_FORMAT.md).
 *
 * Unknown keys are errors that name the key (except under `extensions`). */
#ifndef EBM_MODELS_CONFIG_H
#define EBM_MODELS_CONFIG_H

#include "core/net_desc.h"
#include "core/status.h"

/* Users give X numbers: of an image (channels, height, width), in the unit of its bytes or whatever the model was made
 * for. Networks see (v - mean) / std; of an image that is (scale v - channel_mean) / channel_std, already put into mean
 * and std, so that who standardises need not know what an input is. */
struct ebm_input_config {
    bool is_image;
    struct ebm_shape shape;             /* of an image */
    uint32_t size;                      /* X */
    char **names;                       /* (X) or NULL; an image has none */
    double *mean;                       /* (X), 0 by default */
    double *std;                        /* (X), 1 by default, > 0 */
    double scale;                       /* of an image, > 0 */
    double *channel_mean, *channel_std; /* (channels) of an image, else NULL */
};

#define EBM_IMAGE_LAYER_MAP(X)                                                                                         \
    X(RESNET, "resnet")                                                                                                \
    X(CONV2D, "conv2d")                                                                                                \
    X(BATCH_NORM2D, "batch_norm2d")                                                                                    \
    X(RELU, "relu")                                                                                                    \
    X(MAX_POOL2D, "max_pool2d")                                                                                        \
    X(GLOBAL_AVG_POOL, "global_avg_pool")                                                                              \
    X(FLATTEN, "flatten")

enum ebm_image_layer_kind {
#define X(name, word) EBM_IMAGE_LAYER_##name,
    EBM_IMAGE_LAYER_MAP(X)
#undef X
};

/* A layer of the feature net before its linear ones, as the text has it; 0 where the kind has no such field. */
struct ebm_image_layer {
    enum ebm_image_layer_kind kind;
    uint32_t in, out;      /* channels */
    uint32_t depth, width; /* of resnet */
    uint32_t kernel, stride, padding;
    bool has_bias;
};

struct ebm_target_config {
    uint32_t dim;                   /* D */
    char **names;                   /* (D) or NULL */
    double *mean, *std;             /* (D), 0 and 1 by default */
    enum ebm_support_kind *support; /* (D) */
    double *lower, *upper;          /* (D) or NULL, user's units; -inf and inf where a real dimension has none */
};

/* The six nets, in the order of their tensors: enum word, member of struct ebm_net_desc, name, part. */
#define EBM_NET_MAP(X)                                                                                                 \
    X(FEATURE, feature, "feature_net", EBM_PART_FEATURE)                                                               \
    X(TARGET, target, "target_net", EBM_PART_TARGET)                                                                   \
    X(ENERGY, energy, "energy_net", EBM_PART_ENERGY)                                                                   \
    X(MEAN, mean, "proposal.mean_net", EBM_PART_PROPOSAL)                                                              \
    X(LOG_VARIANCE, log_variance, "proposal.log_variance_net", EBM_PART_PROPOSAL)                                      \
    X(WEIGHT, weight, "proposal.weight_net", EBM_PART_PROPOSAL)

enum ebm_net_index {
#define X(name, member, word, part) EBM_NET_##name,
    EBM_NET_MAP(X)
#undef X
        EBM_NETS
};

/* A tensor: where its numbers lie in the parameters of all members, and what it is called in a file. */
struct ebm_param {
    char name[104];         /* "energy_net.0.weight", of an ensemble "member.1.energy_net.0.weight" */
    enum ebm_part part;     /* EBM_PARTS: running statistics, which are not learned */
    uint32_t rows, columns; /* columns 0 for a bias: shape (rows) */
    uint32_t kernel;        /* of a convolution: shape (rows, columns / kernel^2, kernel, kernel); else 0 */
    size_t offset;
};

/* Its shape; returns the number of dimensions. */
uint32_t ebm_param_shape(const struct ebm_param *param, uint64_t ret_shape[4]);
/* Its numbers. */
size_t ebm_param_count(const struct ebm_param *param);

/* What ebm_config_parse made of a text. Owns everything in it. */
struct ebm_image_names;
struct ebm_config {
    char *name;
    char *description; /* NULL: none */
    struct ebm_input_config input;
    struct ebm_target_config target;
    char *training;              /* JSON text of how it came to be; NULL: none */
    char *extensions;            /* JSON text; NULL: none */
    struct ebm_net_desc net;     /* its nets point to `layers`, its support to `support` */
    struct ebm_support *support; /* (D), standardised */
    struct ebm_layer *layers[EBM_NETS];
    struct ebm_image_layer *image_layers; /* (n_image_layers): before the feature net's linear ones */
    uint32_t n_image_layers;
    struct ebm_image_op *image_ops;      /* what they are to a device: net.trunk points there */
    struct ebm_image_names *image_names; /* and what their tensors are called */
    struct ebm_param *params;            /* (n_params): the tensors of all members, in the order of their offsets */
    size_t n_params;
};

/* What a training configuration may leave out and the data fill in. */
struct ebm_config_defaults {
    const char *name;       /* NULL: must stand in the text */
    uint32_t X, D;          /* 0: must stand in the text */
    struct ebm_shape image; /* the data are images of this shape; channels 0: vectors. Then input_mean and input_std are
                             * a channel's, after `scale` */
    double scale;           /* of images, 0: 1 */
    char *const *input_names, *const *target_names;
    const double *input_mean, *input_std, *target_mean, *target_std;
    const double *target_lower, *target_upper; /* (D) of real targets, where the text states none of either */
};

/* Reads `text` (length bytes of JSON). Errors: where = path of the key ("target_net[1].activation"). New: config_free.
 * With defaults (a training configuration) these may be missing: format_version, name, input, input.kind, input.shape,
 * target, target.dim, names and statistics (a shape or dim that stands must agree with the defaults); the `in` of any
 * layer, and the `out` of the last layer of energy_net and of the proposal's nets, which follow from the rest. */
enum ebm_status ebm_config_parse(const char *text, size_t length, const struct ebm_config_defaults *defaults,
                                 struct ebm_config **ret_config, struct ebm_error *reterr) EBM_MUST_USE;

/* "bounded". Borrow: static. */
const char *ebm_support_word(enum ebm_support_kind kind);

/* JSON text, keys in the order of the documentation; numbers so that they read back the same. TOO_LARGE when it would
 * be longer than ebm_config_parse reads. New: free(). */
enum ebm_status ebm_config_text(const struct ebm_config *config, char **ret_text, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Replaces config->training by the object that `json` holds; INVALID when it holds none, and then nothing changed. */
enum ebm_status ebm_config_set_training(struct ebm_config *config, const char *json, struct ebm_error *reterr)
    EBM_MUST_USE;

struct ebm_config *ebm_config_free(struct ebm_config *config); /* NULL is fine; returns NULL */
void ebm_config_freep(struct ebm_config **config);

/* The tensors. Borrow: valid while config lives. */
size_t ebm_config_params(const struct ebm_config *config, const struct ebm_param **ret_params);

/* Numbers that are learned, of all members: their parameters without the gaps between tensors. */
uint64_t ebm_config_learned(const struct ebm_config *config);

/* Is this a name that a repository may use? [A-Za-z0-9._-]{1,128}, no leading dot. */
bool ebm_name_is_valid(const char *name);

#define EBM_MODEL_VERSION_DIGITS 15u /* of the longest number of a version */
/* A folder's name as a version number, in digits as we write them; 0 when it is none. */
uint64_t ebm_model_version_of(const char *name);

#endif
