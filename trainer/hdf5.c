/* hdf5.c - a data set of an HDF5 file as an array. The library keeps a global state and locks nothing in Debian's
 * serial build, so that one thread at a time may be here. Its own printing of errors is turned off: ours say more to a
 * user. */
#include "trainer/array.h"

#ifdef EBM_HDF5

#include <hdf5.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define DEFLATE_FACTOR 1032u /* numbers are at most so many times as long as what is stored of them */

static enum ebm_status failed(const char *path, const char *name, const char *what, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_DAMAGED, path, "the HDF5 data set '%.40s' %s", name, what);
}

/* Whole numbers of one byte stay bytes; all others become float64. */
static hid_t choose_type(hid_t set, struct array *array)
{
    hid_t type = H5Dget_type(set);
    H5T_class_t class = H5Tget_class(type);
    bool is_byte = class == H5T_INTEGER && H5Tget_size(type) == 1 && H5Tget_sign(type) == H5T_SGN_NONE;
    (void)H5Tclose(type);
    if (class != H5T_INTEGER && class != H5T_FLOAT)
        return H5I_INVALID_HID;
    array->kind = is_byte ? 'u' : 'f';
    array->number_bytes = is_byte ? 1 : sizeof(double);
    return is_byte ? H5T_NATIVE_UCHAR : H5T_NATIVE_DOUBLE;
}

static bool read_shape(hid_t set, struct array *array)
{
    hsize_t sizes[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set);
    int n = H5Sget_simple_extent_ndims(space);
    bool fits = n >= 1 && n <= (int)ARRAY_DIMS && H5Sget_simple_extent_dims(space, sizes, NULL) == n;
    for (uint32_t i = 0; fits && i < ARRAY_DIMS; i++)
        array->shape[i] = i < (uint32_t)n ? sizes[i] : 1;
    array->n_dims = fits ? (uint32_t)n : 0;
    (void)H5Sclose(space);
    return fits;
}

/* A few bytes may claim any number of numbers, and name other files as the place where they are, or where the whole
 * data set is. */
static bool holds_numbers(hid_t set, const char *path, uint64_t count)
{
    char file[PATH_MAX];
    bool is_here = H5Fget_name(set, file, sizeof file) > 0 && strcmp(file, path) == 0;
    hid_t how = H5Dget_create_plist(set), type = H5Dget_type(set);
    bool is_own = is_here && H5Pget_external_count(how) == 0 && H5Pget_layout(how) != H5D_VIRTUAL;
    size_t size = H5Tget_size(type);
    (void)H5Tclose(type);
    (void)H5Pclose(how);
    return is_own && size > 0 && count / DEFLATE_FACTOR <= H5Dget_storage_size(set) / size;
}

static enum ebm_status read_set(hid_t set, const char *path, const char *name, struct array *ret_array,
                                struct ebm_error *reterr)
{
    struct array array = {.bytes = NULL};
    hid_t type = choose_type(set, &array);
    if (type == H5I_INVALID_HID || !read_shape(set, &array))
        return failed(path, name, "does not hold numbers in one to four dimensions", reterr);
    uint64_t count = array_count(&array);
    if (count == 0)
        return ebm_error_set(reterr, EBM_TOO_LARGE, path, "the HDF5 data set '%.40s' is empty, or larger than 16 GiB",
                             name);
    if (!holds_numbers(set, path, count))
        return failed(path, name, "claims numbers that are not in the file", reterr);
    array.bytes = malloc(count * array.number_bytes);
    if (array.bytes == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory for '%.40s'", name);
    if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.bytes) < 0) {
        array_done(&array);
        return failed(path, name, "cannot be read", reterr);
    }
    *ret_array = array;
    return EBM_OK;
}

enum ebm_status array_read_hdf5(const char *path, const char *const *names, struct array *ret_array,
                                struct ebm_error *reterr)
{
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "cannot open the file as HDF5");
    enum ebm_status status = EBM_NOT_FOUND;
    for (uint32_t i = 0; names[i] != NULL && status == EBM_NOT_FOUND; i++) {
        hid_t set = H5Lexists(file, names[i], H5P_DEFAULT) > 0 ? H5Dopen2(file, names[i], H5P_DEFAULT)
                                                               : H5I_INVALID_HID;
        if (set >= 0) {
            status = read_set(set, path, names[i], ret_array, reterr);
            (void)H5Dclose(set);
        }
    }
    (void)H5Fclose(file);
    if (status == EBM_NOT_FOUND)
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "the HDF5 file has no data set '%.40s'", names[0]);
    return status;
}

#else

enum ebm_status array_read_hdf5(const char *path, const char *const *names, struct array *ret_array,
                                struct ebm_error *reterr)
{
    (void)names;
    (void)ret_array;
    return ebm_error_set(reterr, EBM_INVALID, path,
                         "this program was built without HDF5: install libhdf5-dev and build it again");
}

#endif
