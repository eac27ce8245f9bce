/* test_no_memory.c - every allocation of the readers and writers fails once: NO_MEMORY, nothing leaks, no output
 * touched.
 *
 * The linker sends malloc and its relatives of our own code through the functions here (--wrap, see meson.build).
 * jansson's own allocations do not fail: version 2.14 crashes on some of them. Leaks are the sanitizer build's
 * business. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/safetensors.h"
#include "models/model.h"
#include "trainer/augment.h"
#include "trainer/image_set.h"

#define MAX_BYTES (1u << 26)

static bool is_counting;
static long left; /* allocations until one fails */

static bool spend(void)
{
    return !is_counting || left-- != 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);
int __wrap_asprintf(char **ret_text, const char *format, ...) EBM_PRINTF(2, 3);

void *__wrap_malloc(size_t size)
{
    return spend() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return spend() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return spend() ? __real_realloc(old, size) : NULL;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return spend() ? __real_aligned_alloc(alignment, size) : NULL;
}

char *__wrap_strndup(const char *text, size_t max)
{
    size_t length = strnlen(text, max);
    char *copy = __wrap_malloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

int __wrap_asprintf(char **ret_text, const char *format, ...)
{
    if (!spend())
        return -1;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(ret_text, format, arguments);
    va_end(arguments);
    return length;
}

/* Runs `what` with the first, the second, ... allocation failing until it succeeds. */
static void fail_every_allocation(const char *name, enum ebm_status (*what)(struct ebm_error *reterr))
{
    long n = 0;
    for (;; n++) {
        struct ebm_error error = {0};
        left = n;
        is_counting = true;
        enum ebm_status status = what(&error);
        is_counting = false;
        if (status == EBM_OK)
            break;
        cr_assert_eq(status, EBM_NO_MEMORY, "%s, allocation %ld: %s at '%s': %s", name, n, ebm_status_name(status),
                     error.where, error.text);
        cr_assert_eq(error.status, EBM_NO_MEMORY, "%s, allocation %ld", name, n);
    }
    cr_assert_gt(n, 0, "%s allocates nothing", name);
    cr_log_info("%s: %ld allocations failed", name, n);
}

static const char text[] = "{\"format_version\": 1, \"name\": \"m\", \"description\": \"d\","
                           "\"input\": {\"kind\": \"vector\", \"shape\": [2], \"names\": [\"a\", \"b\"]},"
                           "\"target\": {\"dim\": 1, \"lower\": [0], \"upper\": [1]},"
                           "\"target_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 2}],"
                           "\"energy_net\": [{\"type\": \"linear\", \"in\": 4, \"out\": 1}],"
                           "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 1,"
                           "\"mean_net\": [{\"type\": \"linear\", \"in\": 2, \"out\": 1}],"
                           "\"log_variance_net\": [{\"type\": \"linear\", \"in\": 2, \"out\": 1}],"
                           "\"weight_net\": [{\"type\": \"linear\", \"in\": 2, \"out\": 1}]},"
                           "\"training\": {\"method\": \"nce_kl\"}, \"extensions\": {}}";

static char folder[] = "/tmp/ebm-test-XXXXXX";
static char path[64];
static struct ebm_config *config;
static struct ebm_model *model;

/* Adds parity values to the file, so that loading it computes: all parameters are 0, and so is f. */
static void add_parity(void)
{
    static const float zeros[2];
    struct ebm_safetensors *file = NULL;
    struct ebm_tensor tensors[32];
    struct ebm_metadata metadata[3] = {{"format", NULL}, {"format_version", NULL}, {"config", NULL}};
    cr_assert_eq(ebm_safetensors_open(path, MAX_BYTES, &file, NULL), EBM_OK);
    size_t n = ebm_safetensors_count(file);
    for (size_t i = 0; i < n; i++)
        tensors[i] = *ebm_safetensors_at(file, i);
    for (size_t i = 0; i < 3; i++)
        metadata[i].value = ebm_safetensors_metadata(file, metadata[i].key);
    tensors[n++] = (struct ebm_tensor){"parity.x", EBM_DTYPE_F32, 2, {1, 2}, 2, zeros};
    tensors[n++] = (struct ebm_tensor){"parity.y", EBM_DTYPE_F32, 2, {1, 1}, 1, zeros};
    tensors[n++] = (struct ebm_tensor){"parity.f", EBM_DTYPE_F32, 1, {1}, 1, zeros};
    cr_assert_eq(ebm_safetensors_write(path, metadata, 3, tensors, n, NULL), EBM_OK);
    ebm_safetensors_free(file);
}

/* A model in memory and its file. */
static void prepare(void)
{
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    cr_assert_eq(ebm_config_parse(text, sizeof text - 1, NULL, &config, NULL), EBM_OK);
    float *params = calloc(config->net.n_params, sizeof *params);
    cr_assert_not_null(params);
    cr_assert_eq(ebm_model_new(config, params, &model, NULL), EBM_OK);
    free(params);
    cr_assert_eq(ebm_model_save(model, path, NULL), EBM_OK);
    add_parity();
}

static void tidy(void)
{
    ebm_model_unref(model);
    (void)unlink(path);
    cr_assert_eq(rmdir(folder), 0, "a temporary was left in %s", folder);
}

TestSuite(no_memory, .init = prepare, .fini = tidy);

static enum ebm_status parse(struct ebm_error *reterr)
{
    struct ebm_config *parsed = NULL;
    enum ebm_status status = ebm_config_parse(text, sizeof text - 1, NULL, &parsed, reterr);
    cr_assert_eq(status == EBM_OK, parsed != NULL);
    ebm_config_free(parsed);
    return status;
}

static enum ebm_status print(struct ebm_error *reterr)
{
    char *printed = NULL;
    enum ebm_status status = ebm_config_text(ebm_model_config(model), &printed, reterr);
    cr_assert_eq(status == EBM_OK, printed != NULL);
    free(printed);
    return status;
}

static enum ebm_status save(struct ebm_error *reterr)
{
    return ebm_model_save(model, path, reterr);
}

static enum ebm_status load(struct ebm_error *reterr)
{
    struct ebm_model *loaded = NULL;
    enum ebm_status status = ebm_model_load(path, MAX_BYTES, &loaded, reterr);
    cr_assert_eq(status == EBM_OK, loaded != NULL);
    ebm_model_unref(loaded);
    return status;
}

static enum ebm_status copy(struct ebm_error *reterr)
{
    static struct ebm_config *own; /* stays ours as long as it fails */
    if (!own) {
        is_counting = false;
        cr_assert_eq(ebm_config_parse(text, sizeof text - 1, NULL, &own, NULL), EBM_OK);
        is_counting = true;
    }
    struct ebm_model *made = NULL;
    enum ebm_status status = ebm_model_new(own, ebm_model_params(model), &made, reterr);
    if (status == EBM_OK)
        own = NULL;
    ebm_model_unref(made);
    return status;
}

static enum ebm_status record(struct ebm_error *reterr)
{
    struct ebm_config *shown = (struct ebm_config *)ebm_model_config(model);
    const char *before = shown->training;
    enum ebm_status status = ebm_config_set_training(shown, "{\"a\": [1, 2.5, \"x\"]}", reterr);
    cr_assert_eq(status == EBM_OK, shown->training != before);
    return status;
}

Test(no_memory, config_parse)
{
    fail_every_allocation("config_parse", parse);
}

Test(no_memory, config_text)
{
    fail_every_allocation("config_text", print);
}

Test(no_memory, config_set_training)
{
    fail_every_allocation("config_set_training", record);
}

Test(no_memory, model_new)
{
    fail_every_allocation("model_new", copy);
}

Test(no_memory, model_save)
{
    fail_every_allocation("model_save", save);
    cr_assert_eq(load(NULL), EBM_OK);
}

Test(no_memory, model_load)
{
    fail_every_allocation("model_load", load);
}

/* ---- images ---- */

static const char *image_path(const char *name)
{
    static char full[512];
    (void)snprintf(full, sizeof full, "%s/tests/images/%s", getenv("EBM_SOURCE_ROOT"), name);
    return full;
}

static enum ebm_status decode_file(const char *name, struct ebm_error *reterr)
{
    const struct image_shape shape = {1, 3, 3};
    uint8_t bytes[4096], pixels[9];
    bool was_counting = is_counting;
    is_counting = false;
    FILE *file = fopen(image_path(name), "rb");
    cr_assert_not_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    is_counting = was_counting;
    return image_decode(bytes, size, LIMIT_DECODED_PIXELS, &shape, IMAGE_BILINEAR, pixels, reterr);
}

static enum ebm_status decode_png(struct ebm_error *reterr)
{
    return decode_file("rgb.png", reterr);
}

static enum ebm_status decode_jpeg(struct ebm_error *reterr)
{
    return decode_file("rgb.jpg", reterr);
}

static enum ebm_status encode_png(struct ebm_error *reterr)
{
    static const uint8_t pixels[27];
    struct ebm_buf png;
    ebm_buf_init(&png, 4096);
    enum ebm_status status = image_encode_png(pixels, &(struct image_shape){3, 3, 3}, &png, reterr);
    ebm_buf_done(&png);
    return status;
}

static enum ebm_status load_set(enum image_set_kind kind, const char *name, struct ebm_error *reterr)
{
    struct image_set set;
    const struct image_set_options options = {
        .kind = kind, .path = image_path(name), .shape = {3, 4, 4}, .max_bad_files = 2, .n_threads = 1};
    enum ebm_status status = image_set_load(&options, &set, reterr);
    if (status == EBM_OK)
        image_set_done(&set);
    return status;
}

static enum ebm_status load_folder(struct ebm_error *reterr)
{
    return load_set(IMAGE_SET_FOLDER, "labels.csv", reterr);
}

static enum ebm_status load_npz(struct ebm_error *reterr)
{
    return load_set(IMAGE_SET_BIWI, "deflated.npz", reterr);
}

static enum ebm_status make_augment(struct ebm_error *reterr)
{
    static char yaw[] = "yaw", *names[] = {yaw};
    static double scales[] = {0.5, 1.5};
    const struct augment_options options = {
        .flip = true, .negate = names, .n_negate = 1, .scales = scales, .n_scales = 2};
    struct augment *augment = NULL;
    enum ebm_status status = augment_new(&options, &(struct image_shape){3, 8, 8}, names, 1, &augment);
    (void)augment_free(augment);
    return status == EBM_OK ? EBM_OK : ebm_error_set(reterr, status, "augment", "no memory");
}

Test(no_memory, images)
{
    fail_every_allocation("image_decode of a PNG", decode_png);
    fail_every_allocation("image_decode of a JPEG", decode_jpeg);
    fail_every_allocation("image_encode_png", encode_png);
    fail_every_allocation("augment_new", make_augment);
}

Test(no_memory, sets_of_images)
{
    fail_every_allocation("a folder", load_folder);
    fail_every_allocation("an .npz", load_npz);
}

Test(no_memory, buffers_and_arenas)
{
    struct ebm_buf buf;
    struct ebm_arena arena;
    ebm_buf_init(&buf, 1000);
    ebm_arena_init(&arena, 1 << 20);
    left = 0;
    is_counting = true;
    enum ebm_status status = ebm_buf_text(&buf, "x");
    is_counting = false;
    cr_assert_eq(status, EBM_NO_MEMORY);
    cr_assert_eq(ebm_buf_text(&buf, "x"), EBM_NO_MEMORY, "it sticks");
    left = 0;
    is_counting = true;
    void *none = ebm_arena_alloc(&arena, 1, 1);
    is_counting = false;
    cr_assert_null(none);
    cr_assert_eq(arena.used_bytes, 0);
    cr_assert_not_null(ebm_arena_alloc(&arena, 1, 1), "memory came back");
    ebm_arena_done(&arena);
    ebm_buf_done(&buf);
}
