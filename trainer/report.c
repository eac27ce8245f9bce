/* report.c - looks at the training rows, column by column in order of their values:
 *
 *   a column   least, greatest, mean, std, how many values
 *   rows       the same numbers twice: counted by a hash of each row, all roles together
 *   a target   values that many rows share: rounded or discrete, and a density can spike there -> dequantize
 *
 * Says what it saw and which key answers it; changes nothing. Memory: one column. */
#include "trainer/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/order.h"

#define TOLD_COLUMNS 12u /* inputs that are listed */
#define TOLD_VALUES 6u   /* repeated values that are named */
#define HEAVY_ROWS 5u    /* a value repeats when so many rows have it, ... */
#define HEAVY_SHARE 0.04 /* ... and this share of them */
#define HINT_SHARE 0.05  /* of the rows on such values */
#define DISCRETE_ROWS 10 /* rows a value, on average: then all values are taken for steps */
#define TEXT_BYTES (1u << 20)

/* ---- columns ---- */

/* A column of the training rows in ascending order. New: free(). NULL: no memory. */
static double *sorted_column(const struct dataset *data, const double *values, uint32_t width, uint32_t column)
{
    double *sorted = calloc((size_t)data->n_train + 1, sizeof *sorted);
    for (uint32_t i = 0; sorted != NULL && i < data->n_train; i++)
        sorted[i] = values[(size_t)data->train[i] * width + column];
    if (sorted != NULL)
        qsort(sorted, data->n_train, sizeof *sorted, ebm_order_doubles);
    return sorted;
}

static uint32_t count_values(const double *sorted, uint32_t n)
{
    uint32_t count = n > 0;
    for (uint32_t i = 1; i < n; i++)
        count += sorted[i] != sorted[i - 1];
    return count;
}

static void put_column(struct ebm_buf *buf, const char *role, const char *name, const double *sorted, uint32_t n,
                       double mean, double std)
{
    uint32_t values = count_values(sorted, n);
    (void)ebm_buf_printf(buf, "%-7s  %-28.28s  %11.5g  %11.5g  %11.5g  %11.5g  %8u%s\n", role, name, sorted[0],
                         sorted[n - 1], mean, values > 1 ? std : 0.0, values, values == 1 ? "  constant" : "");
}

static void put_columns(const struct dataset *data, struct ebm_buf *buf)
{
    (void)ebm_buf_printf(buf, "%-7s  %-28s  %11s  %11s  %11s  %11s  %8s\n", "", "column", "least", "greatest", "mean",
                         "std", "values");
    for (uint32_t i = 0; data->x != NULL && i < data->X && i < TOLD_COLUMNS; i++) {
        EBM_AUTO(ebm_freep) double *sorted = sorted_column(data, data->x, data->X, i);
        if (sorted != NULL)
            put_column(buf, "input", data->input_names[i], sorted, data->n_train, data->input_mean[i],
                       data->input_std[i]);
    }
    if (data->x != NULL && data->X > TOLD_COLUMNS)
        (void)ebm_buf_printf(buf, "         ... %u inputs in all\n", data->X);
    for (uint32_t i = 0; i < data->D && i < TOLD_COLUMNS; i++) {
        EBM_AUTO(ebm_freep) double *sorted = sorted_column(data, data->y, data->D, i);
        if (sorted != NULL)
            put_column(buf, "target", data->target_names[i], sorted, data->n_train, data->target_mean[i],
                       data->target_std[i]);
    }
}

/* ---- rows that stand twice ---- */

static uint64_t mix(uint64_t hash, const double *numbers, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        double number = numbers[i] == 0.0 ? 0.0 : numbers[i]; /* -0 is 0 */
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        hash = (hash ^ bits) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 29;
    }
    return hash;
}

static uint64_t hash_row(const struct dataset *data, size_t row)
{
    uint64_t hash = mix(1, data->y + row * data->D, data->D);
    if (data->x != NULL)
        return mix(hash, data->x + row * data->X, data->X);
    for (size_t i = 0; i < data->X; i++)
        hash = (hash ^ data->pixels[row * data->X + i]) * 0x100000001b3ull;
    return hash;
}

static int by_hash(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Rows that equal an earlier one in every column. */
static uint32_t count_repeated(const struct dataset *data)
{
    uint32_t count = 0;
    EBM_AUTO(ebm_freep) uint64_t *hashes = calloc((size_t)data->n_rows + 1, sizeof *hashes);
    if (hashes == NULL)
        return 0;
    for (size_t i = 0; i < data->n_rows; i++)
        hashes[i] = hash_row(data, i);
    qsort(hashes, data->n_rows, sizeof *hashes, by_hash);
    for (uint32_t i = 1; i < data->n_rows; i++)
        count += hashes[i] == hashes[i - 1];
    return count;
}

/* ---- targets that repeat ---- */

struct heavy {
    uint32_t n_rows, n_values; /* on values that many rows share; how many such values */
    double told[TOLD_VALUES];  /* the first ones */
};

static struct heavy find_heavy(const double *sorted, uint32_t n)
{
    struct heavy heavy = {.n_rows = 0};
    for (uint32_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && sorted[end] == sorted[first];)
            end++;
        if (end - first < HEAVY_ROWS || end - first < HEAVY_SHARE * n)
            continue;
        if (heavy.n_values < TOLD_VALUES)
            heavy.told[heavy.n_values] = sorted[first];
        heavy.n_values++;
        heavy.n_rows += end - first;
    }
    return heavy;
}

