/* dispatch.c - jobs as the loop sees them.
 *
 *   exchange -> job -> small body: read and admitted here -> its model's lane, or computed here when that is cheaper
 *                   -> large body, many rows, images: read lane -> worker -> mailbox -> its model's lane
 *   mailbox  -> DONE: answer the exchange;  QUEUED: admitted by a worker, queue its rows;  ABANDONED: drop
 *   deadline -> hurried, when it is partial and has begun
 *            -> else, or soon after: ABANDONED, withdraw from the batcher, answer 504
 *   on_end   -> ABANDONED unless done, withdraw, drop the loop's reference
 *
 * Guarantees: an exchange is answered exactly once; a job that nobody wants leaves the queue at once; the loop reads at
 * most READ_HERE_BYTES of JSON at a time and computes, by the models' own costs, what takes less time than handing it
 * over, and at most HERE_ROUND_NS of more than that between two looks at its sockets. */
#include "server/dispatch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "server/reply.h"
#include "server/timeouts.h"

#define READ_HERE_BYTES (32u << 10)
#define ADMIT_HERE_ROWS 64u
#define HURRY_US 100000u
#define HOPELESS 2u /* the estimated wait is so many times what is left until the deadline */
#define NS_OF_MS 1000000u
#define READ_BYTE_NS 10u      /* to read a byte of JSON, about */
#define HERE_NS 12000.0       /* what handing over costs all threads together */
#define HERE_ROUND_NS 50000.0 /* about what a worker takes to wake up */

struct dispatch {
    struct dispatch_config config;
    struct http *http; /* NULL: over */
    struct mailbox *home;
    struct compute *compute;  /* NULL: not yet */
    struct timeouts timeouts; /* of jobs */
    uv_prepare_t round;
    double round_ns; /* computed here since the loop last waited, by the models' costs */
    uint32_t n_open_handles;
};

/* ---- deadlines ---- */

static void set_deadline(struct dispatch *dispatch, struct job *job, uint64_t at_us)
{
    timeouts_set(&dispatch->timeouts, &job->deadline, at_us);
}

/* True: it was given up now, and the loop alone decides what becomes of its exchange. */
static bool give_up(struct dispatch *dispatch, struct job *job)
{
    deadline_remove(&job->deadline);
    if (!job_abandon(job))
        return false;
    uint32_t withdrawn = batcher_withdraw(dispatch->config.batcher, &job->ticket);
    if (withdrawn > 0 && job_rows_done(job, withdrawn))
        (void)job_unref(job); /* the travelling reference: it was only queued */
    return true;
}

/* At the deadline of one that makes do with what there is: half the time that it had, and at most HURRY_US, is for what
 * is left, a tile of each row. False: it is too late for that, or there is nothing. */
static bool hurry(struct dispatch *dispatch, struct job *job)
{
    uint64_t more_us = (job->deadline.at_us - job->accepted_us) / 2;
    if (!job->makes_do || !job_hurry(job))
        return false;
    job->makes_do = false;
    deadline_remove(&job->deadline);
    set_deadline(dispatch, job, job->deadline.at_us + (more_us < HURRY_US ? more_us : HURRY_US));
    return true;
}

static void expire(struct dispatch *dispatch, struct job *job)
{
    if (hurry(dispatch, job))
        return;
    uint64_t waited_ms = (job->deadline.at_us - job->accepted_us) / 1000;
    if (!give_up(dispatch, job))
        return; /* done: its mail is on the way */
    struct ebm_error error;
    (void)ebm_error_set(&error, EBM_TIMEOUT, "", "no answer within %" PRIu64 " ms", waited_ms);
    reply_error(job->exchange, REPLY_TIMEOUT, &error);
}

static void on_due(void *user, struct deadline *due)
{
    struct dispatch *dispatch = user;
    if (due)
        expire(dispatch, EBM_CONTAINER_OF(due, struct job, deadline));
    else if (dispatch->http)
        http_pump(dispatch->http);
}

/* ---- queueing ---- */

