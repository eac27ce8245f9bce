/* zip.c - from the end of the archive to one file in it:
 *
 *   end record -> central directory -> entry: method, checksum, lengths, where -> local header -> content
 *
 * Lengths come from the central directory, since local headers may leave them out. Every offset is checked against the
 * archive's length; memory is taken for what an entry says only when that many bytes can come out of it (deflate makes
 * at most 1032 bytes of one). zlib does the inflating and the checksum. */
#include "trainer/zip.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define END_BYTES 22u
#define COMMENT_BYTES 65535u /* most behind the end record */
#define ENTRY_BYTES 46u
#define LOCAL_BYTES 30u
#define DIRECTORY_BYTES (64u << 20)
#define WIDE 0xffffffffu /* the number stands in the extra field, in 64 bits */
#define STORED 0u
#define DEFLATED 8u
#define DEFLATE_FACTOR 1032u
#define PIECE_BYTES (1u << 20)

struct archive {
    const char *path;
    FILE *file;
    uint64_t size;
};

struct entry {
    uint32_t method, checksum;
    uint64_t packed, size, at; /* bytes in the archive, bytes of content, where the local header is */
};

static uint32_t u16(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8;
}

static uint32_t u32(const unsigned char *at)
{
    return u16(at) | u16(at + 2) << 16;
}

static uint64_t u64(const unsigned char *at)
{
    return u32(at) | (uint64_t)u32(at + 4) << 32;
}

static enum ebm_status damaged(const struct archive *a, const char *what, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_DAMAGED, a->path, "not a whole zip archive (.npz): %s", what);
}

static bool read_at(const struct archive *a, uint64_t at, void *to, size_t n)
{
    return n <= a->size && at <= a->size - n && fseeko(a->file, (off_t)at, SEEK_SET) == 0 &&
           fread(to, 1, n, a->file) == n;
}

/* ---- the directory ---- */

/* The directory's bytes. New: free(). */
static enum ebm_status read_directory(const struct archive *a, unsigned char **ret_bytes, uint32_t *ret_size,
                                      struct ebm_error *reterr)
{
    size_t tail = a->size < END_BYTES + COMMENT_BYTES ? (size_t)a->size : END_BYTES + COMMENT_BYTES;
    EBM_AUTO(ebm_freep) unsigned char *end = malloc(tail + 1);
    if (end == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, a->path, "no memory");
    if (tail < END_BYTES || !read_at(a, a->size - tail, end, tail))
        return damaged(a, "it is too short", reterr);
    size_t at = tail - END_BYTES;
    while (at > 0 && memcmp(end + at, "PK\5\6", 4) != 0)
        at--;
    if (memcmp(end + at, "PK\5\6", 4) != 0)
        return damaged(a, "its end is missing", reterr);
    uint32_t size = u32(end + at + 12), first = u32(end + at + 16);
    if (size > DIRECTORY_BYTES || first == WIDE)
        return ebm_error_set(reterr, EBM_TOO_LARGE, a->path,
                             "a zip archive of more than 4 GiB, or with a directory of "
                             "more than 64 MiB: save its arrays apart");
    unsigned char *bytes = malloc((size_t)size + 1);
    if (bytes == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, a->path, "no memory");
    if (!read_at(a, first, bytes, size)) {
        free(bytes);
        return damaged(a, "its directory is missing", reterr);
    }
    *ret_bytes = bytes;
    *ret_size = size;
    return EBM_OK;
}

/* Lengths of 64 bits stand in the extra field 1, in the order of those that are WIDE. */
static void widen(struct entry *entry, const unsigned char *extra, uint32_t n)
{
    uint64_t *const wide[] = {&entry->size, &entry->packed, &entry->at};
    for (uint32_t at = 0; at + 4 <= n; at += 4 + u16(extra + at + 2)) {
        uint32_t next = at + 4, end = next + u16(extra + at + 2);
        for (uint32_t i = 0; u16(extra + at) == 1 && i < EBM_COUNT_OF(wide); i++)
            if (*wide[i] == WIDE && next + 8 <= end && end <= n) {
                *wide[i] = u64(extra + next);
                next += 8;
            }
    }
}

static bool find_entry(const unsigned char *directory, uint32_t size, const char *name, struct entry *ret_entry)
{
    for (uint64_t at = 0; at + ENTRY_BYTES <= size && memcmp(directory + at, "PK\1\2", 4) == 0;) {
        const unsigned char *e = directory + at;
        uint32_t name_bytes = u16(e + 28), extra_bytes = u16(e + 30), comment_bytes = u16(e + 32);
        uint64_t next = at + ENTRY_BYTES + name_bytes + extra_bytes + comment_bytes;
        if (next > size)
            return false;
        if (name_bytes == strlen(name) && memcmp(e + ENTRY_BYTES, name, name_bytes) == 0) {
            *ret_entry = (struct entry){.method = u16(e + 10),
                                        .checksum = u32(e + 16),
                                        .packed = u32(e + 20),
                                        .size = u32(e + 24),
                                        .at = u32(e + 42)};
            widen(ret_entry, e + ENTRY_BYTES + name_bytes, extra_bytes);
            return true;
        }
        at = next;
    }
    return false;
}

/* ---- content ---- */

