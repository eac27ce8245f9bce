/* generate_images.c - threads take rows one by one: draw, encode, write images/000000.png; their numbers go into a
 * table, and labels.csv is written when all are there. */
#include "trainer/generate_images.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/files.h"
#include "trainer/pool.h"

#define PNG_BYTES (1u << 20)
#define ROWS_MAX 1000000u
#define PIXELS_MAX (3u * 64 * 64)
#define DIGITS "examples/digits"

/* One command, shared by its threads. */
struct making {
    const struct picture_kind *kind;
    const struct picture_material *material;
    const char *folder; /* of the images */
    uint64_t seed;
    uint32_t n_rows;
    double *numbers; /* (n_rows, n_columns) */
    _Atomic uint32_t next;
    _Atomic bool failed;
};

struct maker {
    struct making *making;
    struct ebm_error error; /* of this thread; status OK: none */
};

static enum ebm_status write_png(const char *folder, uint32_t row, const struct ebm_buf *png, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *path = NULL;
    if (asprintf(&path, "%s/%06u.png", folder, row) < 0) {
        path = NULL;
        return ebm_error_set(reterr, EBM_NO_MEMORY, folder, "no memory");
    }
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the image: %s", strerror(errno));
    bool whole = fwrite(png->bytes, 1, png->size, file) == png->size;
    whole = fclose(file) == 0 && whole;
    return whole ? EBM_OK : ebm_error_set(reterr, EBM_INVALID, path, "cannot write the image: is the disk full?");
}

static enum ebm_status make_row(const struct making *m, uint32_t row, float *space, struct ebm_buf *png,
                                struct ebm_error *reterr)
{
    uint8_t pixels[PIXELS_MAX];
    EBM_ASSERT(image_size(&m->kind->shape) <= sizeof pixels);
    m->kind->draw(m->material, m->seed, row, space, pixels, m->numbers + (size_t)row * m->kind->n_columns);
    ebm_buf_clear(png);
    enum ebm_status status = image_encode_png(pixels, &m->kind->shape, png, reterr);
    return status == EBM_OK ? write_png(m->folder, row, png, reterr) : status;
}

static void *make_rows(void *user)
{
    struct maker *maker = user;
    struct making *m = maker->making;
    EBM_AUTO(ebm_buf_done) struct ebm_buf png;
    EBM_AUTO(ebm_freep) float *space = calloc(m->kind->space + 1, sizeof *space);
    ebm_buf_init(&png, PNG_BYTES);
    if (space == NULL) {
        (void)ebm_error_set(&maker->error, EBM_NO_MEMORY, "generate", "no memory");
        atomic_store(&m->failed, true);
    }
    while (!atomic_load(&m->failed)) {
        uint32_t row = atomic_fetch_add(&m->next, 1);
        if (row >= m->n_rows)
            break;
        if (make_row(m, row, space, &png, &maker->error) != EBM_OK)
            atomic_store(&m->failed, true);
    }
    return NULL;
}

/* The calling thread makes rows, too. */
static enum ebm_status make_all(struct making *m, struct ebm_error *reterr)
{
    struct maker makers[POOL_THREADS];
    pthread_t threads[POOL_THREADS];
    uint32_t n = 0, wanted = pool_default_threads();
    makers[0] = (struct maker){.making = m};
    while (n + 1 < wanted) {
        makers[n + 1] = (struct maker){.making = m};
        if (pthread_create(&threads[n], NULL, make_rows, &makers[n + 1]) != 0)
            break;
        n++;
    }
    (void)make_rows(&makers[0]);
    for (uint32_t i = 0; i < n; i++)
        (void)pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i <= n; i++)
        if (makers[i].error.status != EBM_OK)
            return ebm_error_set(reterr, makers[i].error.status, makers[i].error.where, "%s", makers[i].error.text);
    return EBM_OK;
}

/* file,<columns>: 9 digits, as many as a float has. */
static enum ebm_status write_labels(const struct making *m, const char *path, struct ebm_error *reterr)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: %s", strerror(errno));
    bool failed = fputs("file", file) == EOF;
    for (uint32_t j = 0; j < m->kind->n_columns; j++)
        failed |= fprintf(file, ",%s", m->kind->columns[j]) < 0;
    failed |= fputc('\n', file) == EOF;
    for (uint32_t row = 0; !failed && row < m->n_rows; row++) {
        failed |= fprintf(file, "images/%06u.png", row) < 0;
        for (uint32_t j = 0; j < m->kind->n_columns; j++)
            failed |= fprintf(file, ",%.9g", (double)(float)m->numbers[(size_t)row * m->kind->n_columns + j]) < 0;
        failed |= fputc('\n', file) == EOF;
    }
    failed |= fclose(file) != 0;
    return failed ? ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: is the disk full?") : EBM_OK;
}

static enum ebm_status make(struct making *m, const char *output, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *images = files_join(output, "images");
    EBM_AUTO(ebm_freep) char *labels = files_join(output, "labels.csv");
    EBM_AUTO(ebm_freep) double *numbers = calloc((size_t)m->n_rows * m->kind->n_columns, sizeof *numbers);
    if (images == NULL || labels == NULL || numbers == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, output, "no memory");
    m->folder = images;
    m->numbers = numbers;
    enum ebm_status status = files_make_folder(images, reterr);
    if (status == EBM_OK)
        status = make_all(m, reterr);
    return status == EBM_OK ? write_labels(m, labels, reterr) : status;
}

enum ebm_status generate_images(const struct picture_kind *kind, const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(picture_material_done) struct picture_material material = {.images = {.bytes = NULL}};
    const char *output = NULL, *digits = args_get(args, "digits");
    uint64_t rows = 2000, seed = 0;
    if (digits != NULL && !kind->needs_digits)
        return ebm_error_set(reterr, EBM_INVALID, "generate", "--digits is for digits-angle");
    enum ebm_status status = args_number(args, "rows", 1, ROWS_MAX, &rows, reterr);
    if (status == EBM_OK)
        status = args_number(args, "seed", 0, (1ull << 53) - 1, &seed, reterr);
    if (status == EBM_OK)
        status = args_require(args, "output", &output, reterr);
    if (status == EBM_OK && kind->needs_digits)
        status = picture_read_digits(digits != NULL ? digits : DIGITS, &material, reterr);
    if (status == EBM_NOT_FOUND && digits == NULL)
        status = ebm_error_set(reterr, EBM_NOT_FOUND, DIGITS,
                               "no digits lie there: say where they are with --digits DIR");
    if (status != EBM_OK)
        return status;
    struct making making = {.kind = kind, .material = &material, .seed = seed, .n_rows = (uint32_t)rows};
    status = make(&making, output, reterr);
    if (status == EBM_OK)
        (void)printf("%" PRIu64 " images of %s in %s, their numbers in %s/labels.csv\n", rows, kind->name, output,
                     output);
    return status;
}