static void receive(struct dispatch *dispatch, struct job *travelling);

/* What the access log tells of a job, wherever it is by then. The loop holds the travelling reference. */
static void note_request(struct job *job)
{
    job->n_rows = job->request.inputs.n;
    job->model_name = job->model ? job->model->name : NULL;
    job->model_version = job->model ? job->model->version : 0;
    job->counts = job->model ? job->model->counts : NULL;
}

static void answer_error(struct job *job)
{
    deadline_remove(&job->deadline);
    reply_error(job->exchange, job->is_unacceptable ? REPLY_NOT_ACCEPTABLE : reply_kind_of(job->error.status),
                &job->error);
}

static void refuse_full(const struct dispatch *dispatch, struct job *job, const struct batcher_lane *lane,
                        const struct batcher_work *work, const struct batcher_verdict *verdict)
{
    uint64_t wait_ms = verdict->wait_ns / NS_OF_MS, max_ms = dispatch->config.max_queue_ms;
    if (verdict->refusal == BATCHER_FULL)
        (void)ebm_error_set(
            &job->error, EBM_BUSY, "", "the queue is full: no room for %" PRIu32 " more rows now%s", work->n_rows,
            lane->limits.max_tickets > 0 ? ", see the model's max_queue_size and --max-queue-rows" : "");
    else if (verdict->wait_ns > max_ms * NS_OF_MS)
        (void)ebm_error_set(&job->error, EBM_BUSY, "",
                            "the queue is full: what waits before takes about %" PRIu64 " ms, at most %" PRIu64
                            " are allowed, see --max-queue-ms",
                            wait_ms, max_ms);
    else
        (void)ebm_error_set(&job->error, EBM_BUSY, "",
                            "the queue is full: what waits before takes about %" PRIu64
                            " ms, more than %u times the time that is left",
                            wait_ms, HOPELESS);
    deadline_remove(&job->deadline);
    reply_queue_full(job->exchange, &job->error, wait_ms);
}

/* Gives `travelling`, a reference of the job, to the batcher; refuses when there is no room. */
static void submit(struct dispatch *dispatch, struct job *travelling, struct batcher_lane *lane,
                   const struct batcher_work *work)
{
    struct job *job = travelling;
    struct batcher_verdict verdict;
    atomic_store_explicit(&job->rows_left, work->n_rows, memory_order_relaxed);
    if (batcher_submit(dispatch->config.batcher, lane, &job->ticket, work, &verdict) == EBM_OK)
        return;
    refuse_full(dispatch, job, lane, work, &verdict);
    (void)job_unref(travelling);
}

static uint64_t deadline_of(const struct dispatch *dispatch, const struct job *job)
{
    uint64_t timeout_ms = job->request.timeout_ms ? job->request.timeout_ms : dispatch->config.timeout_ms;
    return job->accepted_us + timeout_ms * 1000;
}

/* How long its rows may have to wait: the server's limit, and not so long that its deadline is hopeless. */
static uint64_t patience_ns(const struct dispatch *dispatch, const struct job *job)
{
    uint64_t deadline_us = deadline_of(dispatch, job), now_us = ebm_clock_us();
    uint64_t most_ns = dispatch->config.max_queue_ms * NS_OF_MS;
    uint64_t left_ns = deadline_us > now_us ? (deadline_us - now_us) * HOPELESS * 1000
                                            : most_ns; /* 504, by the timer */
    return left_ns < most_ns ? left_ns : most_ns;
}

static void refuse_without_room(struct job *job)
{
    deadline_remove(&job->deadline);
    (void)ebm_error_set(&job->error, EBM_BUSY, "",
                        "no room for the answer now: it may take %zu bytes, requests in progress take %" PRIu64
                        ", see --max-inflight-bytes",
                        operation_memory(job), http_inflight_bytes(job->exchange));
    reply_error(job->exchange, REPLY_BUSY, &job->error);
}

/* ---- answering here ---- */

/* What a row of it costs; 0: not known. */
static double job_row_ns(const struct job *job)
{
    return cost_of_row(&job->model->cost, job->resolved.spec.estimator, job->row_numbers);
}

