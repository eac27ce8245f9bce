/* publish.c - copy into a hidden folder beside the versions, fsync, rename to the next number.
 *
 *   NAME/.publish-<pid>/model.safetensors  --rename, refused when the number is taken: try the next-->  NAME/4/...
 *
 * Guarantees: a server that looks at any moment sees whole versions only; nothing is overwritten; two that publish at
 * once get two numbers. On failure the hidden folder is removed. */
#include "trainer/publish.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/limits.h"
#include "trainer/model_file.h"
#include "trainer/files.h"

#define ATTEMPTS 1000u
#define VERSION_MAX 1000000000u

enum ebm_status publish_check(const char *destination, struct ebm_error *reterr)
{
    const char *name = files_base(destination);
    if (name == destination || !ebm_name_is_valid(name))
        return ebm_error_set(
            reterr, EBM_INVALID, "REPOSITORY/NAME",
            "'%.80s': expected a folder and a model's name of letters, digits, '.', '_' and '-', as in "
            "models/geyser",
            destination);
    return EBM_OK;
}

/* The highest version in the folder, 0 when there is none. */
static uint32_t highest_version(const char *folder)
{
    uint32_t highest = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return 0;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char *end = NULL;
        unsigned long version = strtoul(entry->d_name, &end, 10);
        bool is_number = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && *end == '\0';
        if (is_number && version < VERSION_MAX && version > highest)
            highest = (uint32_t)version;
    }
    (void)closedir(dir);
    return highest;
}

static enum ebm_status failed(const char *path, const char *what, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_INVALID, path, "cannot %s: %s", what, strerror(errno));
}

static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    return done;
}

/* Renames the hidden folder to the next free number. */
static enum ebm_status take_number(const char *hidden, const char *folder, uint32_t *ret_version,
                                   struct ebm_error *reterr)
{
    uint32_t version = highest_version(folder);
    for (uint32_t i = 0; i < ATTEMPTS; i++) {
        char number[16];
        (void)snprintf(number, sizeof number, "%u", ++version);
        EBM_AUTO(ebm_freep) char *target = files_join(folder, number);
        if (target == NULL)
            return ebm_error_set(reterr, EBM_NO_MEMORY, folder, "no memory");
        int result = renameat2(AT_FDCWD, hidden, AT_FDCWD, target, RENAME_NOREPLACE);
        if (result != 0 && errno == EINVAL) /* a file system without the flag: a folder with a file is never replaced */
            result = rename(hidden, target);
        if (result == 0) {
            *ret_version = version;
            return sync_folder(folder) ? EBM_OK : failed(folder, "write the folder to disk", reterr);
        }
        if (errno != EEXIST && errno != ENOTEMPTY)
            return failed(target, "rename the new version", reterr);
    }
    return ebm_error_set(reterr, EBM_BUSY, folder, "no free version number found: is another program publishing?");
}

enum ebm_status publish_model(const char *path, const char *destination, uint32_t *ret_version,
                              struct ebm_error *reterr)
{
    EBM_AUTO(ebm_model_unrefp) struct ebm_model *model = NULL;
    char word[48];
    (void)snprintf(word, sizeof word, ".publish-%ld", (long)getpid());
    EBM_AUTO(ebm_freep) char *hidden = files_join(destination, word);
    EBM_AUTO(ebm_freep) char *file = hidden != NULL ? files_join(hidden, "model.safetensors") : NULL;
    enum ebm_status status = file != NULL ? publish_check(destination, reterr)
                                          : ebm_error_set(reterr, EBM_NO_MEMORY, destination, "no memory");
    if (status == EBM_OK)
        status = model_file_load(path, &model, reterr);
    if (status == EBM_OK)
        status = files_make_folder(hidden, reterr);
    if (status != EBM_OK)
        return status;
    status = ebm_model_save(model, file, reterr);
    if (status == EBM_OK)
        status = take_number(hidden, destination, ret_version, reterr);
    if (status != EBM_OK) {
        (void)unlink(file);
        (void)rmdir(hidden);
        return status;
    }
    EBM_AUTO(ebm_freep) char *repository = files_folder(destination);
    (void)printf("published %s as version %u\nserve it: ebm-server --model-repository %s\n", destination, *ret_version,
                 repository != NULL ? repository : ".");
    return EBM_OK;
}

enum ebm_status publish_command(const struct args *args, struct ebm_error *reterr)
{
    uint32_t version = 0;
    return publish_model(args->positional[0], args->positional[1], &version, reterr);
}
