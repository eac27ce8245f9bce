/* files.c - what several commands do with the file system: join and cut paths, make folders, read and write short
 * texts.
 *
 * Guarantees: a text is read up to a limit that the caller gives and holds no zero byte; every failure names the file
 * and says what the system said. */
#include "trainer/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *files_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

char *files_join(const char *folder, const char *name)
{
    char *joined = NULL;
    if (name[0] == '/')
        return strdup(name);
    if (strcmp(name, ".") == 0)
        return strdup(folder);
    return asprintf(&joined, "%s/%s", folder, name) >= 0 ? joined : NULL;
}

char *files_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

char *files_working_folder(void)
{
    return getcwd(NULL, 0);
}

bool files_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

enum ebm_status files_make_folder(const char *path, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *copy = strdup(path);
    if (copy == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    for (char *at = copy + 1; copy[0] != '\0' && *at != '\0'; at++)
        if (*at == '/') {
            *at = '\0';
            (void)mkdir(copy, 0777); /* a failure shows at the last folder */
            *at = '/';
        }
    struct stat info;
    if (mkdir(copy, 0777) != 0 && errno != EEXIST)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot make the folder: %s", strerror(errno));
    if (stat(copy, &info) != 0 || !S_ISDIR(info.st_mode))
        return ebm_error_set(reterr, EBM_INVALID, path, "is not a folder");
    return EBM_OK;
}

enum ebm_status files_read(const char *path, uint64_t max_bytes, unsigned char **ret_bytes, size_t *ret_size,
                           struct ebm_error *reterr)
{
    struct stat info;
    bool is_there = stat(path, &info) == 0;
    uint64_t size = is_there && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    if (is_there && (size == 0 || size > max_bytes)) /* not even opened: a pipe would wait for somebody who writes */
        return ebm_error_set(reterr, size > max_bytes ? EBM_TOO_LARGE : EBM_INVALID, path,
                             "no regular file of 1 to %llu bytes", (unsigned long long)max_bytes);
    FILE *file = is_there ? fopen(path, "re") : NULL;
    if (file == NULL)
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "cannot open the file: %s", strerror(errno));
    EBM_AUTO(ebm_freep) unsigned char *bytes = malloc((size_t)size);
    bool is_whole = bytes != NULL && fread(bytes, 1, (size_t)size, file) == size;
    (void)fclose(file);
    if (bytes == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory for the file");
    if (!is_whole)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot read the file");
    *ret_bytes = EBM_TAKE_PTR(bytes);
    *ret_size = (size_t)size;
    return EBM_OK;
}

enum ebm_status files_read_text(const char *path, size_t max_bytes, char **ret_text, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *text = malloc(max_bytes + 1);
    if (text == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "cannot open the file: %s", strerror(errno));
    size_t size = fread(text, 1, max_bytes + 1, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot read the file");
    if (size > max_bytes)
        return ebm_error_set(reterr, EBM_TOO_LARGE, path, "the file is larger than %zu bytes", max_bytes);
    if (memchr(text, 0, size) != NULL)
        return ebm_error_set(reterr, EBM_INVALID, path, "a zero byte: this is not a text file");
    text[size] = '\0';
    *ret_text = EBM_TAKE_PTR(text);
    return EBM_OK;
}

enum ebm_status files_write_text(const char *path, const char *text, struct ebm_error *reterr)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: %s", strerror(errno));
    bool failed = fputs(text, file) == EOF;
    failed = fclose(file) != 0 || failed;
    return failed ? ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: is the disk full?") : EBM_OK;
}
