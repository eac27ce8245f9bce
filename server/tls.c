/* tls.c - PEM files -> certificate, chain and key; the one that handshakes get.
 *
 * A handshake that has begun uses its certificate until it ends, and does not tell when: those before stay in memory
 * until the server stops. Files that did not change are not loaded again, so there is one for each renewal.
 *
 * Guarantees: a key is only ever shown with its own certificate; no error has anything of a key. */
#include "server/tls.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/log.h"
#include "server/small_file.h"

struct certificate {
    struct certificate *before; /* NULL: the first */
    gnutls_pcert_st chain[LIMIT_CERTIFICATES];
    unsigned n;
    gnutls_privkey_t key;
};

struct pem {
    char *text;
    size_t size;
};

struct tls {
    const char *cert_file, *key_file;
    struct pem cert, key;                    /* as they were read */
    struct certificate *_Atomic certificate; /* any thread reads */
};

static struct tls *shown; /* the daemon's callback has no argument for it */

/* ---- files ---- */

static void pem_done(struct pem *pem)
{
    if (pem->text)
        gnutls_memset(pem->text, 0, pem->size);
    free(pem->text);
    *pem = (struct pem){NULL, 0};
}

static enum ebm_status read_pem(const char *path, const char *option, struct pem *ret_pem, struct ebm_error *reterr)
{
    struct pem pem = {NULL, 0};
    enum ebm_status status = small_file_read(path, LIMIT_CERTIFICATE_BYTES, &pem.text, &pem.size);
    if (status == EBM_OK && pem.size > 0) {
        *ret_pem = pem;
        return EBM_OK;
    }
    if (status == EBM_NOT_FOUND)
        return ebm_error_set(reterr, EBM_INVALID, option, "cannot read the file: %s", strerror(errno));
    if (status == EBM_NO_MEMORY)
        return ebm_error_set(reterr, EBM_NO_MEMORY, option, "no memory");
    pem_done(&pem);
    return ebm_error_set(reterr, EBM_INVALID, option, "expected a PEM file of 1 to %u bytes", LIMIT_CERTIFICATE_BYTES);
}

