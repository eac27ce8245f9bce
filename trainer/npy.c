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

#define HEADER_BYTES 65536u
#define MAGIC_BYTES 6u
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

static enum ebm_status damaged(const struct npy *npy, const char *what, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_DAMAGED, npy->path, "not a whole .npy file: %s", what);
}

/* ---- the header ---- */

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

static enum ebm_status read_type(struct npy *npy, const char *value, struct ebm_error *reterr)
{
    static const char *const taken[] = {"f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"};
    char order = 0, word[8] = "";
    if (value == NULL || sscanf(value, "'%c%7[^']'", &order, word) != 2)
        return ebm_error_set(reterr, EBM_INVALID, npy->path,
                             "a structured or unknown type, expected plain numbers: save it with .astype('<f8')");
    for (size_t i = 0; i < EBM_COUNT_OF(taken); i++) {
        if (strcmp(word, taken[i]) != 0)
            continue;
        if (order == '>')
            return ebm_error_set(reterr, EBM_INVALID, npy->path,
                                 "big-endian numbers ('>%s'), expected little-endian: save it with .astype('<%s')",
                                 word, word);
        npy->kind = word[0];
        npy->number_bytes = (uint32_t)(word[1] - '0');
        return EBM_OK;
    }
    return ebm_error_set(reterr, EBM_INVALID, npy->path,
                         "numbers of the type '%c%s', expected float32, float64 or integers: save it with "
                         ".astype('<f8')",
                         order, word);
}

static enum ebm_status read_order(const struct npy *npy, const char *value, struct ebm_error *reterr)
{
    if (value != NULL && strncmp(value, "False", 5) == 0)
        return EBM_OK;
    if (value == NULL || strncmp(value, "True", 4) != 0)
        return damaged(npy, "its header does not say the order of the numbers", reterr);
    return ebm_error_set(reterr, EBM_INVALID, npy->path,
                         "in Fortran order, expected C order: save numpy.ascontiguousarray of it");
}

static enum ebm_status read_shape(struct npy *npy, const char *value, struct ebm_error *reterr)
{
    unsigned long long sizes[2] = {1, 1};
    uint32_t n_dims = 0;
    if (value == NULL || *value != '(')
        return damaged(npy, "its header does not say a shape", reterr);
    for (const char *at = value + 1; *at >= '0' && *at <= '9';) {
        char *end = NULL;
        errno = 0;
        unsigned long long size = strtoull(at, &end, 10);
        if (errno != 0)
            return damaged(npy, "its shape is no number", reterr);
        if (n_dims < 2)
            sizes[n_dims] = size;
        n_dims++;
        at = end + strspn(end, ", ");
    }
    if (n_dims < 1 || n_dims > 2)
        return ebm_error_set(reterr, EBM_INVALID, npy->path,
                             "%u dimensions, expected (rows) or (rows, columns): reshape it", n_dims);
    if (sizes[0] > LIMIT_DATA_ROWS || sizes[1] > LIMIT_DATA_COLUMNS || sizes[1] == 0 ||
        sizes[0] * sizes[1] > NUMBERS_MAX)
        return ebm_error_set(reterr, EBM_TOO_LARGE, npy->path,
                             "the shape (%llu, %llu); at most %u rows of 1 to %u columns", sizes[0], sizes[1],
                             LIMIT_DATA_ROWS, LIMIT_DATA_COLUMNS);
    npy->rows = (uint32_t)sizes[0];
    npy->columns = (uint32_t)sizes[1];
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

static enum ebm_status read_header(struct npy *npy, struct ebm_error *reterr)
{
    unsigned char begin[12] = {0};
    size_t version_2 = 0, length = 0;
    if (fread(begin, 1, 10, npy->file) != 10 || memcmp(begin, NPY_MAGIC, MAGIC_BYTES) != 0)
        return damaged(npy, "it does not begin like one", reterr);
    version_2 = begin[6] >= 2;
    if (version_2 && fread(begin + 10, 1, 2, npy->file) != 2)
        return damaged(npy, "its header is cut short", reterr);
    length = begin[8] + 256u * begin[9] + (version_2 ? 65536u * begin[10] + 16777216u * (size_t)begin[11] : 0);
    if (length > HEADER_BYTES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, npy->path, "a header of %zu bytes, at most %u", length,
                             HEADER_BYTES);
    EBM_AUTO(ebm_freep) char *header = calloc(1, length + 1);
    if (header == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, npy->path, "no memory");
    if (fread(header, 1, length, npy->file) != length)
        return damaged(npy, "its header is cut short", reterr);
    enum ebm_status status = read_type(npy, value_of(header, "descr"), reterr);
    if (status == EBM_OK)
        status = read_order(npy, value_of(header, "fortran_order"), reterr);
    if (status == EBM_OK)
        status = read_shape(npy, value_of(header, "shape"), reterr);
    return status == EBM_OK ? check_length(npy, (version_2 ? 12 : 10) + length, reterr) : status;
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
        return damaged(npy, "it became shorter while it was read", reterr);
    npy->next++;
    return EBM_OK;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie in the file");

static double whole_number(const unsigned char *at, uint32_t bytes, bool is_signed)
{
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    if (!is_signed || (at[bytes - 1] & 0x80) == 0)
        return (double)value;
    if (bytes < sizeof value)
        value |= ~0ull << (8 * bytes); /* the sign goes on to the left */
    return (double)(int64_t)value;
}

double npy_number(const struct npy *npy, uint32_t column)
{
    const unsigned char *at = npy->row + (size_t)column * npy->number_bytes;
    if (npy->kind != 'f')
        return whole_number(at, npy->number_bytes, npy->kind == 'i');
    float single;
    double number;
    if (npy->number_bytes == sizeof single) {
        memcpy(&single, at, sizeof single);
        return (double)single;
    }
    memcpy(&number, at, sizeof number);
    return number;
}
