/* forecast.c - rows, steps, phases, memory and files of a training, from its setup alone.
 *
 *   data         rows as numbers, once while they are read and once in columns; images as bytes
 *   parameters   P floats: parameters, gradient, two moments, a gradient of each chunk, but for a trunk's; four in the
 *                checkpoint's copy
 *   a trunk      of a batch of images what every operation gives, before its norm, and a few gradients; three times its
 *                weights, as convolutions want them; twice these and three values more for epochs of heads alone
 *   a thread     activations of one row's samples and of a chunk's rows, as core/device_train.c keeps them
 *   a GPU        forecast_device.c; the host then keeps all of this but what a trunk computes, whose features of a
 *                batch come and go, and has pinned memory for what goes up and down
 *
 * The figures are an estimate: allocators round up, and a CSV's table grows by doubling. Guarantees: takes no memory
 * that grows with the model or the data, so that a training that cannot fit is found out without trying. */
#include "trainer/forecast.h"

#include <inttypes.h>
#include <unistd.h>

#include "core/panels.h"
#include "core/sobol.h"
#include "core/trunk_layout.h"
#include "trainer/checkpoint.h"
#include "trainer/loader.h"
#include "trainer/score.h"
#include "trainer/step.h"

#define LANES 16u            /* rows and samples are computed so many at a time */
#define TILE 128u            /* samples of a row that go through the nets together */
#define DERIVATIVES 9u       /* arrays of a tile for losses of the energy's derivatives */
#define LINE_BYTES 140u      /* of training.jsonl */
#define HEADER_BYTES 4096u   /* of a model file beside its tensors, about */
#define STILL_VALUES 3u      /* of a trunk that does not learn, at once */
#define CHECKPOINT_COPIES 4u /* parameters, two moments, the best parameters */

struct ebm_ctx_limits forecast_limits(const struct setup *setup)
{
    const struct options *o = setup->options;
    struct ebm_ctx_limits limits = {.training = true, .max_rows = SCORE_ROWS, .max_samples = SCORE_TARGETS};
    for (uint32_t i = 0; i < setup->method.n_phases; i++) {
        const struct ebm_loss_spec *loss = &setup->method.phases[i].loss;
        uint32_t rows = step_chunk_rows(loss, o->batch_size);
        limits.max_rows = rows > limits.max_rows ? rows : limits.max_rows;
        limits.max_samples = loss->samples > limits.max_samples ? loss->samples : limits.max_samples;
    }
    if (setup->data->n_validation > 0 && o->validation_samples > limits.max_samples)
        limits.max_samples = o->validation_samples;
    return limits;
}

/* ---- memory ---- */

/* Floats a lane that a backward pass keeps of a net; `widest` grows to its widest layer. */
static uint64_t kept(const struct ebm_net *net, uint64_t *widest)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *layer = &net->layers[i];
        bool both = layer->activation != EBM_ACT_IDENTITY && (layer->activation != EBM_ACT_RELU || layer->residual);
        count += (uint64_t)layer->out * (both ? 2 : 1);
        *widest = layer->out > *widest ? layer->out : *widest;
        *widest = layer->in > *widest ? layer->in : *widest;
    }
    return count;
}

/* Of one thread. */
static uint64_t context_bytes(const struct ebm_net_desc *net, const struct ebm_ctx_limits *limits)
{
    uint64_t lanes = ebm_round_up(limits->max_rows, LANES);
    uint64_t by_sobol = ebm_sobol_count(limits->max_samples), with_true = (uint64_t)limits->max_samples + 1;
    uint64_t stride = ebm_round_up(by_sobol > with_true ? by_sobol : with_true, TILE);
    uint64_t widest_x = ebm_net_reach(net), widest_y = net->D, none = 0;
    uint64_t x_side = kept(&net->feature, &widest_x) + kept(&net->own, &widest_x) + kept(&net->mean, &widest_x) +
                      kept(&net->log_variance, &widest_x) + kept(&net->weight, &widest_x);
    uint64_t y_side = kept(&net->target, &widest_y) + kept(&net->energy, &widest_y) + net->D;
    uint64_t first = net->has_energy ? net->energy.layers[0].out : 0, mixture = 2ull * net->D * net->K + net->K;
    uint64_t rows = (net->H + first + mixture) * (limits->max_rows + lanes) + (ebm_net_reach(net) + x_side) * lanes;
    uint64_t kept_lanes = stride > 3 * TILE ? stride : 3 * TILE; /* a tile's values and two derivatives at least */
    uint64_t samples = y_side * kept_lanes + (2ull * net->D + 12) * stride;
    uint64_t tiles = 4 * widest_x * LANES +
                     (4 * widest_y + kept(&net->target, &none) + kept(&net->energy, &none)) * TILE;
    uint64_t back = 3 * (widest_x * lanes > widest_y * TILE ? widest_x * lanes : widest_y * TILE);
    uint64_t curves = DERIVATIVES * widest_y * TILE, noise = 2 * (6ull * net->D + 4) * LIMIT_COMPONENTS;
    uint64_t scalar = net->D == 1 ? ebm_panels_bytes() : 0;
    return scalar + sizeof(float) * (rows + samples + tiles + back + curves + noise);
}

