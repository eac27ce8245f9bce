/* image_files.h - which images a data set on disk has, and what is known of each: paths and numbers, no pixels. */
#ifndef EBM_TRAINER_IMAGE_FILES_H
#define EBM_TRAINER_IMAGE_FILES_H

#include "core/limits.h"
#include "core/status.h"

/* Owns its arrays: image_files_done. Zeroed is fine. */
struct image_files {
    uint32_t n, n_columns;
    char **paths;      /* (n) */
    char **names;      /* (n_columns) of the numbers */
    double *values;    /* (n, n_columns); NaN: unknown, since the file's name says nothing: a bad file */
    uint32_t *numbers; /* (n) 0-based number in the list or the CSV, rows that were dropped counted */
    uint32_t n_dropped;
};

void image_files_done(struct image_files *files);

/* A CSV with a header line, or a folder that has it as labels.csv: one column names the image, relative to the CSV; the
 * others that are asked for are numbers. image_column NULL: the first column. columns (n): those wanted; none: the
 * last one. */
enum ebm_status image_files_csv(const char *path, const char *image_column, char *const *columns, uint32_t n,
                                bool drop_missing, struct image_files *ret_files, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Udacity's driving_log.csv, or a folder with it: center,left,right,steering,throttle,brake,speed, with that header or
 * none; the image is center's. A path of the machine that recorded it becomes IMG/NAME beside the log. */
enum ebm_status image_files_driving_log(const char *path, struct image_files *ret_files, struct ebm_error *reterr)
    EBM_MUST_USE;

/* UTKFace: a folder of files AGE_GENDER_RACE_DATE.jpg; age, gender and race are numbers, age is the target. */
enum ebm_status image_files_utkface(const char *folder, struct image_files *ret_files, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Cell-200 as CcGAN's script writes it: folders COUNT with files COUNT_INDEX.png; or such files in one folder. */
enum ebm_status image_files_cell200(const char *folder, struct image_files *ret_files, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
