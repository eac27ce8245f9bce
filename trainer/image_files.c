/* image_files.c - lists in the order of a CSV, or of names as a person counts them (1_2 before 1_10), whatever order
 * the file system has. Names that are no images' are passed over; images whose names say nothing become bad files
 * later. */
#include "trainer/image_files.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/names.h"
#include "trainer/csv.h"
#include "trainer/files.h"

#define NAME_NUMBERS 3u /* most numbers in a file's name */

void image_files_done(struct image_files *files)
{
    for (uint32_t i = 0; files->paths != NULL && i < files->n; i++)
        free(files->paths[i]);
    for (uint32_t i = 0; files->names != NULL && i < files->n_columns; i++)
        free(files->names[i]);
    free(files->paths);
    free(files->names);
    free(files->values);
    free(files->numbers);
    *files = (struct image_files){.n = 0};
}

static enum ebm_status no_memory(const char *path, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory for the list of images");
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool set_names(struct image_files *files, const char *const *names, uint32_t n)
{
    files->names = calloc(n, sizeof *files->names);
    files->n_columns = files->names != NULL ? n : 0;
    bool whole = files->names != NULL;
    for (uint32_t i = 0; whole && i < n; i++) {
        files->names[i] = strdup(names[i]);
        whole = files->names[i] != NULL;
    }
    return whole;
}

/* ---- a CSV ---- */

static enum ebm_status find_column(const struct csv *csv, const char *path, const char *name, uint32_t *ret_column,
                                   struct ebm_error *reterr)
{
    char *const *names;
    char space[EBM_NAMES_HINT_BYTES];
    uint32_t n = csv_names(csv, &names);
    size_t column = ebm_names_find(name, (const char *const *)names, n);
    if (column == n)
        return ebm_error_set(
            reterr, EBM_NOT_FOUND, path, "there is no column '%.64s'%s", name,
            ebm_names_hint(name, (const char *const *)names, n, "; the first line names the columns", space));
    *ret_column = (uint32_t)column;
    return EBM_OK;
}

/* Rows become paths (by `locate`) and numbers. Takes the table's values and numbers. */
static enum ebm_status take_rows(struct csv_table *rows, const char *folder,
                                 char *(*locate)(const char *folder, const char *text), struct image_files *files,
                                 const char *path, struct ebm_error *reterr)
{
    files->paths = calloc((size_t)rows->n_rows + 1, sizeof *files->paths);
    if (files->paths == NULL)
        return no_memory(path, reterr);
    for (; files->n < rows->n_rows; files->n++) {
        files->paths[files->n] = locate(folder, rows->texts[files->n]);
        if (files->paths[files->n] == NULL)
            return no_memory(path, reterr);
    }
    files->n_dropped = rows->n_dropped;
    files->values = EBM_TAKE_PTR(rows->values);
    files->numbers = EBM_TAKE_PTR(rows->numbers);
    return EBM_OK;
}

static enum ebm_status choose_columns(struct csv *csv, const char *path, const char *image_column, char *const *wanted,
                                      uint32_t n, uint32_t *columns, struct ebm_error *reterr)
{
    char *const *names;
    uint32_t last = csv_names(csv, &names) - 1, image = 0;
    enum ebm_status status = EBM_OK;
    if (image_column != NULL)
        status = find_column(csv, path, image_column, &image, reterr);
    columns[0] = last;
    for (uint32_t i = 0; status == EBM_OK && i < n; i++)
        status = find_column(csv, path, wanted[i], &columns[i], reterr);
    for (uint32_t i = 0; status == EBM_OK && i < (n > 0 ? n : 1); i++)
        if (columns[i] == image)
            status = ebm_error_set(reterr, EBM_INVALID, path, "column '%.64s' names the images: it cannot be a target",
                                   names[image]);
    if (status == EBM_OK)
        csv_keep_text(csv, image);
    return status;
}

enum ebm_status image_files_csv(const char *path, const char *image_column, char *const *columns, uint32_t n,
                                bool drop_missing, struct image_files *ret_files, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *inside = is_folder(path) ? files_join(path, "labels.csv") : strdup(path);
    EBM_AUTO(ebm_freep) char *folder = inside != NULL ? files_folder(inside) : NULL;
    EBM_AUTO(csv_freep) struct csv *csv = NULL;
    EBM_AUTO(csv_table_done) struct csv_table rows = {.n_rows = 0};
    EBM_AUTO(image_files_done) struct image_files files = {.n = 0};
    uint32_t count = n > 0 ? n : 1, chosen[LIMIT_TARGET_DIM];
    char *const *names;
    const char *said[LIMIT_TARGET_DIM];
    if (folder == NULL)
        return no_memory(path, reterr);
    if (count > LIMIT_TARGET_DIM)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "data.targets", "%u targets, at most %u", count, LIMIT_TARGET_DIM);
    enum ebm_status status = csv_open(inside, &csv, reterr);
    if (status == EBM_OK)
        status = choose_columns(csv, inside, image_column, columns, n, chosen, reterr);
    if (status == EBM_OK)
        status = csv_read(csv, chosen, count, drop_missing, &rows, reterr);
    if (status == EBM_OK)
        status = take_rows(&rows, folder, files_join, &files, path, reterr);
    if (status != EBM_OK)
        return status;
    (void)csv_names(csv, &names);
    for (uint32_t i = 0; i < count; i++)
        said[i] = names[chosen[i]];
    if (!set_names(&files, said, count))
        return no_memory(path, reterr);
    *ret_files = files;
    files = (struct image_files){.n = 0};
    return EBM_OK;
}

