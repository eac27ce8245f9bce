/* parity.c - parity values of a model file, recomputed on a device.
 *
 *   tensors found, shapes agree -> copies of their numbers, the model's from then on
 *   row by row: features, propose the given targets (as many at a time as the ctx takes), score -> f and log q against
 *   the file's
 *
 *   made: x and y given, f and log q fetched instead of compared
 *
 * The reference device is slow, so a file may hold at most LIMIT_PARITY_ROWS rows of LIMIT_PARITY_TARGETS targets.
 * Guarantees: NaN never agrees with anything; a check allocates nothing. */
#include "models/parity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-4 /* of the largest magnitude in the tensor */

static const char f_name[] = "parity.f", log_q_name[] = "parity.log_q";

struct ebm_parity {
    uint32_t X, D, rows, targets; /* rows and targets: n and m of parity.h */
    struct ebm_shape image;       /* of x; channels 0: vectors */
    bool has_energy, is_matrix;   /* is_matrix: m stands in the shapes */
    const float *x, *y;           /* (rows, X), (rows, targets, D); in numbers, as the next two */
    const float *f, *log_q;       /* (rows, targets); NULL: does not stand */
    double f_off, log_q_off;      /* that they may be off */
    float numbers[];
};

/* What the file has of them. */
struct source {
    const struct ebm_net_desc *net;
    const struct ebm_tensor *x, *y, *f, *log_q; /* NULL: does not stand */
    uint32_t rows, targets;
    struct ebm_error *reterr;
};

/* ---- reading ---- */

static enum ebm_status bad_shape(const struct source *s, const struct ebm_tensor *tensor, const char *expected)
{
    return ebm_error_set(s->reterr, EBM_DAMAGED, tensor->name, "expected F32 of the shape %s", expected);
}

/* (n, X), or of images (n, channels, height, width). */
static bool is_input(const struct source *s, const struct ebm_tensor *x)
{
    const struct ebm_shape *in = &s->net->trunk.in;
    if (x->dtype != EBM_DTYPE_F32)
        return false;
    if (x->n_dims == 4)
        return x->shape[1] == in->channels && x->shape[2] == in->height && x->shape[3] == in->width;
    return x->n_dims == 2 && x->shape[1] == s->net->X;
}

/* n and m from x and y. */
static enum ebm_status settle_inputs(struct source *s)
{
    const struct ebm_tensor *x = s->x, *y = s->y;
    if (!is_input(s, x))
        return bad_shape(s, x, "(n, size of the input)");
    if (y->dtype != EBM_DTYPE_F32 || y->n_dims < 2 || y->n_dims > 3 || y->shape[0] != x->shape[0] ||
        y->shape[y->n_dims - 1] != s->net->D)
        return bad_shape(s, y, "(n, target.dim) or (n, m, target.dim), n as in parity.x");
    uint64_t rows = x->shape[0], targets = y->n_dims == 3 ? y->shape[1] : 1;
    if (rows > LIMIT_PARITY_ROWS || targets < 1 || targets > LIMIT_PARITY_TARGETS)
        return ebm_error_set(s->reterr, EBM_TOO_LARGE, y->name, "at most %u rows of 1 to %u targets", LIMIT_PARITY_ROWS,
                             LIMIT_PARITY_TARGETS);
    s->rows = (uint32_t)rows;
    s->targets = (uint32_t)targets;
    return EBM_OK;
}

/* f or log_q: (n) or (n, m) as y. */
static enum ebm_status check_output(const struct source *s, const struct ebm_tensor *tensor)
{
    if (!tensor)
        return EBM_OK;
    bool is_matrix = s->y->n_dims == 3;
    if (tensor->dtype != EBM_DTYPE_F32 || tensor->n_dims != (is_matrix ? 2u : 1u) || tensor->shape[0] != s->rows ||
        (is_matrix && tensor->shape[1] != s->targets))
        return bad_shape(s, tensor, is_matrix ? "(n, m) of parity.y" : "(n) of parity.y");
    return EBM_OK;
}

