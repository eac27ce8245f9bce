/* test_image_set.c - every kind of image data set, written here and read back; bad files, limits, row numbers. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "trainer/dataset.h"
#include "trainer/image_set.h"

static char folder[64];
static uint32_t n_told; /* warnings */

static void hear(void *user, enum ebm_log_level level, const char *line)
{
    (void)user;
    (void)line;
    n_told += level == EBM_LOG_WARNING;
}

static void make_folder(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/ebm-test-images-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    ebm_log_set(hear, NULL);
}

static void remove_folder(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

static const char *in_folder(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    cr_assert_not_null(file, "%s", name);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    (void)fclose(file);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

/* A grey image whose pixels are first, first + 1, ... */
static void put_image_of(const char *name, uint8_t first, uint32_t height, uint32_t width)
{
    const struct image_shape shape = {1, height, width};
    static uint8_t pixels[4096];
    struct ebm_buf png;
    ebm_buf_init(&png, 65536);
    cr_assert_leq(image_size(&shape), sizeof pixels);
    for (uint32_t i = 0; i < image_size(&shape); i++)
        pixels[i] = (uint8_t)(first + i);
    cr_assert_eq(image_encode_png(pixels, &shape, &png, NULL), EBM_OK);
    put(name, png.bytes, png.size);
    ebm_buf_done(&png);
}

static void put_image(const char *name, uint8_t first)
{
    put_image_of(name, first, 3, 4);
}

static void copy_from_tree(const char *name, const char *to)
{
    char command[600];
    (void)snprintf(command, sizeof command, "cp '%s/tests/images/%s' '%s'", getenv("EBM_SOURCE_ROOT"), name,
                   in_folder(to));
    cr_assert_eq(system(command), 0);
}

static struct image_set read_set(struct image_set_options options)
{
    struct image_set set;
    struct ebm_error error = {.text = ""};
    options.path = options.path != NULL ? options.path : folder;
    options.n_threads = options.n_threads > 0 ? options.n_threads : 2;
    cr_assert_eq(image_set_load(&options, &set, &error), EBM_OK, "%s: %s", error.where, error.text);
    return set;
}

static void refuse(struct image_set_options options, enum ebm_status expected, const char *words)
{
    struct image_set set;
    struct ebm_error error = {.text = ""};
    options.path = options.path != NULL ? options.path : folder;
    options.n_threads = 2;
    enum ebm_status status = image_set_load(&options, &set, &error);
    cr_assert_eq(status, expected, "%s: %s: %s", ebm_status_name(status), error.where, error.text);
    cr_assert_not_null(strstr(error.text, words), "'%s' has no '%s'", error.text, words);
}

TestSuite(image_set, .init = make_folder, .fini = remove_folder);

Test(image_set, a_folder_with_its_labels)
{
    char a[] = "a", b[] = "b", *const both[] = {b, a};
    put_text("labels.csv", "file,a,note,b\nx 1.png,1.5,cat,2\n\"y,2.png\",-3,dog,4\n");
    put_image("x 1.png", 10);
    put_image("y,2.png", 100);
    struct image_set set = read_set((struct image_set_options){.kind = IMAGE_SET_FOLDER});
    cr_assert_eq(set.n_rows, 2);
    cr_assert_eq(set.n_targets, 1);
    cr_assert_str_eq(set.names[0], "b");
    cr_assert_eq(set.shape.channels * 100 + set.shape.height * 10 + set.shape.width, 134);
    cr_assert_eq(set.pixels[0], 10);
    cr_assert_eq(set.pixels[12 + 11], 111);
    cr_assert_eq(set.targets[1], 4.0);
    image_set_done(&set);
    set = read_set((struct image_set_options){.kind = IMAGE_SET_FOLDER,
                                              .path = in_folder("labels.csv"),
                                              .targets = both,
                                              .n_targets = 2,
                                              .shape = {3, 6, 8}});
    cr_assert_eq(set.n_targets, 2);
    cr_assert_eq(set.targets[2], 4.0);
    cr_assert_eq(set.targets[3], -3.0);
    cr_assert_eq(image_size(&set.shape), 144);
    image_set_done(&set);
}

Test(image_set, columns_of_a_folder_are_checked)
{
    char mistyped[] = "agee", image[] = "file", *const wrong[] = {mistyped}, *const file[] = {image};
    put_text("labels.csv", "file,age,b\nx.png,1,\n");
    put_image("x.png", 10);
    refuse((struct image_set_options){.kind = IMAGE_SET_FOLDER, .targets = wrong, .n_targets = 1}, EBM_NOT_FOUND,
           "did you mean 'age'");
    refuse((struct image_set_options){.kind = IMAGE_SET_FOLDER, .targets = file, .n_targets = 1}, EBM_INVALID,
           "names the images");
    refuse((struct image_set_options){.kind = IMAGE_SET_FOLDER, .image_column = "path"}, EBM_NOT_FOUND, "'path'");
    refuse((struct image_set_options){.kind = IMAGE_SET_FOLDER}, EBM_INVALID, "has no value");
    refuse((struct image_set_options){.kind = IMAGE_SET_FOLDER, .drop_missing = true}, EBM_INVALID,
           "each of them misses a value");
}

Test(image_set, bad_files_are_left_out_up_to_a_number)
{
    put_text("labels.csv", "file,y\na.png,0\nb.png,1\nhuge.png,2\nc.png,3\nmissing.png,4\nd.png,5\n");
    put_image("a.png", 0);
    put_text("b.png", "no image");
    copy_from_tree("huge.png", "huge.png");
    put_image("c.png", 60);
    put_image("d.png", 70);
    struct image_set set = read_set((struct image_set_options){.kind = IMAGE_SET_FOLDER, .max_bad_files = 3});
    cr_assert_eq(set.n_rows, 3);
    cr_assert_eq(set.n_bad, 3);
    cr_assert_eq(n_told, 3, "%u warnings", n_told);
    const uint32_t numbers[] = {0, 3, 5};
    const uint8_t first[] = {0, 60, 70};
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(set.numbers[i], numbers[i]);
        cr_assert_eq(set.targets[i], numbers[i]);
        cr_assert_eq(set.pixels[i * 12], first[i]);
    }
    image_set_done(&set);
    refuse((struct image_set_options){.kind = IMAGE_SET_FOLDER, .max_bad_files = 2}, EBM_INVALID,
           "neither a PNG nor a JPEG (3 of 6 images are bad; --max-bad-files 2)");
}

/* Before all are brought to that shape: photographs fill any memory. */
Test(image_set, images_larger_than_a_network_takes_need_a_shape)
{
    const struct image_set_options options = {.kind = IMAGE_SET_FOLDER};
    put_text("labels.csv", "file,y\na.png,0\n");
    put_image_of("a.png", 0, 1, LIMIT_IMAGE_SIDE + 1);
    refuse(options, EBM_TOO_LARGE, "1 x 1 x 2049 numbers an image");
    put_image_of("a.png", 0, 1, LIMIT_IMAGE_SIDE);
    struct image_set set = read_set(options);
    image_set_done(&set);
    refuse((struct image_set_options){.kind = IMAGE_SET_FOLDER, .shape = {3, LIMIT_IMAGE_SIDE, LIMIT_IMAGE_SIDE}},
           EBM_TOO_LARGE, "3 x 2048 x 2048 numbers an image");
}

/* A pipe that nobody writes to would be waited for. */
Test(image_set, a_pipe_is_a_bad_file, .timeout = 60)
{
    put_text("labels.csv", "file,y\na.png,0\npipe.png,1\n");
    put_image("a.png", 0);
    cr_assert_eq(mkfifo(in_folder("pipe.png"), 0600), 0);
    refuse((struct image_set_options){.kind = IMAGE_SET_FOLDER}, EBM_INVALID, "no regular file");
}

Test(image_set, utkface_by_its_names)
{
    char race[] = "race", age[] = "age", *const both[] = {race, age};
    put_image("9_1_2_20170109.jpg", 9); /* the content says what it is */
    put_image("100_0_4_20170110.jpg.chip.jpg", 100);
    put_image("61_3_20170109.jpg", 61); /* the date for a race, as some of its files have */
    put_text("Thumbs.db", "passed over");
    struct image_set set = read_set((struct image_set_options){.kind = IMAGE_SET_UTKFACE, .max_bad_files = 1});
    cr_assert_eq(set.n_rows, 2);
    cr_assert_eq(set.n_bad, 1);
    cr_assert_str_eq(set.names[0], "age");
    cr_assert_eq(set.targets[0], 9.0, "9 stands before 100");
    cr_assert_eq(set.targets[1], 100.0);
    cr_assert_eq(set.pixels[12], 100);
    image_set_done(&set);
    set = read_set(
        (struct image_set_options){.kind = IMAGE_SET_UTKFACE, .targets = both, .n_targets = 2, .max_bad_files = 1});
    cr_assert_eq(set.targets[0], 2.0);
    cr_assert_eq(set.targets[3], 100.0);
    image_set_done(&set);
    refuse((struct image_set_options){.kind = IMAGE_SET_UTKFACE}, EBM_INVALID, "no number for 'age'");
}

Test(image_set, cell200_by_its_folders)
{
    cr_assert_eq(mkdir(in_folder("7"), 0700) + mkdir(in_folder("12"), 0700) + mkdir(in_folder("other"), 0700), 0);
    put_image("7/7_1.png", 1);
    put_image("7/7_10.png", 3);
    put_image("7/7_2.png", 2);
    put_image("12/12_1.png", 4);
    put_image("other/5_1.png", 5);
    struct image_set set = read_set((struct image_set_options){.kind = IMAGE_SET_CELL200});
    const double counts[] = {7.0, 7.0, 7.0, 12.0};
    cr_assert_eq(set.n_rows, 4);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(set.targets[i], counts[i]);
        cr_assert_eq(set.pixels[i * 12], i + 1, "row %u begins with %u", i, set.pixels[i * 12]);
    }
    image_set_done(&set);
    refuse((struct image_set_options){.kind = IMAGE_SET_CELL200, .path = in_folder("none")}, EBM_NOT_FOUND, "folder");
}

