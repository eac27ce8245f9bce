/* api_keys.h - the keys that clients send: a file has a name, roles and the SHA-256 of each, not the key.
 *
 * A line: ROLE[,ROLE] DIGEST NAME. Empty lines, and those that begin with '#', are passed over. The digest is fast and
 * has no salt: a key is 256 random bits, so nobody can try likely ones. Keys that people think up do not belong here.
 *
 * A set that was read never changes: any thread. */
#ifndef EBM_SERVER_API_KEYS_H
#define EBM_SERVER_API_KEYS_H

#include "core/base.h"
#include "core/limits.h"
#include "core/status.h"

/* A key has one or more; none includes another. */
#define API_KEYS_ROLE_MAP(X) X(ADMIN, "admin") X(METRICS, "metrics") X(INFER, "infer")

enum api_keys_role {
#define X(name, word) API_KEYS_##name,
    API_KEYS_ROLE_MAP(X)
#undef X
        API_KEYS_ROLES
};

#define API_KEYS_DIGEST_BYTES 32
#define API_KEYS_KEY_BYTES 69u   /* of a key that we make: "ebm_", 64 digits and the 0 */
#define API_KEYS_LINE_BYTES 256u /* of its line, with the 0 */

struct api_keys;

struct api_key {
    char name[LIMIT_KEY_NAME_BYTES + 1]; /* for the log */
    uint32_t roles;                      /* bits 1 << enum api_keys_role */
    uint8_t digest[API_KEYS_DIGEST_BYTES];
};

/* INVALID with the line and what was expected there: also for no key at all, and for a name or digest that stands
 * twice. `where` names the text in errors. New: api_keys_free. */
enum ebm_status api_keys_parse(const char *text, size_t size, const char *where, struct api_keys **ret_keys,
                               struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status api_keys_read(const char *path, struct api_keys **ret_keys, struct ebm_error *reterr) EBM_MUST_USE;
/* NULL is fine; returns NULL. */
struct api_keys *api_keys_free(struct api_keys *keys);
size_t api_keys_count(const struct api_keys *keys);

/* Whose key this is; NULL: nobody's. Takes the same time wherever it stands, and however much of a digest agrees.
 * Borrow, from keys. */
const struct api_key *api_keys_find(const struct api_keys *keys, const char *key);

/* A new key, and the line of the file for it without its end. INVALID: roles or name that no line may have. */
enum ebm_status api_keys_make(const char *roles, const char *name, char ret_key[API_KEYS_KEY_BYTES],
                              char ret_line[API_KEYS_LINE_BYTES], struct ebm_error *reterr) EBM_MUST_USE;

#endif
