/* seeds.c - several seeds, as many at once as --jobs allows:
 *
 *   check once: configuration, data, no folder in use
 *   start:  fork -> this program again, `train ... --set training.seed=N --output DIR/seed-N`, words into train.log;
 *           data.split_seed is the same for all, so that all hold out the same rows
 *   wait:   a child ended -> its log is read, the next one starts
 *           SIGINT, SIGTERM -> passed on once to each child, which saves a checkpoint; none starts any more
 *   table
 *
 * Processes, so that a seed that fails takes no other with it and each can be resumed alone. Children have process
 * groups of their own: a Ctrl-C reaches them through this program alone, and a second one ends them at once. They die
 * with this program. Which seeds run side by side changes no number. */
#include "trainer/seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "trainer/checkpoint.h"
#include "trainer/files.h"
#include "trainer/next.h"
#include "trainer/pool.h"
#include "trainer/publish.h"
#include "trainer/setup.h"

#define LOG_FILE "train.log"
#define CHILD_WORDS (2 * ARGS_REPEATS + 24u)
#define TABLE_BYTES (1u << 20)

struct seeds {
    const struct args *args;
    const char *output;
    struct seeds_run *runs;
    uint32_t n, n_running, n_over, n_jobs, n_threads;
    uint64_t split_seed;             /* one for all: they are compared on the same rows */
    char name[LIMIT_NAME_BYTES + 1]; /* the model's, when it can be published under it; "" otherwise */
    bool is_stopped;
    sigset_t signals, before; /* those waited for; the mask that children get back */
};

static void seeds_done(struct seeds *s)
{
    for (uint32_t i = 0; s->runs != NULL && i < s->n; i++)
        free(s->runs[i].folder);
    free(s->runs);
}

/* ---- the list ---- */

static enum ebm_status bad_list(const char *text, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_INVALID, "--seeds",
                         "'%.64s': expected whole numbers and ranges, as in 0..9 or 1,5,20..22; at most %u, none twice",
                         text, SEEDS_MAX);
}

static bool read_seed(const char **at, uint64_t *ret_seed)
{
    char *end = NULL;
    errno = 0;
    *ret_seed = strtoull(*at, &end, 10);
    bool good = **at >= '0' && **at <= '9' && errno == 0 && *ret_seed < 1ull << 53;
    *at = end;
    return good;
}

static bool add_seed(uint64_t *seeds, uint32_t *n, uint64_t seed)
{
    for (uint32_t i = 0; i < *n; i++)
        if (seeds[i] == seed)
            return false;
    if (*n == SEEDS_MAX)
        return false;
    seeds[(*n)++] = seed;
    return true;
}

enum ebm_status seeds_parse(const char *text, uint64_t **ret_seeds, uint32_t *ret_n, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) uint64_t *seeds = calloc(SEEDS_MAX, sizeof *seeds);
    const char *at = text;
    uint32_t n = 0;
    if (seeds == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--seeds", "no memory");
    for (bool more = true; more; at++) {
        uint64_t first, last;
        if (!read_seed(&at, &first))
            return bad_list(text, reterr);
        last = first;
        if (strncmp(at, "..", 2) == 0) {
            at += 2;
            if (!read_seed(&at, &last) || last < first || last - first >= SEEDS_MAX)
                return bad_list(text, reterr);
        }
        for (uint64_t seed = first; seed <= last; seed++)
            if (!add_seed(seeds, &n, seed))
                return bad_list(text, reterr);
        more = *at == ',';
        if (!more && *at != '\0')
            return bad_list(text, reterr);
    }
    *ret_seeds = EBM_TAKE_PTR(seeds);
    *ret_n = n;
    return EBM_OK;
}

/* ---- the table ---- */

static void put_line(struct ebm_buf *buf, const struct seeds_run *run)
{
    static const char *const states[] = {"not begun", "running", "done", "failed: see train.log", "stopped"};
    (void)ebm_buf_printf(buf, "%8" PRIu64, run->seed);
    if (run->state != SEEDS_DONE)
        (void)ebm_buf_printf(buf, "  %s\n", states[run->state]);
    else if (run->summary.best_epoch > 0)
        (void)ebm_buf_printf(buf, "  %14.4f  %10u  %6u  %7.1f\n", run->summary.best_nll, run->summary.best_epoch,
                             run->summary.epochs, run->summary.seconds);
    else
        (void)ebm_buf_printf(buf, "  %14s  %10s  %6u  %7.1f\n", "-", "-", run->summary.epochs, run->summary.seconds);
}

