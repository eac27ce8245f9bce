/* api_keys.c - lines of roles, digests and names; keys that are compared with them.
 *
 *   file -> at most 256 KiB -> lines -> checked one by one -> a set, or an error and nothing
 *   key  -> SHA-256 -> compared with every digest
 *
 * Guarantees: a file that is broken anywhere gives no set; no error and no log has a key or a digest. */
#include "server/api_keys.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hex.h"
#include "server/small_file.h"

#define KEY_PREFIX "ebm_"
#define RANDOM_BYTES 32

struct api_keys {
    size_t n;
    struct api_key keys[];
};

struct span {
    const char *text;
    size_t length;
};

static const char *const role_words[] = {
#define X(name, word) word,
    API_KEYS_ROLE_MAP(X)
#undef X
};

/* ---- a line ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Takes the next word off the front; empty: there is none. */
static struct span next_word(struct span *line)
{
    while (line->length > 0 && is_blank(*line->text)) {
        line->text++;
        line->length--;
    }
    struct span word = {line->text, 0};
    while (word.length < line->length && !is_blank(word.text[word.length]))
        word.length++;
    line->text += word.length;
    line->length -= word.length;
    return word;
}

static uint32_t read_role(struct span word)
{
    for (uint32_t i = 0; i < API_KEYS_ROLES; i++)
        if (strlen(role_words[i]) == word.length && memcmp(role_words[i], word.text, word.length) == 0)
            return 1u << i;
    return 0;
}

/* Words with commas between them -> bits; 0: one that is no role. */
static uint32_t read_roles(struct span words)
{
    uint32_t roles = 0;
    size_t begin = 0;
    for (size_t at = 0; at <= words.length; at++) {
        if (at < words.length && words.text[at] != ',')
            continue;
        uint32_t role = read_role((struct span){words.text + begin, at - begin});
        if (role == 0)
            return 0;
        roles |= role;
        begin = at + 1;
    }
    return roles;
}

