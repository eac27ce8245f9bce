/* metrics_text.h - Prometheus' text format, version 0.0.4: families and their samples as lines. Pure; any thread.
 *
 * A family comes first, then all of its samples, nothing between them. Failures stay in the buffer. */
#ifndef EBM_SERVER_METRICS_TEXT_H
#define EBM_SERVER_METRICS_TEXT_H

#include "core/buf.h"

#define METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#define METRICS_LABELS 3u /* of one sample, at most */

/* Labels of a sample, those with a name; values are UTF-8, any text. */
struct metrics_labels {
    struct {
        const char *name, *value;
    } at[METRICS_LABELS];
};

/* # HELP and # TYPE; type is "counter", "gauge" or "histogram". */
void metrics_text_family(struct ebm_buf *buf, const char *name, const char *type, const char *help);
/* labels NULL: none. A value that is not finite is NaN, +Inf or -Inf. */
void metrics_text_count(struct ebm_buf *buf, const char *name, const struct metrics_labels *labels, uint64_t value);
void metrics_text_number(struct ebm_buf *buf, const char *name, const struct metrics_labels *labels, double value);

struct metrics_histogram {
    uint32_t n;             /* bounds; observations above the last have one count more */
    const double *bounds;   /* (n), ascending: counts[i] is of values <= bounds[i] and > bounds[i - 1] */
    const uint64_t *counts; /* (n + 1) */
    double sum;
};

/* NAME_bucket, cumulative, then NAME_sum and NAME_count. At most METRICS_LABELS - 1 labels: le is one more. */
void metrics_text_histogram(struct ebm_buf *buf, const char *name, const struct metrics_labels *labels,
                            const struct metrics_histogram *histogram);

#endif
