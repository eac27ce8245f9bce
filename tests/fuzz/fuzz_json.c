/* fuzz_json.c - JSON of any kind through the reader of messages: within its limits, numbers finite, every value of a
 * known kind. */
#include <math.h>

#include "core/limits.h"
#include "proto/json_read.h"
#include "tests/fuzz/fuzz.h"

static const struct json_read_limits limits = {.max_depth = 20, .max_values = 1000};

/* How many values there are; at most `depth` levels. */
static size_t count_values(struct json_t *value, uint32_t depth)
{
    size_t n = 1;
    struct ebm_error error;
    const char *kind = json_read_kind(value);
    EBM_ASSERT(kind[0] == 'a' || kind[0] == 't' || kind[0] == 'f' || kind[0] == 'n');
    if (json_read_is_number(value))
        EBM_ASSERT(isfinite(json_read_double(value)));
    if (json_read_is_list(value)) {
        EBM_ASSERT(depth > 0);
        for (size_t i = 0; i < json_read_length(value); i++)
            n += count_values(json_read_at(value, i), depth - 1);
    } else if (json_read_object(value, "value", &error) == EBM_OK) {
        EBM_ASSERT(depth > 0);
        for (void *member = json_read_first(value); member; member = json_read_next(value, member))
            n += count_values(json_read_value(member), depth - 1);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct json_t *root = NULL;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = json_read_parse((const char *)bytes, size, &limits, &root, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        EBM_ASSERT(count_values(root, limits.max_depth) <= limits.max_values);
    (void)json_read_free(root);
    return 0;
}
