/* oip_routes.c - /v2: the Open Inference Protocol's answers that need no worker, and infer's way into dispatch.
 *
 * `inputs` and `outputs` of a model are what every request has and gets by itself; clients that ask for all outputs
 * that are described, with nothing but `x`, work. What comes with further inputs, or when it is named, is described as
 * optional. Guarantees: as routes.c. */
#include <inttypes.h>
#include <string.h>

#include "core/version.h"
#include "models/estimate.h"
#include "proto/json_write.h"
#include "proto/oip.h"
#include "server/input_rows.h"
#include "server/routes_internal.h"

static const char extensions[] = "\"binary_tensor_data\",\"model_configuration\",\"model_repository\",\"parameters\","
                                 "\"schedule_policy\",\"statistics\"";

void oip_show_server(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                     const struct segments *segments)
{
    (void)routes;
    (void)route;
    (void)segments;
    struct ebm_buf body;
    ebm_buf_init(&body, ROUTES_ANSWER_BYTES);
    (void)ebm_buf_printf(&body, "{\"name\":\"ebm-server\",\"version\":\"%s\",\"extensions\":[%s]}\n", EBM_VERSION,
                         extensions);
    reply_json(exchange, &body);
}

/* ---- which model ---- */

/* The version that the path names, 0 for none. False: the exchange was answered. */
static bool read_version(struct http_exchange *exchange, const struct segments *segments, uint64_t *ret_version)
{
    bool names_version = strstr(http_path(exchange), "/versions/") != NULL;
    *ret_version = names_version ? ebm_model_version_of(segments->text[1]) : 0;
    if (!names_version || *ret_version > 0)
        return true;
    reply_refuse(exchange, REPLY_NOT_FOUND, "version", "expected a whole number from 1 on");
    return false;
}

/* The model, or its version, that the path names; NULL: the exchange was answered. */
static struct model_store_entry *find_model(const struct routes *routes, struct http_exchange *exchange,
                                            const struct segments *segments)
{
    struct model_store_entry *entry;
    struct ebm_error error;
    uint64_t version;
    if (!routes->store) {
        routes_refuse_not_ready(exchange);
        return NULL;
    }
    if (!read_version(exchange, segments, &version))
        return NULL;
    enum ebm_status status = model_store_find(routes->store, segments->text[0], version, &entry, &error);
    if (status == EBM_OK)
        return entry;
    reply_error(exchange, reply_kind_of(status), &error);
    return NULL;
}

typedef void write_model_fn(struct ebm_buf *body, const struct routes *routes, const struct model_store_entry *entry);

static void show(struct routes *routes, struct http_exchange *exchange, const struct segments *segments,
                 write_model_fn *write)
{
    struct model_store_entry *entry = find_model(routes, exchange, segments);
    if (!entry)
        return;
    struct ebm_buf body;
    ebm_buf_init(&body, ROUTES_ANSWER_BYTES);
    write(&body, routes, entry);
    (void)model_store_entry_unref(entry);
    reply_json(exchange, &body);
}

/* ---- GET /v2/models/M ---- */

static void write_names(struct ebm_buf *body, const char *key, char *const *names, uint32_t n)
{
    if (!names)
        return;
    (void)ebm_buf_printf(body, ",\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++) {
        (void)ebm_buf_text(body, i ? "," : "");
        json_write_text(body, names[i]);
    }
    (void)ebm_buf_text(body, "]");
}

static void write_versions(struct ebm_buf *body, struct model_store *store, const char *name)
{
    struct model_list *models = model_store_list(store);
    bool first = true;
    (void)ebm_buf_text(body, ",\"versions\":[");
    for (size_t i = models->n; i-- > 0;) { /* ascending */
        const struct model_store_entry *entry = models->entries[i];
        if (!entry->model || strcmp(entry->name, name) != 0)
            continue;
        (void)ebm_buf_printf(body, "%s\"%" PRIu64 "\"", first ? "" : ",", entry->version);
        first = false;
    }
    (void)model_list_unref(models);
    (void)ebm_buf_text(body, "]");
}

