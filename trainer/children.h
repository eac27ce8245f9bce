/* children.h - the same training several times, each in a process of its own: seeds to compare, members of an ensemble.
 */
#ifndef EBM_TRAINER_CHILDREN_H
#define EBM_TRAINER_CHILDREN_H

#include <signal.h>

#include "trainer/args.h"
#include "trainer/progress.h"

#define CHILDREN_MAX 1000u

enum child_state { CHILD_WAITING, CHILD_RUNNING, CHILD_DONE, CHILD_FAILED, CHILD_STOPPED };

struct child {
    uint64_t seed;
    char *folder; /* DIR/seed-N, DIR/member-N: its --output */
    enum child_state state;
    int pid;
    struct progress_summary summary; /* of a run that is done */
};

/* Zero is a good start; the caller sets the first four (extra_sets may stay NULL), children_init the rest. */
struct children {
    const struct args *args;       /* of the command: passed on, but for the seed and the output */
    const char *what;              /* "seed", "member" */
    const char *const *extra_sets; /* more of --set, NULL behind the last; or NULL */
    uint64_t split_seed;           /* one for all: they are compared on the same rows */
    struct child *all;             /* (n) */
    uint32_t n, n_running, n_over, n_jobs, n_threads;
    bool is_stopped;          /* by a signal, or because one could not start */
    sigset_t signals, before; /* those waited for; the mask that children get back */
};

/* n children, child i with seeds[i] in OUTPUT/<what>-N, N its seed ("seed") or i ("member"); shares out the cores by
 * --jobs and --threads. Refuses folders that hold a run, unless --overwrite. New: children_done. */
enum ebm_status children_init(struct children *children, const char *output, const uint64_t *seeds, uint32_t n,
                              struct ebm_error *reterr) EBM_MUST_USE;
void children_done(struct children *children); /* zeroed is fine */

/* Runs all; returns when none is left. CANCELLED after a signal, INVALID when one failed; both say how to go on.
 * The thread that catches signals. */
enum ebm_status children_run(struct children *children, const char *output, struct ebm_error *reterr) EBM_MUST_USE;

#endif
