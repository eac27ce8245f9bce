/* oip_answer.c - rows of numbers -> the answer of an infer request: outputs as JSON, as binary data, or some of each.
 *
 *   {"model_name", "model_version", "id", "parameters": {"seed"}, "outputs": [{name, datatype, shape, data | size}]}
 *   ‖ the binary tensors in the order of outputs
 *
 * Guarantees: sizes that the JSON tells are those of the bytes that follow; numbers in JSON are those of the binary
 * data, null for what is not finite; no answer is larger than oip_answer_bound said. Does not know: models, devices. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "proto/json_write.h"
#include "proto/oip.h"

/* Two more than a float needs for itself: it then rounds a number by some 1e-5 of the target's spread, or less. */
#define FLOAT_DIGITS (JSON_WRITE_FLOAT_DIGITS + 2)

/* In a struct answer_row: a pointer to the numbers, or the number itself. */
enum place { AT, IN };

#define X(name, word, shape, place) {#word, ANSWER_##shape, place, offsetof(struct answer_row, word)},
static const struct {
    const char *word;
    enum answer_shape shape;
    enum place place;
    size_t at;
} outputs[OIP_OUTPUTS] = {OIP_OUTPUT_MAP(X)};
#undef X

const char *oip_output_word(enum oip_output output)
{
    return outputs[output].word;
}

enum answer_shape oip_output_shape(enum oip_output output)
{
    return outputs[output].shape;
}

enum tensor_type oip_output_type(enum oip_output output, int digits)
{
    if (outputs[output].shape == ANSWER_FLAG)
        return TENSOR_BOOL;
    return answer_is_in_unit(outputs[output].shape) && digits > FLOAT_DIGITS ? TENSOR_FP64 : TENSOR_FP32;
}

/* ---- shapes ---- */

struct output {
    enum oip_output output;
    enum tensor_type type;
    struct tensor_shape shape;
    size_t row_numbers;
    int digits;
};

static struct output describe(const struct answer *answer, enum oip_output output, uint32_t n_rows)
{
    uint32_t dims[2];
    uint32_t n = answer_dims(answer, outputs[output].shape, dims);
    struct output described = {
        output, oip_output_type(output, answer->digits), {n + 1, {n_rows}}, 1, JSON_WRITE_FLOAT_DIGITS};
    if (described.type == TENSOR_FP64)
        described.digits = answer->digits;
    for (uint32_t i = 0; i < n; i++) {
        described.shape.dims[i + 1] = dims[i];
        described.row_numbers *= dims[i];
    }
    return described;
}

static size_t bytes_of(const struct output *output)
{
    return output->shape.dims[0] * output->row_numbers * tensor_type_bytes(output->type);
}

/* ---- values ---- */

/* The numbers of a row; what stands in the row itself is copied to *place. NULL: the estimator gives none. */
static const double *values_of(const struct answer_row *row, enum oip_output output, double *place)
{
    const double *values;
    const char *member = (const char *)row + outputs[output].at;
    if (outputs[output].place == AT) {
        memcpy(&values, member, sizeof values);
        return values;
    }
    if (outputs[output].shape == ANSWER_FLAG)
        *place = row->reliable ? 1.0 : 0.0;
    else if (row->drew)
        memcpy(place, member, sizeof *place);
    else
        *place = NAN; /* only draws have weights */
    return place;
}

static void append_row(struct ebm_buf *buf, const struct output *output, const struct answer_row *row, bool binary)
{
    double place;
    const double *values = values_of(row, output->output, &place);
    if (binary)
        tensor_append(buf, output->type, values, output->row_numbers);
    else
        tensor_append_json(buf, output->type, values, output->row_numbers, output->digits);
}

struct rows {
    uint32_t n;
    oip_row_fn *row_of;
    const void *who;
};

static void append_rows(struct ebm_buf *buf, const struct output *output, const struct rows *rows, bool binary)
{
    struct answer_row row;
    for (uint32_t i = 0; i < rows->n && rows->row_of(rows->who, i, &row); i++) {
        if (!binary && i > 0)
            (void)ebm_buf_append(buf, ",", 1);
        append_row(buf, output, &row, binary);
    }
}

/* ---- the whole ---- */

static void write_output(struct ebm_buf *buf, const struct output *output, const struct rows *rows, bool binary)
{
    (void)ebm_buf_printf(buf, "{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[", outputs[output->output].word,
                         tensor_type_word(output->type));
    for (uint32_t i = 0; i < output->shape.n_dims; i++)
        (void)ebm_buf_printf(buf, "%s%" PRIu64, i ? "," : "", output->shape.dims[i]);
    if (binary) {
        (void)ebm_buf_printf(buf, "],\"parameters\":{\"binary_data_size\":%zu}}", bytes_of(output));
        return;
    }
    (void)ebm_buf_text(buf, "],\"data\":[");
    append_rows(buf, output, rows, false);
    (void)ebm_buf_text(buf, "]}");
}

static void write_head(struct ebm_buf *buf, const struct answer *answer)
{
    (void)ebm_buf_text(buf, "{\"model_name\":");
    (void)ebm_buf_json_text(buf, answer->model);
    (void)ebm_buf_printf(buf, ",\"model_version\":\"%" PRIu64 "\"", answer->version);
    if (answer->id) {
        (void)ebm_buf_text(buf, ",\"id\":");
        (void)ebm_buf_json_text(buf, answer->id);
    }
    (void)ebm_buf_printf(buf, ",\"parameters\":{\"seed\":%" PRIu64 "},\"outputs\":[", answer->seed);
}

enum ebm_status oip_answer(struct ebm_buf *buf, const struct answer *answer, const struct oip_wanted *wanted,
                           uint32_t n_rows, oip_row_fn *row_of, const void *who, size_t *ret_json_bytes)
{
    struct rows rows = {n_rows, row_of, who};
    bool has_binary = false;
    write_head(buf, answer);
    for (uint32_t i = 0; i < wanted->n_outputs; i++) {
        struct output output = describe(answer, wanted->outputs[i].output, n_rows);
        (void)ebm_buf_text(buf, i ? "," : "");
        write_output(buf, &output, &rows, wanted->outputs[i].binary);
        has_binary = has_binary || wanted->outputs[i].binary;
    }
    (void)ebm_buf_text(buf, "]}");
    *ret_json_bytes = has_binary ? buf->size : 0;
    for (uint32_t i = 0; i < wanted->n_outputs; i++) {
        struct output output = describe(answer, wanted->outputs[i].output, n_rows);
        if (wanted->outputs[i].binary)
            append_rows(buf, &output, &rows, true);
    }
    return buf->status;
}

size_t oip_answer_bound(const struct answer *answer, const struct oip_wanted *wanted, uint32_t n_rows)
{
    const size_t head_bytes = 1024, output_bytes = 256, around_bytes = 9; /* of a number's digits */
    size_t bytes = head_bytes + REQUEST_ID_CHARACTERS * 6;
    for (uint32_t i = 0; i < wanted->n_outputs; i++) {
        struct output output = describe(answer, wanted->outputs[i].output, n_rows);
        size_t numbers = (size_t)n_rows * output.row_numbers;
        bytes += output_bytes;
        bytes += wanted->outputs[i].binary ? bytes_of(&output) : numbers * ((size_t)output.digits + around_bytes);
    }
    return bytes;
}