/* Outputs that some request can get of this network. */
static uint32_t outputs_of(const struct ebm_net_desc *net)
{
    const uint32_t of_weights = 1u << OIP_LOG_WEIGHTS | 1u << OIP_ESS | 1u << OIP_PARETO_K,
                   of_scalars = 1u << OIP_CDF | 1u << OIP_CRPS;
    uint32_t outputs = (1u << OIP_OUTPUTS) - 1;
    if (!net->has_energy || net->K == 0)
        outputs &= ~of_weights;
    if (net->K == 0)
        outputs &= ~(1u << OIP_PROPOSAL_LOG_PROB);
    if (net->D > 1)
        outputs &= ~of_scalars;
    if (net->D > 1 && !net->has_energy)
        outputs &= ~(1u << OIP_ENTROPY);
    return outputs;
}

/* A row's dims; -1 for those that a request sets. */
static void write_dims(struct ebm_buf *body, enum oip_output output, uint32_t D, const char *comma)
{
    uint32_t dims[2];
    uint32_t n = answer_dims(&(struct answer){.D = D}, oip_output_shape(output), dims);
    for (uint32_t i = 0; i < n; i++, comma = ",")
        (void)ebm_buf_printf(body, dims[i] > 0 ? "%s%" PRIu32 : "%s-1", comma, dims[i]);
}

/* Of an image channels, height, width; else how many numbers. */
static void write_row_dims(struct ebm_buf *body, const struct ebm_input_config *input)
{
    if (input->is_image)
        (void)ebm_buf_printf(body, "%" PRIu32 ",%" PRIu32 ",%" PRIu32, input->shape.channels, input->shape.height,
                             input->shape.width);
    else
        (void)ebm_buf_printf(body, "%" PRIu32, input->size);
}

static void write_outputs(struct ebm_buf *body, const struct model_store_entry *entry, uint32_t outputs)
{
    const char *comma = "";
    for (uint32_t i = 0; i < OIP_OUTPUTS; i++) {
        if (!(outputs >> i & 1u))
            continue;
        (void)ebm_buf_printf(body, "%s{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[-1", comma, oip_output_word(i),
                             tensor_type_word(oip_output_type(i, entry->digits)));
        write_dims(body, i, ebm_model_net(entry->model)->D, ",");
        (void)ebm_buf_text(body, "]}");
        comma = ",";
    }
}

static void write_metadata(struct ebm_buf *body, const struct routes *routes, const struct model_store_entry *entry)
{
    const struct ebm_config *config = ebm_model_config(entry->model);
    uint32_t D = config->target.dim;
    (void)ebm_buf_text(body, "{\"name\":");
    (void)ebm_buf_json_text(body, entry->name);
    write_versions(body, routes->store, entry->name);
    (void)ebm_buf_printf(
        body, ",\"platform\":\"ebm_safetensors\",\"inputs\":[{\"name\":\"x\",\"datatype\":\"%s\",\"shape\":[-1,",
        tensor_type_word(input_rows_type(&config->input)));
    write_row_dims(body, &config->input);
    (void)ebm_buf_text(body, "]}],\"outputs\":[");
    write_outputs(body, entry, OIP_STANDARD_OUTPUTS);
    (void)ebm_buf_text(body, "],\"optional_inputs\":[{\"name\":\"quantiles\",\"datatype\":\"FP64\",\"shape\":[-1]}");
    (void)ebm_buf_printf(body, ",{\"name\":\"targets\",\"datatype\":\"FP32\",\"shape\":[-1,-1,%" PRIu32 "]}", D);
    if (D == 1)
        (void)ebm_buf_text(body, ",{\"name\":\"cdf\",\"datatype\":\"FP32\",\"shape\":[-1,-1]}"
                                 ",{\"name\":\"crps_at\",\"datatype\":\"FP32\",\"shape\":[-1,-1]}");
    (void)ebm_buf_text(body, "],\"optional_outputs\":[");
    write_outputs(body, entry, outputs_of(&config->net) & ~OIP_STANDARD_OUTPUTS);
    (void)ebm_buf_text(body, "]");
    write_names(body, "input_names", config->input.names, config->input.size);
    write_names(body, "target_names", config->target.names, D);
    (void)ebm_buf_text(body, "}\n");
}

