/* progress.c - rows per second, time left, and each epoch in two forms:
 *
 *   a terminal        [=====>        ]  epoch 3/75  loss 4.8123  validation NLL 1.2031  8123 rows/s  0:34 left
 *                     one line, written over itself at most ten times a second
 *   other output      epoch   3/75  loss 4.8123  validation NLL 1.2031 (best 1.1976, epoch 2)  8123 rows/s  0:34 left
 *   training.jsonl    {"epoch": 3, "phase": "", "loss": 4.8123, "validation_nll": 1.2031, ...}
 *
 * The log is appended to and flushed a line at a time; on resume it is cut to the length that the checkpoint knows. */
#include "trainer/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "trainer/csv.h"
#include "trainer/files.h"

#define BAR_CELLS 24u
#define BAR_PERIOD_NS 100000000u
#define BAR_BYTES 512u
#define USUAL_COLUMNS 80u
#define HISTORY_EPOCHS (1u << 20) /* most that are read again */

static bool is_terminal(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDOUT_FILENO) == 1 && kind != NULL && strcmp(kind, "dumb") != 0;
}

enum ebm_status progress_init(struct progress *progress, const char *folder, uint64_t log_bytes, uint64_t done,
                              uint64_t epochs, uint64_t rows_per_epoch, struct ebm_error *reterr)
{
    char path[4096];
    *progress = (struct progress){.left_rows = (epochs - done) * rows_per_epoch,
                                  .run_rows = epochs * rows_per_epoch,
                                  .is_terminal = is_terminal(),
                                  .last = {.epochs = (uint32_t)epochs, .phase = ""}};
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
    if (progress->has_bar)
        (void)putchar('\n');
    (void)fflush(stdout);
    progress->has_bar = false;
    if (progress->log != NULL)
        (void)fclose(progress->log);
    progress->log = NULL;
}

void progress_begin(struct progress *progress)
{
    progress->begin_ns = ebm_clock_ns();
    progress->rows = 0;
}

static double seconds_since(uint64_t ns)
{
    return (double)(ebm_clock_ns() - ns) * 1e-9 + 1e-9;
}

static double seconds_left(const struct progress *progress)
{
    return seconds_since(progress->first_ns) * (double)progress->left_rows / (double)(progress->all_rows + 1);
}

/* ---- a terminal ---- */

void progress_bar(const struct progress *progress, uint32_t columns, char *ret_text, size_t text_bytes)
{
    const struct progress_epoch *last = &progress->last;
    char cells[BAR_CELLS + 1], text[BAR_BYTES];
    double left = seconds_left(progress);
    uint64_t done = progress->run_rows - progress->left_rows;
    uint32_t full = progress->run_rows > 0 ? (uint32_t)(done * BAR_CELLS / progress->run_rows) : BAR_CELLS;
    for (uint32_t i = 0; i < BAR_CELLS; i++)
        cells[i] = i < full ? '=' : i == full ? '>' : ' ';
    cells[BAR_CELLS] = '\0';
    int at = snprintf(text, sizeof text, "[%s]  epoch %u/%u", cells,
                      last->number < last->epochs ? last->number + 1 : last->epochs, last->epochs);
    if (last->number > 0)
        at += snprintf(text + at, sizeof text - (size_t)at, "  loss %.4f", last->loss);
    if (last->best_epoch > 0)
        at += snprintf(text + at, sizeof text - (size_t)at, "  validation NLL %.4f (best %.4f, epoch %u)",
                       last->validation_nll, last->best_nll, last->best_epoch);
    else if (last->number > 0 && !isnan(last->validation_nll))
        at += snprintf(text + at, sizeof text - (size_t)at, "  validation NLL %.4f", last->validation_nll);
    (void)snprintf(text + at, sizeof text - (size_t)at, "  %.0f rows/s  %.0f:%02.0f left%s%s",
                   (double)progress->all_rows / seconds_since(progress->first_ns), floor(left / 60.0),
                   floor(fmod(left, 60.0)), last->phase[0] != '\0' ? "  " : "", last->phase);
    (void)snprintf(ret_text, text_bytes, "%.*s", columns > 0 ? (int)columns - 1 : 0, text);
}

static void draw(struct progress *progress)
{
    struct winsize size = {.ws_col = 0};
    char text[BAR_BYTES];
    bool knows = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    progress_bar(progress, knows ? size.ws_col : USUAL_COLUMNS, text, sizeof text);
    (void)printf("\r%s\x1b[K", text);
    (void)fflush(stdout);
    progress->has_bar = true;
    progress->drawn_ns = ebm_clock_ns();
}