static double smallest_gap(const double *sorted, uint32_t n)
{
    double gap = (double)INFINITY;
    for (uint32_t i = 1; i < n; i++)
        if (sorted[i] != sorted[i - 1])
            gap = fmin(gap, sorted[i] - sorted[i - 1]);
    return gap;
}

static void put_discrete(const char *name, const double *sorted, uint32_t n, struct ebm_buf *buf)
{
    (void)ebm_buf_printf(buf,
                         "%s has only %u values: rounded, or discrete? A density can spike there without bound.\n"
                         "  See data.dequantize, as in {\"step\": %.4g}\n",
                         name, count_values(sorted, n), smallest_gap(sorted, n));
}

static void put_rounded(const struct heavy *heavy, const char *name, uint32_t n, struct ebm_buf *buf)
{
    (void)ebm_buf_printf(buf,
                         "%.0f %% of the rows share %u value%s of %s: rounded there? A density can spike there without "
                         "bound.\n  See data.dequantize, as in {\"step\": (width of the rounding), \"values\": [",
                         100.0 * heavy->n_rows / n, heavy->n_values, heavy->n_values == 1 ? "" : "s", name);
    for (uint32_t i = 0; i < heavy->n_values && i < TOLD_VALUES; i++)
        (void)ebm_buf_printf(buf, "%s%.6g", i == 0 ? "" : ", ", heavy->told[i]);
    (void)ebm_buf_printf(buf, "%s]}\n", heavy->n_values > TOLD_VALUES ? ", ..." : "");
}

static void put_targets(const struct dataset *data, struct ebm_buf *buf)
{
    uint32_t n = data->n_train;
    EBM_AUTO(ebm_freep) double *sorted = sorted_column(data, data->y, data->D, 0);
    if (sorted == NULL)
        return;
    struct heavy heavy = find_heavy(sorted, n);
    if (count_values(sorted, n) <= n / DISCRETE_ROWS)
        put_discrete(data->target_names[0], sorted, n, buf);
    else if (heavy.n_rows >= HINT_SHARE * n && heavy.n_rows > 0)
        put_rounded(&heavy, data->target_names[0], n, buf);
}

/* ---- the whole ---- */

void report_text(const struct dataset *data, const struct dataset_jitter *jitter, struct ebm_buf *buf)
{
    uint32_t first = 0, n_constant = dataset_constant_inputs(data, &first), n_repeated = count_repeated(data);
    (void)ebm_buf_printf(buf, "%u training rows, %u for validation", data->n_train, data->n_validation);
    if (data->n_test > 0)
        (void)ebm_buf_printf(buf, ", %u for testing left out", data->n_test);
    if (data->n_dropped > 0)
        (void)ebm_buf_printf(buf, ", %u dropped for missing values", data->n_dropped);
    if (data->n_bad > 0)
        (void)ebm_buf_printf(buf, ", %u left out for a bad image", data->n_bad);
    if (data->pixels != NULL)
        (void)ebm_buf_printf(buf, "; images of %u x %u x %u", data->image.channels, data->image.height,
                             data->image.width);
    else
        (void)ebm_buf_printf(buf, "; %u input%s", data->X, data->X == 1 ? "" : "s");
    (void)ebm_buf_printf(buf, ", %u target%s\n", data->D, data->D == 1 ? "" : "s");
    put_columns(data, buf);
    if (n_constant > 0)
        (void)ebm_buf_printf(buf,
                             "%u input%s the same in every training row, '%.64s' the first: kept with scale 1, but "
                             "tells the model nothing\n",
                             n_constant, n_constant == 1 ? " is" : "s are", data->input_names[first]);
    if (n_repeated > 0)
        (void)ebm_buf_printf(buf, "%u row%s equal to another in every column%s\n", n_repeated,
                             n_repeated == 1 ? " is" : "s are",
                             data->n_validation > 0 ? ": training and validation may share them" : "");
    if (data->D == 1 && jitter->step <= 0.0)
        put_targets(data, buf);
}

void report_print(const struct dataset *data, const struct dataset_jitter *jitter)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, TEXT_BYTES);
    report_text(data, jitter, &buf);
    if (buf.status == EBM_OK)
        (void)fputs(buf.bytes, stdout);
    (void)fflush(stdout);
}