/* ---- driving_log.csv ---- */

/* As it stands where there is such a file; else IMG/ and what follows the last slash of either kind. */
static char *locate_frame(const char *folder, const char *text)
{
    const char *slash = strrchr(text, '/'), *backslash = strrchr(text, '\\');
    const char *base = slash != NULL && (backslash == NULL || slash > backslash) ? slash + 1
                       : backslash != NULL                                       ? backslash + 1
                                                                                 : text;
    char *there = files_join(folder, text), *beside = NULL;
    if (there == NULL || files_exists(there))
        return there;
    free(there);
    return asprintf(&beside, "%s/IMG/%s", folder, base) >= 0 ? beside : NULL;
}

enum ebm_status image_files_driving_log(const char *path, struct image_files *ret_files, struct ebm_error *reterr)
{
    static const char *const names[] = {"center", "left", "right", "steering", "throttle", "brake", "speed"};
    static const uint32_t numbers[] = {3, 4, 5, 6};
    EBM_AUTO(ebm_freep) char *inside = is_folder(path) ? files_join(path, "driving_log.csv") : strdup(path);
    EBM_AUTO(ebm_freep) char *folder = inside != NULL ? files_folder(inside) : NULL;
    EBM_AUTO(csv_freep) struct csv *csv = NULL;
    EBM_AUTO(csv_table_done) struct csv_table rows = {.n_rows = 0};
    EBM_AUTO(image_files_done) struct image_files files = {.n = 0};
    if (folder == NULL)
        return no_memory(path, reterr);
    enum ebm_status status = csv_open_named(inside, names, EBM_COUNT_OF(names), &csv, reterr);
    if (status != EBM_OK)
        return status;
    csv_keep_text(csv, 0);
    status = csv_read(csv, numbers, EBM_COUNT_OF(numbers), /* drop_missing= */ false, &rows, reterr);
    if (status == EBM_OK)
        status = take_rows(&rows, folder, locate_frame, &files, path, reterr);
    if (status != EBM_OK)
        return status;
    if (!set_names(&files, names + numbers[0], EBM_COUNT_OF(numbers)))
        return no_memory(path, reterr);
    *ret_files = files;
    files = (struct image_files){.n = 0};
    return EBM_OK;
}

/* ---- numbers in names ---- */

static bool is_image_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && dot != name &&
           (strcasecmp(dot, ".png") == 0 || strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0);
}

