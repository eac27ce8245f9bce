/* job.h - one request on its way through the threads, and who may touch it when.
 *
 * Two references: the loop's (as long as the exchange lasts) and the one that travels: batcher, worker, mailbox, loop.
 * The last one frees. The state is the only thing that both sides may touch at any time:
 *
 *   QUEUED -> RUNNING -> DONE         worker: answer or error stand; the travelling reference goes to the mailbox
 *     ^-------/ (read on a worker: back to the loop, which queues its rows)
 *   QUEUED, RUNNING -> ABANDONED      loop: deadline passed or client gone; workers drop what they hold
 *
 * Everything else belongs to whoever holds the travelling reference, except what is marked. */
#ifndef EBM_SERVER_JOB_H
#define EBM_SERVER_JOB_H

#include <stdatomic.h>

#include "core/arena.h"
#include "core/buf.h"
#include "models/estimate.h"
#include "proto/inflate.h"
#include "proto/request.h"
#include "server/batcher.h"
#include "server/deadline.h"
#include "server/model_store.h"

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_ABANDONED };

struct http_exchange;
struct mailbox;
struct oip_wanted;

enum job_body { JOB_BODY_JSON, JOB_BODY_NPY, JOB_BODY_IMAGE };

/* What stood around a body: how it is to be read, and its answer to be written. Texts are copied when it is given to
 * dispatch. */
struct job_form {
    enum inflate_coding coding;
    uint64_t max_bytes; /* of the body when it is decompressed */
    enum job_body body; /* if no JSON, `options` is all that a JSON body has but the rows */
    bool wants_npy;     /* the answer is to be one array */
    const char *options;
    const char *model;   /* of an infer request, from its path */
    uint64_t version;    /* likewise; 0: the highest */
    bool has_json_bytes; /* of an infer request: Inference-Header-Content-Length */
    uint64_t json_bytes;
};

struct job {
    /* any thread */
    _Atomic uint32_t references;
    _Atomic uint32_t state;
    _Atomic uint32_t rows_left;  /* of the ticket: not yet finished or withdrawn */
    _Atomic uint32_t failure;    /* enum ebm_status of a batch that failed */
    _Atomic uint64_t started_us; /* when its first row was taken; 0: not yet */
    _Atomic bool is_hurried;     /* rows make do with the draws that they have */
    _Atomic uint32_t failed_on;  /* devices, a bit each, that failed while they had rows of it */

    struct mailbox *home;         /* of the loop whose job it is; fixed, borrow */
    struct batcher_ticket ticket; /* the batcher's between submit and take */
    struct ebm_list mail;         /* the mailbox's */

    /* loop thread only */
    struct http_exchange *exchange; /* NULL: over */
    struct deadline deadline;
    uint64_t accepted_us;
    const char *model_name;       /* of what was asked, for the access log: model's; NULL: not known yet */
    uint64_t model_version;       /* likewise */
    struct metrics_model *counts; /* likewise, for metrics */
    uint32_t n_rows;
    bool makes_do; /* at its deadline it is to be hurried, once */

    /* the travelling reference; the loop may read these when the job is DONE */
    struct ebm_arena arena; /* request, query, predictions */
    enum request_kind kind;
    struct job_form form;
    struct ebm_buf body; /* until it is read; images in it until they are decoded */
    bool is_read;
    struct request request;
    struct oip_wanted *wanted;       /* of an infer request */
    struct model_store_entry *model; /* a reference, NULL before it is found */
    uint32_t priority;               /* in its model's queue, 1 first */
    struct ebm_resolved_query resolved;
    struct ebm_prediction *predictions; /* (request.inputs.n) */
    uint64_t row_numbers;               /* of a row, as cost.h counts them */
    size_t answer_bound;                /* bytes of the answer at most */
    struct ebm_error error;             /* status OK: answer stands */
    struct ebm_buf answer;
    const char *answer_type;           /* its content type; static */
    size_t answer_json_bytes;          /* of it, before binary tensors; 0: none follow */
    bool is_unacceptable;              /* the error is that no answer is of the type that was asked for */
    uint64_t input_us;                 /* that reading and admitting took */
    uint64_t computed_us, finished_us; /* when the last row was computed, the answer was written */
};

/* Takes the bytes of `body`. One reference: the loop's. New: job_unref. NULL: no memory. */
struct job *job_new(enum request_kind kind, struct ebm_buf *body, size_t max_arena_bytes) EBM_MUST_USE;
struct job *job_ref(struct job *job);
struct job *job_unref(struct job *job); /* NULL is fine; returns NULL */

enum job_state job_state(const struct job *job);

/* Worker: may it be worked on? Sets RUNNING. */
bool job_start(struct job *job);
/* Worker: RUNNING -> QUEUED, RUNNING -> DONE. False: it was abandoned, the caller drops its reference. */
bool job_requeue(struct job *job) EBM_MUST_USE;
bool job_finish(struct job *job) EBM_MUST_USE;
/* Loop: nobody wants it any more. False: it is DONE, or was abandoned before. */
bool job_abandon(struct job *job) EBM_MUST_USE;
/* Loop: an answer by what there is is wanted now. False: no row was taken yet, there is nothing. */
bool job_hurry(struct job *job) EBM_MUST_USE;
/* Between tiles, for struct ebm_item: `who` is the job. */
bool job_is_wanted(const void *who);
bool job_is_hurried(const void *who);

/* n rows of the ticket are finished or withdrawn: true when they were the last, once a ticket. */
bool job_rows_done(struct job *job, uint32_t n) EBM_MUST_USE;

/* Loop: accepted to first row taken, first row taken to answer written; what has not ended by now_us ends then. Only
 * for a job whose model is known. */
struct job_times {
    bool has_begun; /* a worker took its first row */
    uint64_t queue_us, compute_us;
};
struct job_times job_times_of(const struct job *job, uint64_t now_us);

#endif