uint32_t seeds_table(const struct seeds_run *runs, uint32_t n, struct ebm_buf *buf)
{
    uint32_t best = n, known = 0, n_done = 0;
    double sum = 0.0, squares = 0.0;
    (void)ebm_buf_text(buf, "    seed  validation NLL  best epoch  epochs  seconds\n");
    for (uint32_t i = 0; i < n; i++) {
        put_line(buf, &runs[i]);
        n_done += runs[i].state == SEEDS_DONE;
        if (runs[i].state != SEEDS_DONE || runs[i].summary.best_epoch == 0)
            continue;
        known++;
        sum += runs[i].summary.best_nll;
        if (best == n || runs[i].summary.best_nll < runs[best].summary.best_nll)
            best = i;
    }
    for (uint32_t i = 0; i < n; i++)
        if (runs[i].state == SEEDS_DONE && runs[i].summary.best_epoch > 0)
            squares += (runs[i].summary.best_nll - sum / known) * (runs[i].summary.best_nll - sum / known);
    if (best == n && n_done > 0)
        (void)ebm_buf_text(buf, "no validation NLL to compare: set data.validation, as in 0.1\n");
    if (best == n)
        return n;
    (void)ebm_buf_printf(buf, "    mean  %14.4f  +- %.4f from seed to seed, %u of %u seeds\n", sum / known,
                         known > 1 ? sqrt(squares / (known - 1)) : 0.0, known, n);
    (void)ebm_buf_printf(buf, "    best  %14.4f  seed %" PRIu64 ": %s/model.safetensors\n", runs[best].summary.best_nll,
                         runs[best].seed, runs[best].folder);
    return best;
}

/* ---- one child ---- */

/* What the child is called with; words from `args` are borrowed. */
struct words {
    const char *at[CHILD_WORDS];
    uint32_t n;
    char seed[64], split[64], threads[16];
};

static void add_words(struct words *words, const char *option, const char *value)
{
    EBM_ASSERT(words->n + 3 <= CHILD_WORDS);
    words->at[words->n++] = option;
    if (value != NULL)
        words->at[words->n++] = value;
}

static void make_words(const struct seeds *s, const struct seeds_run *run, struct words *words)
{
    const struct args *args = s->args;
    *words = (struct words){.n = 0};
    (void)snprintf(words->seed, sizeof words->seed, "training.seed=%" PRIu64, run->seed);
    (void)snprintf(words->split, sizeof words->split, "data.split_seed=%" PRIu64, s->split_seed);
    (void)snprintf(words->threads, sizeof words->threads, "%u", s->n_threads);
    add_words(words, next_called(), "train");
    add_words(words, "--config", args_get(args, "config"));
    if (args_get(args, "data") != NULL)
        add_words(words, "--data", args_get(args, "data"));
    if (args_get(args, "targets") != NULL)
        add_words(words, "--targets", args_get(args, "targets"));
    if (args_get(args, "overwrite") != NULL)
        add_words(words, "--overwrite", NULL);
    for (uint32_t i = 0; i < args->n_repeats; i++)
        add_words(words, "--set", args->repeats[i]);
    add_words(words, "--set", words->seed);
    add_words(words, "--set", words->split);
    add_words(words, "--output", run->folder);
    add_words(words, "--threads", words->threads);
}

/* In the child: only what is safe between fork and exec. */
static void become_trainer(const struct seeds *s, const struct words *words, int log, pid_t parent)
{
    static const char failure[] = "cannot start this program again from /proc/self/exe: is /proc mounted?\n";
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)sigprocmask(SIG_SETMASK, &s->before, NULL);
    if (getppid() == parent && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        (void)execv("/proc/self/exe", (char *const *)(uintptr_t)words->at);
    ssize_t written = write(log, failure, sizeof failure - 1);
    (void)written; /* there is nobody left to tell */
    _exit(127);
}

static enum ebm_status start(struct seeds *s, struct seeds_run *run, struct ebm_error *reterr)
{
    struct words words;
    EBM_AUTO(ebm_freep) char *path = files_join(run->folder, LOG_FILE);
    make_words(s, run, &words);
    enum ebm_status status = path != NULL ? files_make_folder(run->folder, reterr) : EBM_NO_MEMORY;
    int log = status == EBM_OK ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (log < 0)
        return ebm_error_set(reterr, EBM_INVALID, run->folder, "cannot write " LOG_FILE " there: %s", strerror(errno));
    (void)fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become_trainer(s, &words, log, parent);
    (void)close(log);
    if (pid < 0)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--jobs", "cannot start a process: %s", strerror(errno));
    run->pid = pid;
    run->state = SEEDS_RUNNING;
    s->n_running++;
    return EBM_OK;
}

