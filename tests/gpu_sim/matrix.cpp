/* matrix.cpp - products of matrices that are spread over a warp.
 *
 * The lane that completes the meeting runs on first, while the others still stand where they brought their numbers: it
 * puts both matrices together for all of them. Nobody comes to the warp's next product before all have come from this.
 */
#include "tests/gpu_sim/matrix.h"

namespace gpu_sim
{

namespace
{

struct brought_numbers {
    const float *a, *b;
};

struct matrices {
    unsigned readers; /* lanes that have not had their part of them */
    float a[SIDE * SIDE], b[SIDE * SIDE];
};

matrices of_warp[THREADS_MAX / WARP];

const brought_numbers *numbers_of(uint64_t brought)
{
    return reinterpret_cast<const brought_numbers *>(uintptr_t(brought));
}

/* a by rows, b by columns. */
void put_together(matrices *to, const uint64_t *brought, unsigned deep)
{
    for (unsigned i = 0; i < SIDE * deep; i++) {
        to->a[i] = numbers_of(brought[i % WARP])->a[i / WARP];
        to->b[i % SIDE * deep + i / SIDE] = numbers_of(brought[i % WARP])->b[i / WARP];
    }
    to->readers = WARP;
}

} // namespace

void multiply_matrices(unsigned deep, float *c, const float *a, const float *b, const char *file, int line)
{
    brought_numbers mine = {a, b};
    const uint64_t *brought = warp_exchange(~0u, uint64_t(reinterpret_cast<uintptr_t>(&mine)), WARP_MATRIX, file, line);
    matrices *all = &of_warp[self->linear / WARP];
    if (!all->readers)
        put_together(all, brought, deep);
    all->readers--;
    const float *column = all->b + lane() % SIDE * deep;
    for (unsigned i = 0; i < lane_numbers(SIDE); i++) {
        const float *row = all->a + (i * WARP + lane()) / SIDE * deep;
        double sum = double(c[i]);
        for (unsigned k = 0; k < deep; k++)
            sum += double(row[k]) * double(column[k]);
        c[i] = float(sum);
    }
}

} // namespace gpu_sim
