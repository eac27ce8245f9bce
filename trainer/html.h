/* html.h - texts and numbers for pages and terminals that nobody can break out of: names come from files that anyone
 * may have written. What these functions append is at home in HTML and in XML, in text and in quoted attributes. */
#ifndef EBM_TRAINER_HTML_H
#define EBM_TRAINER_HTML_H

#include "core/buf.h"

/* `text` as valid UTF-8 into space (bytes > 8 in all): control characters and what is no UTF-8 become '?'; a text that
 * is too long is cut between characters and ends with an ellipsis. Returns space. */
const char *html_clean(const char *text, char *space, size_t bytes);

/* Cleaned as above, then & < > " ' as entities; at most max_bytes of it, before the entities. Lines stay lines when
 * max_bytes is HTML_WHOLE: text of many lines, any length. */
#define HTML_WHOLE 0u
enum ebm_status html_text(struct ebm_buf *buf, const char *text, size_t max_bytes);

/* Four significant digits, without an exponent from 0.0001 up to a million; "not a number" where it is none. */
enum ebm_status html_number(struct ebm_buf *buf, double value);
/* The same into a text of at least HTML_NUMBER_BYTES. Returns it. */
#define HTML_NUMBER_BYTES 32u
const char *html_format(double value, char *space);

#endif