Test(image_set, driving_logs_with_and_without_a_header)
{
    static const char *const logs[] = {
        "center,left,right,steering,throttle,brake,speed\nIMG/c1.png, IMG/l.png,IMG/r.png,-0.25,1,0,30\n"
        "IMG/c2.png,IMG/l.png,IMG/r.png,0.5,1,0,30\n",
        "C:\\Users\\me\\IMG\\c1.png,l,r,-0.25,1,0,3.0e1\n/home/me/IMG/c2.png,l,r,.5,1,0,30\n",
        "center_1.png,l,r,-0.25,1,0,30\ncenter_2.png,l,r,.5,1,0,30\n"};
    cr_assert_eq(mkdir(in_folder("IMG"), 0700), 0);
    put_image("IMG/c1.png", 1);
    put_image("IMG/c2.png", 2);
    put_image("IMG/center_1.png", 1);
    put_image("IMG/center_2.png", 2);
    for (size_t i = 0; i < EBM_COUNT_OF(logs); i++) {
        put_text("driving_log.csv", logs[i]);
        struct image_set set = read_set((struct image_set_options){.kind = IMAGE_SET_DRIVING_LOG});
        cr_assert_eq(set.n_rows, 2);
        cr_assert_eq(set.n_targets, 1);
        cr_assert_str_eq(set.names[0], "steering");
        cr_assert_eq(set.targets[0], -0.25);
        cr_assert_eq(set.targets[1], 0.5);
        cr_assert_eq(set.pixels[12], 2);
        image_set_done(&set);
    }
}

