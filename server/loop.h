/* loop.h - one thread that reads requests and sends answers: a libuv loop with an HTTP daemon and a listening socket of
 * its own, the jobs of its connections, and an engine for what is less work than handing it over. The first loop is the
 * main thread's; loops meet in the batcher, in the store of models and in what struct loop_shared has. */
#ifndef EBM_SERVER_LOOP_H
#define EBM_SERVER_LOOP_H

#include "server/options.h"
#include "server/routes.h"

/* The main thread tells each loop how far to go; stages only go up. */
enum loop_stage {
    LOOP_PROBE, /* no models yet */
    LOOP_SERVE,
    LOOP_DRAIN, /* no new connections; CLOSE when every request that was read is answered */
    LOOP_CLOSE, /* every exchange is over, answered or not; jobs may still come home */
    LOOP_END    /* none will: everything is freed, and the thread ends */
};

/* Borrows. */
struct loop_shared {
    const struct options *options;
    uint32_t n_loops, n_workers;
    struct operation_service service; /* its store is there from SERVE on */
    struct model_keeper *keeper;      /* likewise; NULL: nothing is loaded later */
    struct batcher *batcher;
    struct batcher_lane read_lane;
    struct http_budget budget;
    struct addresses *addresses; /* NULL: no limit for one address */
    struct access access;
    struct tls *tls; /* NULL: without encryption */
    struct routes_state state;
    struct metrics *metrics; /* (n_loops) */
    /* A loop has come to SERVE or CLOSE. On its thread. */
    void (*on_stage)(void *user, enum loop_stage stage);
    void (*on_turn)(void *user); /* its answer to loop_ask; on its thread */
    void *user;
};

struct loop {
    struct loop_shared *shared; /* fixed, as the next */
    uv_loop_t uv;
    uv_thread_t thread;
    bool has_thread;
    _Atomic uint32_t wanted; /* enum loop_stage, by the main thread */
    _Atomic bool is_asked;   /* likewise: does it turn? */
    struct compute *compute; /* who starts the server sets it before SERVE */
    /* its own thread */
    enum loop_stage stage;
    uv_async_t told;
    uv_prepare_t round; /* while draining, as is look */
    uv_timer_t look;
    struct dispatch *dispatch;
    struct mailbox *mailbox, *keeper_mailbox;
    struct http *http; /* NULL from CLOSE on */
    struct routes routes;
    uint32_t n_lost; /* requests without an answer; fixed from CLOSE on */
};

/* Listens: the first on the port of the options, the next ones on `port`. Nothing runs yet. INVALID when the address
 * cannot be listened on, NO_MEMORY. New: loop_free. */
enum ebm_status loop_new(struct loop_shared *shared, uint32_t index, uint16_t port, struct loop **ret_loop,
                         struct ebm_error *reterr) EBM_MUST_USE;
/* After END, or of a loop that never ran; waits for its thread. NULL is fine; returns NULL. */
struct loop *loop_free(struct loop *loop);

/* Gives it a thread. Without one, whoever calls uv_run is its thread. */
enum ebm_status loop_start(struct loop *loop) EBM_MUST_USE;
/* Main thread. Soon the loop obeys; one whose thread calls obeys at once. */
void loop_tell(struct loop *loop, enum loop_stage stage);
/* Main thread, before END: the loop calls on_turn when it comes round, unless it has come to CLOSE. */
void loop_ask(struct loop *loop);

#endif
