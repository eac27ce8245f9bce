/* seeds.c - `train --seeds`: check once (configuration, data, no folder in use), run a process a seed (children.c), and
 * a table that compares them. */
#include "trainer/seeds.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/data_args.h"
#include "trainer/files.h"
#include "trainer/next.h"
#include "trainer/publish.h"
#include "trainer/setup.h"

#define TABLE_BYTES (1u << 20)

/* ---- the list ---- */

static enum ebm_status bad_list(const char *text, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_INVALID, "--seeds",
                         "'%.64s': expected whole numbers and ranges, as in 0..9 or 1,5,20..22; at most %u, none twice",
                         text, CHILDREN_MAX);
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
    if (*n == CHILDREN_MAX)
        return false;
    seeds[(*n)++] = seed;
    return true;
}

enum ebm_status seeds_parse(const char *text, uint64_t **ret_seeds, uint32_t *ret_n, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) uint64_t *seeds = calloc(CHILDREN_MAX, sizeof *seeds);
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
            if (!read_seed(&at, &last) || last < first || last - first >= CHILDREN_MAX)
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

static void put_line(struct ebm_buf *buf, const struct child *run)
{
    static const char *const states[] = {"not begun", "running", "done", "failed: see train.log", "stopped"};
    (void)ebm_buf_printf(buf, "%8" PRIu64, run->seed);
    if (run->state != CHILD_DONE)
        (void)ebm_buf_printf(buf, "  %s\n", states[run->state]);
    else if (run->summary.best_epoch > 0)
        (void)ebm_buf_printf(buf, "  %14.4f  %10u  %6u  %7.1f\n", run->summary.best_nll, run->summary.best_epoch,
                             run->summary.epochs, run->summary.seconds);
    else
        (void)ebm_buf_printf(buf, "  %14s  %10s  %6u  %7.1f\n", "-", "-", run->summary.epochs, run->summary.seconds);
}

uint32_t seeds_table(const struct child *runs, uint32_t n, struct ebm_buf *buf)
{
    uint32_t best = n, known = 0, n_done = 0;
    double sum = 0.0, squares = 0.0;
    (void)ebm_buf_text(buf, "    seed  validation NLL  best epoch  epochs  seconds\n");
    for (uint32_t i = 0; i < n; i++) {
        put_line(buf, &runs[i]);
        n_done += runs[i].state == CHILD_DONE;
        if (runs[i].state != CHILD_DONE || runs[i].summary.best_epoch == 0)
            continue;
        known++;
        sum += runs[i].summary.best_nll;
        if (best == n || runs[i].summary.best_nll < runs[best].summary.best_nll)
            best = i;
    }
    for (uint32_t i = 0; i < n; i++)
        if (runs[i].state == CHILD_DONE && runs[i].summary.best_epoch > 0)
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

/* ---- the command ---- */

/* What is wrong with the configuration is said once, not once a seed. ret_name: the model's, when it can be published
 * under it. */
static enum ebm_status check_setup(struct children *s, char ret_name[LIMIT_NAME_BYTES + 1], struct ebm_error *reterr)
{
    const struct args *args = s->args;
    EBM_AUTO(setup_done) struct setup setup = {.options = NULL};
    const char *config = NULL;
    struct options_files files;
    enum ebm_status status = args_require(args, "config", &config, reterr);
    if (status == EBM_OK)
        status = data_args_read(args, &files, reterr);
    if (status == EBM_OK)
        status = options_load(config, args->repeats, args->n_repeats, &files, &setup.options, reterr);
    if (status == EBM_OK)
        status = setup_make(&setup, reterr);
    if (status == EBM_OK && setup.config->net.members > 1)
        return ebm_error_set(reterr, EBM_INVALID, "--seeds",
                             "compares single models, and an ensemble (model.members is %u) trains several seeds by "
                             "itself: leave one of the two out",
                             setup.config->net.members);
    if (status == EBM_OK && args_get(args, "publish") != NULL && setup.data->n_validation == 0)
        status = ebm_error_set(reterr, EBM_INVALID, "data.validation",
                               "--publish with --seeds publishes the seed with the best validation NLL: hold rows out, "
                               "as in 0.1");
    if (status == EBM_OK)
        s->split_seed = setup.options->data.split_seed;
    if (status == EBM_OK && ebm_name_is_valid(setup.config->name))
        (void)snprintf(ret_name, LIMIT_NAME_BYTES + 1, "%s", setup.config->name);
    return status;
}

static enum ebm_status prepare(struct children *s, const char *output, char ret_name[LIMIT_NAME_BYTES + 1],
                               struct ebm_error *reterr)
{
    static const char *const excluded[] = {"resume", "dry-run", "print-config"};
    const char *destination = args_get(s->args, "publish");
    EBM_AUTO(ebm_freep) uint64_t *seeds = NULL;
    uint32_t n = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(excluded); i++)
        if (args_get(s->args, excluded[i]) != NULL)
            return ebm_error_set(reterr, EBM_INVALID, "train", "--%s does not go with --seeds", excluded[i]);
    enum ebm_status status = seeds_parse(args_get(s->args, "seeds"), &seeds, &n, reterr);
    if (status == EBM_OK && destination != NULL)
        status = publish_check(destination, reterr);
    if (status == EBM_OK)
        status = check_setup(s, ret_name, reterr);
    return status == EBM_OK ? children_init(s, output, seeds, n, reterr) : status;
}

static enum ebm_status conclude(struct children *s, uint32_t best, const char *name, struct ebm_error *reterr)
{
    const char *destination = args_get(s->args, "publish");
    uint64_t version = 0;
    if (best == s->n)
        return EBM_OK;
    EBM_AUTO(ebm_freep) char *model = files_join(s->all[best].folder, "model.safetensors");
    if (model == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--seeds", "no memory");
    if (destination == NULL) {
        next_after_training(model, name[0] != 0 ? name : NULL, false);
        return EBM_OK;
    }
    return publish_model(model, destination, &version, reterr);
}

enum ebm_status seeds_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(children_done) struct children s = {.args = args, .what = "seed"};
    EBM_AUTO(ebm_buf_done) struct ebm_buf table;
    char name[LIMIT_NAME_BYTES + 1] = "";
    const char *output = args_get(args, "output") != NULL ? args_get(args, "output") : "trained";
    ebm_buf_init(&table, TABLE_BYTES);
    enum ebm_status status = prepare(&s, output, name, reterr);
    if (status != EBM_OK)
        return status;
    status = children_run(&s, output, reterr);
    uint32_t best = seeds_table(s.all, s.n, &table);
    if (table.status == EBM_OK)
        (void)fputs(table.bytes, stdout);
    return status == EBM_OK ? conclude(&s, best, name, reterr) : status;
}