/* Is handing it over more trouble than it is, or does it begin a round, in which the workers sleep? */
static bool pays_here(struct dispatch *dispatch, const struct job *job)
{
    const struct batcher_lane_limits *limits = &job->model->lane.limits;
    uint32_t n = job->request.inputs.n;
    bool is_free = limits->max_delay_us == 0 && limits->max_batches == 0;
    if (!dispatch->compute || !is_free || n > DISPATCH_HERE_ROWS)
        return false;
    double row_ns = job_row_ns(job);
    double ns = n * row_ns + job->model->cost.batch_ns;
    if (!(row_ns > 0.0) || (ns > HERE_NS && dispatch->round_ns + ns > HERE_ROUND_NS))
        return false;
    dispatch->round_ns += ns;
    return true;
}

static void on_round(uv_prepare_t *round)
{
    struct dispatch *dispatch = round->data;
    dispatch->round_ns = 0.0;
}

static void on_computed(void *user, struct job *job, bool is_wanted)
{
    EBM_ASSERT(is_wanted); /* this thread gives up, nobody else */
    receive(user, job);
}

/* False: it has to go the long way. */
static bool compute_here(struct dispatch *dispatch, struct job *travelling)
{
    uint32_t n = travelling->request.inputs.n;
    struct batcher_part part = {&travelling->ticket, 0, n};
    struct batcher_batch batch = {.lane = &travelling->model->lane, .parts = &part, .n_parts = 1, .n_rows = n};
    atomic_store_explicit(&travelling->rows_left, n, memory_order_relaxed);
    return compute_batch_now(dispatch->compute, &batch, on_computed, dispatch);
}

/* An admitted job: answered at once, or into its model's lane. */
static void queue_rows(struct dispatch *dispatch, struct job *travelling)
{
    const struct ebm_estimate_spec *spec = &travelling->resolved.spec;
    if (!http_reserve(travelling->exchange, operation_memory(travelling))) {
        refuse_without_room(travelling);
        (void)job_unref(travelling);
        return;
    }
    if (pays_here(dispatch, travelling) && compute_here(dispatch, travelling))
        return;
    struct batcher_work work = {
        .n_rows = travelling->request.inputs.n,
        .priority = travelling->priority,
        .row_ns = (uint64_t)job_row_ns(travelling),
        .patience_ns = patience_ns(dispatch, travelling),
    };
    travelling->makes_do = travelling->request.partial &&
                           (spec->estimator == EBM_ESTIMATE_IMPORTANCE || spec->or_importance);
    set_deadline(dispatch, travelling, deadline_of(dispatch, travelling));
    submit(dispatch, travelling, &travelling->model->lane, &work);
}

static void start(struct dispatch *dispatch, struct job *job)
{
    enum ebm_status status = EBM_OK;
    uint64_t body_bytes = job->body.size;
    bool is_small = job->body.size <= READ_HERE_BYTES && job->form.coding == INFLATE_NONE;
    if (is_small)
        status = operation_read(dispatch->config.service, job);
    is_small = is_small && job->request.inputs.n <= ADMIT_HERE_ROWS && !job->request.inputs.images;
    if (status == EBM_OK && is_small)
        status = operation_admit(dispatch->config.service, job);
    job->input_us = ebm_clock_us() - job->accepted_us;
    note_request(job);
    if (status != EBM_OK) {
        answer_error(job);
    } else if (is_small) {
        queue_rows(dispatch, job_ref(job));
    } else {
        struct batcher_work reading = {.n_rows = 1, .priority = 1, .row_ns = body_bytes * READ_BYTE_NS};
        set_deadline(dispatch, job, deadline_of(dispatch, job));
        submit(dispatch, job_ref(job), dispatch->config.read_lane, &reading);
    }
}

