/* page.c - the order of an evaluation's page: what to conclude, headline figures, the density where it can be drawn,
 * calibration a target, intervals, the training, the worst rows, and what made the page.
 *
 * Names, descriptions and paths come from files that anyone may have written: every one goes through html_text. */
#include "trainer/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/version.h"
#include "trainer/files.h"
#include "trainer/html.h"
#include "trainer/options.h"

#define NAME_BYTES 120u
#define COMMAND_BYTES 2000u

static void put_name(const struct evaluation *e, uint32_t d, struct ebm_buf *html)
{
    char space[EVALUATION_NAME_BYTES];
    (void)html_text(html, evaluation_name(e, d, space), NAME_BYTES);
}

/* What a verdict says: in one or two words, the same where the distance is small, in a sentence. */
static const struct {
    const char *mark, *slight, *text;
} verdicts[] = {
    [FIGURES_CALIBRATED] = {"Calibrated", "Calibrated",
                            "as far as these rows can tell, targets fall where its distributions say."},
    [FIGURES_NARROW] = {"Too sure", "Slightly too sure",
                        "its intervals hold fewer targets than they promise: its errors are larger than it says."},
    [FIGURES_WIDE] = {"Too unsure", "Slightly too unsure",
                      "its intervals hold more targets than they promise: its errors are smaller than it says."},
    [FIGURES_HIGH] =
        {"Predicts too high", "Predicts slightly too high",
         "targets lie low in its distributions. Do these rows come from where the training rows came from?"},
    [FIGURES_LOW] =
        {"Predicts too low", "Predicts slightly too low",
         "targets lie high in its distributions. Do these rows come from where the training rows came from?"},
    [FIGURES_SHAPE] = {"Another shape", "Slightly another shape",
                       "the targets are spread differently than it says; the PIT histogram shows where."},
};

static const char *verdict_mark(const struct figures_target *t)
{
    return figures_is_slight(t) ? verdicts[t->verdict].slight : verdicts[t->verdict].mark;
}

/* Beside the words how large it is: with many rows the smallest distance is more than chance. */
static void put_verdict(const struct evaluation *e, uint32_t d, struct ebm_buf *html)
{
    const struct figures_target *t = &e->figures->targets[d];
    bool good = t->verdict == FIGURES_CALIBRATED;
    (void)ebm_buf_printf(html, "<div class=\"verdict%s\"><p><span class=\"mark\">%s %s</span>", good ? "" : " bad",
                         good ? "&#10003;" : "&#9651;", verdict_mark(t));
    if (e->figures->D > 1) {
        (void)ebm_buf_text(html, " (");
        put_name(e, d, html);
        (void)ebm_buf_text(html, ")");
    }
    (void)ebm_buf_printf(html, ": %s", verdicts[t->verdict].text);
    if (!good)
        (void)ebm_buf_printf(html,
                             " The largest gap between how many targets should lie below a point of the distribution "
                             "and how many do is %.1f&#160;%%; chance leaves up to "
                             "%.1f&#160;%%.",
                             100.0 * t->ks, 100.0 * figures_ks_usual(e->figures->n));
    (void)ebm_buf_text(html, "</p></div>\n");
}

/* ---- head ---- */

static void put_head(const struct evaluation *e, struct ebm_buf *html)
{
    (void)ebm_buf_text(html, "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
                             "<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, "
                             "initial-scale=1\"/>\n<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>");
    (void)html_text(html, e->config->name, NAME_BYTES);
    (void)ebm_buf_text(html, ": evaluation</title>\n<style>\n");
    for (const char *const *piece = page_style; *piece != NULL; piece++)
        (void)ebm_buf_text(html, *piece);
    (void)ebm_buf_text(html, "</style>\n</head>\n<body>\n<header>\n<h1>");
    (void)html_text(html, e->config->name, NAME_BYTES);
    (void)ebm_buf_text(html, "</h1>\n");
    if (e->config->description != NULL && e->config->description[0] != '\0') {
        (void)ebm_buf_text(html, "<p>");
        (void)html_text(html, e->config->description, 1000);
        (void)ebm_buf_text(html, "</p>\n");
    }
    (void)ebm_buf_printf(html, "<p class=\"sub\">Judged on %u rows of ", e->figures->n);
    (void)html_text(html, files_base(e->data_path), NAME_BYTES);
    if (evaluation_draws(e) > 0)
        (void)ebm_buf_printf(html, ", %u draws a row", evaluation_draws(e));
    (void)ebm_buf_text(html, ".</p>\n");
    for (uint32_t d = 0; d < e->figures->D && d < PAGE_TARGETS; d++)
        put_verdict(e, d, html);
    (void)ebm_buf_text(html, "</header>\n<main>\n");
}

/* ---- headline figures ---- */

