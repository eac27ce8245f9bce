/* progress.h - what a run tells while it trains: a bar on a terminal, else a line an epoch, and training.jsonl. */
#ifndef EBM_TRAINER_PROGRESS_H
#define EBM_TRAINER_PROGRESS_H

#include <stdio.h>

#include "core/status.h"

struct progress_epoch {
    uint32_t number, epochs;     /* number from 1; 0: none has ended yet */
    const char *phase;           /* "" for the method's own */
    double loss, validation_nll; /* NaN: none */
    double learning_rate;        /* of the last step */
    double best_nll;
    uint32_t best_epoch; /* 0: none */
};

struct progress {
    FILE *log;          /* training.jsonl */
    uint64_t begin_ns;  /* of this epoch, in this process */
    uint64_t rows;      /* trained in this epoch, in this process */
    uint64_t first_ns;  /* of this process's first epoch */
    uint64_t all_rows;  /* trained in this process */
    uint64_t left_rows; /* still to train */
    uint64_t run_rows;  /* of the whole run, from its first epoch to its last */
    bool is_terminal;   /* standard output can rewrite a line */
    bool has_bar;       /* a line without its end stands there */
    uint64_t drawn_ns;
    struct progress_epoch last; /* the last epoch that ended in this process */
};

/* Opens training.jsonl in `folder` and cuts it to log_bytes: lines after the checkpoint will be written again.
 * done of `epochs` epochs are over. */
enum ebm_status progress_init(struct progress *progress, const char *folder, uint64_t log_bytes, uint64_t done,
                              uint64_t epochs, uint64_t rows_per_epoch, struct ebm_error *reterr) EBM_MUST_USE;
void progress_done(struct progress *progress); /* zeroed is fine */

void progress_begin(struct progress *progress);
void progress_rows(struct progress *progress, uint32_t rows);
/* An epoch has ended: the line, and the log's new length. */
enum ebm_status progress_line(struct progress *progress, const struct progress_epoch *epoch, uint64_t *ret_log_bytes,
                              struct ebm_error *reterr) EBM_MUST_USE;

/* What a finished run's log says. */
struct progress_summary {
    uint32_t epochs, best_epoch; /* best_epoch 0: no validation NLL */
    double best_nll;             /* the lowest one after the warm-up */
    double seconds;
};

/* Reads training.jsonl in `folder`. NOT_FOUND when there is none, DAMAGED when a line is not one of progress_line. */
enum ebm_status progress_read(const char *folder, struct progress_summary *ret_summary) EBM_MUST_USE;

/* One epoch of a log. */
struct progress_point {
    uint32_t epoch;
    bool is_warm_up;             /* a phase before the method's own: its loss is another one */
    double loss, validation_nll; /* NaN: none */
};

/* All epochs of training.jsonl in `folder`, in their order; as progress_read. New: free(). */
enum ebm_status progress_history(const char *folder, struct progress_point **ret_points, uint32_t *ret_n) EBM_MUST_USE;

/* The bar of a terminal that is `columns` wide, without colours and line ends, into ret_text. */
void progress_bar(const struct progress *progress, uint32_t columns, char *ret_text, size_t text_bytes);

#endif
