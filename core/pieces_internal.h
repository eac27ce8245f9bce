/* pieces_internal.h - what pieces.c and the files of its longer questions share. Private to core. */
#ifndef EBM_CORE_PIECES_INTERNAL_H
#define EBM_CORE_PIECES_INTERNAL_H

#include "core/piece_forms.h"
#include "core/pieces.h"

/* One piece between two knots, a <= b. */
struct piece {
    double a, b;
    double d, t, e; /* f(b) - f(a), its absolute value, exp(-t) */
    double height;  /* exp(f - peak) at the heavier end */
};
struct piece ebm_pieces_piece(const struct ebm_pieces *pieces, uint32_t i);

/* How fast f falls outwards along a ray. */
double ebm_pieces_rate(const struct ebm_pieces *pieces, int side);

/* Mass of piece i left of y, right of y; y lies in it. */
double ebm_pieces_left_part(const struct ebm_pieces *pieces, uint32_t i, double y);
double ebm_pieces_right_part(const struct ebm_pieces *pieces, uint32_t i, double y);

/* Entries of the table. */
uint32_t ebm_pieces_region(const void *density, double level, double *ret_ends, uint32_t max);
double ebm_pieces_crps(const void *density, double y);
void ebm_pieces_resultant(const void *density, double origin, double turn, double ret_resultant[2]);

#endif
