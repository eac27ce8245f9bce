/* checkpoint.c - a safetensors file: tensors params, adam_m, adam_v, best; the position and the configuration as text
 * in its metadata.
 *
 * Numbers of the position stand in one line of words, whole numbers decimal and real ones hexadecimal, so that they
 * read back to the same bits. Guarantees: a file that is damaged, of another kind, or incomplete is refused with a
 * sentence; writing replaces the old file or leaves it. */
#include "trainer/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h"

#define FORMAT "ebm-checkpoint-1"
#define POSITION_BYTES 512u

_Static_assert(EBM_PARTS == 4, "the position's text has four counts of Adam steps");

enum ebm_status checkpoint_init(struct checkpoint *checkpoint, size_t n_params, const char *run,
                                struct ebm_error *reterr)
{
    struct checkpoint c = {.n_params = n_params};
    c.run = strdup(run);
    c.params = ebm_alloc_aligned(n_params * sizeof(float));
    c.adam_m = ebm_alloc_aligned(n_params * sizeof(float));
    c.adam_v = ebm_alloc_aligned(n_params * sizeof(float));
    c.best = ebm_alloc_aligned(n_params * sizeof(float));
    if (!c.run || !c.params || !c.adam_m || !c.adam_v || !c.best) {
        checkpoint_done(&c);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "checkpoint", "no memory for %zu parameters", n_params);
    }
    *checkpoint = c;
    return EBM_OK;
}

void checkpoint_done(struct checkpoint *checkpoint)
{
    free(checkpoint->run);
    free(checkpoint->params);
    free(checkpoint->adam_m);
    free(checkpoint->adam_v);
    free(checkpoint->best);
    *checkpoint = (struct checkpoint){.n_params = 0};
}

static struct ebm_tensor tensor(const char *name, const float *data, size_t n)
{
    return (struct ebm_tensor){
        .name = name, .dtype = EBM_DTYPE_F32, .n_dims = 1, .shape = {n}, .count = n, .data = data};
}

enum ebm_status checkpoint_write(const struct checkpoint *checkpoint, const char *path, struct ebm_error *reterr)
{
    const struct checkpoint_position *p = &checkpoint->position;
    size_t n = checkpoint->n_params;
    char position[POSITION_BYTES];
    (void)snprintf(position, sizeof position,
                   "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
                   " %" PRIu64 " %a %a",
                   p->fingerprint, p->epoch, p->step, p->taken[0], p->taken[1], p->taken[2], p->taken[3], p->best_epoch,
                   p->log_bytes, p->loss_sum, p->best_nll);
    const struct ebm_metadata metadata[] = {{"format", FORMAT}, {"position", position}, {"run", checkpoint->run}};
    const struct ebm_tensor tensors[] = {tensor("params", checkpoint->params, n),
                                         tensor("adam_m", checkpoint->adam_m, n),
                                         tensor("adam_v", checkpoint->adam_v, n), tensor("best", checkpoint->best, n)};
    return ebm_safetensors_write(path, metadata, EBM_COUNT_OF(metadata), tensors, EBM_COUNT_OF(tensors), reterr);
}

static bool read_position(const char *text, struct checkpoint_position *ret_position)
{
    uint64_t whole[9];
    double real[2];
    char *at = (char *)(uintptr_t)text, *end = NULL;
    for (size_t i = 0; i < EBM_COUNT_OF(whole); i++, at = end) {
        whole[i] = strtoull(at, &end, 10);
        if (end == at)
            return false;
    }
    for (size_t i = 0; i < EBM_COUNT_OF(real); i++, at = end) {
        real[i] = strtod(at, &end);
        if (end == at)
            return false;
    }
    *ret_position = (struct checkpoint_position){.fingerprint = whole[0],
                                                 .epoch = whole[1],
                                                 .step = whole[2],
                                                 .taken = {whole[3], whole[4], whole[5], whole[6]},
                                                 .best_epoch = whole[7],
                                                 .log_bytes = whole[8],
                                                 .loss_sum = real[0],
                                                 .best_nll = real[1]};
    return *at == '\0';
}

static enum ebm_status copy_tensor(const struct ebm_safetensors *file, const char *name, size_t n, float *to,
                                   struct ebm_error *reterr)
{
    const struct ebm_tensor *from = ebm_safetensors_find(file, name);
    if (from == NULL || from->dtype != EBM_DTYPE_F32 || from->count != n)
        return ebm_error_set(reterr, EBM_DAMAGED, name, "the checkpoint lacks this tensor, or it has another size");
    memcpy(to, from->data, n * sizeof *to);
    return EBM_OK;
}

enum ebm_status checkpoint_read(const char *path, struct checkpoint *ret_checkpoint, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_safetensors_freep) struct ebm_safetensors *file = NULL;
    EBM_AUTO(checkpoint_done) struct checkpoint c = {.n_params = 0};
    enum ebm_status status = ebm_safetensors_open(path, LIMIT_FILE_BYTES, &file, reterr);
    if (status != EBM_OK)
        return status;
    const char *format = ebm_safetensors_metadata(file, "format"), *run = ebm_safetensors_metadata(file, "run");
    const char *position = ebm_safetensors_metadata(file, "position");
    const struct ebm_tensor *params = ebm_safetensors_find(file, "params");
    if (format == NULL || strcmp(format, FORMAT) != 0 || run == NULL || position == NULL || params == NULL)
        return ebm_error_set(reterr, EBM_DAMAGED, path, "is no checkpoint of this version (%s)", FORMAT);
    status = checkpoint_init(&c, params->count, run, reterr);
    if (status == EBM_OK && !read_position(position, &c.position))
        status = ebm_error_set(reterr, EBM_DAMAGED, path, "its position cannot be read");
    if (status == EBM_OK)
        status = copy_tensor(file, "params", c.n_params, c.params, reterr);
    if (status == EBM_OK)
        status = copy_tensor(file, "adam_m", c.n_params, c.adam_m, reterr);
    if (status == EBM_OK)
        status = copy_tensor(file, "adam_v", c.n_params, c.adam_v, reterr);
    if (status == EBM_OK)
        status = copy_tensor(file, "best", c.n_params, c.best, reterr);
    if (status == EBM_OK) {
        *ret_checkpoint = c;
        c = (struct checkpoint){.n_params = 0};
    }
    return status;
}