static int in_order(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

static enum ebm_status add_path(struct image_files *files, uint32_t *capacity, char *path, struct ebm_error *reterr)
{
    if (files->n == *capacity) {
        uint32_t wanted = *capacity == 0 ? 1024 : *capacity * 2;
        char **paths = wanted <= LIMIT_DATA_ROWS ? reallocarray(files->paths, wanted, sizeof *paths) : NULL;
        if (paths == NULL) {
            free(path);
            return no_memory("data.file", reterr);
        }
        files->paths = paths;
        *capacity = wanted;
    }
    files->paths[files->n++] = path;
    return EBM_OK;
}

/* The images of a folder, and of folders in it that are called by a number when `deep`. */
static enum ebm_status list_folder(const char *folder, bool deep, struct image_files *files, uint32_t *capacity,
                                   struct ebm_error *reterr)
{
    DIR *open = opendir(folder);
    enum ebm_status status = EBM_OK;
    if (open == NULL)
        return ebm_error_set(reterr, EBM_NOT_FOUND, folder, "cannot open the folder: %s", strerror(errno));
    for (struct dirent *item = readdir(open); status == EBM_OK && item != NULL; item = readdir(open)) {
        bool is_number = item->d_name[strspn(item->d_name, "0123456789")] == '\0';
        if (!is_image_name(item->d_name) && !(deep && is_number))
            continue;
        char *path = files_join(folder, item->d_name);
        if (path == NULL) {
            status = no_memory(folder, reterr);
        } else if (deep && is_number) {
            status = is_folder(path) ? list_folder(path, false, files, capacity, reterr) : EBM_OK;
            free(path);
        } else {
            status = add_path(files, capacity, path, reterr);
        }
    }
    (void)closedir(open);
    return status;
}

/* The first n numbers of a name, with a character of `ends` behind each; whole numbers of at most 6 digits. */
static bool read_numbers(const char *name, uint32_t n, const char *ends, double *ret_numbers)
{
    for (uint32_t i = 0; i < n; i++) {
        size_t digits = strspn(name, "0123456789");
        if (digits == 0 || digits > 6 || name[digits] == '\0' || strchr(ends, name[digits]) == NULL)
            return false;
        ret_numbers[i] = (double)strtoul(name, NULL, 10);
        name += digits + 1;
    }
    return true;
}

static enum ebm_status list_names(const char *folder, bool deep, const char *const *names, uint32_t n, const char *ends,
                                  struct image_files *ret_files, struct ebm_error *reterr)
{
    EBM_AUTO(image_files_done) struct image_files files = {.n = 0};
    uint32_t capacity = 0;
    enum ebm_status status = list_folder(folder, deep, &files, &capacity, reterr);
    if (status != EBM_OK)
        return status;
    if (files.n == 0)
        return ebm_error_set(reterr, EBM_INVALID, folder, "no PNG or JPEG lies there");
    qsort(files.paths, files.n, sizeof *files.paths, in_order);
    files.values = calloc((size_t)files.n * n, sizeof *files.values);
    files.numbers = calloc(files.n, sizeof *files.numbers);
    if (files.values == NULL || files.numbers == NULL || !set_names(&files, names, n))
        return no_memory(folder, reterr);
    for (uint32_t i = 0; i < files.n; i++) {
        double read[NAME_NUMBERS];
        bool known = read_numbers(files_base(files.paths[i]), n, ends, read);
        for (uint32_t j = 0; j < n; j++)
            files.values[(size_t)i * n + j] = known ? read[j] : (double)NAN;
        files.numbers[i] = i;
    }
    *ret_files = files;
    files = (struct image_files){.n = 0};
    return EBM_OK;
}

enum ebm_status image_files_utkface(const char *folder, struct image_files *ret_files, struct ebm_error *reterr)
{
    static const char *const names[NAME_NUMBERS] = {"age", "gender", "race"};
    return list_names(folder, false, names, NAME_NUMBERS, "_", ret_files, reterr);
}

enum ebm_status image_files_cell200(const char *folder, struct image_files *ret_files, struct ebm_error *reterr)
{
    static const char *const names[] = {"count"};
    return list_names(folder, true, names, 1, "_.", ret_files, reterr);
}
