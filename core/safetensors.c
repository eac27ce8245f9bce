/* safetensors.c - files of tensors: reads all, verifies all, replaces atomically.
 *
 *   reading   open (regular files only) -> size within max_bytes -> 8 bytes: header length -> header (verified by
 *             safetensors_header.c against the size of the file) -> one aligned block -> every tensor to its place
 *   writing   sort -> print the header -> read it back in memory -> temporary beside the target -> fsync -> rename ->
 *             fsync of the folder
 *
 * Guarantees: memory is taken only for bytes that the file really has; a file that shrinks or grows while it is read is
 * refused; the file is closed before open returns. A reader of `path` sees the old file or the new one, never a part;
 * when writing fails the temporary is removed and the old file stands. Same tensors and metadata, same bytes.
 * Any thread; two writers of one path do not disturb each other, the later rename wins. */
#include "core/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/rng.h"
#include "core/safetensors_header.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are copied as they lie in the file");

#define LENGTH_BYTES 8u

struct ebm_safetensors {
    char *text; /* the header; names and metadata point into it */
    struct ebm_header header;
    unsigned char *data; /* every tensor at a multiple of EBM_ALIGNMENT */
};

static void closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static enum ebm_status system_error(struct ebm_error *reterr, const char *where, const char *doing, int code)
{
    enum ebm_status status = code == ENOENT || code == ENOTDIR ? EBM_NOT_FOUND
                             : code == ENOMEM                  ? EBM_NO_MEMORY
                             : code == EIO                     ? EBM_DAMAGED
                                                               : EBM_INVALID;
    char reason[128];
    return ebm_error_set(reterr, status, where, "cannot %s: %s", doing, strerror_r(code, reason, sizeof reason));
}

/* ---- reading ---- */

/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
static enum ebm_status open_regular(const char *path, uint64_t max_bytes, int *ret_fd, uint64_t *ret_bytes,
                                    struct ebm_error *reterr)
{
    EBM_AUTO(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0)
        return system_error(reterr, path, "open the file", errno);
    if (!S_ISREG(about.st_mode))
        return ebm_error_set(reterr, EBM_INVALID, path, "not a regular file");
    uint64_t bytes = (uint64_t)about.st_size;
    if (bytes > max_bytes || bytes > LIMIT_FILE_BYTES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, path, "%" PRIu64 " bytes, the limit is %" PRIu64, bytes,
                             max_bytes < LIMIT_FILE_BYTES ? max_bytes : (uint64_t)LIMIT_FILE_BYTES);
    *ret_fd = fd;
    *ret_bytes = bytes;
    fd = -1;
    return EBM_OK;
}

/* Exactly `bytes` bytes from `offset`. */
static enum ebm_status read_at(int fd, void *to, size_t bytes, uint64_t offset, const char *where,
                               struct ebm_error *reterr)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(fd, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return system_error(reterr, where, "read the file", errno);
        if (n == 0)
            return ebm_error_set(reterr, EBM_DAMAGED, where, "the file became shorter while it was read");
        done += (size_t)n;
    }
    return EBM_OK;
}

static enum ebm_status read_length(int fd, uint64_t file_bytes, size_t *ret_length, struct ebm_error *reterr)
{
    if (file_bytes < LENGTH_BYTES)
        return ebm_error_set(reterr, EBM_DAMAGED, "header", "the file has %" PRIu64 " bytes, expected 8 and a header",
                             file_bytes);
    uint64_t length;
    enum ebm_status status = read_at(fd, &length, sizeof length, 0, "header", reterr);
    if (status != EBM_OK)
        return status;
    if (length > file_bytes - LENGTH_BYTES)
        return ebm_error_set(reterr, EBM_DAMAGED, "header",
                             "wants %" PRIu64 " bytes, the file has %" PRIu64
                             " left: cut short, or not a safetensors file",
                             length, file_bytes - LENGTH_BYTES);
    if (length > LIMIT_HEADER_BYTES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "header", "%" PRIu64 " bytes, the limit is %u", length,
                             LIMIT_HEADER_BYTES);
    *ret_length = (size_t)length;
    return EBM_OK;
}

static enum ebm_status read_header(struct ebm_safetensors *file, int fd, uint64_t file_bytes, size_t *ret_length,
                                   struct ebm_error *reterr)
{
    size_t length = 0;
    enum ebm_status status = read_length(fd, file_bytes, &length, reterr);
    if (status != EBM_OK)
        return status;
    file->text = malloc(length + 1);
    if (!file->text)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "header", "no memory for %zu bytes", length);
    if ((status = read_at(fd, file->text, length, LENGTH_BYTES, "header", reterr)) != EBM_OK)
        return status;
    file->text[length] = 0;
#ifdef EBM_PLANT_OVERFLOW /* a fault for the tests to find: one byte too far */
    ((volatile char *)file->text)[length + 1] = 0;