static enum ebm_status check_entry(const struct archive *a, const struct entry *entry, const char *name,
                                   uint64_t max_bytes, struct ebm_error *reterr)
{
    if (entry->method != STORED && entry->method != DEFLATED)
        return ebm_error_set(reterr, EBM_INVALID, a->path, "'%.40s' is compressed by method %u, expected 0 or 8", name,
                             entry->method);
    if (entry->size > max_bytes || entry->size > SIZE_MAX / 2)
        return ebm_error_set(reterr, EBM_TOO_LARGE, a->path, "'%.40s' has %llu bytes, at most %llu", name,
                             (unsigned long long)entry->size, (unsigned long long)max_bytes);
    if (entry->packed > a->size || (entry->method == STORED && entry->size != entry->packed) ||
        entry->size / DEFLATE_FACTOR > entry->packed)
        return damaged(a, "the lengths of a file in it are impossible", reterr);
    return EBM_OK;
}

/* The content at `at`, inflated a piece at a time. NO_MEMORY, DAMAGED. */
static enum ebm_status inflate_at(const struct archive *a, uint64_t at, const struct entry *entry, unsigned char *to)
{
    EBM_AUTO(ebm_freep) unsigned char *piece = malloc(PIECE_BYTES);
    z_stream stream = {.next_out = to};
    uint64_t left_in = entry->packed, left_out = entry->size;
    int result = Z_OK;
    if (piece == NULL || inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        return EBM_NO_MEMORY;
    while (result == Z_OK) {
        if (stream.avail_in == 0) {
            size_t n = left_in < PIECE_BYTES ? (size_t)left_in : PIECE_BYTES;
            if (n == 0 || !read_at(a, at, piece, n))
                break;
            at += n;
            left_in -= n;
            stream.next_in = piece;
            stream.avail_in = (uInt)n;
        }
        uInt room = left_out < UINT_MAX ? (uInt)left_out : UINT_MAX;
        stream.avail_out = room;
        result = inflate(&stream, Z_NO_FLUSH);
        left_out -= room - stream.avail_out;
    }
    (void)inflateEnd(&stream);
    return result == Z_STREAM_END && left_out == 0 ? EBM_OK : EBM_DAMAGED;
}

static bool has_checksum(const unsigned char *bytes, uint64_t size, uint32_t expected)
{
    uLong sum = crc32_z(0, NULL, 0);
    return (uint32_t)crc32_z(sum, bytes, size) == expected;
}

static enum ebm_status read_content(const struct archive *a, const struct entry *entry, unsigned char *to,
                                    struct ebm_error *reterr)
{
    unsigned char local[LOCAL_BYTES];
    if (!read_at(a, entry->at, local, sizeof local) || memcmp(local, "PK\3\4", 4) != 0)
        return damaged(a, "a file in it is missing", reterr);
    uint64_t at = entry->at + LOCAL_BYTES + u16(local + 26) + u16(local + 28);
    enum ebm_status status = EBM_OK;
    if (entry->method == DEFLATED)
        status = inflate_at(a, at, entry, to);
    else if (!read_at(a, at, to, entry->size))
        status = EBM_DAMAGED;
    if (status == EBM_NO_MEMORY)
        return ebm_error_set(reterr, EBM_NO_MEMORY, a->path, "no memory to decompress it");
    if (status != EBM_OK)
        return damaged(a, "a file in it is cut off, or cannot be decompressed", reterr);
    return has_checksum(to, entry->size, entry->checksum) ? EBM_OK
                                                          : damaged(a, "the checksum of a file differs", reterr);
}

static enum ebm_status read_file(const struct archive *a, const char *name, uint64_t max_bytes,
                                 unsigned char **ret_bytes, size_t *ret_size, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) unsigned char *directory = NULL;
    EBM_AUTO(ebm_freep) unsigned char *bytes = NULL;
    struct entry entry;
    uint32_t size = 0;
    enum ebm_status status = read_directory(a, &directory, &size, reterr);
    if (status != EBM_OK)
        return status;
    if (!find_entry(directory, size, name, &entry))
        return ebm_error_set(reterr, EBM_NOT_FOUND, a->path, "there is no '%.40s' in it", name);
    status = check_entry(a, &entry, name, max_bytes, reterr);
    if (status != EBM_OK)
        return status;
    bytes = malloc((size_t)entry.size + 1);
    if (bytes == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, a->path, "no memory for '%.40s'", name);
    status = read_content(a, &entry, bytes, reterr);
    if (status != EBM_OK)
        return status;
    *ret_bytes = EBM_TAKE_PTR(bytes);
    *ret_size = (size_t)entry.size;
    return EBM_OK;
}

enum ebm_status zip_read(const char *path, const char *name, uint64_t max_bytes, unsigned char **ret_bytes,
                         size_t *ret_size, struct ebm_error *reterr)
{
    struct stat info;
    struct archive archive = {.path = path, .file = fopen(path, "re")};
    if (archive.file == NULL)
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "cannot open the file: %s", strerror(errno));
    enum ebm_status status = EBM_OK;
    if (fstat(fileno(archive.file), &info) != 0 || !S_ISREG(info.st_mode))
        status = ebm_error_set(reterr, EBM_INVALID, path, "is no regular file");
    archive.size = status == EBM_OK ? (uint64_t)info.st_size : 0;
    if (status == EBM_OK)
        status = read_file(&archive, name, max_bytes, ret_bytes, ret_size, reterr);
    (void)fclose(archive.file);
    return status;
}
