/* children.c - the same training several times at once, a process each:
 *
 *   start:  fork -> this program again, `train ... --set training.seed=N --output FOLDER`, words into FOLDER/train.log;
 *           data.split_seed is the same for all, so that all hold out the same rows
 *   wait:   a child ended -> its log is read, the next one starts
 *           SIGINT, SIGTERM -> passed on once to each child, which saves a checkpoint; none starts any more
 *
 * Processes, so that one that fails takes no other with it and each can be resumed alone. Children have process groups
 * of their own: a Ctrl-C reaches them through this program alone, and a second one ends them at once. They die with
 * this program. Which of them run side by side changes no number. */
#include "trainer/children.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cores.h"
#include "trainer/checkpoint.h"
#include "trainer/files.h"
#include "trainer/next.h"
#include "trainer/pool.h"

#define LOG_FILE "train.log"
#define CHILD_WORDS (2 * ARGS_REPEATS + 34u)

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

/* As they were given, where they were. */
static const char *const passed_on[] = {"--data",   "--targets",       "--max-bad-files",
                                        "--device", "--device-plugin", "--precision"};

static void make_words(const struct children *s, const struct child *run, struct words *words)
{
    const struct args *args = s->args;
    *words = (struct words){.n = 0};
    (void)snprintf(words->seed, sizeof words->seed, "training.seed=%" PRIu64, run->seed);
    (void)snprintf(words->split, sizeof words->split, "data.split_seed=%" PRIu64, s->split_seed);
    (void)snprintf(words->threads, sizeof words->threads, "%u", s->n_threads);
    add_words(words, next_called(), "train");
    add_words(words, "--config", args_get(args, "config"));
    for (size_t i = 0; i < EBM_COUNT_OF(passed_on); i++)
        if (args_get(args, passed_on[i] + 2) != NULL)
            add_words(words, passed_on[i], args_get(args, passed_on[i] + 2));
    if (args_get(args, "overwrite") != NULL)
        add_words(words, "--overwrite", NULL);
    for (uint32_t i = 0; i < args->n_repeats; i++)
        add_words(words, "--set", args->repeats[i]);
    for (size_t i = 0; s->extra_sets != NULL && s->extra_sets[i] != NULL; i++)
        add_words(words, "--set", s->extra_sets[i]);
    add_words(words, "--set", words->seed);
    add_words(words, "--set", words->split);
    add_words(words, "--output", run->folder);
    add_words(words, "--threads", words->threads);
}

/* In the child: only what is safe between fork and exec. */
static void become_trainer(const struct children *s, const struct words *words, int log, pid_t parent)
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

static enum ebm_status start(struct children *s, struct child *run, struct ebm_error *reterr)
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
    run->state = CHILD_RUNNING;
    s->n_running++;
    return EBM_OK;
}

/* ---- all of them ---- */

static void finish(struct children *s, struct child *run, int wait_status)
{
    bool done = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
    run->state = done ? CHILD_DONE : s->is_stopped ? CHILD_STOPPED : CHILD_FAILED;
    s->n_running--;
    s->n_over++;
    if (done && progress_read(run->folder, &run->summary) != EBM_OK)
        run->state = CHILD_FAILED;
    (void)printf("%s %s, %u of %u\n", files_base(run->folder),
                 run->state == CHILD_DONE     ? "done"
                 : run->state == CHILD_FAILED ? "failed"
                                              : "stopped",
                 s->n_over, s->n);
    (void)fflush(stdout);
}

static void reap(struct children *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        int wait_status = 0;
        if (s->all[i].state == CHILD_RUNNING && waitpid(s->all[i].pid, &wait_status, WNOHANG) == s->all[i].pid)
            finish(s, &s->all[i], wait_status);
    }
}

static void pass_on(struct children *s, int number)
{
    s->is_stopped = true;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->all[i].state == CHILD_RUNNING)
            (void)kill(s->all[i].pid, number);
}

