/* trace.c - reads and writes traceparent:
 *
 *   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *   |  |                                |                flags
 *   |  trace                            parent
 *   version
 */
#include "server/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/hex.h"

enum { ID_AT = 3, ID_DIGITS = 32, PARENT_AT = 36, PARENT_DIGITS = 16, FLAGS_AT = 53, END = 55 };

#define SAMPLED 1u

static bool is_hex(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ebm_hex_value(text[i]) < 0)
            return false;
    return true;
}

/* Hex digits, of which one is not 0. */
static bool is_id(const char *text, size_t n)
{
    return is_hex(text, n) && strspn(text, "0") < n;
}

static bool is_valid(const char *text)
{
    size_t length = strlen(text);
    if (length < END || !is_hex(text, 2) || memcmp(text, "ff", 2) == 0)
        return false;
    if (length > END && (memcmp(text, "00", 2) == 0 || text[END] != '-'))
        return false;
    return text[2] == '-' && text[PARENT_AT - 1] == '-' && text[FLAGS_AT - 1] == '-' &&
           is_id(text + ID_AT, ID_DIGITS) && is_id(text + PARENT_AT, PARENT_DIGITS) && is_hex(text + FLAGS_AT, 2);
}

/* SplitMix64 (Steele, Lea, Flood 2014): neighbouring seeds have spans that look unrelated. */
static uint64_t mix(uint64_t seed)
{
    seed += 0x9e3779b97f4a7c15u;
    seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9u;
    seed = (seed ^ (seed >> 27)) * 0x94d049bb133111ebu;
    return seed ^ (seed >> 31);
}

bool trace_read(const char *text, uint64_t seed, struct trace *ret_trace)
{
    if (!is_valid(text))
        return false;
    uint64_t span = mix(seed);
    memcpy(ret_trace->id, text + ID_AT, ID_DIGITS);
    ret_trace->id[ID_DIGITS] = 0;
    memcpy(ret_trace->parent, text + PARENT_AT, PARENT_DIGITS);
    ret_trace->parent[PARENT_DIGITS] = 0;
    (void)snprintf(ret_trace->span, sizeof ret_trace->span, "%016" PRIx64, span ? span : 1);
    ret_trace->flags = (uint8_t)(ebm_hex_value(text[FLAGS_AT]) << 4 | ebm_hex_value(text[FLAGS_AT + 1]));
    return true;
}

void trace_write(const struct trace *trace, char ret_text[TRACE_TEXT_BYTES])
{
    (void)snprintf(ret_text, TRACE_TEXT_BYTES, "00-%s-%s-%02x", trace->id, trace->span, trace->flags & SAMPLED);
}
