/* conv_own.c - convolutions by kernels of our own (kernels.h), output channels in lanes: forward, and the gradient of
 * the input of 3 x 3 with stride 1, which is the same convolution with weights turned and transposed. What is left,
 * other gradients, is the library's.
 *
 *   by tiles     3 x 3, stride 1, padded by 1: tiles -> points (V), for each a product over channels (M) -> places
 *   by windows   else: windows side by side, (places, kernel x kernel x channels), one product; copied, but for those
 *                of a long line
 *
 * Some tiles or places at a time, as many as stay in cache between the steps; the weights, which may not stay there,
 * are gone through once for all of them. Places and tiles never meet in a sum, so that an image's numbers depend on
 * nothing but the image.
 *
 * A library is not enough where images are small: docs/PERFORMANCE.md says why. */
#include <stdlib.h>
#include <string.h>

#include "core/conv.h"
#include "core/kernels.h"

#define CACHED_FLOATS (3u << 17) /* before and after the products, 1.5 MiB */
#define FEW_WEIGHTS (1u << 16)   /* gone through again and again at no cost: then fewer, */
#define NEAR_FLOATS (1u << 14)   /* 64 KiB */
#define FEWEST 8u                /* rows of a product */
#define COPIED 8u                /* numbers at once, of a window */
#define LINE 16u                 /* places of a line that need no others beside them */

struct ebm_conv {
    struct ebm_conv_spec spec;
    const struct ebm_kernels *kernels;
    const struct ebm_conv_backend *library; /* NULL: the pass is our own */
    struct ebm_conv *theirs;
    struct ebm_shape from, to;         /* as this pass convolves */
    bool by_tiles, by_lines, is_plain; /* plain: windows lie side by side as they are */
    enum ebm_tile tile;
    uint32_t rows; /* of an image: tiles or places */
    uint32_t most; /* rows at a time */
    uint32_t n_in; /* numbers of a row */
    uint32_t n_panels;
    uint32_t n_products;
    size_t lda, ldo; /* from row to row, before and after a product */
    size_t padded;   /* floats of an image with its padding, of windows */
    float *zeros;    /* (from.channels): outside of an image */
};

/* ---- making ---- */

static uint32_t tiles_of(const struct ebm_shape *to, enum ebm_tile tile)
{
    uint32_t out = ebm_tile_size(tile).out;
    return ((to->height + out - 1) / out) * ((to->width + out - 1) / out);
}

/* Nanoseconds of a product, of a number of the weights that is read where it does not stay in cache, and of a number on
 * its way into or out of points; of one core, as good as any for the choice. */
#define PRODUCT_NS (1.0 / 75.0)
#define WEIGHT_NS 0.4
#define POINT_NS 0.15

/* What n images take, when one takes so many rows of so many products, and rows that are tiles become points. */
static double cost_of(const struct ebm_conv *conv, uint32_t rows, uint32_t products, bool is_tiles)
{
    const double n = conv->spec.n, C = conv->from.channels,
                 O = (double)ebm_round_up(conv->to.channels, conv->kernels->panel);
    double points = is_tiles ? (double)ebm_round_up(conv->from.channels, EBM_LANES) + O : 0.0;
    return products * (C * O * (n * rows * PRODUCT_NS + WEIGHT_NS) + n * rows * points * POINT_NS);
}

/* The cheapest way. */
static void choose_way(struct ebm_conv *conv)
{
    const struct ebm_conv_spec *s = &conv->spec;
    conv->rows = conv->to.height * conv->to.width;
    conv->n_in = s->kernel * s->kernel * conv->from.channels;
    conv->n_products = 1;
    double least = cost_of(conv, conv->rows, 9, false);
    for (enum ebm_tile tile = EBM_TILE_TWO; tile <= EBM_TILE_WHOLE; tile++) {
        uint32_t products = ebm_tile_size(tile).points * ebm_tile_size(tile).points;
        double cost = cost_of(conv, tiles_of(&conv->to, tile), products, true);
        bool fits = s->kernel == 3 && s->stride == 1 && s->padding == 1 &&
                    (tile != EBM_TILE_WHOLE || (conv->to.height == 2 && conv->to.width == 2));
        if (!fits || cost >= least)
            continue;
        least = cost;
        conv->by_tiles = true;
        conv->tile = tile;
        conv->rows = tiles_of(&conv->to, tile);
        conv->n_in = conv->from.channels;
        conv->n_products = products;
    }
}