#endif
    *ret_length = length;
    return ebm_header_parse(file->text, length, file_bytes - LENGTH_BYTES - length, &file->header, reterr);
}

static enum ebm_status read_tensors(struct ebm_safetensors *file, int fd, uint64_t data_start, struct ebm_error *reterr)
{
    const struct ebm_header *header = &file->header;
    size_t total = 0; /* at most the file's size and 63 bytes a tensor */
    for (size_t i = 0; i < header->n_entries; i++)
        total += ebm_round_up((size_t)(header->entries[i].end - header->entries[i].begin), EBM_ALIGNMENT);
    file->data = ebm_alloc_aligned(total);
    if (!file->data)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "data", "no memory for %zu bytes", total);
    unsigned char *to = file->data;
    for (size_t i = 0; i < header->n_entries; i++) {
        struct ebm_header_entry *entry = &header->entries[i];
        size_t bytes = (size_t)(entry->end - entry->begin);
        enum ebm_status status = read_at(fd, to, bytes, data_start + entry->begin, entry->tensor.name, reterr);
        if (status != EBM_OK)
            return status;
        entry->tensor.data = to;
        to += ebm_round_up(bytes, EBM_ALIGNMENT);
    }
    return EBM_OK;
}

static enum ebm_status check_end(int fd, uint64_t file_bytes, const char *path, struct ebm_error *reterr)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return system_error(reterr, path, "look at the file", errno);
    if ((uint64_t)about.st_size != file_bytes)
        return ebm_error_set(reterr, EBM_DAMAGED, path, "the file changed its size while it was read");
    return EBM_OK;
}

enum ebm_status ebm_safetensors_open(const char *path, uint64_t max_bytes, struct ebm_safetensors **ret_file,
                                     struct ebm_error *reterr)
{
    EBM_AUTO(closep) int fd = -1;
    uint64_t file_bytes = 0;
    enum ebm_status status = open_regular(path, max_bytes, &fd, &file_bytes, reterr);
    if (status != EBM_OK)
        return status;
    EBM_AUTO(ebm_safetensors_freep) struct ebm_safetensors *file = calloc(1, sizeof *file);
    if (!file)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    size_t length = 0;
    if ((status = read_header(file, fd, file_bytes, &length, reterr)) != EBM_OK)
        return status;
    if ((status = read_tensors(file, fd, LENGTH_BYTES + length, reterr)) != EBM_OK)
        return status;
    if ((status = check_end(fd, file_bytes, path, reterr)) != EBM_OK)
        return status;
    *ret_file = EBM_TAKE_PTR(file);
    return EBM_OK;
}

struct ebm_safetensors *ebm_safetensors_free(struct ebm_safetensors *file)
{
    if (!file)
        return NULL;
    ebm_header_done(&file->header);
    free(file->data);
    free(file->text);
    free(file);
    return NULL;
}

void ebm_safetensors_freep(struct ebm_safetensors **file)
{
    *file = ebm_safetensors_free(*file);
}

size_t ebm_safetensors_count(const struct ebm_safetensors *file)
{
    return file->header.n_entries;
}

const struct ebm_tensor *ebm_safetensors_at(const struct ebm_safetensors *file, size_t index)
{
    EBM_ASSERT(index < file->header.n_entries);
    return &file->header.entries[index].tensor;
}

static int compare_entry(const void *name, const void *entry)
{
    return strcmp(name, ((const struct ebm_header_entry *)entry)->tensor.name);
}

const struct ebm_tensor *ebm_safetensors_find(const struct ebm_safetensors *file, const char *name)
{
    const struct ebm_header *header = &file->header;
    if (header->n_entries == 0)
        return NULL;
    const struct ebm_header_entry *entry = bsearch(name, header->entries, header->n_entries, sizeof *entry,
                                                   compare_entry);
    return entry ? &entry->tensor : NULL;
}

const char *ebm_safetensors_metadata(const struct ebm_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->header.n_metadata; i++)
        if (strcmp(file->header.metadata[i].key, key) == 0)
            return file->header.metadata[i].value;
    return NULL;
}

/* ---- writing ---- */

/* Wide numbers first, then by name: so every tensor of the file lies at a multiple of its number's size. */
static int by_layout(const void *a, const void *b)
{
    const struct ebm_tensor *left = *(const struct ebm_tensor *const *)a, *right = *(const struct ebm_tensor *const *)b;
    size_t left_bytes = ebm_dtype_bytes(left->dtype), right_bytes = ebm_dtype_bytes(right->dtype);
    return left_bytes != right_bytes ? (left_bytes < right_bytes) - (left_bytes > right_bytes)
                                     : strcmp(left->name, right->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct ebm_metadata *)a)->key, ((const struct ebm_metadata *)b)->key);
}

