/* html.c - a byte is copied only as part of a character that stands in a table of what is allowed:
 *
 *   printable ASCII | UTF-8 of two to four bytes, shortest form, no surrogates, no C1 controls, no non-characters
 *
 * Everything else is a '?'. Direction overrides (U+202A .. U+202E, U+2066 .. U+2069) are refused as well: a name could
 * turn round the text behind it. */
#include "trainer/html.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ELLIPSIS "\xe2\x80\xa6"

static bool is_shown(uint32_t code)
{
    bool turns = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    bool surrogate = code >= 0xd800 && code <= 0xdfff, none = (code & 0xfffe) == 0xfffe || code > 0x10ffff;
    return code >= 0x20 && !(code >= 0x7f && code <= 0x9f) && !turns && !surrogate && !none;
}

/* Bytes of the character at `at` that may be shown; 0: none. */
static size_t character(const unsigned char *at)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80 ? 1 : (at[0] >> 5) == 0x6 ? 2 : (at[0] >> 4) == 0xe ? 3 : (at[0] >> 3) == 0x1e ? 4 : 0;
    uint32_t code = length > 1 ? at[0] & (0xffu >> (length + 1)) : at[0];
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) /* the end of the text too */
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    return length > 0 && code >= least[length] && is_shown(code) ? length : 0;
}

const char *html_clean(const char *text, char *space, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t size = 0, room = bytes - 1, cut = 0;
    EBM_ASSERT(bytes > 8);
    while (*at != 0) {
        size_t length = character(at), taken = length > 0 ? length : 1;
        if (size + taken > room) {
            memcpy(space + cut, ELLIPSIS, sizeof ELLIPSIS);
            return space;
        }
        if (length > 0)
            memcpy(space + size, at, length);
        else
            space[size] = '?';
        size += taken;
        at += taken;
        if (size + sizeof ELLIPSIS - 1 <= room)
            cut = size; /* there is room for the ellipsis behind it */
    }
    space[size] = '\0';
    return space;
}

static void escape(struct ebm_buf *buf, const char *bytes, size_t length)
{
    static const char special[] = "&<>\"'";
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    const char *found = length == 1 ? strchr(special, bytes[0]) : NULL;
    if (found != NULL && *found != '\0')
        (void)ebm_buf_text(buf, entities[found - special]);
    else
        (void)ebm_buf_append(buf, bytes, length);
}

enum ebm_status html_text(struct ebm_buf *buf, const char *text, size_t max_bytes)
{
    EBM_AUTO(ebm_freep) char *space = NULL;
    const char *at = text;
    if (max_bytes != HTML_WHOLE) {
        space = malloc(max_bytes + 1);
        at = space != NULL ? html_clean(text, space, max_bytes + 1) : "?";
    }
    while (*at != '\0') {
        size_t length = character((const unsigned char *)at);
        if (length > 0 || *at == '\n')
            escape(buf, at, length > 0 ? length : 1);
        else
            (void)ebm_buf_text(buf, "?");
        at += length > 0 ? length : 1;
    }
    return buf->status;
}

const char *html_format(double value, char *space)
{
    double size = fabs(value);
    if (isnan(value))
        (void)snprintf(space, HTML_NUMBER_BYTES, "not a number");
    else if (size > 0.0 && (size < 1e-4 || size >= 1e6))
        (void)snprintf(space, HTML_NUMBER_BYTES, "%.3g", value);
    else {
        int before = size > 0.0 ? (int)floor(log10(size)) : 0;
        (void)snprintf(space, HTML_NUMBER_BYTES, "%.*f", before < 3 ? 3 - before : 0, value);
    }
    return space;
}

enum ebm_status html_number(struct ebm_buf *buf, double value)
{
    char space[HTML_NUMBER_BYTES];
    return ebm_buf_text(buf, html_format(value, space));
}
