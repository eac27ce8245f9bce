/* metrics_text.c - lines of Prometheus' text format:
 *
 *   # HELP name text              \ and line ends escaped
 *   # TYPE name counter
 *   name{label="value",...} 12    \ " and line ends escaped
 *
 * Guarantees: whatever stands in a value, a sample is one line. Does not: check names, they are ours. */
#include "server/metrics_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 128

static void write_escaped(struct ebm_buf *buf, const char *text, bool quotes)
{
    while (*text) {
        size_t plain = strcspn(text, quotes ? "\\\n\"" : "\\\n");
        (void)ebm_buf_append(buf, text, plain);
        text += plain;
        if (*text == '\n')
            (void)ebm_buf_text(buf, "\\n");
        else if (*text)
            (void)ebm_buf_printf(buf, "\\%c", *text);
        text += *text != 0;
    }
}

void metrics_text_family(struct ebm_buf *buf, const char *name, const char *type, const char *help)
{
    (void)ebm_buf_printf(buf, "# HELP %s ", name);
    write_escaped(buf, help, false);
    (void)ebm_buf_printf(buf, "\n# TYPE %s %s\n", name, type);
}

static void write_name(struct ebm_buf *buf, const char *name, const struct metrics_labels *labels)
{
    bool any = false;
    (void)ebm_buf_text(buf, name);
    for (uint32_t i = 0; labels && i < METRICS_LABELS; i++) {
        if (!labels->at[i].name)
            continue;
        (void)ebm_buf_text(buf, any ? "," : "{");
        (void)ebm_buf_text(buf, labels->at[i].name);
        (void)ebm_buf_text(buf, "=\"");
        write_escaped(buf, labels->at[i].value, true);
        (void)ebm_buf_text(buf, "\"");
        any = true;
    }
    (void)ebm_buf_text(buf, any ? "} " : " ");
}

void metrics_text_count(struct ebm_buf *buf, const char *name, const struct metrics_labels *labels, uint64_t value)
{
    write_name(buf, name, labels);
    (void)ebm_buf_printf(buf, "%" PRIu64 "\n", value);
}

void metrics_text_number(struct ebm_buf *buf, const char *name, const struct metrics_labels *labels, double value)
{
    write_name(buf, name, labels);
    if (isfinite(value))
        (void)ebm_buf_json_number(buf, value);
    else
        (void)ebm_buf_text(buf, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
    (void)ebm_buf_text(buf, "\n");
}

void metrics_text_histogram(struct ebm_buf *buf, const char *name, const struct metrics_labels *labels,
                            const struct metrics_histogram *histogram)
{
    char part[NAME_BYTES], bound[32];
    struct metrics_labels with_bound = labels ? *labels : (struct metrics_labels){.at = {{NULL, NULL}}};
    uint64_t total = 0;
    EBM_ASSERT(!with_bound.at[METRICS_LABELS - 1].name);
    with_bound.at[METRICS_LABELS - 1].name = "le";
    with_bound.at[METRICS_LABELS - 1].value = bound;
    (void)snprintf(part, sizeof part, "%s_bucket", name);
    for (uint32_t i = 0; i <= histogram->n; i++) {
        total += histogram->counts[i];
        (void)snprintf(bound, sizeof bound, "+Inf");
        if (i < histogram->n)
            (void)snprintf(bound, sizeof bound, "%.10g", histogram->bounds[i]);
        metrics_text_count(buf, part, &with_bound, total);
    }
    (void)snprintf(part, sizeof part, "%s_sum", name);
    metrics_text_number(buf, part, labels, histogram->sum);
    (void)snprintf(part, sizeof part, "%s_count", name);
    metrics_text_count(buf, part, labels, total);
}
