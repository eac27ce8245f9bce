/* image_set.c - a source's rows become pixels, on a few threads; those that cannot be read are named and left out.
 *
 *   open -> targets chosen -> shape -> every row into its place, in any order -> bad rows once more, for their reason
 *
 * Guarantees: the same files give the same bytes whatever the number of threads. A byte a number of an image. */
#include "trainer/image_set.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/names.h"
#include "trainer/image_source.h"

#define THREADS 64u
#define NAMED_FILES 20u /* bad files that are told one by one */

static const char *const words[IMAGE_SET_KINDS] = {
#define X(name, word) word,
    IMAGE_SET_MAP(X)
#undef X
};

enum ebm_status image_set_find(const char *word, enum image_set_kind *ret_kind, struct ebm_error *reterr)
{
    char space[EBM_NAMES_HINT_BYTES];
    size_t kind = ebm_names_find(word, words, IMAGE_SET_KINDS);
    if (kind == IMAGE_SET_KINDS)
        return ebm_error_set(reterr, EBM_INVALID, "data.images",
                             "unknown kind '%.40s'%s; there are folder, utkface, cell200, driving_log, biwi and ccgan",
                             word, ebm_names_hint(word, words, IMAGE_SET_KINDS, "", space));
    *ret_kind = (enum image_set_kind)kind;
    return EBM_OK;
}

void image_set_done(struct image_set *set)
{
    for (uint32_t i = 0; set->names != NULL && i < set->n_targets; i++)
        free(set->names[i]);
    free(set->names);
    free(set->pixels);
    free(set->targets);
    free(set->numbers);
    *set = (struct image_set){.n_rows = 0};
}

static enum ebm_status no_memory(const char *path, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory for the images");
}

/* ---- targets ---- */

static enum ebm_status find_target(const struct image_files *f, const char *name, const char *path,
                                   uint32_t *ret_column, struct ebm_error *reterr)
{
    const char *const *names = (const char *const *)f->names;
    char space[EBM_NAMES_HINT_BYTES], otherwise[EBM_NAMES_HINT_BYTES];
    size_t column = ebm_names_find(name, names, f->n_columns);
    if (column == f->n_columns) {
        (void)snprintf(otherwise, sizeof otherwise, "; the first number is called %.64s", names[0]);
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "these data have no '%.64s'%s", name,
                             ebm_names_hint(name, names, f->n_columns, otherwise, space));
    }
    *ret_column = (uint32_t)column;
    return EBM_OK;
}

/* Names and numbers of the chosen columns. */
static enum ebm_status take_targets(const struct image_source *source, const struct image_set_options *options,
                                    struct image_set *set, struct ebm_error *reterr)
{
    const struct image_files *f = &source->files;
    uint32_t n = options->n_targets > 0 ? options->n_targets : source->n_targets, columns[LIMIT_TARGET_DIM];
    if (n > LIMIT_TARGET_DIM)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "data.targets", "%u targets, at most %u", n, LIMIT_TARGET_DIM);
    set->names = calloc(n, sizeof *set->names);
    set->targets = calloc((size_t)f->n * n + 1, sizeof *set->targets);
    set->numbers = calloc((size_t)f->n + 1, sizeof *set->numbers);
    if (set->names == NULL || set->targets == NULL || set->numbers == NULL)
        return no_memory(source->path, reterr);
    for (; set->n_targets < n; set->n_targets++) {
        uint32_t d = set->n_targets;
        columns[d] = d;
        if (options->n_targets > 0) {
            enum ebm_status status = find_target(f, options->targets[d], source->path, &columns[d], reterr);
            if (status != EBM_OK)
                return status;
        }
        set->names[d] = strdup(f->names[columns[d]]);
        if (set->names[d] == NULL)
            return no_memory(source->path, reterr);
    }
    for (uint32_t i = 0; i < f->n; i++)
        for (uint32_t d = 0; d < n; d++)
            set->targets[(size_t)i * n + d] = f->values[(size_t)i * f->n_columns + columns[d]];
    memcpy(set->numbers, f->numbers, f->n * sizeof *set->numbers);
    set->n_rows = f->n;
    set->n_dropped = f->n_dropped;
    return EBM_OK;
}

/* ---- pixels ---- */

/* All rows of a source, shared by the threads. */
struct reading {
    const struct image_source *source;
    struct image_set *set;
    enum ebm_status *statuses; /* (n) of each row */
    _Atomic uint32_t next;
};

static void *read_rows(void *user)
{
    struct reading *r = user;
    size_t size = image_size(&r->set->shape);
    for (uint32_t i = atomic_fetch_add(&r->next, 1); i < r->set->n_rows; i = atomic_fetch_add(&r->next, 1))
        r->statuses[i] = image_source_read(r->source, i, &r->set->shape, r->set->pixels + i * size, NULL);
    return NULL;
}

/* The calling thread reads, too; fewer threads than asked for are no error. */
static void read_all(struct reading *r, uint32_t n_threads)
{
    pthread_t threads[THREADS];
    uint32_t n = 0, wanted = n_threads < THREADS ? n_threads : THREADS;
    while (n + 1 < wanted && pthread_create(&threads[n], NULL, read_rows, r) == 0)
        n++;
    (void)read_rows(r);
    while (n > 0)
        (void)pthread_join(threads[--n], NULL);
}