/* Places of a line with its padding. */
static uint32_t wide_of(const struct ebm_conv *conv)
{
    return conv->from.width + 2 * conv->spec.padding;
}

static void lay_out(struct ebm_conv *conv)
{
    const uint32_t panel = conv->kernels->panel;
    const struct ebm_conv_spec *s = &conv->spec;
    conv->is_plain = !conv->by_tiles && s->kernel == 1 && s->stride == 1 && s->padding == 0;
    conv->by_lines = !conv->by_tiles && !conv->is_plain && conv->to.width >= LINE;
    if (!conv->by_tiles && !conv->is_plain)
        conv->padded = ebm_round_up(
            (size_t)(s->from.height + 2 * s->padding) * wide_of(conv) * s->from.channels + COPIED, EBM_LANES);
    conv->n_panels = (conv->to.channels + panel - 1) / panel;
    /* a line of cache more than a row has: powers of two fall on each other in cache */
    conv->lda = conv->is_plain ? conv->n_in : ebm_round_up(conv->n_in, panel) + EBM_LANES;
    conv->ldo = (size_t)conv->n_panels * panel + EBM_LANES;
    size_t weights = (size_t)conv->n_products * conv->n_in * conv->to.channels;
    size_t row = conv->n_products * (conv->lda + conv->ldo);
    size_t cached = weights <= FEW_WEIGHTS ? NEAR_FLOATS : CACHED_FLOATS; /* but many weights are better read once */
    size_t most = (weights / 2 > cached ? weights / 2 : cached) / row;
    most = most < FEWEST ? FEWEST : most;
    size_t all = (size_t)conv->rows * s->n, blocks = (all + most - 1) / most;
    conv->most = conv->by_lines ? conv->to.width : (uint32_t)((all + blocks - 1) / blocks);
}

static enum ebm_status make_theirs(struct ebm_conv *conv)
{
    const struct ebm_conv_backend *library = ebm_conv_library();
    enum ebm_status status = library->make(&conv->spec, &conv->theirs);
    if (status == EBM_DEVICE && library != ebm_conv_blas()) { /* oneDNN where a process may not write code */
        library = ebm_conv_blas();
        status = library->make(&conv->spec, &conv->theirs);
    }
    conv->library = library;
    return status;
}

static struct ebm_conv *release(struct ebm_conv *conv)
{
    if (conv == NULL)
        return NULL;
    if (conv->library != NULL)
        (void)conv->library->free(conv->theirs);
    free(conv->zeros);
    free(conv);
    return NULL;
}

static enum ebm_status make(const struct ebm_conv_spec *spec, struct ebm_conv **ret_conv)
{
    struct ebm_conv *conv = calloc(1, sizeof *conv);
    if (conv == NULL)
        return EBM_NO_MEMORY;
    enum ebm_status status = EBM_OK;
    conv->spec = *spec;
    conv->kernels = ebm_kernels_cpu();
    conv->from = spec->pass == EBM_CONV_INPUT ? spec->to : spec->from;
    conv->to = spec->pass == EBM_CONV_INPUT ? spec->from : spec->to;
    choose_way(conv);
    if (spec->pass == EBM_CONV_FORWARD || (spec->pass == EBM_CONV_INPUT && conv->by_tiles)) {
        lay_out(conv);
        conv->zeros = calloc(conv->from.channels > conv->to.channels ? conv->from.channels : conv->to.channels,
                             sizeof *conv->zeros);
        status = conv->zeros != NULL ? EBM_OK : EBM_NO_MEMORY;
    } else {
        status = make_theirs(conv);
    }
    if (status != EBM_OK) {
        (void)release(conv);
        return status;
    }
    *ret_conv = conv;
    return EBM_OK;
}

