/* array.c - what an array is, and one out of an .npy, whose header npy.c knows, or of an .npz: a zip archive (zip.c) of
 * such files. */
#include "trainer/array.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/files.h"
#include "trainer/npy.h"
#include "trainer/zip.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie in the file");

void array_done(struct array *array)
{
    free(array->bytes);
    *array = (struct array){.bytes = NULL};
}

uint64_t array_count(const struct array *array)
{
    uint64_t count = array->number_bytes > 0 ? 1 : 0, most = ARRAY_BYTES;
    for (uint32_t i = 0; i < ARRAY_DIMS; i++) {
        if (array->shape[i] == 0 || count > most / array->shape[i])
            return 0;
        count *= array->shape[i];
    }
    return count <= most / array->number_bytes ? count : 0;
}

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

double array_number(const unsigned char *at, char kind, uint32_t number_bytes)
{
    float single;
    double number;
    if (kind != 'f')
        return whole_number(at, number_bytes, kind == 'i');
    if (number_bytes == sizeof single) {
        memcpy(&single, at, sizeof single);
        return (double)single;
    }
    memcpy(&number, at, sizeof number);
    return number;
}

/* ---- .npy and .npz ---- */

static enum ebm_status bad(const char *path, const char *name, const char *what, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_DAMAGED, path, "'%.40s' is not a whole .npy file: %s", name, what);
}

/* The bytes of an .npy become an array; its numbers move to the front of them, which are taken. */
static enum ebm_status from_npy(const char *path, const char *name, unsigned char *bytes, size_t size,
                                struct array *ret_array, struct ebm_error *reterr)
{
    struct npy_header header;
    enum ebm_status status = npy_read_header(bytes, size, path, &header, reterr);
    if (status != EBM_OK)
        return status;
    struct array array = {.kind = header.kind, .number_bytes = header.number_bytes, .n_dims = header.n_dims};
    if (header.n_dims > ARRAY_DIMS)
        return ebm_error_set(reterr, EBM_INVALID, path, "'%.40s' has %u dimensions, at most %u", name, header.n_dims,
                             ARRAY_DIMS);
    for (uint32_t i = 0; i < ARRAY_DIMS; i++)
        array.shape[i] = i < header.n_dims ? header.shape[i] : 1;
    uint64_t count = array_count(&array);
    if (count == 0 || count * array.number_bytes != size - header.bytes)
        return bad(path, name, "its shape and its length differ", reterr);
    memmove(bytes, bytes + header.bytes, size - header.bytes);
    array.bytes = bytes;
    *ret_array = array;
    return EBM_OK;
}

enum ebm_status array_read_npy(const char *path, struct array *ret_array, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) unsigned char *bytes = NULL;
    size_t size = 0;
    enum ebm_status status = files_read(path, ARRAY_BYTES, &bytes, &size, reterr);
    if (status == EBM_OK)
        status = from_npy(path, files_base(path), bytes, size, ret_array, reterr);
    if (status == EBM_OK)
        bytes = NULL; /* the array's now */
    return status;
}

enum ebm_status array_read_npz(const char *path, const char *name, struct array *ret_array, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) unsigned char *bytes = NULL;
    char entry[64];
    size_t size = 0;
    (void)snprintf(entry, sizeof entry, "%s.npy", name);
    enum ebm_status status = zip_read(path, entry, ARRAY_BYTES, &bytes, &size, reterr);
    if (status == EBM_OK)
        status = from_npy(path, name, bytes, size, ret_array, reterr);
    if (status == EBM_OK)
        bytes = NULL; /* the array's now */
    return status;
}