static enum ebm_status settle(struct source *s)
{
    if (!s->x || !s->y)
        return ebm_error_set(s->reterr, EBM_DAMAGED, s->x ? "parity.y" : "parity.x",
                             "is missing: parity.x and parity.y stand together");
    if (s->log_q && s->net->K == 0)
        return ebm_error_set(s->reterr, EBM_DAMAGED, s->log_q->name, "the model has no proposal");
    enum ebm_status status = settle_inputs(s);
    if (status == EBM_OK)
        status = check_output(s, s->f);
    return status == EBM_OK ? check_output(s, s->log_q) : status;
}

/* Of `count` values; 0 of none. */
static double may_be_off(const float *values, size_t count)
{
    double max = 1e-6;
    for (size_t i = 0; values && i < count; i++)
        max = fmax(max, fabs((double)values[i]));
    return values ? TOLERANCE * max : 0;
}

/* Copies the tensor's numbers to *next, which moves on. NULL: it does not stand. */
static const float *copy(const struct ebm_tensor *tensor, float **next)
{
    if (!tensor)
        return NULL;
    float *to = *next;
    memcpy(to, tensor->data, tensor->count * sizeof *to);
    *next += tensor->count;
    return to;
}

static size_t count_of(const struct ebm_tensor *tensor)
{
    return tensor ? tensor->count : 0;
}

static void set_tolerances(struct ebm_parity *parity)
{
    size_t n = (size_t)parity->rows * parity->targets;
    parity->f_off = may_be_off(parity->f, n);
    parity->log_q_off = may_be_off(parity->log_q, n);
}

static struct ebm_parity *keep(const struct source *s)
{
    size_t n = count_of(s->x) + count_of(s->y) + count_of(s->f) + count_of(s->log_q);
    struct ebm_parity *parity = malloc(sizeof *parity + n * sizeof(float));
    if (!parity)
        return NULL;
    *parity = (struct ebm_parity){.X = s->net->X,
                                  .D = s->net->D,
                                  .rows = s->rows,
                                  .targets = s->targets,
                                  .image = s->net->trunk.in,
                                  .has_energy = s->net->has_energy,
                                  .is_matrix = s->y->n_dims == 3};
    float *next = parity->numbers;
    parity->x = copy(s->x, &next);
    parity->y = copy(s->y, &next);
    parity->f = copy(s->f, &next);
    parity->log_q = copy(s->log_q, &next);
    set_tolerances(parity);
    return parity;
}

static enum ebm_status refuse_ensemble(struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_INVALID, "parity",
                         "values of single models cannot stand in the file of an ensemble: leave parity.* out");
}

enum ebm_status ebm_parity_read(const struct ebm_safetensors *file, const struct ebm_net_desc *net,
                                struct ebm_parity **ret_parity, struct ebm_error *reterr)
{
    struct source s = {
        .net = net,
        .x = ebm_safetensors_find(file, "parity.x"),
        .y = ebm_safetensors_find(file, "parity.y"),
        .f = ebm_safetensors_find(file, f_name),
        .log_q = ebm_safetensors_find(file, log_q_name),
        .reterr = reterr,
    };
    if (!s.x && !s.y && !s.f && !s.log_q)
        return EBM_OK;
    if (net->members > 1)
        return refuse_ensemble(reterr);
    enum ebm_status status = settle(&s);
    if (status != EBM_OK)
        return status;
    struct ebm_parity *parity = keep(&s);
    if (!parity)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "parity", "no memory");
    *ret_parity = parity;
    return EBM_OK;
}

struct ebm_parity *ebm_parity_free(struct ebm_parity *parity)
{
    free(parity);
    return NULL;
}

/* ---- writing ---- */

static struct ebm_tensor tensor_of(const char *name, const float *values, uint32_t n_dims, const uint64_t *shape)
{
    struct ebm_tensor tensor = {.name = name, .dtype = EBM_DTYPE_F32, .n_dims = n_dims, .count = 1, .data = values};
    for (uint32_t i = 0; i < n_dims; i++) {
        tensor.shape[i] = shape[i];
        tensor.count *= shape[i];
    }
    return tensor;
}

