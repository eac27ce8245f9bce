/* fuzz_api_keys.c - a file of keys. What is accepted has names that a log may have, and no key that is its own digest.
 */
#include <string.h>

#include "server/api_keys.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct api_keys *keys = NULL;
    struct ebm_error error;
    enum ebm_status status = api_keys_parse((const char *)bytes, size, "FILE", &keys, &error);
    if (status != EBM_OK) {
        EBM_ASSERT(keys == NULL);
        fuzz_check_error(status, &error);
        return 0;
    }
    EBM_ASSERT(api_keys_count(keys) > 0 && api_keys_count(keys) <= LIMIT_KEYS);
    const struct api_key *key = api_keys_find(keys, "abc");
    EBM_ASSERT(!key || (key->name[0] != 0 && strlen(key->name) <= LIMIT_KEY_NAME_BYTES && key->roles != 0));
    EBM_ASSERT(!key || key->roles >> API_KEYS_ROLES == 0);
    (void)api_keys_free(keys);
    return 0;
}
