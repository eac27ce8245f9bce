/* fuzz.c - texts, lines and a file in memory for the fuzz targets.
 *
 * Readers of files want a path: there is one file in memory, which every input overwrites. */
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/log.h"

static void drop_line(void *user, enum ebm_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    ebm_log_set(drop_line, NULL);
    json_object_seed(1); /* the same order of members in every run */
    return 0;
}

/* ---- checks ---- */

void fuzz_check_error(enum ebm_status status, const struct ebm_error *error)
{
    EBM_ASSERT(status == EBM_OK || error->status == status);
    EBM_ASSERT(status == EBM_OK || error->text[0] != 0);
    EBM_ASSERT(memchr(error->where, 0, sizeof error->where) && memchr(error->text, 0, sizeof error->text));
}

void fuzz_check_json(const char *text, size_t size)
{
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    EBM_ASSERT(value != NULL);
    json_decref(value);
}

/* ---- texts ---- */

char *fuzz_text(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1);
    EBM_ASSERT(text != NULL);
    if (size > 0)
        memcpy(text, bytes, size);
    text[size] = 0;
    return text;
}

void fuzz_cut_lines(char **text, struct fuzz_lines *ret_lines)
{
    char *at = *text;
    ret_lines->n = 0;
    while (*at && *at != '\n') {
        char *end = at + strcspn(at, "\n");
        if (ret_lines->n < (int)FUZZ_LINES)
            ret_lines->at[ret_lines->n++] = at;
        at = end + (*end != 0);
        *end = 0;
    }
    *text = at + (*at != 0);
    ret_lines->at[ret_lines->n] = NULL;
}

/* ---- files ---- */

static int memory_file = -1;

static const char *fill_file(const struct iovec *parts, int n_parts, size_t size)
{
    static char path[32];
    if (memory_file < 0) {
        memory_file = memfd_create("fuzz", MFD_CLOEXEC);
        EBM_ASSERT(memory_file >= 0);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", memory_file);
    }
    EBM_ASSERT(pwritev(memory_file, parts, n_parts, 0) == (ssize_t)size && ftruncate(memory_file, (off_t)size) == 0);
    return path;
}

static struct iovec part_of(const void *bytes, size_t size)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
}

const char *fuzz_file(const void *bytes, size_t size)
{
    struct iovec part = part_of(bytes, size);
    return fill_file(&part, 1, size);
}

const char *fuzz_safetensors_file(const uint8_t *bytes, size_t size)
{
    uint64_t length = size > 0 ? strnlen((const char *)bytes, size) : 0;
    size_t skipped = length < size ? length + 1 : size; /* and the 0 */
    struct iovec parts[] = {part_of(&length, sizeof length), part_of(bytes, length),
                            part_of(bytes + skipped, size - skipped)};
    return fill_file(parts, 3, sizeof length + length + size - skipped);
}
