/* page.h - an evaluation as one HTML file that needs nothing else: no script, no font, no network. Light and dark by
 * what the reader's system prefers, readable on a phone and on paper.
 *
 * The same evaluation gives the same bytes. Lines and points are thinned out before they are drawn, so the size does
 * not grow with the rows. The page is well-formed XML as well. */
#ifndef EBM_TRAINER_PAGE_H
#define EBM_TRAINER_PAGE_H

#include "trainer/evaluate.h"
#include "trainer/progress.h"

#define PAGE_BYTES (8u << 20)
#define PAGE_TARGETS 12u /* that get charts of their own */

/* TOO_LARGE or NO_MEMORY in html->status. */
enum ebm_status page_html(const struct evaluation *e, struct ebm_buf *html);

/* ---- between the page's files ---- */

extern const char *const page_style[]; /* CSS, in pieces; the last is NULL */

/* Charts with their caption and their numbers as a table. */
void page_density(const struct evaluation *e, struct ebm_buf *html);
void page_calibration(const struct evaluation *e, uint32_t d, struct ebm_buf *html);
void page_pit(const struct evaluation *e, uint32_t d, struct ebm_buf *html);
void page_sharpness(const struct evaluation *e, uint32_t d, struct ebm_buf *html);
void page_spread(const struct evaluation *e, uint32_t d, struct ebm_buf *html);
/* The training's loss and validation NLL. */
void page_history(const struct progress_point *points, uint32_t n, struct ebm_buf *html);

#endif