/* ---- weights ---- */

/* Of one panel of one product. */
static size_t panel_count(const struct ebm_conv *conv)
{
    return (size_t)conv->n_in * conv->kernels->panel;
}

static size_t packed_count(const struct ebm_conv *conv)
{
    if (conv->library != NULL)
        return conv->library->packed_count(conv->theirs);
    return conv->n_products * conv->n_panels * panel_count(conv);
}

static size_t scratch_count(const struct ebm_conv *conv)
{
    if (conv->library != NULL)
        return conv->library->scratch_count(conv->theirs);
    size_t copied = conv->is_plain || conv->by_lines ? 0 : conv->lda;
    return conv->padded + conv->n_products * conv->most * (conv->ldo + copied);
}

/* Weight (o, i, ky, kx) to (o / panel, (ky, kx, i), o % panel). */
static void pack_windows(const struct ebm_conv *conv, float *packed, const float *weight)
{
    const size_t panel = conv->kernels->panel, taps = (size_t)conv->spec.kernel * conv->spec.kernel;
    const size_t C = conv->from.channels, O = conv->to.channels;
    for (size_t first = 0; first < O; first += panel)
        for (size_t i = 0; i < C; i++)
            for (size_t tap = 0; tap < taps; tap++) {
                float *to = packed + (first * taps * C) + (tap * C + i) * panel;
                for (size_t o = 0; o < panel; o++)
                    to[o] = first + o < O ? weight[((first + o) * C + i) * taps + tap] : 0.0f;
            }
}

static enum ebm_status pack(const struct ebm_conv *conv, float *packed, const float *weight)
{
    if (conv->library != NULL)
        return conv->library->pack(conv->theirs, packed, weight);
    if (!conv->by_tiles) {
        pack_windows(conv, packed, weight);
        return EBM_OK;
    }
    const uint32_t panel = conv->kernels->panel;
    const bool is_input = conv->spec.pass == EBM_CONV_INPUT;
    const size_t columns = 9, rows = columns * conv->spec.from.channels;
    struct ebm_filters filters = {
        .out = is_input ? columns : rows, .in = is_input ? rows : columns, .is_turned = is_input};
    for (uint32_t p = 0; p < conv->n_panels; p++) {
        filters.w = weight + p * panel * filters.out;
        conv->kernels->tile_weights(packed + p * panel_count(conv), conv->n_panels * panel_count(conv), &filters,
                                    conv->to.channels - p * panel, conv->n_in, conv->tile);
    }
    return EBM_OK;
}

static enum ebm_status unpack(const struct ebm_conv *conv, float *weight, const float *packed)
{
    return conv->library->unpack(conv->theirs, weight, packed);
}

/* ---- by tiles ---- */

/* Tile t of the images: its image, and its first place. */
struct tile_place {
    size_t image;
    uint32_t y, x;
};

static struct tile_place place_of(const struct ebm_conv *conv, uint32_t t)
{
    const uint32_t out = ebm_tile_size(conv->tile).out, across = (conv->to.width + out - 1) / out;
    uint32_t within = t % conv->rows;
    return (struct tile_place){t / conv->rows, within / across * out, within % across * out};
}