static void put_tile(struct ebm_buf *html, const char *label, double value, const char *beside, const char *says)
{
    (void)ebm_buf_printf(html, "<div class=\"tile\"><div class=\"label\">%s</div><div class=\"value\">", label);
    (void)html_number(html, value);
    (void)ebm_buf_printf(html, "%s</div><p>%s</p></div>\n", beside, says);
}

static void put_share_tile(struct ebm_buf *html, const char *label, double share, const char *beside, const char *says)
{
    (void)ebm_buf_printf(html,
                         "<div class=\"tile\"><div class=\"label\">%s</div><div class=\"value\">%.1f %%%s</div>"
                         "<p>%s</p></div>\n",
                         label, 100.0 * share, beside, says);
}

static void put_target_tiles(const struct evaluation *e, uint32_t d, struct ebm_buf *html)
{
    const struct figures_target *t = &e->figures->targets[d];
    char beside[128], space[HTML_NUMBER_BYTES];
    put_tile(html, "CRPS", t->crps, "",
             "The absolute error of a forecast that is a whole distribution, in the target's unit. Lower is better.");
    put_tile(html, "RMSE", t->rmse, "", "Root mean square error of the predicted mean.");
    beside[0] = '\0';
    if (!isnan(t->mae_mode))
        (void)snprintf(beside, sizeof beside, " <small>mode %s</small>", html_format(t->mae_mode, space));
    put_tile(html, "MAE", t->mae, beside, "Mean absolute error of the predicted mean.");
    (void)snprintf(beside, sizeof beside, " <small>&#177; %.1f</small>",
                   100.0 * figures_share_error(0.9, e->figures->n));
    put_share_tile(html, "Within the middle 90&#160;%", t->coverage[2], beside,
                   "Targets that the 90 % intervals hold; beside it how far chance alone moves it.");
    put_tile(html, "Width of the middle 90&#160;%", t->mean_width[2], "",
             "On average. Narrow is good, as long as it holds what it promises.");
    (void)snprintf(beside, sizeof beside, " <small>&lt; %.1f %%</small>", 100.0 * figures_ks_usual(e->figures->n));
    put_share_tile(html, "Largest gap of the PIT", t->ks, beside,
                   "Kolmogorov-Smirnov distance; 99 of 100 calibrated models stay below what stands beside it.");
}

static void put_tiles(const struct evaluation *e, struct ebm_buf *html)
{
    const struct figures *f = e->figures;
    char beside[128], space[HTML_NUMBER_BYTES];
    (void)ebm_buf_text(html, "<div class=\"tiles\">\n");
    (void)snprintf(beside, sizeof beside, " <small>&#177; %s</small>", html_format(f->nll_error, space));
    put_tile(html, "NLL", f->nll, beside,
             "Nats a row, the target's unit in it: compare models on the same rows alone. Lower is better.");
    if (f->D == 1)
        put_target_tiles(e, 0, html);
    put_share_tile(html, "Reliable rows", 1.0 - (double)f->n_unreliable / f->n, "",
                   "Rows whose numbers can be relied on as numbers. It says nothing of the model.");
    (void)ebm_buf_text(html, "</div>\n");
}

/* ---- targets ---- */

/* Of several targets, one line each. */
static void put_target_table(const struct evaluation *e, struct ebm_buf *html)
{
    char space[5][HTML_NUMBER_BYTES];
    (void)ebm_buf_text(html, "<h2>Targets</h2>\n<div class=\"card\"><div class=\"scroll\"><table><thead><tr><th>target"
                             "</th><th>CRPS</th><th>RMSE</th><th>MAE</th><th>90 % hold</th><th>mean width</th><th>KS"
                             "</th><th class=\"text\">in short</th></tr></thead><tbody>\n");
    for (uint32_t d = 0; d < e->figures->D; d++) {
        const struct figures_target *t = &e->figures->targets[d];
        (void)ebm_buf_text(html, "<tr><td class=\"name-cell\">");
        put_name(e, d, html);
        (void)ebm_buf_printf(html,
                             "</td><td>%s</td><td>%s</td><td>%s</td><td>%.1f %%</td><td>%s</td><td>%.3f</td>"
                             "<td class=\"text\"><span class=\"mark%s\">%s</span></td></tr>\n",
                             html_format(t->crps, space[0]), html_format(t->rmse, space[1]),
                             html_format(t->mae, space[2]), 100.0 * t->coverage[2],
                             html_format(t->mean_width[2], space[3]), t->ks,
                             t->verdict == FIGURES_CALIBRATED ? "" : " bad", verdict_mark(t));
    }
    (void)ebm_buf_text(html, "</tbody></table></div></div>\n");
}

