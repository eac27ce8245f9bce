/* repository.h - what lies in a folder of models, without reading any: DIR/<model>/<version number>/model.safetensors.
 *
 * Names come from folders. Pure but for the file system; any thread. */
#ifndef EBM_SERVER_REPOSITORY_H
#define EBM_SERVER_REPOSITORY_H

#include "core/limits.h"
#include "core/status.h"

/* Which file it is, and whether somebody wrote to it. All 0: there is none. */
struct file_mark {
    uint64_t device, inode, size, mtime_s, mtime_ns;
};

struct file_mark file_mark_of(const char *path);
bool file_mark_is_same(const struct file_mark *a, const struct file_mark *b);
bool file_mark_is_none(const struct file_mark *mark);

struct repository_version {
    uint64_t version;
    struct file_mark model; /* none: a folder without a model in it, the only one that the model has */
};

struct repository_model {
    char name[LIMIT_NAME_BYTES + 1];
    struct file_mark serving;            /* serving.json */
    size_t n_versions;                   /* 0: no folder in it is called by a number */
    struct repository_version *versions; /* (n_versions), descending */
};

struct repository {
    size_t n;
    struct repository_model *models; /* (n), by name, ascending */
};

/* Looks at every model, or at the one called `name` alone (then n is 0 when it is not there). Hidden folders and files
 * are passed over in silence, names that no request could ask for with a warning when `warns`. Of a model's versions
 * the highest 1024 are seen. NOT_FOUND: the folder cannot be read; TOO_LARGE, NO_MEMORY. New: repository_done. */
enum ebm_status repository_look(const char *folder, const char *name, bool warns, struct repository *ret_repository,
                                struct ebm_error *reterr) EBM_MUST_USE;
void repository_done(struct repository *repository);

/* Borrow; NULL: not there. */
const struct repository_model *repository_find(const struct repository *repository, const char *name);
const struct repository_version *repository_find_version(const struct repository_model *model, uint64_t version);

#endif
