/* test_api_keys.c - lines of a file of keys, those that are refused, keys that are found. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/api_keys.h"

/* SHA-256 of "abc" and of nothing, of FIPS 180-2 and its test vectors. */
#define OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct api_keys *keys;
static struct ebm_error error;

static enum ebm_status parse(const char *text)
{
    keys = NULL;
    return api_keys_parse(text, strlen(text), "FILE", &keys, &error);
}

Test(api_keys, lines)
{
    cr_assert_eq(parse("# comment\n\n  infer,metrics\t" OF_ABC "  a.b-c_1 \r\nadmin " OF_NOTHING " other"), EBM_OK,
                 "%s", error.text);
    cr_assert_eq(api_keys_count(keys), 2);
    const struct api_key *abc = api_keys_find(keys, "abc"), *nothing = api_keys_find(keys, "");
    cr_assert(abc && nothing);
    cr_assert_str_eq(abc->name, "a.b-c_1");
    cr_assert_eq(abc->roles, 1u << API_KEYS_INFER | 1u << API_KEYS_METRICS);
    cr_assert_str_eq(nothing->name, "other");
    cr_assert_eq(nothing->roles, 1u << API_KEYS_ADMIN);
    cr_assert_null(api_keys_find(keys, "abd"));
    cr_assert_null(api_keys_find(keys, OF_ABC), "a digest is no key");
    keys = api_keys_free(keys);
}

Test(api_keys, what_is_refused)
{
    static const struct {
        const char *text, *fragment;
    } cases[] = {
        {"", "expected a key"},
        {"# infer " OF_ABC " a\n", "expected a key"},
        {"infer " OF_ABC " a\n\nreader " OF_NOTHING " b\n", "line 3: expected roles"},
        {"infer, " OF_ABC " a", "expected roles"},
        {",infer " OF_ABC " a", "expected roles"},
        {OF_ABC " infer a", "expected roles"},
        {"infer ba7816bf a", "64 small hexadecimal digits"},
        {"infer " OF_ABC "0 a", "64 small hexadecimal digits"},
        {"infer BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad a", "64 small hexadecimal digits"},
        {"infer", "64 small hexadecimal digits"},
        {"infer " OF_ABC, "expected a name"},
        {"infer " OF_ABC " a=b", "expected a name"},
        {"infer " OF_ABC " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "expected a name"},
        {"infer " OF_ABC " a b", "nothing after the name"},
        {"infer " OF_ABC " a\ninfer " OF_NOTHING " a", "line 2: a key of this name"},
        {"infer " OF_ABC " a\nadmin " OF_ABC " b", "line 2: the same key"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        cr_assert_eq(parse(cases[i].text), EBM_INVALID, "case %zu", i);
        cr_assert_null(keys, "case %zu", i);
        cr_assert(strstr(error.text, cases[i].fragment), "case %zu: %s", i, error.text);
        cr_assert_null(strstr(error.text, "ba7816"), "case %zu tells a digest", i);
    }
}

Test(api_keys, limits)
{
    static char text[LIMIT_KEYS_FILE_BYTES];
    size_t n = 0;
    for (unsigned i = 0; i < LIMIT_KEYS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "infer %064x n%u\n", i, i);
    cr_assert_eq(parse(text), EBM_OK, "%s", error.text);
    keys = api_keys_free(keys);
    (void)snprintf(text + n, sizeof text - n, "infer %064x n\n", LIMIT_KEYS);
    cr_assert_eq(parse(text), EBM_INVALID);
    char long_key[LIMIT_KEY_BYTES + 2];
    memset(long_key, 'a', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = 0;
    cr_assert_eq(parse("infer " OF_ABC " a"), EBM_OK);
    cr_assert_null(api_keys_find(keys, long_key));
    keys = api_keys_free(keys);
}

Test(api_keys, made_and_read)
{
    char key[API_KEYS_KEY_BYTES], other[API_KEYS_KEY_BYTES], line[API_KEYS_LINE_BYTES], path[] = "/tmp/ebm-keys-XXXXXX";
    cr_assert_eq(api_keys_make("infer", "first", other, line, &error), EBM_OK);
    cr_assert_eq(api_keys_make("metrics,admin", "second", key, line, &error), EBM_OK);
    cr_assert_eq(strlen(key), API_KEYS_KEY_BYTES - 1);
    cr_assert_str_neq(key, other);
    cr_assert_null(strstr(line, key + 4), "the line has the key");
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line) && close(fd) == 0);
    cr_assert_eq(api_keys_read(path, &keys, &error), EBM_OK, "%s", error.text);
    cr_assert_str_eq(api_keys_find(keys, key)->name, "second");
    cr_assert_null(api_keys_find(keys, other));
    keys = api_keys_free(keys);
    (void)unlink(path);
    cr_assert_eq(api_keys_read(path, &keys, &error), EBM_INVALID);
    cr_assert_eq(api_keys_make("infer;", "x", key, line, &error), EBM_INVALID);
    cr_assert_eq(api_keys_make("infer", "x y", key, line, &error), EBM_INVALID);
}
