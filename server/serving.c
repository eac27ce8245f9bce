/* serving.c - a model's settings: a table of keys, each with its bounds, its place and what to do about a wrong value.
 *
 *   file -> at most 64 KiB -> JSON -> every member through the table -> a copy of the standard settings, changed
 *
 * Guarantees: what was read is within its bounds; a key that is unknown, of another type or out of bounds refuses the
 * file whole, with the key, what stood there, what was expected and a way out. */
#include "server/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/names.h"

#define GOT_BYTES 64
#define WHERE_BYTES 96

/* ---- life ---- */

static struct serving *copy_of(const struct serving *serving)
{
    struct serving *copy = malloc(sizeof *copy);
    if (!copy)
        return NULL;
    memcpy(copy, serving, sizeof *copy);
    atomic_init(&copy->references, 1);
    return copy;
}

struct serving *serving_new(const struct batcher_lane_limits *lane, uint64_t n_latest)
{
    struct serving *serving = calloc(1, sizeof *serving);
    if (!serving)
        return NULL;
    atomic_init(&serving->references, 1);
    serving->lane = *lane;
    serving->policy = n_latest > 0 ? SERVING_BY_LATEST : SERVING_BY_ALL;
    serving->n_latest = n_latest;
    return serving;
}

struct serving *serving_with_error(const struct serving *before, const struct ebm_error *error, bool is_unusable)
{
    struct serving *serving = copy_of(before);
    if (!serving)
        return NULL;
    serving->error = *error;
    serving->is_unusable = is_unusable;
    return serving;
}

struct serving *serving_ref(struct serving *serving)
{
    (void)atomic_fetch_add_explicit(&serving->references, 1, memory_order_relaxed);
    return serving;
}

struct serving *serving_unref(struct serving *serving)
{
    if (serving && atomic_fetch_sub_explicit(&serving->references, 1, memory_order_acq_rel) == 1)
        free(serving);
    return NULL;
}

/* ---- the table ---- */

struct reading {
    struct serving *serving;
    const struct request_limits *limits;
    struct ebm_error *reterr;
};

struct key;
typedef enum ebm_status read_fn(const struct reading *reading, const struct key *key, struct json_t *value);

struct key {
    const char *name;
    read_fn *read;
    size_t at; /* of a whole number in struct serving, 4 bytes, or 8 when is_wide */
    bool is_wide;
    uint64_t min, max;
    const char *fix; /* what to do about a value that is out of bounds */
};

static read_fn read_whole, read_device, read_defaults, read_policy;

#define WHOLE(name, member, is_wide, min, max, fix)                                                                    \
    {name, read_whole, offsetof(struct serving, member), is_wide, min, max, fix},
#define OTHER(name, read, fix) {name, read, 0, false, 0, 0, fix},

/* clang-format off */
static const struct key keys[] = {
    WHOLE("max_batch_size", lane.max_rows, false, 1, LIMIT_BATCH_ROWS,
          "lower it, or raise the server's --max-batch-size")
    WHOLE("max_queue_delay_microseconds", lane.max_delay_us, true, 0, 1000000, "lower it: every request waits so long")
    WHOLE("max_queue_size", lane.max_tickets, false, 0, 1u << 20, "lower it, or write 0 for --max-queue-rows alone")
    WHOLE("priority_levels", lane.n_priorities, false, 0, LIMIT_PRIORITIES, "have fewer levels")
    WHOLE("instances", lane.max_batches, false, 0, 256, "lower it, or write 0 for as many as --workers")
    OTHER("device", read_device, "write \"cpu\", or remove the key")
    OTHER("defaults", read_defaults, "write an object such as {\"num_samples\": 4096}")
    OTHER("version_policy", read_policy, "write \"all\", {\"latest\": 2} or {\"specific\": [3, 5]}")
};
/* clang-format on */

static void describe(const struct json_t *value, char ret_text[GOT_BYTES])
{
    struct ebm_error ignored;
    const char *text;
    if (json_read_is_number(value))
        (void)snprintf(ret_text, GOT_BYTES, "%.17g", json_read_double(value));
    else if (json_read_text(value, "", GOT_BYTES / 2, &text, &ignored) == EBM_OK)
        (void)snprintf(ret_text, GOT_BYTES, "\"%s\"", text);
    else
        (void)snprintf(ret_text, GOT_BYTES, "%s", json_read_kind(value));
}

