/* fuzz_texts.c - a text of unknown origin into JSON, metrics and HTML, where nothing breaks out of where
 * it stands; as a header traceparent; and as the name of a folder of models. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/config.h"
#include "proto/json_write.h"
#include "server/access_log.h"
#include "server/metrics_text.h"
#include "tests/fuzz/fuzz.h"
#include "trainer/html.h"

#define BUF_BYTES (1u << 20)

static void check_json(struct ebm_buf *buf, const char *text)
{
    ebm_buf_clear(buf);
    json_write_text(buf, text);
    EBM_ASSERT(buf->status == EBM_OK);
    fuzz_check_json(buf->bytes, buf->size);
}

/* One line, whose value reads back to the text. */
static void check_metrics(struct ebm_buf *buf, const char *text)
{
    const struct metrics_labels labels = {.at = {{"model", text}}};
    static const char begin[] = "rows{model=\"", end[] = "\"} 7\n";
    ebm_buf_clear(buf);
    metrics_text_count(buf, "rows", &labels, 7);
    EBM_ASSERT(buf->status == EBM_OK && strncmp(buf->bytes, begin, strlen(begin)) == 0);
    const char *at = buf->bytes + strlen(begin);
    for (; *text; text++, at++) {
        EBM_ASSERT(*at != '\n' && *at != '"');
        if (*at == '\\')
            at++;
        EBM_ASSERT(*at == (*text == '\n' ? 'n' : *text));
    }
    EBM_ASSERT(strcmp(at, end) == 0);
}

static void check_family(struct ebm_buf *buf, const char *text)
{
    size_t n_lines = 0;
    ebm_buf_clear(buf);
    metrics_text_family(buf, "rows", "counter", text);
    EBM_ASSERT(buf->status == EBM_OK);
    for (const char *at = buf->bytes; *at; at++)
        n_lines += *at == '\n';
    EBM_ASSERT(n_lines == 2);
}

static void check_html(struct ebm_buf *buf, const char *text, size_t max_bytes)
{
    ebm_buf_clear(buf);
    EBM_ASSERT(html_text(buf, text, max_bytes) == EBM_OK);
    if (!buf->bytes)
        return;
    EBM_ASSERT(strpbrk(buf->bytes, "<>\"'") == NULL);
    for (const char *at = strchr(buf->bytes, '&'); at; at = strchr(at + 1, '&'))
        EBM_ASSERT(strchr(at, ';') != NULL);
}

static void check_clean(const char *text)
{
    char space[32];
    const char *clean = html_clean(text, space, sizeof space);
    for (const char *at = clean; *at; at++)
        EBM_ASSERT((unsigned char)*at >= 0x20 && *at != 0x7f);
}

/* A folder's name is a version when it is written as we write it. */
static void check_name(const char *text)
{
    char same[32];
    uint64_t version = ebm_model_version_of(text);
    (void)snprintf(same, sizeof same, "%" PRIu64, version);
    EBM_ASSERT(version == 0 || strcmp(same, text) == 0);
    EBM_ASSERT(!ebm_name_is_valid(text) || strpbrk(text, "/\\\"\n") == NULL);
}

/* Whatever a client sends, a line of the log is one line and one value. */
static void check_log(struct ebm_buf *buf, const char *text)
{
    const struct access_line line = {.method = text, .path = text, .route = text, .model = text, .request_id = text};
    ebm_buf_clear(buf);
    access_log_json(buf, &line);
    EBM_ASSERT(buf->status == EBM_OK && buf->size > 0 && strchr(buf->bytes, '\n') == buf->bytes + buf->size - 1);
    fuzz_check_json(buf->bytes, buf->size);
}

/* What was read is written as it stood, but for our span and what we do not know of the flags. */
static void check_trace(const char *text)
{
    struct trace trace;
    char again[TRACE_TEXT_BYTES];
    if (!trace_read(text, 1, &trace))
        return;
    trace_write(&trace, again);
    EBM_ASSERT(strlen(again) == TRACE_TEXT_BYTES - 1 && memcmp(again + 2, text + 2, 34) == 0);
    EBM_ASSERT(trace_read(again, 2, &trace));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ebm_buf buf;
    char *text = fuzz_text(bytes, size);
    ebm_buf_init(&buf, BUF_BYTES);
    check_json(&buf, text);
    check_metrics(&buf, text);
    check_family(&buf, text);
    check_html(&buf, text, HTML_WHOLE);
    check_html(&buf, text, 40);
    check_clean(text);
    check_name(text);
    check_log(&buf, text);
    check_trace(text);
    ebm_buf_done(&buf);
    free(text);
    return 0;
}
