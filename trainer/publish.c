/* publish.c - copy into a hidden folder beside the versions, fsync, rename to the next number.
 *
 *   NAME/.publish-<pid>/model.safetensors  --rename, refused when the number is taken: try the next-->  NAME/4/...
 *
 * Guarantees: a server that looks at any moment sees whole versions only, and the new one is the highest that it sees;
 * nothing is overwritten; two that publish at once get two numbers. On failure the hidden folder is removed. */
#include "trainer/publish.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/limits.h"
#include "trainer/model_file.h"
#include "trainer/files.h"
#include "trainer/next.h"

#define ATTEMPTS 1000u
#define PLACE_BYTES 16384u
#define VERSION_LAST 999999999999999u

static enum ebm_status failed(const char *path, const char *what, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_INVALID, path, "cannot %s: %s", what, strerror(errno));
}

/* The highest version in the folder, 0 when there is none. INVALID when no number can follow it. */
static enum ebm_status highest_version(const char *folder, uint64_t *ret_highest, struct ebm_error *reterr)
{
    uint64_t highest = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL && errno != ENOENT)
        return failed(folder, "read the folder", reterr);
    for (const struct dirent *entry = NULL; dir != NULL && (entry = readdir(dir)) != NULL;) {
        uint64_t version = ebm_model_version_of(entry->d_name);
        highest = version > highest ? version : highest;
    }
    if (dir != NULL)
        (void)closedir(dir);
    if (highest >= VERSION_LAST)
        return ebm_error_set(reterr, EBM_INVALID, folder,
                             "version %" PRIu64 " is there, and a server reads at most %u digits: none can follow it. "
                             "Rename it, or publish under another name",
                             highest, EBM_MODEL_VERSION_DIGITS);
    *ret_highest = highest;
    return EBM_OK;
}

enum ebm_status publish_check(const char *destination, struct ebm_error *reterr)
{
    const char *name = files_base(destination);
    if (name == destination || !ebm_name_is_valid(name))
        return ebm_error_set(
            reterr, EBM_INVALID, "REPOSITORY/NAME",
            "'%.80s': expected a folder and a model's name of letters, digits, '.', '_' and '-', as in "
            "models/geyser",
            destination);
    uint64_t highest = 0;
    return highest_version(destination, &highest, reterr);
}

/* So that the new name survives a power failure. Some file systems cannot (EINVAL): then it is as good as it gets. */
static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    if (fd >= 0)
        (void)close(fd);
    return done;
}

/* Renames the hidden folder to the next free number. */
static enum ebm_status take_number(const char *hidden, const char *folder, uint64_t *ret_version,
                                   struct ebm_error *reterr)
{
    uint64_t version = 0;
    enum ebm_status status = highest_version(folder, &version, reterr);
    if (status != EBM_OK)
        return status;
    for (uint32_t i = 0; i < ATTEMPTS && version < VERSION_LAST; i++) {
        char number[24];
        (void)snprintf(number, sizeof number, "%" PRIu64, ++version);
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

enum ebm_status publish_model(const char *path, const char *destination, uint64_t *ret_version,
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
    EBM_AUTO(ebm_buf_done) struct ebm_buf place;
    ebm_buf_init(&place, PLACE_BYTES);
    next_put_word(&place, repository != NULL ? repository : ".");
    (void)printf("published %s as version %" PRIu64 "\nserve it:\n  %s --model-repository%s\n", destination,
                 *ret_version, next_server(), place.status == EBM_OK ? place.bytes : " .");
    return EBM_OK;
}

enum ebm_status publish_command(const struct args *args, struct ebm_error *reterr)
{
    uint64_t version = 0;
    return publish_model(args->positional[0], args->positional[1], &version, reterr);
}
