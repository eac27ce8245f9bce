/* report.h - what the rows of a training look like: what to know of data before hours are spent on them. */
#ifndef EBM_TRAINER_REPORT_H
#define EBM_TRAINER_REPORT_H

#include "core/buf.h"
#include "trainer/dataset.h"

/* Roles of the rows, columns with their ranges, and what is odd: constant inputs, rows that stand twice, targets that
 * repeat. */
void report_text(const struct dataset *data, const struct dataset_jitter *jitter, struct ebm_buf *buf);

/* The same on standard output. */
void report_print(const struct dataset *data, const struct dataset_jitter *jitter);

#endif