/* ---- all of them ---- */

static void finish(struct seeds *s, struct seeds_run *run, int wait_status)
{
    bool done = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
    run->state = done ? SEEDS_DONE : s->is_stopped ? SEEDS_STOPPED : SEEDS_FAILED;
    s->n_running--;
    s->n_over++;
    if (done && progress_read(run->folder, &run->summary) != EBM_OK)
        run->state = SEEDS_FAILED;
    (void)printf("seed %" PRIu64 " %s, %u of %u\n", run->seed,
                 run->state == SEEDS_DONE     ? "done"
                 : run->state == SEEDS_FAILED ? "failed"
                                              : "stopped",
                 s->n_over, s->n);
    (void)fflush(stdout);
}

static void reap(struct seeds *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        int wait_status = 0;
        if (s->runs[i].state == SEEDS_RUNNING && waitpid(s->runs[i].pid, &wait_status, WNOHANG) == s->runs[i].pid)
            finish(s, &s->runs[i], wait_status);
    }
}

static void pass_on(struct seeds *s, int number)
{
    s->is_stopped = true;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->runs[i].state == SEEDS_RUNNING)
            (void)kill(s->runs[i].pid, number);
}

/* A failure to start stops the others as a signal would. */
static enum ebm_status run_all(struct seeds *s, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t next = 0; s->n_running > 0 || (next < s->n && !s->is_stopped);) {
        while (next < s->n && !s->is_stopped && s->n_running < s->n_jobs) {
            status = start(s, &s->runs[next++], reterr);
            if (status != EBM_OK)
                pass_on(s, SIGTERM);
        }
        int number = s->n_running > 0 ? sigwaitinfo(&s->signals, NULL) : 0;
        if (number == SIGINT || number == SIGTERM)
            pass_on(s, number);
        reap(s);
    }
    return status;
}

/* ---- before and after ---- */

static enum ebm_status make_runs(struct seeds *s, const char *text, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) uint64_t *seeds = NULL;
    enum ebm_status status = seeds_parse(text, &seeds, &s->n, reterr);
    if (status != EBM_OK)
        return status;
    s->runs = calloc(s->n, sizeof *s->runs);
    for (uint32_t i = 0; s->runs != NULL && i < s->n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "seed-%" PRIu64, seeds[i]);
        s->runs[i] = (struct seeds_run){.seed = seeds[i], .folder = files_join(s->output, name)};
        if (s->runs[i].folder == NULL)
            return ebm_error_set(reterr, EBM_NO_MEMORY, "--seeds", "no memory");
    }
    return s->runs != NULL ? EBM_OK : ebm_error_set(reterr, EBM_NO_MEMORY, "--seeds", "no memory");
}

/* As many processes as cores, or as leave each its --threads. */
static enum ebm_status share_cores(struct seeds *s, struct ebm_error *reterr)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t cores = online > 0 ? (uint64_t)online : 1, n_threads = 0, n_jobs = 0;
    enum ebm_status status = args_number(s->args, "threads", 1, POOL_THREADS, &n_threads, reterr);
    if (status == EBM_OK)
        status = args_number(s->args, "jobs", 1, SEEDS_MAX, &n_jobs, reterr);
    if (n_jobs == 0)
        n_jobs = n_threads > 0 && n_threads < cores ? cores / n_threads : n_threads > 0 ? 1 : cores;
    n_jobs = n_jobs < s->n ? n_jobs : s->n;
    if (n_threads == 0)
        n_threads = cores / n_jobs > 1 ? cores / n_jobs : 1;
    s->n_jobs = (uint32_t)n_jobs;
    s->n_threads = (uint32_t)(n_threads < POOL_THREADS ? n_threads : POOL_THREADS);
    return status;
}

static enum ebm_status check_folders(const struct seeds *s, struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < s->n && args_get(s->args, "overwrite") == NULL; i++) {
        EBM_AUTO(ebm_freep) char *model = files_join(s->runs[i].folder, "model.safetensors");
        EBM_AUTO(ebm_freep) char *checkpoint = files_join(s->runs[i].folder, CHECKPOINT_FILE);
        if (model == NULL || checkpoint == NULL)
            return ebm_error_set(reterr, EBM_NO_MEMORY, "--seeds", "no memory");
        if (files_exists(model) || files_exists(checkpoint))
            return ebm_error_set(reterr, EBM_INVALID, s->runs[i].folder,
                                 "a run lies there already: choose another --output, or replace it with --overwrite");
    }
    return EBM_OK;
}

