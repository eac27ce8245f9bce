/* npy.c - \x93NUMPY, version, length of the header, the header, then the numbers:
 *
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (2000, 2), }
 *
 * The header is a Python dict; only its three keys are looked for, nothing of it is executed. Guarantees: rows and
 * columns are within limits.h, and the file is exactly as long as they say. */
#include "trainer/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "trainer/array.h"

#define HEADER_BYTES 65536u
#define MAGIC_BYTES 6u
#define BEGIN_BYTES 10u          /* magic, version, and a length of 2 bytes; 2 more from version 2 on */
#define NUMBERS_MAX (1ull << 34) /* of a file */

void npy_done(struct npy *npy)
{
    if (npy->file != NULL)
        (void)fclose(npy->file);
    free(npy->path);
    free(npy->row);
    *npy = (struct npy){.path = NULL};
}

bool npy_is_one(const char *path)
{
    char begin[MAGIC_BYTES];
    struct stat info;
    bool is_file = stat(path, &info) == 0 && S_ISREG(info.st_mode); /* what a pipe gives can be read once only */
    FILE *file = is_file ? fopen(path, "re") : NULL;
    if (file == NULL)
        return false;
    bool is_one = fread(begin, 1, sizeof begin, file) == sizeof begin && memcmp(begin, NPY_MAGIC, sizeof begin) == 0;
    (void)fclose(file);
    return is_one;
}

static enum ebm_status damaged(const char *path, const char *what, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_DAMAGED, path, "not a whole .npy file: %s", what);
}

/* ---- the header ---- */

/* Of one byte there is no order, and numpy writes '|'. */
static bool is_in_our_order(char order, uint32_t number_bytes)
{
    return order == '<' || (number_bytes == 1 && (order == '|' || order == '>'));
}

/* What stands behind 'key':, without blanks; NULL when the key is missing. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    (void)snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (at == NULL)
        return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static enum ebm_status read_type(const char *path, const char *value, struct npy_header *header,
                                 struct ebm_error *reterr)
{
    static const char *const taken[] = {"f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"};
    char order = 0, word[8] = "";
    if (value == NULL || sscanf(value, "'%c%7[^']'", &order, word) != 2)
        return ebm_error_set(reterr, EBM_INVALID, path,
                             "a structured or unknown type, expected plain numbers: save it with .astype('<f8')");
    for (size_t i = 0; i < EBM_COUNT_OF(taken); i++) {
        if (strcmp(word, taken[i]) != 0)
            continue;
        header->kind = word[0];
        header->number_bytes = (uint32_t)(word[1] - '0');
        if (is_in_our_order(order, header->number_bytes))
            return EBM_OK;
        return ebm_error_set(reterr, EBM_INVALID, path,
                             "%snumbers of the type '%c%s', expected little-endian: save it with .astype('<%s')",
                             order == '>' ? "big-endian " : "", order, word, word);
    }
    return ebm_error_set(reterr, EBM_INVALID, path,
                         "numbers of the type '%c%s', expected float32, float64 or integers: save it with "
                         ".astype('<f8')",
                         order, word);
}

static enum ebm_status read_order(const char *path, const char *value, struct ebm_error *reterr)
{
    if (value != NULL && strncmp(value, "False", 5) == 0)
        return EBM_OK;
    if (value == NULL || strncmp(value, "True", 4) != 0)
        return damaged(path, "its header does not say the order of the numbers", reterr);
    return ebm_error_set(reterr, EBM_INVALID, path,
                         "in Fortran order, expected C order: save numpy.ascontiguousarray of it");
}

static enum ebm_status read_shape(const char *path, const char *value, struct npy_header *header,
                                  struct ebm_error *reterr)
{
    if (value == NULL || *value != '(')
        return damaged(path, "its header does not say a shape", reterr);
    const char *at = value + 1;
    while (*at >= '0' && *at <= '9') {
        char *end = NULL;
        errno = 0;
        unsigned long long size = strtoull(at, &end, 10);
        if (errno != 0)
            return damaged(path, "its shape is not one of whole numbers", reterr);
        if (header->n_dims < NPY_DIMS)
            header->shape[header->n_dims] = size;
        header->n_dims++;
        at = end + strspn(end, ", ");
    }
    if (*at != ')')
        return damaged(path, "its shape is not one of whole numbers", reterr);
    if (header->n_dims > NPY_DIMS)
        return ebm_error_set(reterr, EBM_INVALID, path, "%u dimensions, at most %u", header->n_dims, NPY_DIMS);
    return EBM_OK;
}

/* Magic and version, then the length of the text. `size` bytes are there. */
static enum ebm_status read_begin(const unsigned char *bytes, size_t size, const char *path, size_t *ret_begin,
                                  size_t *ret_length, struct ebm_error *reterr)
{
    if (size < BEGIN_BYTES || memcmp(bytes, NPY_MAGIC, MAGIC_BYTES) != 0)
        return damaged(path, "it does not begin like one", reterr);
    if (bytes[6] < 1 || bytes[6] > 3)
        return ebm_error_set(reterr, EBM_INVALID, path, ".npy format %u.%u, expected 1.0 to 3.0", bytes[6], bytes[7]);
    bool is_long = bytes[6] >= 2;
    if (is_long && size < BEGIN_BYTES + 2)
        return damaged(path, "its header is cut short", reterr);
    size_t length = bytes[8] + 256u * bytes[9] + (is_long ? 65536u * bytes[10] + 16777216u * (size_t)bytes[11] : 0);
    if (length > HEADER_BYTES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, path, "a header of %zu bytes, at most %u", length, HEADER_BYTES);
    *ret_begin = is_long ? BEGIN_BYTES + 2 : BEGIN_BYTES;
    *ret_length = length;
    return EBM_OK;
}