static enum ebm_status refuse(const struct reading *reading, const struct key *key, const struct json_t *value,
                              const char *expected)
{
    char where[WHERE_BYTES], got[GOT_BYTES];
    describe(value, got);
    (void)snprintf(where, sizeof where, SERVING_FILE ": %s", key->name);
    return ebm_error_set(reading->reterr, EBM_INVALID, where, "got %s, expected %s: %s", got, expected, key->fix);
}

static enum ebm_status read_whole(const struct reading *reading, const struct key *key, struct json_t *value)
{
    char *place = (char *)reading->serving + key->at, expected[GOT_BYTES];
    uint64_t max = key->max, whole;
    struct ebm_error ignored;
    if (key->at == offsetof(struct serving, lane.max_rows))
        max = reading->serving->lane.max_rows; /* the server's, until this is read */
    if (json_read_integer(value, "", key->min, max, &whole, &ignored) != EBM_OK) {
        (void)snprintf(expected, sizeof expected, "a whole number from %" PRIu64 " to %" PRIu64, key->min, max);
        return refuse(reading, key, value, expected);
    }
    uint32_t narrow = (uint32_t)whole;
    memcpy(place, key->is_wide ? (const void *)&whole : &narrow, key->is_wide ? sizeof whole : sizeof narrow);
    return EBM_OK;
}

static bool is_word(const struct json_t *value, const char *word)
{
    struct ebm_error ignored;
    const char *text;
    return json_read_text(value, "", GOT_BYTES, &text, &ignored) == EBM_OK && strcmp(text, word) == 0;
}

static enum ebm_status read_device(const struct reading *reading, const struct key *key, struct json_t *value)
{
    return is_word(value, "cpu") ? EBM_OK : refuse(reading, key, value, "\"cpu\", the only device of this server");
}

static enum ebm_status read_defaults(const struct reading *reading, const struct key *key, struct json_t *value)
{
    struct ebm_error ignored;
    if (json_read_object(value, "", &ignored) != EBM_OK)
        return refuse(reading, key, value, "an object of fields of requests");
    enum ebm_status status = request_defaults_read(value, reading->limits, &reading->serving->defaults,
                                                   reading->reterr);
    if (status != EBM_OK)
        (void)ebm_error_prefix(reading->reterr, SERVING_FILE ": defaults");
    return status;
}

/* ---- which versions ---- */

static bool read_specific(struct serving *serving, const struct json_t *list)
{
    struct ebm_error ignored;
    size_t n;
    if (json_read_list(list, "", 1, SERVING_SPECIFIC, "versions", &n, &ignored) != EBM_OK)
        return false;
    for (size_t i = 0; i < n; i++)
        if (json_read_integer(json_read_at(list, i), "", 1, REQUEST_MAX_SEED, &serving->specific[i], &ignored) !=
            EBM_OK)
            return false;
    serving->n_specific = (uint32_t)n;
    serving->policy = SERVING_BY_NAME;
    return true;
}

static bool read_latest(struct serving *serving, const struct json_t *value)
{
    struct ebm_error ignored;
    serving->policy = SERVING_BY_LATEST;
    return json_read_integer(value, "", 1, 1000000, &serving->n_latest, &ignored) == EBM_OK;
}

static enum ebm_status read_policy(const struct reading *reading, const struct key *key, struct json_t *value)
{
    struct ebm_error ignored;
    struct serving *serving = reading->serving;
    bool is_good = false;
    if (is_word(value, "all")) {
        serving->policy = SERVING_BY_ALL;
        return EBM_OK;
    }
    void *member = json_read_object(value, "", &ignored) == EBM_OK ? json_read_first(value) : NULL;
    if (member && !json_read_next(value, member) && strcmp(json_read_key(member), "latest") == 0)
        is_good = read_latest(serving, json_read_value(member));
    else if (member && !json_read_next(value, member) && strcmp(json_read_key(member), "specific") == 0)
        is_good = read_specific(serving, json_read_value(member));
    return is_good ? EBM_OK : refuse(reading, key, value, "a policy, of whole numbers from 1 on, at most 64 by name");
}

bool serving_wants(const struct serving *serving, uint64_t version, uint64_t n_available)
{
    if (serving->policy == SERVING_BY_LATEST)
        return n_available < serving->n_latest;
    for (uint32_t i = 0; serving->policy == SERVING_BY_NAME && i < serving->n_specific; i++)
        if (serving->specific[i] == version)
            return true;
    return serving->policy == SERVING_BY_ALL;
}

