/* repository.c - folders -> names, version numbers and the marks of their files.
 *
 *   DIR -> folders with valid names -> folders with numbers that have a model file -> its mark
 *
 * Guarantees: nothing is opened but folders. Does not: read models, remember what it saw. */
#include "server/repository.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "models/config.h"

#define MAX_MODELS 4096u
#define MAX_VERSIONS 1024u /* of one model */
#define PATH_BYTES 64u     /* of a version's file, below its model's folder */

/* ---- marks ---- */

static struct file_mark mark_at(int folder, const char *path)
{
    struct stat found;
    if (fstatat(folder, path, &found, 0) != 0)
        return (struct file_mark){.device = 0};
    return (struct file_mark){
        .device = (uint64_t)found.st_dev,
        .inode = (uint64_t)found.st_ino,
        .size = (uint64_t)found.st_size,
        .mtime_s = (uint64_t)found.st_mtim.tv_sec,
        .mtime_ns = (uint64_t)found.st_mtim.tv_nsec,
    };
}

struct file_mark file_mark_of(const char *path)
{
    return mark_at(AT_FDCWD, path);
}

bool file_mark_is_same(const struct file_mark *a, const struct file_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->mtime_s == b->mtime_s &&
           a->mtime_ns == b->mtime_ns;
}

bool file_mark_is_none(const struct file_mark *mark)
{
    return file_mark_is_same(mark, &(struct file_mark){.device = 0});
}

/* ---- one model ---- */

static int compare_versions(const void *a, const void *b)
{
    uint64_t left = ((const struct repository_version *)a)->version,
             right = ((const struct repository_version *)b)->version;
    return left < right ? 1 : left > right ? -1 : 0;
}

/* One more of n, in any order; a full list keeps the highest. Returns how many there are then. */
static size_t keep_if_high(struct repository_version versions[MAX_VERSIONS], size_t n,
                           const struct repository_version *version)
{
    size_t lowest = 0;
    if (n < MAX_VERSIONS) {
        versions[n] = *version;
        return n + 1;
    }
    for (size_t i = 1; i < n; i++)
        lowest = versions[i].version < versions[lowest].version ? i : lowest;
    if (version->version > versions[lowest].version)
        versions[lowest] = *version;
    return n;
}

/* The versions that have a model file; when none has, the highest number, so that loading it says what is missing. */
static size_t read_versions(DIR *folder, struct repository_version ret_versions[MAX_VERSIONS])
{
    struct repository_version highest = {.version = 0};
    size_t n = 0;
    struct dirent *item;
    while ((item = readdir(folder)) != NULL) {
        char path[PATH_BYTES];
        struct repository_version found = {.version = ebm_model_version_of(item->d_name)};
        if (found.version == 0)
            continue;
        (void)snprintf(path, sizeof path, "%" PRIu64 "/model.safetensors", found.version);
        found.model = mark_at(dirfd(folder), path);
        if (!file_mark_is_none(&found.model))
            n = keep_if_high(ret_versions, n, &found);
        highest = found.version > highest.version ? found : highest;
    }
    qsort(ret_versions, n, sizeof *ret_versions, compare_versions);
    if (n == 0 && highest.version > 0)
        ret_versions[n++] = highest;
    return n;
}

/* False: no memory. A name that is no folder is left out. */
static bool look_at_model(int repository_fd, const char *name, bool warns, struct repository *repository)
{
    struct repository_version versions[MAX_VERSIONS];
    int fd = openat(repository_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        if (fd >= 0)
            (void)close(fd);
        return true;
    }
    struct repository_model model = {.serving = mark_at(fd, "serving.json"),
                                     .n_versions = read_versions(folder, versions)};
    (void)closedir(folder);
    (void)snprintf(model.name, sizeof model.name, "%s", name);
    if (model.n_versions == 0 && warns)
        ebm_log_warning("model passed over: no folder with a version number: model=%s", name);
    model.versions = malloc((model.n_versions + 1) * sizeof *model.versions);
    if (!model.versions)
        return false;
    memcpy(model.versions, versions, model.n_versions * sizeof *versions);
    repository->models[repository->n++] = model;
    return true;
}

/* ---- all models ---- */

static enum ebm_status look_at_all(DIR *folder, bool warns, struct repository *repository, struct ebm_error *reterr)
{
    struct dirent *item;
    while ((item = readdir(folder)) != NULL) {
        if (!ebm_name_is_valid(item->d_name)) {
            if (warns && item->d_name[0] != '.')
                ebm_log_warning("model passed over: its name has other characters than A-Z a-z 0-9 . _ - : name='%s'",
                                item->d_name);
            continue;
        }
        if (repository->n == MAX_MODELS)
            return ebm_error_set(reterr, EBM_TOO_LARGE, "--model-repository", "more than %u models", MAX_MODELS);
        if (!look_at_model(dirfd(folder), item->d_name, warns, repository))
            return ebm_error_set(reterr, EBM_NO_MEMORY, "--model-repository", "no memory");
    }
    return EBM_OK;
}

static int compare_models(const void *a, const void *b)
{
    return strcmp(((const struct repository_model *)a)->name, ((const struct repository_model *)b)->name);
}

enum ebm_status repository_look(const char *folder, const char *name, bool warns, struct repository *ret_repository,
                                struct ebm_error *reterr)
{
    DIR *opened = opendir(folder);
    if (!opened)
        return ebm_error_set(reterr, EBM_NOT_FOUND, "--model-repository", "cannot read the folder '%.120s': %s", folder,
                             strerror(errno));
    struct repository found = {.models = calloc(name ? 1 : MAX_MODELS, sizeof *found.models)};
    enum ebm_status status = found.models ? EBM_OK
                                          : ebm_error_set(reterr, EBM_NO_MEMORY, "--model-repository", "no memory");
    if (status == EBM_OK && !name)
        status = look_at_all(opened, warns, &found, reterr);
    else if (status == EBM_OK && ebm_name_is_valid(name) && !look_at_model(dirfd(opened), name, warns, &found))
        status = ebm_error_set(reterr, EBM_NO_MEMORY, "--model-repository", "no memory");
    (void)closedir(opened);
    if (status != EBM_OK) {
        repository_done(&found);
        return status;
    }
    qsort(found.models, found.n, sizeof *found.models, compare_models);
    *ret_repository = found;
    return EBM_OK;
}

void repository_done(struct repository *repository)
{
    for (size_t i = 0; i < repository->n; i++)
        free(repository->models[i].versions);
    free(repository->models);
    *repository = (struct repository){.n = 0};
}

/* ---- asking ---- */

static int compare_name(const void *name, const void *model)
{
    return strcmp(name, ((const struct repository_model *)model)->name);
}

const struct repository_model *repository_find(const struct repository *repository, const char *name)
{
    return bsearch(name, repository->models, repository->n, sizeof *repository->models, compare_name);
}

const struct repository_version *repository_find_version(const struct repository_model *model, uint64_t version)
{
    for (size_t i = 0; i < model->n_versions; i++)
        if (model->versions[i].version == version)
            return &model->versions[i];
    return NULL;
}