enum ebm_status npy_read_header(const unsigned char *bytes, size_t size, const char *path,
                                struct npy_header *ret_header, struct ebm_error *reterr)
{
    size_t begin = 0, length = 0;
    enum ebm_status status = read_begin(bytes, size, path, &begin, &length, reterr);
    if (status != EBM_OK)
        return status;
    if (size - begin < length)
        return damaged(path, "its header is cut short", reterr);
    EBM_AUTO(ebm_freep) char *text = strndup((const char *)bytes + begin, length);
    if (text == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    struct npy_header header = {.bytes = begin + length};
    status = read_type(path, value_of(text, "descr"), &header, reterr);
    if (status == EBM_OK)
        status = read_order(path, value_of(text, "fortran_order"), reterr);
    if (status == EBM_OK)
        status = read_shape(path, value_of(text, "shape"), &header, reterr);
    if (status == EBM_OK)
        *ret_header = header;
    return status;
}

/* ---- a file of rows ---- */

static enum ebm_status take_shape(struct npy *npy, const struct npy_header *header, struct ebm_error *reterr)
{
    uint64_t rows = header->shape[0], columns = header->n_dims == 2 ? header->shape[1] : 1;
    if (header->n_dims < 1 || header->n_dims > 2)
        return ebm_error_set(reterr, EBM_INVALID, npy->path,
                             "%u dimensions, expected (rows) or (rows, columns): reshape it", header->n_dims);
    if (rows > LIMIT_DATA_ROWS || columns > LIMIT_DATA_COLUMNS || columns == 0 || rows * columns > NUMBERS_MAX)
        return ebm_error_set(reterr, EBM_TOO_LARGE, npy->path,
                             "the shape (%" PRIu64 ", %" PRIu64 "); at most %u rows of 1 to %u columns", rows, columns,
                             LIMIT_DATA_ROWS, LIMIT_DATA_COLUMNS);
    npy->rows = (uint32_t)rows;
    npy->columns = (uint32_t)columns;
    npy->kind = header->kind;
    npy->number_bytes = header->number_bytes;
    return EBM_OK;
}

static enum ebm_status check_length(const struct npy *npy, uint64_t begin, struct ebm_error *reterr)
{
    struct stat info;
    uint64_t expected = begin + (uint64_t)npy->rows * npy->columns * npy->number_bytes;
    if (fstat(fileno(npy->file), &info) != 0 || !S_ISREG(info.st_mode))
        return ebm_error_set(reterr, EBM_INVALID, npy->path, "is no regular file");
    if ((uint64_t)info.st_size != expected)
        return ebm_error_set(reterr, EBM_DAMAGED, npy->path,
                             "%llu bytes; %u rows of %u numbers take %" PRIu64 ": cut short, or written to twice",
                             (unsigned long long)info.st_size, npy->rows, npy->columns, expected);
    return EBM_OK;
}

/* Reads the header and stands behind it. */
static enum ebm_status read_header(struct npy *npy, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) unsigned char *bytes = malloc(BEGIN_BYTES + 2 + HEADER_BYTES);
    struct npy_header header;
    if (bytes == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, npy->path, "no memory");
    size_t size = fread(bytes, 1, BEGIN_BYTES + 2 + HEADER_BYTES, npy->file);
    enum ebm_status status = npy_read_header(bytes, size, npy->path, &header, reterr);
    if (status == EBM_OK)
        status = take_shape(npy, &header, reterr);
    if (status == EBM_OK)
        status = check_length(npy, header.bytes, reterr);
    if (status == EBM_OK && fseeko(npy->file, (off_t)header.bytes, SEEK_SET) != 0)
        status = damaged(npy->path, "it cannot be read", reterr);
    return status;
}

enum ebm_status npy_open(const char *path, struct npy *ret_npy, struct ebm_error *reterr)
{
    EBM_AUTO(npy_done) struct npy npy = {.path = strdup(path)};
    if (npy.path == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    npy.file = fopen(path, "re");
    if (npy.file == NULL)
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "cannot open the data file: %s", strerror(errno));
    enum ebm_status status = read_header(&npy, reterr);
    if (status != EBM_OK)
        return status;
    npy.row = malloc((size_t)npy.columns * npy.number_bytes);
    if (npy.row == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    *ret_npy = npy;
    npy = (struct npy){.path = NULL};
    return EBM_OK;
}

/* ---- numbers ---- */

enum ebm_status npy_next(struct npy *npy, struct ebm_error *reterr)
{
    EBM_ASSERT(npy->next < npy->rows);
    if (fread(npy->row, npy->number_bytes, npy->columns, npy->file) != npy->columns)
        return damaged(npy->path, "it became shorter while it was read", reterr);
    npy->next++;
    return EBM_OK;
}

double npy_number(const struct npy *npy, uint32_t column)
{
    return array_number(npy->row + (size_t)column * npy->number_bytes, npy->kind, npy->number_bytes);
}