static void put_targets(const struct evaluation *e, struct ebm_buf *html)
{
    if (e->figures->D > 1)
        put_target_table(e, html);
    for (uint32_t d = 0; d < e->figures->D && d < PAGE_TARGETS; d++) {
        (void)ebm_buf_text(html, "<h2>Is it as sure as it may be");
        if (e->figures->D > 1) {
            (void)ebm_buf_text(html, " of ");
            put_name(e, d, html);
        }
        (void)ebm_buf_text(html, "?</h2>\n<div class=\"cards\">\n");
        page_calibration(e, d, html);
        page_pit(e, d, html);
        page_spread(e, d, html);
        page_sharpness(e, d, html);
        (void)ebm_buf_text(html, "</div>\n");
    }
    if (e->figures->D > PAGE_TARGETS)
        (void)ebm_buf_printf(html,
                             "<p class=\"sub\">Charts of the first %u of %u targets; --output FILE.json has all "
                             "figures.</p>\n",
                             PAGE_TARGETS, e->figures->D);
}

/* ---- rows ---- */

static void put_doubts(const struct evaluation *e, struct ebm_buf *html)
{
    const struct figures *f = e->figures;
    if (f->n_unreliable == 0)
        return;
    (void)ebm_buf_printf(html, "<p>The numbers of %u rows are not reliable:", f->n_unreliable);
    for (uint32_t i = 0; i < f->n_reasons; i++)
        (void)ebm_buf_printf(html, "%s %s (%u)", i > 0 ? "," : "", f->reasons[i].word, f->reasons[i].n_rows);
    (void)ebm_buf_text(html, ". ");
    (void)html_text(html, evaluation_hint(e), 200);
    (void)ebm_buf_text(html, "</p>\n");
}

static void put_worst_row(const struct evaluation *e, uint32_t row, struct ebm_buf *html)
{
    char space[5][HTML_NUMBER_BYTES];
    for (uint32_t d = 0; d < e->data->D && d < PAGE_TARGETS; d++) {
        const struct score_target *t = &e->rows->targets[(size_t)row * e->data->D + d];
        (void)ebm_buf_printf(html, "<tr><td>%u</td><td>%.2f</td>", e->data->numbers[row] + 1, e->rows->nll[row]);
        if (e->data->D > 1) {
            (void)ebm_buf_text(html, "<td class=\"text name-cell\">");
            put_name(e, d, html);
            (void)ebm_buf_text(html, "</td>");
        }
        (void)ebm_buf_printf(
            html, "<td>%s</td><td>%s</td><td>%s</td><td>%s to %s</td><td class=\"text\">%s</td></tr>\n",
            html_format(e->data->y[(size_t)row * e->data->D + d], space[0]), html_format(t->mean, space[1]),
            html_format(t->std, space[2]), html_format(t->lower[2], space[3]), html_format(t->upper[2], space[4]),
            e->rows->doubts[row] != NULL ? e->rows->doubts[row] : "yes");
    }
}

static void put_worst(const struct evaluation *e, struct ebm_buf *html)
{
    (void)ebm_buf_text(html, "<h2>Rows it understood least</h2>\n<p class=\"sub\">The highest NLL first; 1 is the "
                             "file's first row below its names. A typing error in the data is often among them.</p>\n");
    put_doubts(e, html);
    (void)ebm_buf_printf(
        html,
        "<div class=\"card\"><div class=\"scroll\"><table><thead><tr><th>row</th><th>NLL</th>%s<th>"
        "value</th><th>mean</th><th>std</th><th>90 %% between</th><th class=\"text\">reliable</th></tr>"
        "</thead><tbody>\n",
        e->data->D > 1 ? "<th class=\"text\">target</th>" : "");
    for (uint32_t i = 0; i < e->figures->n_worst; i++)
        put_worst_row(e, e->figures->worst[i], html);
    (void)ebm_buf_text(html, "</tbody></table></div></div>\n");
}

/* ---- what made it ---- */

static void put_history(const struct evaluation *e, struct ebm_buf *html)
{
    EBM_AUTO(ebm_freep) char *folder = files_folder(e->model_path);
    EBM_AUTO(ebm_freep) struct progress_point *points = NULL;
    uint32_t n = 0;
    if (folder != NULL && progress_history(folder, &points, &n) == EBM_OK)
        page_history(points, n, html);
}

static void put_names(struct ebm_buf *html, char *const *names, uint32_t n, const char *word)
{
    enum { TOLD = 12 };
    (void)ebm_buf_printf(html, "<dt>%s</dt><dd>%u", word, n);
    for (uint32_t i = 0; names != NULL && i < n && i < TOLD; i++) {
        (void)ebm_buf_text(html, i == 0 ? ": " : ", ");
        (void)html_text(html, names[i], NAME_BYTES);
    }
    (void)ebm_buf_text(html, n > TOLD && names != NULL ? ", ...</dd>\n" : "</dd>\n");
}