static void read_tile(const struct ebm_conv *conv, float *v, size_t stride, const float *in, uint32_t t)
{
    const struct ebm_tile_size size = ebm_tile_size(conv->tile);
    const struct tile_place place = place_of(conv, t);
    const float *at[EBM_MOST_IN], *image = in + place.image * ebm_shape_count(&conv->from);
    for (uint32_t i = 0; i < size.in; i++)
        for (uint32_t j = 0; j < size.in; j++) {
            uint32_t y = place.y + i - size.before, x = place.x + j - size.before; /* wrap when negative */
            bool is_inside = y < conv->from.height && x < conv->from.width;
            at[i * size.in + j] = is_inside ? image + ((size_t)y * conv->from.width + x) * conv->from.channels
                                            : conv->zeros;
        }
    conv->kernels->tile_in(v, stride, at, conv->from.channels, conv->tile);
}

static void write_tile(const struct ebm_conv *conv, float *out, const float *m, size_t stride,
                       const struct ebm_finish *finish, uint32_t t)
{
    const uint32_t side = ebm_tile_size(conv->tile).out;
    const struct tile_place place = place_of(conv, t);
    float *to[EBM_MOST_OUT], *image = out + place.image * ebm_shape_count(&conv->to);
    for (uint32_t i = 0; i < side; i++)
        for (uint32_t j = 0; j < side; j++) {
            uint32_t y = place.y + i, x = place.x + j;
            bool is_inside = y < conv->to.height && x < conv->to.width;
            to[i * side + j] = is_inside ? image + ((size_t)y * conv->to.width + x) * conv->to.channels : NULL;
        }
    conv->kernels->tile_out(to, m, stride, finish, conv->to.channels, conv->tile);
}

static void run_tiles(const struct ebm_conv *conv, float *out, const float *in, const float *packed,
                      const struct ebm_finish *finish, uint32_t first, uint32_t n, float *scratch)
{
    const size_t v_stride = n * conv->lda, m_stride = n * conv->ldo;
    float *v = scratch, *m = v + conv->n_products * v_stride;
    for (uint32_t t = 0; t < n; t++)
        read_tile(conv, v + t * conv->lda, v_stride, in, first + t);
    for (size_t p = 0; p < conv->n_products; p++) {
        const struct ebm_rows rows = {v + p * v_stride, conv->lda, 0, n, 1, conv->n_in};
        conv->kernels->panels_product(m + p * m_stride, conv->ldo, &rows,
                                      packed + p * conv->n_panels * panel_count(conv), conv->n_panels);
    }
    for (uint32_t t = 0; t < n; t++)
        write_tile(conv, out, m + t * conv->ldo, m_stride, finish, first + t);
}

/* ---- by windows ---- */

static void copy_padded(const struct ebm_conv *conv, float *to, const float *image)
{
    const size_t C = conv->from.channels, wide = wide_of(conv) * C, line = conv->from.width * C;
    const size_t side = conv->spec.padding * C, around = conv->spec.padding * wide;
    memset(to, 0, around * sizeof *to);
    to += around;
    for (uint32_t y = 0; y < conv->from.height; y++, to += wide, image += line) {
        memset(to, 0, side * sizeof *to);
        memcpy(to + side, image, line * sizeof *to);
        memset(to + side + line, 0, side * sizeof *to);
    }
    memset(to, 0, around * sizeof *to);
}

/* n numbers, and up to COPIED - 1 more. */
static void copy_whole(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i += COPIED)
        memcpy(to + i, from + i, COPIED * sizeof *to);
}

/* Windows of places first .. first + n - 1, which follow those of the call before; padded is still what it was then.
 * What is copied behind a line, the next one overwrites. */
static void copy_windows(const struct ebm_conv *conv, float *to, const float *in, uint32_t first, uint32_t n,
                         float *padded)
{
    const struct ebm_conv_spec *s = &conv->spec;
    const size_t C = conv->from.channels, wide = wide_of(conv) * C, line = s->kernel * C;
    for (uint32_t r = first; r < first + n; r++, to += conv->lda) {
        uint32_t place = r % conv->rows, y = place / conv->to.width, x = place % conv->to.width;
        if (place == 0)
            copy_padded(conv, padded, in + r / conv->rows * ebm_shape_count(&conv->from));
        const float *from = padded + y * s->stride * wide + x * s->stride * C;
        for (uint32_t ky = 0; ky < s->kernel; ky++)
            copy_whole(to + ky * line, from + ky * wide, line);
    }
}