enum ebm_status serving_priority(const struct serving *serving, uint64_t priority, uint32_t *ret_priority,
                                 struct ebm_error *reterr)
{
    uint32_t n = serving->lane.n_priorities > 0 ? serving->lane.n_priorities : 1;
    if (priority > n)
        return ebm_error_set(reterr, EBM_INVALID, "priority",
                             "got %" PRIu64 ", expected 0 to %" PRIu32 ": the model's " SERVING_FILE
                             " gives it so many priority_levels",
                             priority, n);
    *ret_priority = priority > 0 ? (uint32_t)priority : n;
    return EBM_OK;
}

/* ---- the file ---- */

static enum ebm_status fail_unknown(const struct reading *reading, const char *name)
{
    const char *names[EBM_COUNT_OF(keys)];
    char where[WHERE_BYTES], known[192] = "";
    size_t used = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(keys); i++) {
        names[i] = keys[i].name;
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = ebm_names_near(name, names, EBM_COUNT_OF(keys));
    (void)snprintf(where, sizeof where, SERVING_FILE ": %.40s", name);
    if (near)
        return ebm_error_set(reading->reterr, EBM_INVALID, where, "unknown key, did you mean '%s'?", near);
    return ebm_error_set(reading->reterr, EBM_INVALID, where, "unknown key, expected one of: %s", known);
}

static enum ebm_status read_member(const struct reading *reading, const char *name, struct json_t *value)
{
    for (size_t i = 0; i < EBM_COUNT_OF(keys); i++)
        if (strcmp(keys[i].name, name) == 0)
            return keys[i].read(reading, &keys[i], value);
    return fail_unknown(reading, name);
}

/* What the keys must be together. */
static enum ebm_status check(const struct reading *reading)
{
    uint32_t priority;
    enum ebm_status status = serving_priority(reading->serving, reading->serving->defaults.priority, &priority,
                                              reading->reterr);
    if (status != EBM_OK)
        (void)ebm_error_prefix(reading->reterr, SERVING_FILE ": defaults");
    return status;
}

static void name_file(struct ebm_error *error)
{
    char where[WHERE_BYTES];
    if (!error)
        return;
    (void)snprintf(where, sizeof where, SERVING_FILE "%s%.64s", error->where[0] ? ": " : "", error->where);
    memcpy(error->where, where, sizeof error->where);
}

enum ebm_status serving_parse(const char *text, size_t size, const struct serving *standard,
                              const struct request_limits *limits, struct serving **ret_serving,
                              struct ebm_error *reterr)
{
    static const struct json_read_limits bounds = {LIMIT_JSON_DEPTH, 1024};
    EBM_AUTO(json_read_freep) struct json_t *root = NULL;
    struct serving *serving = copy_of(standard);
    struct reading reading = {serving, limits, reterr};
    if (!serving)
        return ebm_error_set(reterr, EBM_NO_MEMORY, SERVING_FILE, "no memory");
    enum ebm_status status = json_read_parse(text, size, &bounds, &root, reterr);
    if (status == EBM_OK)
        status = json_read_object(root, "", reterr);
    if (status != EBM_OK)
        name_file(reterr);
    for (void *member = status == EBM_OK ? json_read_first(root) : NULL; member && status == EBM_OK;
         member = json_read_next(root, member))
        status = read_member(&reading, json_read_key(member), json_read_value(member));
    if (status == EBM_OK)
        status = check(&reading);
    if (status == EBM_OK)
        *ret_serving = serving;
    else
        (void)serving_unref(serving);
    return status;
}

static void closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

enum ebm_status serving_read(const char *path, const struct serving *standard, const struct request_limits *limits,
                             struct serving **ret_serving, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *text = malloc(LIMIT_OPTIONS_FILE_BYTES + 1);
    EBM_AUTO(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat found;
    size_t size = 0;
    ssize_t n = 1;
    if (!text)
        return ebm_error_set(reterr, EBM_NO_MEMORY, SERVING_FILE, "no memory");
    if (fd < 0 || fstat(fd, &found) != 0 || !S_ISREG(found.st_mode))
        return ebm_error_set(reterr, EBM_INVALID, SERVING_FILE, "cannot be read: %s; remove it, or make it a file",
                             fd < 0 ? strerror(errno) : "not a file");
    while (n > 0 && size <= LIMIT_OPTIONS_FILE_BYTES) {
        n = read(fd, text + size, LIMIT_OPTIONS_FILE_BYTES + 1 - size);
        size += n > 0 ? (size_t)n : 0;
    }
    if (n < 0 || size > LIMIT_OPTIONS_FILE_BYTES)
        return ebm_error_set(reterr, EBM_INVALID, SERVING_FILE, "expected at most %u bytes, all of them readable",
                             LIMIT_OPTIONS_FILE_BYTES);
    return serving_parse(text, size, standard, limits, ret_serving, reterr);
}