/* What the reader would refuse is not written: parses a copy of the header. */
static enum ebm_status check_header(const struct ebm_buf *text, uint64_t data_bytes, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *copy = malloc(text->size + 1);
    if (!copy)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "header", "no memory for %zu bytes", text->size);
    memcpy(copy, text->bytes, text->size + 1);
    EBM_AUTO(ebm_header_done) struct ebm_header header = {0};
    enum ebm_status status = ebm_header_parse(copy, text->size, data_bytes, &header, reterr);
    if (status == EBM_DAMAGED && reterr)
        reterr->status = EBM_INVALID;
    return status == EBM_DAMAGED ? EBM_INVALID : status;
}

static enum ebm_status make_header(struct ebm_buf *ret_text, const struct ebm_metadata *metadata, size_t n_metadata,
                                   const struct ebm_tensor **order, size_t n_tensors, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) struct ebm_metadata *sorted = calloc(n_metadata + 1, sizeof *sorted);
    if (!sorted)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "header", "no memory");
    if (n_metadata > 0)
        memcpy(sorted, metadata, n_metadata * sizeof *sorted);
    qsort(sorted, n_metadata, sizeof *sorted, by_key);
    qsort(order, n_tensors, sizeof *order, by_layout);
    uint64_t data_bytes;
    enum ebm_status status = ebm_header_print(ret_text, sorted, n_metadata, order, n_tensors, &data_bytes);
    if (status != EBM_OK)
        return ebm_error_set(reterr, status, "header", "%s (at most %u bytes)", ebm_status_text(status),
                             LIMIT_HEADER_BYTES);
    return check_header(ret_text, data_bytes, reterr);
}

static enum ebm_status write_all(int fd, const void *bytes, size_t size, const char *path, struct ebm_error *reterr)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return system_error(reterr, path, "write the file", errno);
        done += (size_t)n;
    }
    return EBM_OK;
}

static enum ebm_status write_content(int fd, const struct ebm_buf *header, const struct ebm_tensor *const *order,
                                     size_t n_tensors, const char *path, struct ebm_error *reterr)
{
    uint64_t length = header->size;
    enum ebm_status status = write_all(fd, &length, sizeof length, path, reterr);
    if (status == EBM_OK)
        status = write_all(fd, header->bytes, header->size, path, reterr);
    for (size_t i = 0; i < n_tensors && status == EBM_OK; i++)
        status = write_all(fd, order[i]->data, order[i]->count * ebm_dtype_bytes(order[i]->dtype), path, reterr);
    if (status == EBM_OK && fsync(fd) != 0)
        status = system_error(reterr, path, "write the file to disk", errno);
    return status;
}

/* So that the new name survives a power failure. Some file systems cannot (EINVAL): then it is as good as it gets. */
static enum ebm_status sync_folder(const char *path, struct ebm_error *reterr)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    EBM_AUTO(ebm_freep) char *folder = slash ? strndup(path, length ? length : 1) : strdup(".");
    if (!folder)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    EBM_AUTO(closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        return system_error(reterr, folder, "write the folder to disk", errno);
    return EBM_OK;
}

/* Writes `temporary`, then gives it the name `path`. */
static enum ebm_status replace(const char *path, const char *temporary, const struct ebm_buf *header,
                               const struct ebm_tensor *const *order, size_t n_tensors, struct ebm_error *reterr)
{
    EBM_AUTO(closep) int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return system_error(reterr, path, "create the file", errno);
    enum ebm_status status = write_content(fd, header, order, n_tensors, path, reterr);
    if (status == EBM_OK && rename(temporary, path) != 0)
        status = system_error(reterr, path, "replace the file", errno);
    if (status != EBM_OK) {
        (void)unlink(temporary); /* the error is told already */
        return status;
    }
    return sync_folder(path, reterr);
}

/* A name that no other writer uses, in the same folder. New: free(). NULL: no memory. */
static char *temporary_beside(const char *path)
{
    char *name;
    return asprintf(&name, "%s.%014" PRIx64 ".tmp", path, ebm_seed_random()) < 0 ? NULL : name;
}

static void buf_donep(struct ebm_buf *buf)
{
    ebm_buf_done(buf);
}

enum ebm_status ebm_safetensors_write(const char *path, const struct ebm_metadata *metadata, size_t n_metadata,
                                      const struct ebm_tensor *tensors, size_t n_tensors, struct ebm_error *reterr)
{
    EBM_AUTO(buf_donep) struct ebm_buf header;
    ebm_buf_init(&header, LIMIT_HEADER_BYTES);
    EBM_AUTO(ebm_freep) const struct ebm_tensor **order = calloc(n_tensors + 1, sizeof *order);
    EBM_AUTO(ebm_freep) char *temporary = temporary_beside(path);
    if (!order || !temporary)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    for (size_t i = 0; i < n_tensors; i++)
        order[i] = &tensors[i];
    enum ebm_status status = make_header(&header, metadata, n_metadata, order, n_tensors, reterr);
    if (status != EBM_OK)
        return status;
    return replace(path, temporary, &header, order, n_tensors, reterr);
}