/* What NumPy wrote for numpy.savez(image=..., pose=...), and savez_compressed: tests/make_images.py. */
Test(image_set, biwi_out_of_both_kinds_of_npz)
{
    static const char *const names[] = {"stored.npz", "deflated.npz"};
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++) {
        copy_from_tree(names[i], "biwi.npz");
        struct image_set set = read_set(
            (struct image_set_options){.kind = IMAGE_SET_BIWI, .path = in_folder("biwi.npz")});
        cr_assert_eq(set.n_rows, 3);
        cr_assert_eq(set.n_targets, 3);
        cr_assert_str_eq(set.names[2], "roll");
        cr_assert_eq(set.shape.channels * 100 + set.shape.height * 10 + set.shape.width, 345);
        for (uint32_t row = 0; row < 3; row++)
            for (uint32_t c = 0; c < 3; c++) {
                cr_assert_eq(set.targets[row * 3 + c], row * 10.0 - c * 2.5);
                cr_assert_eq(set.pixels[row * 60 + c * 20 + 7], (uint8_t)(row * 60 + 7 * 3 + c), "row %u, channel %u",
                             row, c);
            }
        image_set_done(&set);
    }
}

Test(image_set, every_cut_of_an_npz_is_refused)
{
    static unsigned char bytes[4096];
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/images/deflated.npz", getenv("EBM_SOURCE_ROOT"));
    FILE *file = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    for (size_t n = 0; n < size; n += 5) {
        put("cut.npz", bytes, n);
        refuse((struct image_set_options){.kind = IMAGE_SET_BIWI, .path = in_folder("cut.npz")}, EBM_DAMAGED,
               "not a whole");
    }
    refuse((struct image_set_options){.kind = IMAGE_SET_BIWI, .path = in_folder("none")}, EBM_NOT_FOUND, "cannot open");
}