/* A failure to start stops the others as a signal would. */
static enum ebm_status run_all(struct children *s, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t next = 0; s->n_running > 0 || (next < s->n && !s->is_stopped);) {
        while (next < s->n && !s->is_stopped && s->n_running < s->n_jobs) {
            status = start(s, &s->all[next++], reterr);
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

/* ---- before ---- */

/* As many processes as cores, or as leave each its --threads. */
static enum ebm_status share_cores(struct children *s, struct ebm_error *reterr)
{
    uint64_t cores = ebm_cores(), n_threads = 0, n_jobs = 0;
    enum ebm_status status = args_number(s->args, "threads", 1, POOL_THREADS, &n_threads, reterr);
    if (status == EBM_OK)
        status = args_number(s->args, "jobs", 1, CHILDREN_MAX, &n_jobs, reterr);
    if (n_jobs == 0)
        n_jobs = n_threads > 0 && n_threads < cores ? cores / n_threads : n_threads > 0 ? 1 : cores;
    n_jobs = n_jobs < s->n ? n_jobs : s->n;
    if (n_threads == 0)
        n_threads = cores / n_jobs > 1 ? cores / n_jobs : 1;
    s->n_jobs = (uint32_t)n_jobs;
    s->n_threads = (uint32_t)(n_threads < POOL_THREADS ? n_threads : POOL_THREADS);
    return status;
}

static enum ebm_status check_folders(const struct children *s, struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < s->n && args_get(s->args, "overwrite") == NULL; i++) {
        EBM_AUTO(ebm_freep) char *model = files_join(s->all[i].folder, "model.safetensors");
        EBM_AUTO(ebm_freep) char *checkpoint = files_join(s->all[i].folder, CHECKPOINT_FILE);
        if (model == NULL || checkpoint == NULL)
            return ebm_error_set(reterr, EBM_NO_MEMORY, "train", "no memory");
        if (files_exists(model) || files_exists(checkpoint))
            return ebm_error_set(reterr, EBM_INVALID, s->all[i].folder,
                                 "a run lies there already: choose another --output, or replace it with --overwrite");
    }
    return EBM_OK;
}

static enum ebm_status name_folders(struct children *s, const char *output, const uint64_t *seeds,
                                    struct ebm_error *reterr)
{
    bool by_seed = strcmp(s->what, "seed") == 0;
    for (uint32_t i = 0; i < s->n; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "%s-%" PRIu64, s->what, by_seed ? seeds[i] : i);
        s->all[i] = (struct child){.seed = seeds[i], .folder = files_join(output, name)};
        if (s->all[i].folder == NULL)
            return ebm_error_set(reterr, EBM_NO_MEMORY, "train", "no memory");
    }
    return EBM_OK;
}

enum ebm_status children_init(struct children *s, const char *output, const uint64_t *seeds, uint32_t n,
                              struct ebm_error *reterr)
{
    s->n = n;
    s->all = calloc(n, sizeof *s->all);
    if (s->all == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "train", "no memory");
    enum ebm_status status = name_folders(s, output, seeds, reterr);
    if (status == EBM_OK)
        status = share_cores(s, reterr);
    return status == EBM_OK ? check_folders(s, reterr) : status;
}

void children_done(struct children *s)
{
    for (uint32_t i = 0; s->all != NULL && i < s->n; i++)
        free(s->all[i].folder);
    free(s->all);
    *s = (struct children){.n = 0};
}

static enum ebm_status verdict(const struct children *s, const char *output, struct ebm_error *reterr)
{
    uint32_t n_done = 0;
    for (uint32_t i = 0; i < s->n; i++)
        n_done += s->all[i].state == CHILD_DONE;
    if (n_done == s->n)
        return EBM_OK;
    if (s->is_stopped)
        return ebm_error_set(reterr, EBM_CANCELLED, output,
                             "stopped; to go on with one of them: %s train --resume %s/%s-N", next_trainer(), output,
                             s->what);
    return ebm_error_set(reterr, EBM_INVALID, output, "%u of %u %ss failed; each %s-N/" LOG_FILE " says why",
                         s->n - n_done, s->n, s->what, s->what);
}

enum ebm_status children_run(struct children *s, const char *output, struct ebm_error *reterr)
{
    (void)printf("%u %ss, %u at once with %u thread%s each; words of each in %s/%s-N/" LOG_FILE "\n", s->n, s->what,
                 s->n_jobs, s->n_threads, s->n_threads == 1 ? "" : "s", output, s->what);
    (void)sigemptyset(&s->signals);
    (void)sigaddset(&s->signals, SIGCHLD);
    (void)sigaddset(&s->signals, SIGINT);
    (void)sigaddset(&s->signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &s->signals, &s->before);
    enum ebm_status status = run_all(s, reterr);
    (void)sigprocmask(SIG_SETMASK, &s->before, NULL);
    return status == EBM_OK ? verdict(s, output, reterr) : status;
}