static bool read_digest(struct span word, uint8_t *ret_digest)
{
    if (word.length != 2 * API_KEYS_DIGEST_BYTES)
        return false;
    for (size_t i = 0; i < API_KEYS_DIGEST_BYTES; i++) {
        int high = ebm_hex_value(word.text[2 * i]), low = ebm_hex_value(word.text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_digest[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_name(struct span word, char *ret_name)
{
    if (word.length == 0 || word.length > LIMIT_KEY_NAME_BYTES)
        return false;
    for (size_t i = 0; i < word.length; i++) {
        char c = word.text[i];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
                        c == '_' || c == '-';
        if (!is_plain)
            return false;
        ret_name[i] = c;
    }
    ret_name[word.length] = 0;
    return true;
}

/* What a line lacks; NULL: nothing. */
static const char *read_line(struct span line, struct api_key *ret_key)
{
    ret_key->roles = read_roles(next_word(&line));
    if (ret_key->roles == 0)
        return "expected roles first: infer, metrics, admin, or several with commas between them";
    if (!read_digest(next_word(&line), ret_key->digest))
        return "expected 64 small hexadecimal digits after the roles";
    if (!read_name(next_word(&line), ret_key->name))
        return "expected a name of letters, digits, '.', '_' and '-' after the digits";
    return next_word(&line).length > 0 ? "expected nothing after the name" : NULL;
}

/* ---- a file ---- */

static const char *add(struct api_keys *keys, struct span line)
{
    if (keys->n == LIMIT_KEYS)
        return "expected at most 1024 keys";
    struct api_key *key = &keys->keys[keys->n];
    const char *fault = read_line(line, key);
    for (size_t i = 0; !fault && i < keys->n; i++)
        if (strcmp(keys->keys[i].name, key->name) == 0)
            fault = "a key of this name stands above";
        else if (memcmp(keys->keys[i].digest, key->digest, sizeof key->digest) == 0)
            fault = "the same key stands above";
    if (!fault)
        keys->n++;
    return fault;
}

static bool says_nothing(struct span line)
{
    struct span word = next_word(&line);
    return word.length == 0 || word.text[0] == '#';
}

enum ebm_status api_keys_parse(const char *text, size_t size, const char *where, struct api_keys **ret_keys,
                               struct ebm_error *reterr)
{
    struct api_keys *keys = calloc(1, sizeof *keys + LIMIT_KEYS * sizeof keys->keys[0]);
    if (!keys)
        return ebm_error_set(reterr, EBM_NO_MEMORY, where, "no memory");
    const char *fault = NULL;
    size_t number = 0;
    for (const char *at = text, *end = text + size; !fault && at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct span line = {at, (size_t)((stop ? stop : end) - at)};
        if (!says_nothing(line))
            fault = add(keys, line);
        at += line.length + 1;
    }
    enum ebm_status status = EBM_OK;
    if (fault)
        status = ebm_error_set(reterr, EBM_INVALID, where, "line %zu: %s", number, fault);
    else if (keys->n == 0)
        status = ebm_error_set(reterr, EBM_INVALID, where, "expected a key: ebm-server --make-key ROLE NAME makes one");
    if (status != EBM_OK)
        keys = api_keys_free(keys);
    else
        *ret_keys = keys;
    return status;
}

enum ebm_status api_keys_read(const char *path, struct api_keys **ret_keys, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *text = NULL;
    size_t size;
    enum ebm_status status = small_file_read(path, LIMIT_KEYS_FILE_BYTES, &text, &size);
    if (status == EBM_OK)
        return api_keys_parse(text, size, "--api-keys", ret_keys, reterr);
    if (status == EBM_NOT_FOUND)
        return ebm_error_set(reterr, EBM_INVALID, "--api-keys", "cannot read the file: %s", strerror(errno));
    if (status == EBM_NO_MEMORY)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--api-keys", "no memory");
    return ebm_error_set(reterr, EBM_INVALID, "--api-keys", "expected a file of at most %u bytes",
                         LIMIT_KEYS_FILE_BYTES);
}

struct api_keys *api_keys_free(struct api_keys *keys)
{
    free(keys);
    return NULL;
}

size_t api_keys_count(const struct api_keys *keys)
{
    return keys->n;
}

/* ---- keys ---- */

static bool digest_of(const char *key, size_t length, uint8_t *ret_digest)
{
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, key, length, ret_digest) == 0;
}

const struct api_key *api_keys_find(const struct api_keys *keys, const char *key)
{
    uint8_t digest[API_KEYS_DIGEST_BYTES];
    const struct api_key *found = NULL;
    size_t length = strnlen(key, LIMIT_KEY_BYTES + 1);
    if (length > LIMIT_KEY_BYTES || !digest_of(key, length, digest))
        return NULL;
    for (size_t i = 0; i < keys->n; i++) /* all of them: the time does not tell which it was */
        if (gnutls_memcmp(keys->keys[i].digest, digest, sizeof digest) == 0)
            found = &keys->keys[i];
    return found;
}

static void write_digits(const uint8_t *bytes, size_t n, char *ret_text)
{
    for (size_t i = 0; i < n; i++) {
        ret_text[2 * i] = ebm_hex_digit(bytes[i] >> 4);
        ret_text[2 * i + 1] = ebm_hex_digit(bytes[i]);
    }
    ret_text[2 * n] = 0;
}

enum ebm_status api_keys_make(const char *roles, const char *name, char ret_key[API_KEYS_KEY_BYTES],
                              char ret_line[API_KEYS_LINE_BYTES], struct ebm_error *reterr)
{
    uint8_t secret[RANDOM_BYTES], digest[API_KEYS_DIGEST_BYTES];
    char digits[2 * API_KEYS_DIGEST_BYTES + 1], line[API_KEYS_LINE_BYTES];
    struct api_key read_back;
    if (gnutls_rnd(GNUTLS_RND_KEY, secret, sizeof secret) != 0)
        return ebm_error_set(reterr, EBM_INTERNAL, "--make-key", "no random numbers");
    write_digits(secret, sizeof secret, digits);
    (void)snprintf(ret_key, API_KEYS_KEY_BYTES, KEY_PREFIX "%s", digits);
    if (!digest_of(ret_key, strlen(ret_key), digest))
        return ebm_error_set(reterr, EBM_INTERNAL, "--make-key", "no SHA-256");
    write_digits(digest, sizeof digest, digits);
    int n = snprintf(line, sizeof line, "%.60s %s %.100s", roles, digits, name);
    const char *fault = read_line((struct span){line, (size_t)n}, &read_back);
    if (fault)
        return ebm_error_set(reterr, EBM_INVALID, "--make-key", "%s", fault);
    memcpy(ret_line, line, sizeof line);
    return EBM_OK;
}
