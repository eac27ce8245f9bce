/* trunk_layout.c - where values and gradients of a trunk lie, found out operation by operation, before any memory is
 * taken; and norms as factors. */
#include "core/trunk.h"

#include <math.h>
#include <stdlib.h>

void ebm_trunk_last_reads(const struct ebm_trunk *trunk, uint32_t *ret_last)
{
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        ret_last[i + 1] = i;
        ret_last[trunk->ops[i].in] = i;
        if (trunk->ops[i].add != EBM_IMAGE_NONE)
            ret_last[trunk->ops[i].add] = i;
    }
    ret_last[trunk->n_ops] = EBM_IMAGE_NONE;
}

void ebm_trunk_first_words(const struct ebm_trunk *trunk, uint32_t i, bool *ret_in, bool *ret_add)
{
    const struct ebm_image_op *own = &trunk->ops[i];
    *ret_add = own->add != EBM_IMAGE_NONE;
    *ret_in = own->in != own->add;
    for (const struct ebm_image_op *op = own + 1; op < trunk->ops + trunk->n_ops; op++) {
        *ret_in = *ret_in && op->in != own->in && op->add != own->in;
        *ret_add = *ret_add && op->in != own->add && op->add != own->add;
    }
}

static uint32_t take_slot(bool *taken, uint32_t *n)
{
    uint32_t slot = 0;
    while (taken[slot])
        slot++;
    taken[slot] = true;
    *n = slot + 1 > *n ? slot + 1 : *n;
    return slot;
}

enum ebm_status ebm_trunk_lay_slots(const struct ebm_trunk *trunk, struct ebm_trunk_slots *ret_slots,
                                    uint32_t *ret_image, uint32_t *ret_n)
{
    size_t n = (size_t)trunk->n_ops + 1;
    EBM_AUTO(ebm_freep) uint32_t *of = calloc(2 * n, sizeof *of); /* values, and their last reads */
    EBM_AUTO(ebm_freep) bool *taken = calloc(n + 1, sizeof *taken);
    if (of == NULL || taken == NULL)
        return EBM_NO_MEMORY;
    uint32_t *last = of + n;
    ebm_trunk_last_reads(trunk, last);
    *ret_n = 0;
    *ret_image = of[0] = take_slot(taken, ret_n);
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        uint32_t in = trunk->ops[i].in, add = trunk->ops[i].add;
        bool in_place = add != EBM_IMAGE_NONE && last[add] == i && add != in;
        uint32_t out = of[i + 1] = in_place ? of[add] : take_slot(taken, ret_n);
        ret_slots[i] = (struct ebm_trunk_slots){of[in], add != EBM_IMAGE_NONE ? of[add] : out, out};
        if (last[in] == i)
            taken[of[in]] = false;
        if (add != EBM_IMAGE_NONE && last[add] == i && !in_place)
            taken[of[add]] = false;
    }
    return EBM_OK;
}

/* Of those that are free the smallest that is large enough, else the largest, which grows, else one more. */
static uint32_t slot_for(size_t count, const bool *taken, const size_t *counts, uint32_t n)
{
    uint32_t best = n;
    for (uint32_t slot = 0; slot < n; slot++) {
        bool fits = counts[slot] >= count, best_fits = best < n && counts[best] >= count;
        if (!taken[slot] &&
            (best == n || fits > best_fits || (fits == best_fits && (counts[slot] < counts[best]) == fits)))
            best = slot;
    }
    return best;
}

enum ebm_status ebm_trunk_lay_gradients(const struct ebm_trunk *trunk, uint32_t *ret_of, size_t *ret_counts,
                                        uint32_t *ret_n)
{
    EBM_AUTO(ebm_freep) bool *taken = calloc((size_t)trunk->n_ops + 1, sizeof *taken);
    uint32_t n = 0;
    if (taken == NULL)
        return EBM_NO_MEMORY;
    for (uint32_t value = 0; value <= trunk->n_ops; value++)
        ret_of[value] = EBM_IMAGE_NONE;
    for (uint32_t i = trunk->n_ops; i-- > 0;) {
        const uint32_t values[] = {i + 1, trunk->ops[i].add, trunk->ops[i].in};
        for (size_t k = 0; k < EBM_COUNT_OF(values); k++) {
            uint32_t value = values[k];
            if (value == EBM_IMAGE_NONE || value == 0 || ret_of[value] != EBM_IMAGE_NONE)
                continue;
            size_t count = ebm_shape_count(&trunk->ops[value - 1].to);
            uint32_t slot = ret_of[value] = slot_for(count, taken, ret_counts, n);
            ret_counts[slot] = slot == n || ret_counts[slot] < count ? count : ret_counts[slot];
            n = slot == n ? n + 1 : n;
            taken[slot] = true;
        }
        taken[ret_of[i + 1]] = false;
    }
    *ret_n = n;
    return EBM_OK;
}

size_t ebm_trunk_gradient_numbers(const struct ebm_trunk *trunk)
{
    EBM_AUTO(ebm_freep) uint32_t *of = calloc((size_t)trunk->n_ops + 1, sizeof *of);
    EBM_AUTO(ebm_freep) size_t *counts = calloc((size_t)trunk->n_ops + 1, sizeof *counts);
    size_t numbers = 0;
    uint32_t n;
    if (of == NULL || counts == NULL || ebm_trunk_lay_gradients(trunk, of, counts, &n) != EBM_OK)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        numbers += counts[i];
    return numbers;
}

void ebm_trunk_fold(const struct ebm_image_op *op, const float *params, float *factor, float *offset)
{
    bool has_bias = op->kind == EBM_IMAGE_CONV && op->bias != EBM_NO_TENSOR;
    for (uint32_t c = 0; c < op->to.channels; c++) {
        double by = 1.0, plus = has_bias ? (double)params[op->bias + c] : 0.0;
        if (op->has_norm) {
            by = (double)params[op->scale + c] / sqrt((double)params[op->variance + c] + EBM_NORM_EPSILON);
            plus = (double)params[op->shift + c] + (plus - (double)params[op->mean + c]) * by;
        }
        factor[c] = (float)by;
        offset[c] = (float)plus;
    }
}
