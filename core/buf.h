/* buf.h - a growing byte buffer that cannot be made without its maximum.
 *
 * The first failed append (limit reached, no memory) frees the content and makes every later append fail with the
 * same status, so a writer may append many times and look once, at the end. One thread at a time. */
#ifndef EBM_CORE_BUF_H
#define EBM_CORE_BUF_H

#include "core/status.h"

struct ebm_buf {
    char *bytes; /* always followed by a 0 that is not counted, when not NULL */
    size_t size, capacity, max_bytes;
    enum ebm_status status; /* OK, TOO_LARGE or NO_MEMORY */
};

void ebm_buf_init(struct ebm_buf *buf, size_t max_bytes);
void ebm_buf_done(struct ebm_buf *buf);  /* frees; init again before another use */
void ebm_buf_clear(struct ebm_buf *buf); /* empty again, status OK, memory kept */

enum ebm_status ebm_buf_append(struct ebm_buf *buf, const void *bytes, size_t size);
enum ebm_status ebm_buf_text(struct ebm_buf *buf, const char *text);
/* Where `size` more bytes may be written, after which ebm_buf_extend says how many were. NULL, and nothing changed,
 * when that is beyond the maximum, or after a failure: what is shorter may still be appended. */
char *ebm_buf_room(struct ebm_buf *buf, size_t size);
void ebm_buf_extend(struct ebm_buf *buf, size_t size);
enum ebm_status ebm_buf_printf(struct ebm_buf *buf, const char *format, ...) EBM_PRINTF(2, 3);
enum ebm_status ebm_buf_whole(struct ebm_buf *buf, uint64_t value); /* its decimal digits */

/* JSON: UTF-8 text as a string with quotes and escapes; a finite number, the shortest that reads back the same. */
enum ebm_status ebm_buf_json_text(struct ebm_buf *buf, const char *text);
enum ebm_status ebm_buf_json_number(struct ebm_buf *buf, double value);

#endif