static bool is_same(const struct pem *a, const struct pem *b)
{
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/* ---- a certificate ---- */

static struct certificate *certificate_free(struct certificate *certificate)
{
    if (!certificate)
        return NULL;
    for (unsigned i = 0; i < certificate->n; i++)
        gnutls_pcert_deinit(&certificate->chain[i]);
    if (certificate->key)
        gnutls_privkey_deinit(certificate->key);
    free(certificate);
    return NULL;
}

/* Do they belong together? */
static bool fits(const struct certificate *certificate)
{
    unsigned char of_cert[64], of_key[64];
    size_t cert_bytes = sizeof of_cert, key_bytes = sizeof of_key;
    gnutls_pubkey_t public;
    if (gnutls_pubkey_init(&public) != 0)
        return false;
    bool ok = gnutls_pubkey_import_privkey(public, certificate->key, 0, 0) == 0 &&
              gnutls_pubkey_get_key_id(public, 0, of_key, &key_bytes) == 0 &&
              gnutls_pubkey_get_key_id(certificate->chain[0].pubkey, 0, of_cert, &cert_bytes) == 0;
    gnutls_pubkey_deinit(public);
    return ok && cert_bytes == key_bytes && memcmp(of_cert, of_key, key_bytes) == 0;
}

static gnutls_datum_t datum_of(const struct pem *pem)
{
    return (gnutls_datum_t){(unsigned char *)pem->text, (unsigned)pem->size};
}

static enum ebm_status fill(struct certificate *certificate, const struct pem *cert, const struct pem *key,
                            struct ebm_error *reterr)
{
    const gnutls_datum_t cert_text = datum_of(cert), key_text = datum_of(key);
    unsigned n = LIMIT_CERTIFICATES;
    int failed = gnutls_pcert_list_import_x509_raw(certificate->chain, &n, &cert_text, GNUTLS_X509_FMT_PEM,
                                                   GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED |
                                                       GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (failed)
        return ebm_error_set(reterr, EBM_INVALID, "--tls-cert", "expected 1 to %u certificates, the server's first: %s",
                             LIMIT_CERTIFICATES, gnutls_strerror(failed));
    certificate->n = n;
    failed = gnutls_privkey_init(&certificate->key);
    if (!failed)
        failed = gnutls_privkey_import_x509_raw(certificate->key, &key_text, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (failed)
        return ebm_error_set(reterr, EBM_INVALID, "--tls-key", "expected a key without a password: %s",
                             gnutls_strerror(failed));
    if (!fits(certificate))
        return ebm_error_set(reterr, EBM_INVALID, "--tls-key", "expected the key of --tls-cert, this is another one's");
    return EBM_OK;
}

/* The texts become tls's when all is well. */
static enum ebm_status take(struct tls *tls, struct pem *cert, struct pem *key, struct ebm_error *reterr)
{
    struct certificate *certificate = calloc(1, sizeof *certificate);
    if (!certificate)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--tls-cert", "no memory");
    enum ebm_status status = fill(certificate, cert, key, reterr);
    if (status != EBM_OK) {
        (void)certificate_free(certificate);
        return status;
    }
    pem_done(&tls->cert);
    pem_done(&tls->key);
    tls->cert = *cert;
    tls->key = *key;
    *cert = *key = (struct pem){NULL, 0};
    certificate->before = tls->certificate;
    tls->certificate = certificate;
    return EBM_OK;
}

static enum ebm_status load(struct tls *tls, struct ebm_error *reterr)
{
    struct pem cert = {NULL, 0}, key = {NULL, 0};
    enum ebm_status status = read_pem(tls->cert_file, "--tls-cert", &cert, reterr);
    if (status == EBM_OK)
        status = read_pem(tls->key_file, "--tls-key", &key, reterr);
    bool is_new = !tls->certificate || !is_same(&cert, &tls->cert) || !is_same(&key, &tls->key);
    if (status == EBM_OK && is_new)
        status = take(tls, &cert, &key, reterr);
    pem_done(&cert);
    pem_done(&key);
    return status;
}

/* ---- from start to end ---- */

enum ebm_status tls_new(const char *cert_file, const char *key_file, struct tls **ret_tls, struct ebm_error *reterr)
{
    if (!cert_file[0] || !key_file[0])
        return ebm_error_set(reterr, EBM_INVALID, cert_file[0] ? "--tls-key" : "--tls-cert",
                             "missing: --tls-cert and --tls-key go together");
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--tls-cert", "no memory");
    tls->cert_file = cert_file;
    tls->key_file = key_file;
    enum ebm_status status = load(tls, reterr);
    if (status != EBM_OK) {
        (void)tls_free(tls);
        return status;
    }
    shown = tls;
    *ret_tls = tls;
    return EBM_OK;
}

struct tls *tls_free(struct tls *tls)
{
    if (!tls)
        return NULL;
    if (shown == tls)
        shown = NULL;
    for (struct certificate *at = tls->certificate, *before; at; at = before) {
        before = at->before;
        (void)certificate_free(at);
    }
    pem_done(&tls->cert);
    pem_done(&tls->key);
    free(tls);
    return NULL;
}

void tls_reload(struct tls *tls)
{
    struct ebm_error error;
    if (load(tls, &error) == EBM_OK)
        ebm_log_info("certificate read again");
    else
        ebm_log_error("certificate not read again, the one before stays: %s: %s", error.where, error.text);
}

/* ---- the daemon's ---- */

static int retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int n_authorities,
                    const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **ret_chain,
                    unsigned *ret_n, gnutls_privkey_t *ret_key)
{
    (void)session;
    (void)authorities;
    (void)n_authorities;
    (void)algorithms;
    (void)n_algorithms;
    if (!shown)
        return -1;
    struct certificate *now = shown->certificate;
    *ret_chain = now->chain;
    *ret_n = now->n;
    *ret_key = now->key;
    return 0;
}

gnutls_certificate_retrieve_function2 *tls_retrieve(void)
{
    return retrieve;
}

bool tls_send(gnutls_session_t session, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = gnutls_record_send(session, at, size);
        if (sent <= 0)
            return false;
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

void tls_end(gnutls_session_t session)
{
    (void)gnutls_bye(session, GNUTLS_SHUT_WR);
}
