/* trace.h - the trace that a request belongs to, by W3C Trace Context (https://www.w3.org/TR/trace-context/): its
 * header traceparent, read strictly, and the one that an answer has. Pure; any thread. */
#ifndef EBM_SERVER_TRACE_H
#define EBM_SERVER_TRACE_H

#include "core/base.h"

#define TRACE_TEXT_BYTES 56u /* "00-<32 hex digits>-<16>-<2>" and a 0 */

/* Lower-case hex digits. */
struct trace {
    char id[33];     /* of the whole trace; empty: the request belongs to none */
    char parent[17]; /* the client's span */
    char span[17];   /* ours: the request here */
    uint8_t flags;
};

/* Takes a header's text and a seed of a new span. False, and nothing is changed, for a text that is not exactly as the
 * specification has it: version ff, upper case, zeroes for an id, or a wrong length (of version 00; later ones may have
 * more behind a '-'). */
bool trace_read(const char *text, uint64_t seed, struct trace *ret_trace);

/* The answer's header: the same trace, our span, and of the flags "sampled", which is all that version 00 knows. */
void trace_write(const struct trace *trace, char ret_text[TRACE_TEXT_BYTES]);

#endif
