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

#include "core/net_desc.h"
#include "core/safetensors.h"

/* OK when no parity tensor stands, or when all values agree to 1e-4 of the largest magnitude of their tensor. DAMAGED
 * when they do not, or have a wrong shape. `params` are those of the file. */
enum ebm_status ebm_parity_check(const struct ebm_safetensors *file, const struct ebm_net_desc *net,
                                 const float *params, struct ebm_error *reterr) EBM_MUST_USE;

#endif
