/* npy.c - "\x93NUMPY", version, length, then a Python dictionary in ASCII, padded to 64 bytes, then the numbers.
 *
 *   {'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }
 *
 * Its three keys may stand in any order, with any spaces between; nothing else may. Guarantees: sizes are checked
 * before memory is taken; the bytes are all used. */
#include "proto/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/tensor.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6u
#define PREFIX_BYTES 10u /* magic, version, length of a dictionary in format 1.0 */
#define ALIGNMENT 64u
#define HEAD_BYTES 128u /* of what we write: prefix and dictionary */

/* ---- the dictionary ---- */

struct scan {
    const char *at, *end;
};

static void skip_spaces(struct scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n'))
        scan->at++;
}

/* Takes this text, and spaces before it. */
static bool take(struct scan *scan, const char *text)
{
    size_t n = strlen(text);
    skip_spaces(scan);
    if ((size_t)(scan->end - scan->at) < n || memcmp(scan->at, text, n) != 0)
        return false;
    scan->at += n;
    return true;
}

static bool take_whole(struct scan *scan, uint64_t *ret_whole)
{
    uint64_t whole = 0;
    skip_spaces(scan);
    const char *first = scan->at;
    for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++)
        if (whole > UINT32_MAX)
            return false;
        else
            whole = whole * 10 + (uint64_t)(*scan->at - '0');
    *ret_whole = whole;
    return scan->at > first;
}

/* (2, 3) or (2,) */
static bool take_shape(struct scan *scan, struct tensor_shape *ret_shape)
{
    if (!take(scan, "("))
        return false;
    uint32_t n = 0;
    while (!take(scan, ")")) {
        if (n == TENSOR_DIMS || !take_whole(scan, &ret_shape->dims[n++]))
            return false;
        if (take(scan, ","))
            continue;
        ret_shape->n_dims = n;
        return n > 1 && take(scan, ")");
    }
    ret_shape->n_dims = n;
    return true;
}

struct header {
    bool has_type, has_order, has_shape;
    enum tensor_type type;
    bool is_fortran;
    struct tensor_shape shape;
};

static bool take_type(struct scan *scan, struct header *header)
{
    header->has_type = true;
    header->type = take(scan, "'<f4'") ? TENSOR_FP32 : take(scan, "'|u1'") ? TENSOR_UINT8 : TENSOR_FP64;
    return header->type != TENSOR_FP64 || take(scan, "'<f8'");
}

/* What is not a dictionary of an array that we read: a sentence; NULL: nothing. */
static const char *read_dictionary(struct scan *scan, struct header *header)
{
    bool ok = take(scan, "{");
    while (ok && !take(scan, "}")) {
        if (take(scan, "'descr':") && !header->has_type) {
            if (!take_type(scan, header))
                return "expected numbers of the type '<f4', '<f8' or '|u1': x.astype('<f4')";
        } else if (take(scan, "'fortran_order':") && !header->has_order) {
            header->has_order = true;
            header->is_fortran = take(scan, "True");
            ok = header->is_fortran || take(scan, "False");
        } else if (take(scan, "'shape':") && !header->has_shape) {
            header->has_shape = true;
            ok = take_shape(scan, &header->shape);
        } else {
            ok = false;
        }
        if (ok && !take(scan, ",")) {
            ok = take(scan, "}");
            break;
        }
    }
    skip_spaces(scan);
    if (!ok || scan->at != scan->end || !header->has_type || !header->has_order || !header->has_shape)
        return "its header is not one of an array of at most 4 dims";
    return header->is_fortran ? "expected rows one after the other: numpy.ascontiguousarray(x)" : NULL;
}

/* Where the numbers begin; 0: not such a file. */
static size_t find_dictionary(const char *bytes, size_t size, struct scan *ret_scan)
{
    if (size < PREFIX_BYTES || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0 || bytes[6] < 1 || bytes[6] > 3)
        return 0;
    size_t length_bytes = bytes[6] == 1 ? 2 : 4, begin = MAGIC_BYTES + 2 + length_bytes;
    if (size < begin)
        return 0;
    uint32_t length = 0;
    memcpy(&length, bytes + MAGIC_BYTES + 2, length_bytes);
    if (length > size - begin)
        return 0;
    *ret_scan = (struct scan){bytes + begin, bytes + begin + length};
    return begin + length;
}

/* ---- rows ---- */

/* (n), (n, X) or (n, channels, height, width): sets all but the numbers. */
static bool read_shape(const struct tensor_shape *shape, uint64_t max_rows, struct field_rows *ret_rows)
{
    uint64_t X = 1;
    if (shape->n_dims == 0 || shape->n_dims == 3 || shape->dims[0] < 1 || shape->dims[0] > max_rows)
        return false;
    *ret_rows = (struct field_rows){.n = (uint32_t)shape->dims[0]};
    for (uint32_t i = 1; i < shape->n_dims; i++) {
        uint64_t dim = shape->dims[i];
        if (dim < 1 || dim > UINT32_MAX / X)
            return false;
        X *= dim;
        if (shape->n_dims > 2)
            ret_rows->dims[i - 1] = (uint32_t)dim;
    }
    ret_rows->X = (uint32_t)X;
    return true;
}