size_t ebm_parity_tensors(const struct ebm_parity *parity, struct ebm_tensor ret_tensors[EBM_PARITY_TENSORS])
{
    const struct ebm_shape *image = &parity->image;
    const uint64_t n = parity->rows, m = parity->targets, vectors[] = {n, parity->X},
                   images[] = {n, image->channels, image->height, image->width}, many[] = {n, m, parity->D},
                   single[] = {n, parity->D};
    bool is_matrix = parity->is_matrix;
    size_t count = 0;
    ret_tensors[count++] = image->channels > 0 ? tensor_of("parity.x", parity->x, 4, images)
                                               : tensor_of("parity.x", parity->x, 2, vectors);
    ret_tensors[count++] = is_matrix ? tensor_of("parity.y", parity->y, 3, many)
                                     : tensor_of("parity.y", parity->y, 2, single);
    if (parity->f)
        ret_tensors[count++] = tensor_of(f_name, parity->f, is_matrix ? 2 : 1, many);
    if (parity->log_q)
        ret_tensors[count++] = tensor_of(log_q_name, parity->log_q, is_matrix ? 2 : 1, many);
    return count;
}

/* ---- computing ---- */

/* `count` targets of a row from `first` on, on a ctx that has its features. */
struct part {
    const struct ebm_device_ops *ops;
    struct ebm_ctx *ctx;
    uint32_t row, first, count;
    float *numbers; /* those of the parity values, where they are made; NULL: they are checked */
};

/* What is done with a part that has been proposed and scored. */
typedef enum ebm_status part_use(const struct ebm_parity *parity, const struct part *part, struct ebm_error *reterr);

static enum ebm_status fetch(const struct part *part, enum ebm_fetch what, const char *name, float *ret_values,
                             struct ebm_error *reterr)
{
    enum ebm_status status = part->ops->fetch(part->ctx, what, 0, ret_values);
    if (status == EBM_OK)
        status = part->ops->sync(part->ctx);
    if (status != EBM_OK)
        return ebm_error_set(reterr, status, name, "cannot be recomputed: %s", ebm_status_text(status));
    return EBM_OK;
}

static enum ebm_status use_part(const struct ebm_parity *parity, const struct part *part, part_use *use,
                                struct ebm_error *reterr)
{
    const float *y = parity->y + ((size_t)part->row * parity->targets + part->first) * parity->D;
    struct ebm_row which = {.row_in_request = part->row, .samples = part->count};
    enum ebm_status status = part->ops->propose(part->ctx, 0, &which, y);
    if (status == EBM_OK && parity->has_energy)
        status = part->ops->score(part->ctx, false);
    if (status != EBM_OK)
        return ebm_error_set(reterr, status, "parity", "row %u cannot be recomputed: %s", part->row,
                             ebm_status_text(status));
    return use(parity, part, reterr);
}

/* `part` says on what, and where results go. */
static enum ebm_status use_all(const struct ebm_parity *parity, struct part part, const struct ebm_plan *plan,
                               uint32_t max_samples, part_use *use, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (; part.row < parity->rows && status == EBM_OK; part.row++) {
        status = part.ops->features(part.ctx, plan, parity->x + (size_t)part.row * parity->X, 1);
        if (status != EBM_OK)
            return ebm_error_set(reterr, status, "parity", "row %u cannot be recomputed: %s", part.row,
                                 ebm_status_text(status));
        for (part.first = 0; part.first < parity->targets && status == EBM_OK; part.first += part.count) {
            uint32_t left = parity->targets - part.first;
            part.count = left < max_samples ? left : max_samples;
            status = use_part(parity, &part, use, reterr);
        }
    }
    return status;
}

static enum ebm_status use_reference(const struct ebm_parity *parity, const struct ebm_net_desc *net,
                                     const float *params, float *numbers, part_use *use, struct ebm_error *reterr)
{
    const struct ebm_device_ops *ops = ebm_device_reference();
    struct ebm_ctx_limits limits = {.max_rows = 1, .max_samples = parity->targets};
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    enum ebm_status status = ops->plan_new(net, params, 0, &plan, reterr);
    if (status == EBM_OK)
        status = ops->ctx_new(&limits, &ctx, reterr);
    if (status == EBM_OK)
        status = ops->ctx_prepare(ctx, plan, reterr);
    if (status == EBM_OK)
        status = use_all(parity, (struct part){.ops = ops, .ctx = ctx, .numbers = numbers}, plan, limits.max_samples,
                         use, reterr);
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    return status;
}

/* ---- checking ---- */

