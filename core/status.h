/* status.h - one list of what can go wrong, and an error that says where and what.
 *
 * Functions that can fail return an ebm_status. Those at a boundary (files, configurations, requests) also take a
 * `struct ebm_error *reterr`, filled without allocation; NULL is fine. HTTP codes are the server's business. */
#ifndef EBM_CORE_STATUS_H
#define EBM_CORE_STATUS_H

#include "core/base.h"

#define EBM_STATUS_MAP(X)                                                                                              \
    X(OK, "ok")                                                                                                        \
    X(INVALID, "the input is not valid")                                                                               \
    X(TOO_LARGE, "the input is larger than a limit")                                                                   \
    X(NOT_FOUND, "not found")                                                                                          \
    X(BUSY, "no room for more work now")                                                                               \
    X(TIMEOUT, "the time is up")                                                                                       \
    X(CANCELLED, "no longer wanted")                                                                                   \
    X(DAMAGED, "the file is damaged")                                                                                  \
    X(NO_MEMORY, "out of memory")                                                                                      \
    X(DEVICE, "the device failed")                                                                                     \
    X(INTERNAL, "internal error")

enum ebm_status {
#define X(name, text) EBM_##name,
    EBM_STATUS_MAP(X)
#undef X
};

/* The status as a word ("OK", "INVALID", ...) and as a sentence. Borrow: static. */
const char *ebm_status_name(enum ebm_status status);
const char *ebm_status_text(enum ebm_status status);

struct ebm_error {
    enum ebm_status status;
    char where[96]; /* "inputs[3]", "energy_net.0.weight", a file's name */
    char text[256]; /* what was wrong and what was expected */
};

/* Fill `error` (NULL is fine) and return `status`, so that callers can write: return ebm_error_set(...).
 * Text that is too long is cut. */
enum ebm_status ebm_error_set(struct ebm_error *error, enum ebm_status status, const char *where, const char *format,
                              ...) EBM_PRINTF(4, 5);

/* Put `prefix` before error->where: ("model", "energy_net") -> "model.energy_net", ("rows", "[3]") -> "rows[3]".
 * Returns error->status, so a caller that has it already may ignore the result. NULL is fine; nobody can say which
 * status that was, so it returns INTERNAL, and a caller whose status others act on returns its own. */
enum ebm_status ebm_error_prefix(struct ebm_error *error, const char *prefix);

#endif