static bool has_still_trunk(const struct setup *setup)
{
    bool has = false;
    for (uint32_t i = 0; i < setup->method.n_phases; i++)
        has = has || !setup->method.phases[i].trains[EBM_PART_FEATURE];
    return has;
}

static uint64_t weights_of(const struct ebm_trunk *trunk)
{
    uint64_t weights = 0;
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        const struct ebm_image_op *op = &trunk->ops[i];
        weights += (uint64_t)op->to.channels * op->from.channels * op->kernel * op->kernel;
    }
    return weights;
}

/* Of a batch: what every operation gives and before its norm, and gradients in turn; and while heads alone learn, a few
 * values with their weights as tiles. */
static uint64_t trunk_bytes(const struct ebm_trunk *trunk, uint64_t rows, bool stands_still)
{
    uint64_t largest = ebm_shape_count(&trunk->in), weights = weights_of(trunk);
    uint64_t values = largest + ebm_trunk_gradient_numbers(trunk);
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        const struct ebm_image_op *op = &trunk->ops[i];
        uint64_t count = ebm_shape_count(&op->to);
        values += count * (op->kind == EBM_IMAGE_CONV && op->has_norm ? 2 : 1);
        largest = count > largest ? count : largest;
    }
    uint64_t still = stands_still ? largest * STILL_VALUES * rows + 2 * weights : 0;
    return trunk->n_ops > 0 ? sizeof(float) * (values * rows + 3 * weights + still) : 0;
}

/* The same where a GPU does that: the features and their gradient, and weights that nobody reads. */
static uint64_t trunk_bytes_beside(const struct ebm_trunk *trunk, uint64_t rows)
{
    return trunk->n_ops > 0 ? sizeof(float) * (2 * rows * trunk->out + weights_of(trunk)) : 0;
}

struct forecast_memory forecast_memory(const struct setup *setup, uint32_t n_threads, bool on_gpu)
{
    const struct dataset *data = setup->data;
    const struct ebm_net_desc *net = setup_net(setup);
    struct ebm_ctx_limits limits = forecast_limits(setup);
    uint64_t columns = (uint64_t)data->X + data->D, P = net->n_params;
    uint64_t row_bytes = data->pixels != NULL ? data->X + data->D * sizeof(double) : 2 * columns * sizeof(double);
    uint64_t batches = data->pixels != NULL ? LOADER_BATCHES * (uint64_t)setup->options->batch_size : 0;
    bool has_space = setup->options->weight_decay > 0.0 || setup->options->gradient_clip > 0.0;
    struct forecast_device device = {0};
    if (on_gpu)
        device = forecast_device(net, &setup->method, setup->options->batch_size, n_threads);
    uint64_t trunk = on_gpu && forecast_trains_there(net)
                         ? trunk_bytes_beside(&net->trunk, setup->options->batch_size)
                         : trunk_bytes(&net->trunk, setup->options->batch_size, has_still_trunk(setup));
    return (struct forecast_memory){
        .data = data->n_rows * (row_bytes + 3 * sizeof(uint32_t)) + batches * data->X * sizeof(float),
        .parameters = sizeof(float) * (P * (4u + CHECKPOINT_COPIES + (has_space ? 1u : 0u)) +
                                       (P - net->trunk.learned.count) * STEP_CHUNKS) +
                      trunk,
        .threads = n_threads * context_bytes(net, &limits) + device.pinned,
        .device = device,
    };
}