/* The form's texts are the exchange's: into the job's arena. False: no memory. */
static bool keep_form(struct job *job, const struct job_form *form)
{
    job->form = *form;
    if (form->model)
        job->form.model = ebm_arena_text(&job->arena, form->model, strlen(form->model));
    if (form->options)
        job->form.options = ebm_arena_text(&job->arena, form->options, strlen(form->options));
    return (job->form.model || !form->model) && (job->form.options || !form->options);
}

void dispatch_request(struct dispatch *dispatch, struct http_exchange *exchange, enum request_kind kind,
                      const struct job_form *form)
{
    struct ebm_buf body;
    http_take_body(exchange, &body);
    struct job *job = job_new(kind, &body, dispatch->config.max_arena_bytes);
    if (!job || !keep_form(job, form)) {
        ebm_buf_done(&body);
        (void)job_unref(job);
        reply_refuse(exchange, REPLY_INTERNAL, "", "no memory for one more request");
        return;
    }
    job->home = dispatch->home;
    job->exchange = exchange;
    job->accepted_us = ebm_clock_us();
    http_set_user(exchange, job);
    start(dispatch, job);
}

/* ---- coming back ---- */

static void receive(struct dispatch *dispatch, struct job *travelling)
{
    struct job *job = travelling;
    switch (job_state(job)) {
    case JOB_QUEUED:
        note_request(job);
        queue_rows(dispatch, travelling);
        return;
    case JOB_DONE:
        note_request(job);
        if (job->exchange && job->error.status != EBM_OK) {
            answer_error(job);
        } else if (job->exchange) {
            deadline_remove(&job->deadline);
            reply_parts(job->exchange, job->answer_type, &job->answer, job->answer_json_bytes);
        }
        break;
    case JOB_RUNNING: /* a worker sends home what it has finished */
    case JOB_ABANDONED:
        break;
    }
    (void)job_unref(travelling);
}

void dispatch_on_mail(void *user, struct ebm_list *mail)
{
    struct dispatch *dispatch = user;
    struct ebm_list *link;
    while ((link = ebm_list_pop(mail)) != NULL)
        receive(dispatch, EBM_CONTAINER_OF(link, struct job, mail));
    if (dispatch->http)
        http_pump(dispatch->http);
}

void dispatch_end(struct dispatch *dispatch, struct http_exchange *exchange)
{
    struct job *job = http_user(exchange);
    if (!job)
        return;
    (void)give_up(dispatch, job);
    job->exchange = NULL;
    http_set_user(exchange, NULL);
    (void)job_unref(job);
}

/* ---- life ---- */

enum ebm_status dispatch_new(uv_loop_t *loop, const struct dispatch_config *config, struct dispatch **ret_dispatch)
{
    struct dispatch *dispatch = calloc(1, sizeof *dispatch);
    if (!dispatch)
        return EBM_NO_MEMORY;
    dispatch->config = *config;
    timeouts_init(&dispatch->timeouts, loop, on_due, dispatch);
    (void)uv_prepare_init(loop, &dispatch->round);
    dispatch->round.data = dispatch;
    (void)uv_prepare_start(&dispatch->round, on_round);
    dispatch->n_open_handles = 2;
    *ret_dispatch = dispatch;
    return EBM_OK;
}

void dispatch_set_http(struct dispatch *dispatch, struct http *http)
{
    dispatch->http = http;
}

void dispatch_set_home(struct dispatch *dispatch, struct mailbox *mailbox)
{
    dispatch->home = mailbox;
}

void dispatch_set_compute(struct dispatch *dispatch, struct compute *compute)
{
    dispatch->compute = compute;
}

static void handle_closed(struct dispatch *dispatch)
{
    if (--dispatch->n_open_handles == 0)
        free(dispatch);
}

static void on_round_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void on_timeouts_closed(uv_handle_t *handle)
{
    const struct timeouts *timeouts = handle->data;
    handle_closed(timeouts->user);
}

struct dispatch *dispatch_close(struct dispatch *dispatch)
{
    if (!dispatch)
        return NULL;
    uv_close((uv_handle_t *)&dispatch->round, on_round_closed);
    timeouts_close(&dispatch->timeouts, on_timeouts_closed);
    return NULL;
}
