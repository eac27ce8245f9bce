/* tls.h - the certificate that the HTTP daemon shows, from files that may change while it serves. The main thread's,
 * but for sessions, which are their loop's; handshakes of all loops get the certificate of now.
 *
 * Handshakes and records are the daemon's. One for the whole process: its callback for certificates passes nothing of
 * ours. */
#ifndef EBM_SERVER_TLS_H
#define EBM_SERVER_TLS_H

#include <gnutls/abstract.h>

#include "core/base.h"
#include "core/status.h"

#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
/* Bytes of a connection that are no request's: a client's handshake, and what its records add to each part of a body,
 * at the most that is usual. */
#define TLS_HANDSHAKE_BYTES 8192u
#define TLS_RECORD_BYTES 96u

struct tls;

/* PEM files: the server's certificate first, then the chain; its key, without a password. INVALID with the option and
 * what was expected: also for a key of another certificate. Borrow: the paths. New: tls_free. */
enum ebm_status tls_new(const char *cert_file, const char *key_file, struct tls **ret_tls, struct ebm_error *reterr)
    EBM_MUST_USE;
/* No handshake runs any more. NULL is fine; returns NULL. */
struct tls *tls_free(struct tls *tls);
/* Reads the files again, for connections that come; a pair that does not fit changes nothing. Logs what came of it. */
void tls_reload(struct tls *tls);

/* For the daemon: shows the certificate of the last tls_new. */
gnutls_certificate_retrieve_function2 *tls_retrieve(void);
/* Writes to a connection beside the daemon, which is not writing; then ends our side. False: not all of it. */
bool tls_send(gnutls_session_t session, const void *bytes, size_t size) EBM_MUST_USE;
void tls_end(gnutls_session_t session);

#endif