/* ---- words ---- */

static void put_bytes(struct ebm_buf *buf, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024.0 && unit + 1 < EBM_COUNT_OF(units); unit++)
        value /= 1024.0;
    (void)ebm_buf_printf(buf, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void put_phases(struct ebm_buf *buf, const struct setup *setup)
{
    static const char *const parts[EBM_PARTS] = {"features", "target net", "energy", "proposal"};
    const struct method_plan *plan = &setup->method;
    for (uint32_t i = 0; i < plan->n_phases; i++) {
        const struct method_phase *phase = &plan->phases[i];
        uint32_t end = i + 1 < plan->n_phases ? plan->phases[i + 1].first_epoch : setup->options->epochs;
        const char *between = " trains ";
        (void)ebm_buf_printf(buf, "  epochs %u to %u: %s", phase->first_epoch + 1, end,
                             phase->word[0] != '\0' ? phase->word : setup->options->method);
        if (phase->loss.samples > 0)
            (void)ebm_buf_printf(buf, ", %u draws a row,", phase->loss.samples);
        for (uint32_t part = 0; part < EBM_PARTS; part++) {
            if (!phase->trains[part] || setup_net(setup)->part[part].count == 0)
                continue;
            (void)ebm_buf_printf(buf, "%s%s", between, parts[part]);
            between = ", ";
        }
        (void)ebm_buf_text(buf, "\n");
    }
}

static void put_numbers(struct ebm_buf *buf, const double *numbers, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        (void)ebm_buf_printf(buf, "%s%.6g", i == 0 ? "" : ", ", numbers[i]);
}

/* The method's parameters, in the target's unit where they have one. */
static void put_parameters(struct ebm_buf *buf, const struct options *o)
{
    if (o->n_values == 0)
        return;
    (void)ebm_buf_printf(buf, "method   %s:", o->method);
    for (uint32_t i = 0; i < o->n_values; i++) {
        const struct method_value *v = &o->values[i];
        (void)ebm_buf_printf(buf, "%s %s ", i > 0 ? ";" : "", v->name);
        if (v->object != NULL)
            (void)ebm_buf_text(buf, v->is_published ? "of the usual networks" : "as described");
        for (uint32_t row = 0; v->object == NULL && row < (v->dims == 2 ? v->rows : 1u); row++) {
            (void)ebm_buf_text(buf, row > 0 ? " | " : "");
            put_numbers(buf, v->numbers + (size_t)row * v->columns, v->dims == 2 ? v->columns : v->rows);
        }
    }
    (void)ebm_buf_text(buf, "\n");
}

static void put_optimizer(struct ebm_buf *buf, const struct options *o)
{
    const struct schedule *schedule = &o->schedule;
    (void)ebm_buf_printf(buf, "rate     %g, %s", o->learning_rate, schedule_word(schedule->kind));
    if (schedule->kind == SCHEDULE_COSINE)
        (void)ebm_buf_printf(buf, " down to %g", o->learning_rate * schedule->final_share);
    if (schedule->kind == SCHEDULE_STEP)
        (void)ebm_buf_printf(buf, ": times %g every %u epochs", schedule->factor, schedule->every_epochs);
    if (schedule->warmup_steps > 0)
        (void)ebm_buf_printf(buf, ", after a rise over %u steps", schedule->warmup_steps);
    if (o->weight_decay > 0.0)
        (void)ebm_buf_printf(buf, "; weight decay %g", o->weight_decay);
    if (o->gradient_clip > 0.0)
        (void)ebm_buf_printf(buf, "; gradients no longer than %g", o->gradient_clip);
    if (o->patience > 0)
        (void)ebm_buf_printf(buf, "; stops after %u epochs without a better validation NLL", o->patience);
    (void)ebm_buf_text(buf, "\n");
}

static void put_threads(struct ebm_buf *buf, uint32_t n_threads, uint64_t bytes)
{
    (void)ebm_buf_printf(buf, ", %u thread%s ", n_threads, n_threads == 1 ? "" : "s");
    put_bytes(buf, bytes);
}

static void put_host(struct ebm_buf *buf, const struct forecast_memory *memory, uint32_t n_threads)
{
    uint64_t total = memory->data + memory->parameters + memory->threads;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    (void)ebm_buf_text(buf, "memory   about ");
    put_bytes(buf, total);
    (void)ebm_buf_text(buf, ": data ");
    put_bytes(buf, memory->data);
    (void)ebm_buf_text(buf, ", parameters and optimiser ");
    put_bytes(buf, memory->parameters);
    put_threads(buf, n_threads, memory->threads);
    if (machine > 0 && total > machine) {
        (void)ebm_buf_text(buf, "; more than the ");
        put_bytes(buf, machine);
        (void)ebm_buf_text(buf, " of this machine: lower training.samples, training.batch_size or --threads");
    }
    (void)ebm_buf_text(buf, "\n");
}

static void put_device(struct ebm_buf *buf, const struct forecast_device *device, uint32_t n_threads)
{
    (void)ebm_buf_text(buf, "  of a GPU about ");
    put_bytes(buf, device->parameters + device->trunk + device->threads);
    (void)ebm_buf_text(buf, " beside what CUDA takes itself: parameters and optimiser ");
    put_bytes(buf, device->parameters);
    if (device->trunk > 0) {
        (void)ebm_buf_text(buf, ", a batch of images ");
        put_bytes(buf, device->trunk);
    }
    put_threads(buf, n_threads, device->threads);
    (void)ebm_buf_text(buf, "\n");
}

static void put_memory(struct ebm_buf *buf, const struct setup *setup, uint32_t n_threads, enum forecast_where where)
{
    for (int on_gpu = where == FORECAST_GPU; on_gpu <= (where != FORECAST_CPU); on_gpu++) {
        const struct forecast_memory memory = forecast_memory(setup, n_threads, on_gpu);
        if (on_gpu && where == FORECAST_EITHER)
            (void)ebm_buf_text(buf, "where a GPU is found:\n");
        put_host(buf, &memory, n_threads);
        if (on_gpu)
            put_device(buf, &memory.device, n_threads);
    }
}

static void put_files(struct ebm_buf *buf, const struct setup *setup, const char *output)
{
    uint64_t parameters = setup->config->net.n_params * sizeof(float);
    uint64_t all = setup_net(setup)->n_params * sizeof(float);
    (void)ebm_buf_printf(buf, "files    %s/model.safetensors, about ", output);
    put_bytes(buf, parameters + HEADER_BYTES);
    (void)ebm_buf_printf(buf, "\n         %s/training.jsonl, about ", output);
    put_bytes(buf, (uint64_t)LINE_BYTES * setup->options->epochs);
    (void)ebm_buf_printf(buf, "\n         %s/" CHECKPOINT_FILE ", about ", output);
    put_bytes(buf, CHECKPOINT_COPIES * all + HEADER_BYTES);
    (void)ebm_buf_text(buf, ", while it trains\n");
}

void forecast_text(const struct setup *setup, uint32_t n_threads, enum forecast_where where, const char *output,
                   struct ebm_buf *buf)
{
    const struct dataset *data = setup->data;
    const struct options *o = setup->options;
    uint64_t steps = (data->n_train + (uint64_t)o->batch_size - 1) / o->batch_size;
    (void)ebm_buf_printf(buf, "model    %s, %" PRIu64 " parameters\n", setup->config->name,
                         ebm_config_learned(setup->config));
    if (setup->teacher.config != NULL)
        (void)ebm_buf_printf(buf, "teacher  %" PRIu64 " parameters, not kept\n",
                             ebm_config_learned(setup->teacher.config));
    (void)ebm_buf_printf(buf,
                         "steps    %" PRIu64 " of %u rows an epoch, %u epochs: %" PRIu64 " in all; seed %" PRIu64 "\n",
                         steps, o->batch_size, o->epochs, steps * o->epochs, o->seed);
    put_optimizer(buf, o);
    put_parameters(buf, o);
    put_phases(buf, setup);
    put_memory(buf, setup, n_threads, where);
    if (output != NULL)
        put_files(buf, setup, output);
}