/* What is wrong with the configuration is said once, not once a seed. */
static enum ebm_status check_setup(struct seeds *s, struct ebm_error *reterr)
{
    const struct args *args = s->args;
    EBM_AUTO(setup_done) struct setup setup = {.options = NULL};
    const char *config = NULL;
    const struct options_files files = {.data = args_get(args, "data"), .targets = args_get(args, "targets")};
    enum ebm_status status = args_require(args, "config", &config, reterr);
    if (status == EBM_OK)
        status = options_load(config, args->repeats, args->n_repeats, &files, &setup.options, reterr);
    if (status == EBM_OK)
        status = setup_make(&setup, reterr);
    if (status == EBM_OK && args_get(args, "publish") != NULL && setup.data->n_validation == 0)
        status = ebm_error_set(reterr, EBM_INVALID, "data.validation",
                               "--publish with --seeds publishes the seed with the best validation NLL: hold rows out, "
                               "as in 0.1");
    if (status == EBM_OK)
        s->split_seed = setup.options->data.split_seed;
    if (status == EBM_OK && ebm_name_is_valid(setup.config->name))
        (void)snprintf(s->name, sizeof s->name, "%s", setup.config->name);
    return status;
}

static enum ebm_status prepare(struct seeds *s, struct ebm_error *reterr)
{
    static const char *const excluded[] = {"resume", "dry-run", "print-config"};
    const char *output = args_get(s->args, "output"), *destination = args_get(s->args, "publish");
    for (size_t i = 0; i < EBM_COUNT_OF(excluded); i++)
        if (args_get(s->args, excluded[i]) != NULL)
            return ebm_error_set(reterr, EBM_INVALID, "train", "--%s does not go with --seeds", excluded[i]);
    s->output = output != NULL ? output : "trained";
    enum ebm_status status = make_runs(s, args_get(s->args, "seeds"), reterr);
    if (status == EBM_OK)
        status = share_cores(s, reterr);
    if (status == EBM_OK && destination != NULL)
        status = publish_check(destination, reterr);
    if (status == EBM_OK)
        status = check_setup(s, reterr);
    return status == EBM_OK ? check_folders(s, reterr) : status;
}

static enum ebm_status conclude(struct seeds *s, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf table;
    const char *destination = args_get(s->args, "publish");
    uint32_t n_done = 0;
    uint64_t version = 0;
    ebm_buf_init(&table, TABLE_BYTES);
    uint32_t best = seeds_table(s->runs, s->n, &table);
    if (table.status == EBM_OK)
        (void)fputs(table.bytes, stdout);
    for (uint32_t i = 0; i < s->n; i++)
        n_done += s->runs[i].state == SEEDS_DONE;
    if (s->is_stopped)
        return ebm_error_set(reterr, EBM_CANCELLED, s->output,
                             "stopped; to go on with a seed: %s train --resume %s/seed-N", next_trainer(), s->output);
    if (n_done < s->n)
        return ebm_error_set(reterr, EBM_INVALID, s->output, "%u of %u seeds failed; each seed-N/" LOG_FILE " says why",
                             s->n - n_done, s->n);
    if (best == s->n)
        return EBM_OK;
    EBM_AUTO(ebm_freep) char *model = files_join(s->runs[best].folder, "model.safetensors");
    if (model == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--seeds", "no memory");
    if (destination == NULL) {
        next_after_training(model, s->name[0] != 0 ? s->name : NULL, false);
        return EBM_OK;
    }
    return publish_model(model, destination, &version, reterr);
}

enum ebm_status seeds_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(seeds_done) struct seeds s = {.args = args};
    enum ebm_status status = prepare(&s, reterr);
    if (status != EBM_OK)
        return status;
    (void)printf("%u seeds, %u at once with %u thread%s each; words of each in %s/seed-N/" LOG_FILE "\n", s.n, s.n_jobs,
                 s.n_threads, s.n_threads == 1 ? "" : "s", s.output);
    (void)sigemptyset(&s.signals);
    (void)sigaddset(&s.signals, SIGCHLD);
    (void)sigaddset(&s.signals, SIGINT);
    (void)sigaddset(&s.signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &s.signals, &s.before);
    status = run_all(&s, reterr);
    (void)sigprocmask(SIG_SETMASK, &s.before, NULL);
    return status == EBM_OK ? conclude(&s, reterr) : status;
}