static enum ebm_status compare(const struct ebm_parity *parity, const struct part *part, enum ebm_fetch what,
                               const char *name, const float *expected, double off, struct ebm_error *reterr)
{
    float got[LIMIT_PARITY_TARGETS];
    enum ebm_status status = fetch(part, what, name, got, reterr);
    expected += (size_t)part->row * parity->targets + part->first;
    for (uint32_t m = 0; m < part->count && status == EBM_OK; m++)
        if (!(fabs((double)got[m] - (double)expected[m]) <= off))
            return ebm_error_set(reterr, EBM_DAMAGED, name,
                                 "row %u, target %u: the file says %.9g, this program computes %.9g", part->row,
                                 part->first + m, (double)expected[m], (double)got[m]);
    return status;
}

static enum ebm_status check_part(const struct ebm_parity *parity, const struct part *part, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    double looser = 1.0 + part->ops->slack / TOLERANCE;
    if (parity->f)
        status = compare(parity, part, parity->has_energy ? EBM_FETCH_F : EBM_FETCH_LOG_Q, f_name, parity->f,
                         parity->f_off * looser, reterr);
    if (status == EBM_OK && parity->log_q)
        status = compare(parity, part, EBM_FETCH_LOG_Q, log_q_name, parity->log_q, parity->log_q_off, reterr);
    return status;
}

enum ebm_status ebm_parity_check(const struct ebm_parity *parity, const struct ebm_device_ops *ops, struct ebm_ctx *ctx,
                                 const struct ebm_plan *plan, uint32_t max_samples, struct ebm_error *reterr)
{
    return use_all(parity, (struct part){.ops = ops, .ctx = ctx}, plan, max_samples, check_part, reterr);
}

enum ebm_status ebm_parity_check_reference(const struct ebm_parity *parity, const struct ebm_net_desc *net,
                                           const float *params, struct ebm_error *reterr)
{
    return use_reference(parity, net, params, NULL, check_part, reterr);
}

/* ---- making ---- */

static enum ebm_status fill(const struct ebm_parity *parity, const struct part *part, enum ebm_fetch what,
                            const char *name, const float *values, struct ebm_error *reterr)
{
    float *to = part->numbers + (values - parity->numbers) + part->row;
    enum ebm_status status = fetch(part, what, name, to, reterr);
    if (status == EBM_OK && !isfinite(*to))
        return ebm_error_set(reterr, EBM_DAMAGED, name, "row %u: it is %g, expected a finite number", part->row,
                             (double)*to);
    return status;
}

static enum ebm_status fill_part(const struct ebm_parity *parity, const struct part *part, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    if (parity->f)
        status = fill(parity, part, EBM_FETCH_F, f_name, parity->f, reterr);
    if (status == EBM_OK && parity->log_q)
        status = fill(parity, part, EBM_FETCH_LOG_Q, log_q_name, parity->log_q, reterr);
    return status;
}

enum ebm_status ebm_parity_compute(const struct ebm_net_desc *net, const float *params, const float *x, const float *y,
                                   uint32_t rows, struct ebm_parity **ret_parity, struct ebm_error *reterr)
{
    size_t n_x = (size_t)rows * net->X, n_y = (size_t)rows * net->D;
    EBM_ASSERT(rows >= 1 && rows <= LIMIT_PARITY_ROWS);
    if (net->members > 1)
        return refuse_ensemble(reterr);
    EBM_AUTO(ebm_freep) struct ebm_parity *parity = calloc(1, sizeof *parity + (n_x + n_y + 2 * rows) * sizeof *x);
    if (!parity)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "parity", "no memory");
    *parity = (struct ebm_parity){.X = net->X,
                                  .D = net->D,
                                  .rows = rows,
                                  .targets = 1,
                                  .image = net->trunk.in,
                                  .has_energy = net->has_energy,
                                  .x = parity->numbers,
                                  .y = parity->numbers + n_x,
                                  .f = net->has_energy ? parity->numbers + n_x + n_y : NULL,
                                  .log_q = net->K > 0 ? parity->numbers + n_x + n_y + rows : NULL};
    memcpy(parity->numbers, x, n_x * sizeof *x);
    memcpy(parity->numbers + n_x, y, n_y * sizeof *y);
    enum ebm_status status = use_reference(parity, net, params, parity->numbers, fill_part, reterr);
    if (status != EBM_OK)
        return status;
    set_tolerances(parity);
    *ret_parity = EBM_TAKE_PTR(parity);
    return EBM_OK;
}