void oip_show_model(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                    const struct segments *segments)
{
    (void)route;
    show(routes, exchange, segments, write_metadata);
}

static void write_ready(struct ebm_buf *body, const struct routes *routes, const struct model_store_entry *entry)
{
    (void)routes;
    (void)ebm_buf_text(body, "{\"name\":");
    (void)ebm_buf_json_text(body, entry->name);
    (void)ebm_buf_printf(body, ",\"version\":\"%" PRIu64 "\",\"ready\":true}\n", entry->version);
}

void oip_show_model_ready(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                          const struct segments *segments)
{
    (void)route;
    if (routes_state_is_ready(routes->state))
        show(routes, exchange, segments, write_ready);
    else
        routes_refuse_not_ready(exchange);
}

/* ---- GET /v2/models/M/config, as Triton has it ---- */

static void write_batching(struct ebm_buf *body, const struct routes *routes, const struct batcher_lane_limits *lane)
{
    const struct ebm_device_ops *ops = routes->state->devices.ops;
    uint32_t n = lane->max_batches > 0 ? lane->max_batches : routes->n_workers, n_devices = ops->n_devices;
    (void)ebm_buf_text(body, ",\"instance_group\":[");
    for (uint32_t i = 0; i < n_devices && ops != ebm_device_cpu(); i++)
        (void)ebm_buf_printf(body,
                             "%s{\"name\":\"workers_%" PRIu32 "\",\"kind\":\"KIND_GPU\",\"count\":%" PRIu32
                             ",\"gpus\":[%" PRIu32 "]}",
                             i > 0 ? "," : "", i, (n + n_devices - 1 - i) / n_devices, ops->device_numbers[i]);
    if (ops == ebm_device_cpu())
        (void)ebm_buf_printf(body, "{\"name\":\"workers\",\"kind\":\"KIND_CPU\",\"count\":%" PRIu32 "}", n);
    (void)ebm_buf_text(body, "]");
    (void)ebm_buf_printf(body,
                         ",\"dynamic_batching\":{\"preferred_batch_size\":[%" PRIu32
                         "],\"max_queue_delay_microseconds\":%" PRIu64 ",\"priority_levels\":%" PRIu32 "}",
                         lane->max_rows, lane->max_delay_us, lane->n_priorities);
}

static void write_config(struct ebm_buf *body, const struct routes *routes, const struct model_store_entry *entry)
{
    const struct ebm_net_desc *net = ebm_model_net(entry->model);
    const struct ebm_input_config *input = &ebm_model_config(entry->model)->input;
    const char *comma = "";
    (void)ebm_buf_text(body, "{\"name\":");
    (void)ebm_buf_json_text(body, entry->name);
    (void)ebm_buf_printf(body,
                         ",\"platform\":\"\",\"backend\":\"ebm\",\"version_policy\":{\"specific\":{\"versions\":["
                         "%" PRIu64 "]}},\"max_batch_size\":%" PRIu64,
                         entry->version, routes->limits->max_rows);
    (void)ebm_buf_printf(body, ",\"input\":[{\"name\":\"x\",\"data_type\":\"TYPE_%s\"%s,\"dims\":[",
                         tensor_type_word(input_rows_type(input)),
                         input->is_image ? ",\"format\":\"FORMAT_NCHW\"" : "");
    write_row_dims(body, input);
    (void)ebm_buf_text(body, "]}],\"output\":[");
    for (uint32_t i = 0; i < OIP_OUTPUTS; i++) {
        if (!(OIP_STANDARD_OUTPUTS >> i & 1u))
            continue;
        (void)ebm_buf_printf(body, "%s{\"name\":\"%s\",\"data_type\":\"TYPE_%s\",\"dims\":[", comma, oip_output_word(i),
                             tensor_type_word(oip_output_type(i, entry->digits)));
        write_dims(body, i, net->D, "");
        (void)ebm_buf_text(body, "]}");
        comma = ",";
    }
    (void)ebm_buf_text(body, "]");
    write_batching(body, routes, &entry->serving->lane);
    (void)ebm_buf_text(body,
                       ",\"default_model_filename\":\"model.safetensors\",\"parameters\":{}"
                       ",\"model_transaction_policy\":{\"decoupled\":false},\"response_cache\":{\"enable\":false}}\n");
}