/* What a network takes of an image: models/config_input.c says the same of the model, which is read later. */
static enum ebm_status check_shape(const struct image_shape *shape, const char *path, struct ebm_error *reterr)
{
    if (shape->height <= LIMIT_IMAGE_SIDE && shape->width <= LIMIT_IMAGE_SIDE &&
        image_size(shape) <= LIMIT_IMAGE_NUMBERS)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_TOO_LARGE, path,
                         "%u x %u x %u numbers an image; at most %u a side and %u in all: 'shape' of the model's input "
                         "says what images are brought to",
                         shape->channels, shape->height, shape->width, LIMIT_IMAGE_SIDE, LIMIT_IMAGE_NUMBERS);
}

/* The one that is asked for, or that of the first image which can be read. */
static enum ebm_status choose_shape(const struct image_source *source, const struct image_set_options *options,
                                    struct image_shape *ret_shape, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_INVALID;
    if (options->shape.channels > 0) {
        *ret_shape = options->shape;
        status = EBM_OK;
    }
    for (uint32_t i = 0; status != EBM_OK && i < source->files.n && i <= options->max_bad_files; i++)
        status = image_source_shape(source, i, ret_shape, reterr);
    return status == EBM_OK ? check_shape(ret_shape, options->path, reterr) : status;
}

/* ---- bad rows ---- */

/* Why row i cannot be read. `space`: one image. */
static void tell_bad(const struct reading *r, uint32_t i, uint8_t *space, struct ebm_error *ret_reason)
{
    if (image_source_read(r->source, i, &r->set->shape, space, ret_reason) == EBM_OK)
        *ret_reason = (struct ebm_error){.where = "data", .text = "an image could not be read, and can be now"};
}

/* Rows that were read move together; the others are named. */
static enum ebm_status leave_out(struct reading *r, const struct image_set_options *options, struct ebm_error *reterr)
{
    struct image_set *set = r->set;
    size_t size = image_size(&set->shape), D = set->n_targets;
    uint32_t kept = 0, n = set->n_rows;
    struct ebm_error reason, first = {.status = EBM_OK};
    EBM_AUTO(ebm_freep) uint8_t *space = malloc(size);
    if (space == NULL)
        return no_memory(options->path, reterr);
    for (uint32_t i = 0; i < n; i++) {
        if (r->statuses[i] == EBM_NO_MEMORY)
            return no_memory(options->path, reterr);
        if (r->statuses[i] != EBM_OK) {
            if (set->n_bad++ < NAMED_FILES) {
                tell_bad(r, i, space, &reason);
                first = set->n_bad == 1 ? reason : first;
                ebm_log_warning("left out: %s: %s", reason.where, reason.text);
            }
            continue;
        }
        memmove(set->pixels + kept * size, set->pixels + i * size, size);
        memmove(set->targets + kept * D, set->targets + i * D, D * sizeof *set->targets);
        set->numbers[kept++] = set->numbers[i];
    }
    set->n_rows = kept;
    if (set->n_bad > options->max_bad_files)
        return ebm_error_set(reterr, EBM_INVALID, first.where, "%.140s (%u of %u images are bad; --max-bad-files %u)",
                             first.text, set->n_bad, n, options->max_bad_files);
    if (set->n_bad > NAMED_FILES)
        ebm_log_warning("%u images are left out in all", set->n_bad);
    return EBM_OK;
}

/* ---- the whole ---- */

static enum ebm_status read_pixels(const struct image_source *source, const struct image_set_options *options,
                                   struct image_set *set, struct ebm_error *reterr)
{
    enum ebm_status status = choose_shape(source, options, &set->shape, reterr);
    if (status != EBM_OK)
        return status;
    size_t size = image_size(&set->shape);
    EBM_AUTO(ebm_freep) enum ebm_status *statuses = calloc(set->n_rows, sizeof *statuses);
    set->pixels = size <= SIZE_MAX / set->n_rows ? malloc(size * set->n_rows) : NULL;
    if (statuses == NULL || set->pixels == NULL)
        return no_memory(options->path, reterr);
    struct reading reading = {.source = source, .set = set, .statuses = statuses};
    read_all(&reading, options->n_threads);
    return leave_out(&reading, options, reterr);
}

enum ebm_status image_set_load(const struct image_set_options *options, struct image_set *ret_set,
                               struct ebm_error *reterr)
{
    EBM_AUTO(image_source_done) struct image_source source = {.path = NULL};
    EBM_AUTO(image_set_done) struct image_set set = {.n_rows = 0};
    enum ebm_status status = image_source_open(options, &source, reterr);
    if (status == EBM_OK)
        status = take_targets(&source, options, &set, reterr);
    if (status == EBM_OK && set.n_rows == 0)
        status = ebm_error_set(reterr, EBM_INVALID, options->path, "no images%s",
                               set.n_dropped > 0 ? " are left: each of them misses a value" : "");
    if (status == EBM_OK)
        status = read_pixels(&source, options, &set, reterr);
    if (status == EBM_OK && set.n_rows == 0)
        status = ebm_error_set(reterr, EBM_INVALID, options->path, "no image can be read");
    if (status != EBM_OK)
        return status;
    *ret_set = set;
    set = (struct image_set){.n_rows = 0};
    return EBM_OK;
}
