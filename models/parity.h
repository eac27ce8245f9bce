/* parity.h - does this program compute what the one that wrote the file computed? Private to models.
 *
 *   parity.x      (n, X)              inputs, standardised
 *   parity.y      (n, D) or (n, m, D) targets, standardised
 *   parity.f      (n) or (n, m)       f(x, y); without an energy net log q
 *   parity.log_q  (n) or (n, m)       the proposal's log density, standardised
 *
 * All F32. f and log_q may each be absent; x and y stand together. Other names under parity. are not looked at. They
 * belong to single models: an ensemble with them is refused. */
#ifndef EBM_MODELS_PARITY_H
#define EBM_MODELS_PARITY_H

#include "core/device.h"
#include "core/safetensors.h"

/* The values of one file. Immutable: any thread. */
struct ebm_parity;

/* Leaves *ret_parity as it is when no parity tensor stands. DAMAGED, TOO_LARGE: a shape that is none of the above.
 * New: ebm_parity_free. */
enum ebm_status ebm_parity_read(const struct ebm_safetensors *file, const struct ebm_net_desc *net,
                                struct ebm_parity **ret_parity, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_parity *ebm_parity_free(struct ebm_parity *parity); /* NULL is fine; returns NULL */

/* What the reference device computes of x (rows, X) and y (rows, D), 1 to LIMIT_PARITY_ROWS rows. INVALID: an ensemble.
 * DAMAGED: not finite. New: ebm_parity_free. */
enum ebm_status ebm_parity_compute(const struct ebm_net_desc *net, const float *params, const float *x, const float *y,
                                   uint32_t rows, struct ebm_parity **ret_parity, struct ebm_error *reterr)
    EBM_MUST_USE;

#define EBM_PARITY_TENSORS 4u
/* The values as tensors of a file, which borrow from `parity`; returns how many there are. */
size_t ebm_parity_tensors(const struct ebm_parity *parity, struct ebm_tensor ret_tensors[EBM_PARITY_TENSORS]);

/* OK when `ctx`, of `ops`, which takes max_samples targets and is prepared for `plan`, computes all values to 1e-4, and
 * the slack of ops, of the largest magnitude of their tensor; else DAMAGED, or the device's failure. The ctx's thread.
 */
enum ebm_status ebm_parity_check(const struct ebm_parity *parity, const struct ebm_device_ops *ops, struct ebm_ctx *ctx,
                                 const struct ebm_plan *plan, uint32_t max_samples, struct ebm_error *reterr)
    EBM_MUST_USE;
/* The same on the reference device, with the parameters of the file. */
enum ebm_status ebm_parity_check_reference(const struct ebm_parity *parity, const struct ebm_net_desc *net,
                                           const float *params, struct ebm_error *reterr) EBM_MUST_USE;

#endif
