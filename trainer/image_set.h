/* image_set.h - a data set of images in memory: 8 bits a number, all of one shape, with the targets of each. */
#ifndef EBM_TRAINER_IMAGE_SET_H
#define EBM_TRAINER_IMAGE_SET_H

#include "core/status.h"
#include "images/image.h"

/* What data sets of images there are; the words are those of data.images. */
#define IMAGE_SET_MAP(X)                                                                                               \
    X(FOLDER, "folder")           /* a CSV that names images, or a folder with labels.csv */                           \
    X(UTKFACE, "utkface")         /* a folder of files AGE_GENDER_RACE_DATE.jpg */                                     \
    X(CELL200, "cell200")         /* folders COUNT with files COUNT_INDEX.png */                                       \
    X(DRIVING_LOG, "driving_log") /* Udacity's driving_log.csv, or a folder with it */                                 \
    X(BIWI, "biwi")               /* an .npz with image (n, height, width, channels) and pose (n, 3) */                \
    X(CCGAN, "ccgan")             /* HDF5 with images or IMGs_grey (n, channels, height, width), labels or CellCounts */

enum image_set_kind {
#define X(name, word) IMAGE_SET_##name,
    IMAGE_SET_MAP(X)
#undef X
        IMAGE_SET_KINDS
};

#define IMAGE_SET_FILE_BYTES (64u << 20) /* most of one image's file */

/* The kind of that word; INVALID with all words, and the nearest one. */
enum ebm_status image_set_find(const char *word, enum image_set_kind *ret_kind, struct ebm_error *reterr) EBM_MUST_USE;

struct image_set_options {
    enum image_set_kind kind;
    const char *path;
    const char *image_column; /* of FOLDER; NULL: the first */
    char *const *targets;     /* (n_targets) names; none: what the kind is about */
    uint32_t n_targets;
    bool drop_missing;
    struct image_shape shape; /* channels 0: that of the first image; TOO_LARGE beyond LIMIT_IMAGE_ of core/limits.h */
    uint32_t max_bad_files;   /* more images that cannot be read than these are an error */
    uint32_t n_threads;       /* that decode; the result is the same for any number */
};

/* Owns its arrays: image_set_done. Zeroed is fine. */
struct image_set {
    uint32_t n_rows, n_targets;
    struct image_shape shape;
    uint8_t *pixels;    /* (n_rows, channels, height, width) */
    double *targets;    /* (n_rows, n_targets) */
    char **names;       /* (n_targets) */
    uint32_t *numbers;  /* (n_rows) 0-based number of the row in its list, those that are left out counted */
    uint32_t n_dropped; /* rows left out for a missing value */
    uint32_t n_bad;     /* and for an image that cannot be read, each named in a warning */
};

/* Lists, decodes on n_threads threads, names the bad files. An error says which file was the first bad one. New:
 * image_set_done. */
enum ebm_status image_set_load(const struct image_set_options *options, struct image_set *ret_set,
                               struct ebm_error *reterr) EBM_MUST_USE;
void image_set_done(struct image_set *set);

#endif