/* The windows of a line of places, as they lie in the image with its padding: each begins a stride behind the last. */
static struct ebm_rows line_of(const struct ebm_conv *conv, const float *in, uint32_t first, float *padded)
{
    const struct ebm_conv_spec *s = &conv->spec;
    const uint32_t C = conv->from.channels, place = first % conv->rows;
    const size_t wide = (size_t)wide_of(conv) * C;
    if (place == 0)
        copy_padded(conv, padded, in + first / conv->rows * ebm_shape_count(&conv->from));
    return (struct ebm_rows){.first = padded + place / conv->to.width * s->stride * wide,
                             .next = (size_t)s->stride * C,
                             .step = wide,
                             .n = conv->to.width,
                             .runs = s->kernel,
                             .run = s->kernel * C};
}

static void run_windows(const struct ebm_conv *conv, float *out, const float *in, const float *packed,
                        const struct ebm_finish *finish, uint32_t first, uint32_t n, float *scratch)
{
    const size_t O = conv->to.channels;
    float *m = scratch + conv->padded, *copied = m + n * conv->ldo;
    struct ebm_rows rows = {conv->is_plain ? in + first * conv->lda : copied, conv->lda, 0, n, 1, conv->n_in};
    if (conv->by_lines)
        rows = line_of(conv, in, first, scratch);
    else if (!conv->is_plain)
        copy_windows(conv, copied, in, first, n, scratch);
    conv->kernels->panels_product(m, conv->ldo, &rows, packed, conv->n_panels);
    conv->kernels->finish_rows(out + first * O, m, conv->ldo, finish, n, (uint32_t)O);
}

/* ---- running ---- */

static void run_all(const struct ebm_conv *conv, uint32_t n, float *out, const float *in, const float *packed,
                    const struct ebm_finish *finish, float *scratch)
{
    const uint32_t all = n * conv->rows;
    for (uint32_t first = 0, now; first < all; first += now) {
        now = all - first < conv->most ? all - first : conv->most;
        if (conv->by_tiles)
            run_tiles(conv, out, in, packed, finish, first, now, scratch);
        else
            run_windows(conv, out, in, packed, finish, first, now, scratch);
    }
}

static enum ebm_status forward(const struct ebm_conv *conv, uint32_t n, float *out, const float *in,
                               const float *packed, const float *bias, float *scratch)
{
    const struct ebm_finish finish = {.bias = bias, .adds = conv->spec.adds, .has_relu = conv->spec.has_relu};
    EBM_ASSERT(n <= conv->spec.n);
    run_all(conv, n, out, in, packed, &finish, scratch);
    return EBM_OK;
}

static enum ebm_status input(const struct ebm_conv *conv, float *din, const float *dout, const float *packed,
                             float *scratch)
{
    const struct ebm_finish finish = {.bias = conv->zeros};
    if (conv->library != NULL)
        return conv->library->input(conv->theirs, din, dout, packed, scratch);
    run_all(conv, conv->spec.n, din, dout, packed, &finish, scratch);
    return EBM_OK;
}

static enum ebm_status weight(const struct ebm_conv *conv, float *packed, const float *in, const float *dout,
                              float *scratch)
{
    return conv->library->weight(conv->theirs, packed, in, dout, scratch);
}

const struct ebm_conv_backend *ebm_conv_own(void)
{
    static const struct ebm_conv_backend backend = {.name = "own",
                                                    .make = make,
                                                    .free = release,
                                                    .packed_count = packed_count,
                                                    .scratch_count = scratch_count,
                                                    .pack = pack,
                                                    .unpack = unpack,
                                                    .forward = forward,
                                                    .input = input,
                                                    .weight = weight};
    return &backend;
}