Test(image_set, ccgan_out_of_hdf5)
{
    copy_from_tree("cells.h5", "cells.h5");
    struct image_set set;
    struct ebm_error error = {.text = ""};
    const struct image_set_options options = {.kind = IMAGE_SET_CCGAN, .path = in_folder("cells.h5"), .n_threads = 1};
    enum ebm_status status = image_set_load(&options, &set, &error);
    if (status == EBM_INVALID && strstr(error.text, "built without HDF5") != NULL)
        return;
    cr_assert_eq(status, EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(set.n_rows, 3);
    cr_assert_eq(set.shape.channels * 100 + set.shape.height * 10 + set.shape.width, 145);
    cr_assert_str_eq(set.names[0], "label");
    for (uint32_t row = 0; row < 3; row++) {
        cr_assert_eq(set.targets[row], 11.0 * row + 1.0);
        cr_assert_eq(set.pixels[row * 20 + 19], row * 20 + 19);
    }
    image_set_done(&set);
}

/* Numbers that a few bytes claim, and numbers of another file. */
Test(image_set, hdf5_holds_its_numbers_itself)
{
    static const char *const names[] = {"hollow.h5", "outside.h5", "linked.h5"};
    struct image_set set;
    struct ebm_error error = {.text = ""};
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++) {
        copy_from_tree(names[i], names[i]);
        copy_from_tree("cells.h5", "cells.h5");
        const struct image_set_options options = {.kind = IMAGE_SET_CCGAN, .path = in_folder(names[i]), .n_threads = 1};
        enum ebm_status status = image_set_load(&options, &set, &error);
        if (status == EBM_INVALID && strstr(error.text, "built without HDF5") != NULL)
            return;
        cr_assert_eq(status, EBM_DAMAGED, "%s: %s", names[i], error.text);
        cr_assert_not_null(strstr(error.text, "are not in the file"), "%s: %s", names[i], error.text);
    }
}

Test(image_set, the_same_bytes_on_any_number_of_threads)
{
    char text[4096] = "file,y\n", name[32];
    for (uint32_t i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "%u.png", i);
        put_image(name, (uint8_t)(i * 5));
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s,%u\n", name, i);
    }
    put_text("labels.csv", text);
    struct image_set one = read_set(
        (struct image_set_options){.kind = IMAGE_SET_FOLDER, .shape = {3, 9, 9}, .n_threads = 1});
    struct image_set five = read_set(
        (struct image_set_options){.kind = IMAGE_SET_FOLDER, .shape = {3, 9, 9}, .n_threads = 5});
    cr_assert_eq(memcmp(one.pixels, five.pixels, 40 * image_size(&one.shape)), 0);
    image_set_done(&one);
    image_set_done(&five);
}

/* Splits, statistics of channels, and row numbers as for tables. */
Test(image_set, a_data_set_is_split_and_measured)
{
    char text[4096] = "file,y\n", name[32];
    for (uint32_t i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "%u.png", i);
        if (i != 4)
            put_image(name, (uint8_t)(i * 10));
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s,%u\n", name, i);
    }
    put_text("labels.csv", text);
    put_text("splits.txt", "0 4 19\n");
    char file[256], split[256], kind[] = "folder";
    (void)snprintf(file, sizeof file, "%s", in_folder("labels.csv"));
    (void)snprintf(split, sizeof split, "%s", in_folder("splits.txt"));
    const struct dataset_options options = {
        .file = file, .split_file = split, .validation = 0.25, .images = kind, .image_scale = 0.5, .max_bad_files = 1};
    struct dataset *data = NULL;
    struct ebm_error error = {.text = ""};
    cr_assert_eq(dataset_load(&options, &data, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(data->n_rows, 19);
    cr_assert_eq(data->n_bad, 1);
    cr_assert_eq(data->n_test, 2, "row 4 is bad, %u are left", data->n_test);
    cr_assert_eq(data->n_validation, 4);
    double sum = 0.0, squares = 0.0;
    for (uint32_t i = 0; i < data->n_train; i++)
        for (uint32_t j = 0; j < 12; j++) {
            double v = 0.5 * (data->y[data->train[i]] * 10.0 + j);
            sum += v / (12.0 * data->n_train);
            squares += v * v / (12.0 * data->n_train);
        }
    cr_assert_float_eq(data->input_mean[0], sum, 1e-9, "%g, expected %g", data->input_mean[0], sum);
    cr_assert_float_eq(data->input_std[0], sqrt(squares - sum * sum), 1e-9);
    float x[12];
    const double mean[12] = {1.0}, std[12] = {2.0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    dataset_standardize(data, 1, mean, std, x);
    cr_assert_eq(x[0], 4.5f);
    cr_assert_eq(x[1], 11.0f);
    (void)dataset_free(data);
}
