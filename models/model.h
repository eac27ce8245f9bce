/* model.h - a trained model in memory: its description and its parameters, immutable and counted.
 *
 * Any thread. Nothing here knows a device: ebm_device_ops.plan_new takes ebm_model_net and ebm_model_params. */
#ifndef EBM_MODELS_MODEL_H
#define EBM_MODELS_MODEL_H

#include "models/config.h"

struct ebm_model;
struct ebm_parity;
struct ebm_safetensors;

/* Reads and verifies a model file: format, configuration, every tensor present, of the right shape, finite; no tensor
 * that the configuration does not know (except parity.*). F16, BF16 and F64 become F32. When
 * parity.x and parity.y stand, parity.f and parity.log_q are recomputed on the reference device (models/parity.h), and
 * kept for ebm_engine_check.
 * New: unref. */
enum ebm_status ebm_model_load(const char *path, uint64_t max_bytes, struct ebm_model **ret_model,
                               struct ebm_error *reterr) EBM_MUST_USE;

/* A model from parts. Takes config on EBM_OK; copies params (of all members). New: unref. */
enum ebm_status ebm_model_new(struct ebm_config *config, const float *params, struct ebm_model **ret_model,
                              struct ebm_error *reterr) EBM_MUST_USE;

/* Gives a new model, which the caller alone has yet and which has none, the parity values that stand in `file`: read,
 * recomputed and refused as by ebm_model_load. */
enum ebm_status ebm_model_read_parity(struct ebm_model *model, const struct ebm_safetensors *file,
                                      struct ebm_error *reterr) EBM_MUST_USE;
/* The same with what the reference device computes for inputs x (rows, X), each with its target y (rows, D),
 * standardised, 1 to LIMIT_PARITY_ROWS rows: f where there is an energy net, log q where there is a proposal. INVALID:
 * an ensemble; DAMAGED: a result is not finite. */
enum ebm_status ebm_model_compute_parity(struct ebm_model *model, const float *x, const float *y, uint32_t rows,
                                         struct ebm_error *reterr) EBM_MUST_USE;

/* Writes the file atomically, parity values too; loading it gives the same bytes of parameters back. */
enum ebm_status ebm_model_save(const struct ebm_model *model, const char *path, struct ebm_error *reterr) EBM_MUST_USE;

struct ebm_model *ebm_model_ref(struct ebm_model *model);
struct ebm_model *ebm_model_unref(struct ebm_model *model); /* NULL is fine; returns NULL */
void ebm_model_unrefp(struct ebm_model **model);

/* Borrow: valid while the model lives. */
const struct ebm_config *ebm_model_config(const struct ebm_model *model);
const struct ebm_net_desc *ebm_model_net(const struct ebm_model *model);
const float *ebm_model_params(const struct ebm_model *model);
const struct ebm_parity *
ebm_model_parity(const struct ebm_model *model); /* NULL: its file had none, or it has no file */

#endif