void oip_show_config(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                     const struct segments *segments)
{
    (void)route;
    show(routes, exchange, segments, write_config);
}

/* ---- GET /v2/models/M/stats ---- */

static bool is_asked(const struct model_store_entry *entry, const char *model, uint64_t version)
{
    return entry->model && (!model || strcmp(entry->name, model) == 0) && (version == 0 || entry->version == version);
}

/* model NULL: all models; version 0: all versions. */
static void show_statistics(const struct routes *routes, struct http_exchange *exchange, const char *model,
                            uint64_t version)
{
    struct model_list *models = model_store_list(routes->store);
    struct ebm_buf body;
    const char *comma = "";
    ebm_buf_init(&body, ROUTES_STATISTICS_BYTES);
    (void)ebm_buf_text(&body, "{\"model_stats\":[");
    for (size_t i = 0; i < models->n; i++) {
        const struct model_store_entry *entry = models->entries[i];
        if (!is_asked(entry, model, version))
            continue;
        (void)ebm_buf_text(&body, comma);
        struct statistics_requests requests = metrics_model_statistics(entry->counts);
        statistics_write(&entry->counts->statistics, &requests, entry->name, entry->version,
                         counter_get(&entry->counts->rows), &body);
        comma = ",";
    }
    (void)model_list_unref(models);
    (void)ebm_buf_text(&body, "]}\n");
    reply_json(exchange, &body);
}

void oip_show_statistics(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                         const struct segments *segments)
{
    (void)route;
    struct model_store_entry *entry = find_model(routes, exchange, segments);
    bool names_version = strstr(http_path(exchange), "/versions/") != NULL;
    if (!entry)
        return;
    show_statistics(routes, exchange, entry->name, names_version ? entry->version : 0);
    (void)model_store_entry_unref(entry);
}

void oip_show_all_statistics(struct routes *routes, struct http_exchange *exchange, const struct route *route,
                             const struct segments *segments)
{
    (void)route;
    (void)segments;
    if (routes->store)
        show_statistics(routes, exchange, NULL, 0);
    else
        routes_refuse_not_ready(exchange);
}

/* ---- POST /v2/models/M/infer ---- */

void oip_infer(struct routes *routes, struct http_exchange *exchange, const struct route *route,
               const struct segments *segments)
{
    (void)route;
    struct job_form form = routes_form(exchange);
    const char *length = http_header(exchange, OIP_LENGTH_HEADER);
    form.model = segments->text[0];
    form.has_json_bytes = length != NULL;
    if (length && !oip_read_length(length, &form.json_bytes))
        reply_refuse(exchange, REPLY_INVALID, OIP_LENGTH_HEADER, "expected digits");
    else if (!routes->store)
        routes_refuse_not_ready(exchange);
    else if (read_version(exchange, segments, &form.version))
        dispatch_request(routes->dispatch, exchange, REQUEST_INFER, &form);
}