static enum ebm_status check_rows(const struct header *header, size_t data_bytes, const struct request_limits *limits,
                                  struct field_rows *ret_rows, struct ebm_error *reterr)
{
    const struct tensor_shape *shape = &header->shape;
    uint64_t max_rows = limits->max_rows < LIMIT_ROWS ? limits->max_rows : LIMIT_ROWS;
    size_t bytes;
    if (!read_shape(shape, max_rows, ret_rows))
        return ebm_error_set(reterr, EBM_INVALID, "body",
                             "expected an array of shape (rows, inputs), or (rows, channels, height, width) of images, "
                             "1 to %" PRIu64 " rows",
                             max_rows);
    if (!tensor_bytes(shape, tensor_type_bytes(header->type), &bytes) || bytes != data_bytes)
        return ebm_error_set(reterr, EBM_INVALID, "body",
                             "an array of shape (%" PRIu32 ", %" PRIu32 ") does not take the %zu bytes that follow its "
                             "header",
                             ret_rows->n, ret_rows->X, data_bytes);
    return EBM_OK;
}

static enum ebm_status copy_bytes(const char *bytes, size_t n, struct ebm_arena *arena, struct field_rows *rows,
                                  struct ebm_error *reterr)
{
    uint8_t *copy = EBM_ARENA_NEW(arena, uint8_t, n);
    if (!copy)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "body", "no memory for its numbers");
    memcpy(copy, bytes, n);
    rows->bytes = copy;
    return EBM_OK;
}

static enum ebm_status read_numbers(enum tensor_type type, const char *bytes, struct ebm_arena *arena,
                                    struct field_rows *rows, struct ebm_error *reterr)
{
    size_t n = (size_t)rows->n * rows->X;
    if (type == TENSOR_UINT8)
        return copy_bytes(bytes, n, arena, rows, reterr);
    double *numbers = EBM_ARENA_NEW(arena, double, n);
    if (!numbers)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "body", "no memory for its numbers");
    size_t good = tensor_read(type, bytes, n, numbers);
    if (good < n) {
        char where[64];
        (void)snprintf(where, sizeof where, "body[%zu][%zu]", good / rows->X, good % rows->X);
        return ebm_error_set(reterr, EBM_INVALID, where, "expected a finite number");
    }
    rows->numbers = numbers;
    return EBM_OK;
}

enum ebm_status npy_read_rows(const char *bytes, size_t size, const struct request_limits *limits,
                              struct ebm_arena *arena, struct field_rows *ret_rows, struct ebm_error *reterr)
{
    struct header header = {false};
    struct scan scan;
    struct field_rows rows;
    size_t begin = find_dictionary(bytes, size, &scan);
    if (begin == 0)
        return ebm_error_set(reterr, EBM_INVALID, "body", "expected a .npy file of numpy's format 1.0 to 3.0");
    const char *problem = read_dictionary(&scan, &header);
    if (problem)
        return ebm_error_set(reterr, EBM_INVALID, "body", "%s", problem);
    enum ebm_status status = check_rows(&header, size - begin, limits, &rows, reterr);
    if (status == EBM_OK)
        status = read_numbers(header.type, bytes + begin, arena, &rows, reterr);
    if (status == EBM_OK)
        *ret_rows = rows;
    return status;
}

/* ---- one array that goes out ---- */

static const char *output_word(const struct request *request)
{
    if (request->kind == REQUEST_SAMPLE)
        return request->resample ? "samples" : NULL;
    if (request->kind == REQUEST_REFINE || __builtin_popcount(request->outputs) != 1)
        return NULL;
    if (request->kind == REQUEST_PREDICT && request->outputs == 1u << REQUEST_PREDICT_INTERVAL &&
        request->interval_kind != REQUEST_INTERVAL_EQUAL_TAILED)
        return NULL;
    return request_output_word(request->kind, (uint32_t)__builtin_ctz(request->outputs));
}

const struct answer_member *npy_member(const struct request *request)
{
    uint32_t n;
    const struct answer_member *members = answer_members(&n);
    const char *word = output_word(request);
    for (uint32_t i = 0; word && i < n; i++)
        if (strcmp(members[i].name, word) == 0 && members[i].kinds >> request->kind & 1u)
            return &members[i];
    return NULL;
}

static size_t row_numbers(const struct answer *answer, const struct answer_member *member)
{
    uint32_t dims[2];
    size_t n = 1;
    for (uint32_t i = answer_dims(answer, member->shape, dims); i-- > 0;)
        n *= dims[i];
    return n;
}

void npy_begin(struct ebm_buf *buf, const struct answer *answer, const struct answer_member *member, uint32_t n_rows)
{
    _Static_assert(HEAD_BYTES % ALIGNMENT == 0, "the numbers are aligned");
    static const char prefix[PREFIX_BYTES] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, HEAD_BYTES - PREFIX_BYTES, 0};
    uint32_t dims[2];
    uint32_t n = answer_dims(answer, member->shape, dims);
    size_t start = buf->size;
    (void)ebm_buf_append(buf, prefix, sizeof prefix);
    (void)ebm_buf_printf(buf, "{'descr': '<f8', 'fortran_order': False, 'shape': (%" PRIu32 ",", n_rows);
    for (uint32_t i = 0; i < n; i++)
        (void)ebm_buf_printf(buf, i ? ", %" PRIu32 : " %" PRIu32, dims[i]);
    (void)ebm_buf_text(buf, "), }");
    while (buf->status == EBM_OK && buf->size - start < HEAD_BYTES - 1)
        (void)ebm_buf_append(buf, " ", 1);
    (void)ebm_buf_append(buf, "\n", 1);
}

void npy_add_row(struct ebm_buf *buf, const struct answer *answer, const struct answer_member *member,
                 const struct answer_row *row)
{
    const double *values;
    memcpy(&values, (const char *)row + member->at, sizeof values);
    (void)ebm_buf_append(buf, values, row_numbers(answer, member) * sizeof *values);
}

size_t npy_bytes(const struct answer *answer, const struct answer_member *member, uint32_t n_rows)
{
    return HEAD_BYTES + (size_t)n_rows * row_numbers(answer, member) * sizeof(double);
}
