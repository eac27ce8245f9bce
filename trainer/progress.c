/* progress.c - rows per second, time left, and one line an epoch in two forms:
 *
 *   standard output   epoch   3/75  loss 4.8123  validation NLL 1.2031 (best 1.1976, epoch 2)  8123 rows/s  0:34 left
 *   training.jsonl    {"epoch": 3, "phase": "", "loss": 4.8123, "validation_nll": 1.2031, ...}
 *
 * The log is appended to and flushed a line at a time; on resume it is cut to the length that the checkpoint knows. */
#include "trainer/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"

enum ebm_status progress_init(struct progress *progress, const char *folder, uint64_t log_bytes, uint64_t epochs,
                              uint64_t rows_per_epoch, struct ebm_error *reterr)
{
    char path[4096];
    *progress = (struct progress){.left_rows = epochs * rows_per_epoch};
    (void)snprintf(path, sizeof path, "%s/training.jsonl", folder);
    FILE *log = fopen(path, "ae");
    if (log == NULL)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: %s", strerror(errno));
    struct stat info;
    bool is_longer = fstat(fileno(log), &info) == 0 && (uint64_t)info.st_size > log_bytes;
    if (is_longer && ftruncate(fileno(log), (off_t)log_bytes) != 0) {
        (void)fclose(log);
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot cut the file: %s", strerror(errno));
    }
    progress->log = log;
    progress->first_ns = ebm_clock_ns();
    return EBM_OK;
}

void progress_done(struct progress *progress)
{
    if (progress->log != NULL)
        (void)fclose(progress->log);
    progress->log = NULL;
}

void progress_begin(struct progress *progress)
{
    progress->begin_ns = ebm_clock_ns();
    progress->rows = 0;
}

void progress_rows(struct progress *progress, uint32_t rows)
{
    progress->rows += rows;
    progress->all_rows += rows;
    progress->left_rows -= rows < progress->left_rows ? rows : progress->left_rows;
}

static double seconds_since(uint64_t ns)
{
    return (double)(ebm_clock_ns() - ns) * 1e-9 + 1e-9;
}

static void print_line(const struct progress *progress, const struct progress_epoch *epoch, double rows_per_second)
{
    double left = seconds_since(progress->first_ns) * (double)progress->left_rows / (double)(progress->all_rows + 1);
    int digits = epoch->epochs >= 1000 ? 5 : 3;
    (void)printf("epoch %*u/%u  loss %.4f", digits, epoch->number, epoch->epochs, epoch->loss);
    if (!isnan(epoch->validation_nll))
        (void)printf("  validation NLL %.4f", epoch->validation_nll);
    if (epoch->best_epoch > 0)
        (void)printf(" (best %.4f, epoch %u)", epoch->best_nll, epoch->best_epoch);
    (void)printf("  %.0f rows/s  %.0f:%02.0f left%s%s\n", rows_per_second, floor(left / 60.0), floor(fmod(left, 60.0)),
                 epoch->phase[0] != '\0' ? "  " : "", epoch->phase);
    (void)fflush(stdout);
}

static int log_number(FILE *log, const char *key, double value)
{
    return isfinite(value) ? fprintf(log, ", \"%s\": %.9g", key, value) : fprintf(log, ", \"%s\": null", key);
}

enum ebm_status progress_line(struct progress *progress, const struct progress_epoch *epoch, uint64_t *ret_log_bytes,
                              struct ebm_error *reterr)
{
    double seconds = seconds_since(progress->begin_ns), rows_per_second = (double)progress->rows / seconds;
    FILE *log = progress->log;
    print_line(progress, epoch, rows_per_second);
    bool failed = fprintf(log, "{\"epoch\": %u, \"phase\": \"%s\"", epoch->number, epoch->phase) < 0;
    failed |= log_number(log, "loss", epoch->loss) < 0;
    failed |= log_number(log, "validation_nll", epoch->validation_nll) < 0;
    failed |= log_number(log, "learning_rate", epoch->learning_rate) < 0;
    failed |= log_number(log, "rows_per_second", rows_per_second) < 0;
    failed |= log_number(log, "seconds", seconds) < 0;
    failed |= fputs("}\n", log) == EOF || fflush(log) != 0;
    long at = failed ? -1 : ftell(log);
    if (at < 0)
        return ebm_error_set(reterr, EBM_INVALID, "training.jsonl", "cannot write the log: is the disk full?");
    *ret_log_bytes = (uint64_t)at;
    return EBM_OK;
}