/* ---- any output ---- */

void progress_rows(struct progress *progress, uint32_t rows)
{
    progress->rows += rows;
    progress->all_rows += rows;
    progress->left_rows -= rows < progress->left_rows ? rows : progress->left_rows;
    if (progress->is_terminal && ebm_clock_ns() - progress->drawn_ns >= BAR_PERIOD_NS)
        draw(progress);
}

static void print_line(const struct progress *progress, const struct progress_epoch *epoch, double rows_per_second)
{
    double left = seconds_left(progress);
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
    progress->last = *epoch;
    if (progress->is_terminal)
        draw(progress);
    else
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

/* ---- reading it again ---- */

/* The number behind "key": in a line; false when there is none, or null. */
static bool find_number(const char *line, const char *key, double *ret_value)
{
    char word[48];
    (void)snprintf(word, sizeof word, "\"%s\": ", key);
    const char *at = strstr(line, word);
    if (at == NULL)
        return false;
    at += strlen(word);
    return csv_number(at, strspn(at, "0123456789+-.eE"), ret_value);
}

static bool read_line(const char *line, struct progress_summary *summary)
{
    double epoch = 0.0, seconds = 0.0, nll = 0.0;
    if (!find_number(line, "epoch", &epoch) || !find_number(line, "seconds", &seconds))
        return false;
    summary->epochs = (uint32_t)epoch;
    summary->seconds += seconds;
    bool counts = strstr(line, "\"phase\": \"\"") != NULL && find_number(line, "validation_nll", &nll);
    if (counts && (summary->best_epoch == 0 || nll < summary->best_nll)) {
        summary->best_nll = nll;
        summary->best_epoch = summary->epochs;
    }
    return true;
}

enum ebm_status progress_read(const char *folder, struct progress_summary *ret_summary)
{
    struct progress_summary summary = {.epochs = 0};
    char line[1024];
    EBM_AUTO(ebm_freep) char *path = files_join(folder, "training.jsonl");
    FILE *log = path != NULL ? fopen(path, "re") : NULL;
    if (log == NULL)
        return EBM_NOT_FOUND;
    bool good = true;
    while (good && fgets(line, sizeof line, log) != NULL)
        good = read_line(line, &summary);
    (void)fclose(log);
    if (!good)
        return EBM_DAMAGED;
    *ret_summary = summary;
    return EBM_OK;
}

static bool read_point(const char *line, struct progress_point *point)
{
    double epoch = 0.0;
    if (!find_number(line, "epoch", &epoch) || !(epoch >= 1.0 && epoch <= UINT32_MAX))
        return false;
    *point = (struct progress_point){.epoch = (uint32_t)epoch,
                                     .is_warm_up = strstr(line, "\"phase\": \"\"") == NULL,
                                     .loss = (double)NAN,
                                     .validation_nll = (double)NAN};
    (void)find_number(line, "loss", &point->loss);
    (void)find_number(line, "validation_nll", &point->validation_nll);
    return true;
}

enum ebm_status progress_history(const char *folder, struct progress_point **ret_points, uint32_t *ret_n)
{
    char line[1024];
    uint32_t n = 0, capacity = 0;
    enum ebm_status status = EBM_OK;
    EBM_AUTO(ebm_freep) struct progress_point *points = NULL;
    EBM_AUTO(ebm_freep) char *path = files_join(folder, "training.jsonl");
    FILE *log = path != NULL ? fopen(path, "re") : NULL;
    if (log == NULL)
        return EBM_NOT_FOUND;
    while (status == EBM_OK && fgets(line, sizeof line, log) != NULL) {
        if (n == capacity) {
            capacity = capacity > 0 ? 2 * capacity : 128;
            struct progress_point *more = capacity <= HISTORY_EPOCHS ? realloc(points, capacity * sizeof *points)
                                                                     : NULL;
            status = more != NULL ? EBM_OK : EBM_TOO_LARGE;
            points = more != NULL ? more : points;
        }
        if (status == EBM_OK && !read_point(line, &points[n++]))
            status = EBM_DAMAGED;
    }
    (void)fclose(log);
    if (status != EBM_OK)
        return status;
    *ret_points = EBM_TAKE_PTR(points);
    *ret_n = n;
    return EBM_OK;
}