/* A word of the command line, quoted for a shell where it must be. */
static void put_word(struct ebm_buf *command, const char *word)
{
    bool plain = word[0] != '\0' && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                                 "_./,:=+-") == strlen(word);
    (void)ebm_buf_text(command, plain ? " " : " '");
    for (const char *at = word; *at != '\0'; at++)
        (void)(*at == '\'' ? ebm_buf_text(command, "'\\''") : ebm_buf_append(command, at, 1));
    (void)ebm_buf_text(command, plain ? "" : "'");
}

static void put_command(const struct args *args, struct ebm_buf *html)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf command;
    ebm_buf_init(&command, COMMAND_BYTES);
    (void)ebm_buf_printf(&command, "ebm-trainer %s", args->command->name);
    for (uint32_t i = 0; i < args->command->n_options; i++) {
        if (args->values[i] == NULL || strcmp(args->command->options[i].name, "threads") == 0)
            continue; /* the number of threads changes nothing */
        (void)ebm_buf_printf(&command, " --%s", args->command->options[i].name);
        if (args->command->options[i].value != NULL)
            put_word(&command, args->values[i]);
    }
    (void)ebm_buf_text(html, "<dt>Command</dt><dd><pre><code>");
    (void)html_text(html, command.status == EBM_OK ? command.bytes : "(too long to repeat)", COMMAND_BYTES);
    (void)ebm_buf_text(html, "</code></pre></dd>\n");
}

static void put_model(const struct evaluation *e, struct ebm_buf *html)
{
    const struct ebm_config *config = e->config;
    EBM_AUTO(ebm_freep) char *training = NULL;
    (void)ebm_buf_text(html, "<h2>Model and data</h2>\n<div class=\"card\"><dl>\n<dt>Model</dt><dd>");
    (void)html_text(html, e->model_path, 1000);
    (void)ebm_buf_printf(html, "<br/>%s", config->net.has_energy ? "energy-based model" : "mixture density network");
    if (config->net.K > 0)
        (void)ebm_buf_printf(html, "%s%u Gaussians", config->net.has_energy ? ", its proposal a mixture of " : " of ",
                             config->net.K);
    (void)ebm_buf_printf(html, "; %llu parameters",
                         (unsigned long long)(ebm_config_learned(config) / config->net.members));
    if (config->net.members > 1)
        (void)ebm_buf_printf(html, ", %u members of so many", config->net.members);
    (void)ebm_buf_printf(html, "</dd>\n<dt>Answers by</dt><dd>%s", evaluation_estimator(e));
    if (evaluation_draws(e) > 0)
        (void)ebm_buf_printf(html, ", %u draws a row, seed %llu", evaluation_draws(e),
                             (unsigned long long)e->spec->seed);
    (void)ebm_buf_text(html, "</dd>\n<dt>Data</dt><dd>");
    (void)html_text(html, e->data_path, 1000);
    (void)ebm_buf_printf(html, "<br/>%u rows", e->figures->n);
    if (e->data->n_dropped > 0)
        (void)ebm_buf_printf(html, ", %u dropped for missing values", e->data->n_dropped);
    if (e->spec->jitter->step > 0.0)
        (void)ebm_buf_printf(html,
                             "; rounded targets are scored by the mean density of their bin of %g, their place in "
                             "the distribution is drawn within the bin",
                             e->spec->jitter->step);
    (void)ebm_buf_text(html, "</dd>\n");
    put_names(html, config->input.names, config->input.size, "Inputs");
    put_names(html, config->target.names, config->target.dim, "Targets");
    put_command(e->args, html);
    (void)ebm_buf_text(html, "<dt>Version</dt><dd>ebm-trainer " EBM_VERSION "</dd>\n</dl>\n");
    if (config->training != NULL && options_pretty(config->training, &training, NULL) == EBM_OK) {
        (void)ebm_buf_text(html, "<details><summary>How it was trained, as recorded</summary><pre><code>");
        (void)html_text(html, training, HTML_WHOLE);
        (void)ebm_buf_text(html, "</code></pre></details>");
    }
    (void)ebm_buf_text(html, "</div>\n");
}

enum ebm_status page_html(const struct evaluation *e, struct ebm_buf *html)
{
    put_head(e, html);
    put_tiles(e, html);
    if (e->surface != NULL)
        page_density(e, html);
    put_targets(e, html);
    put_history(e, html);
    put_worst(e, html);
    put_model(e, html);
    return ebm_buf_text(html,
                        "</main>\n<footer>All of this is about these rows. Far from the training data a model can "
                        "be sure and wrong, and no figure here would show it.</footer>\n</body>\n</html>\n");
}
