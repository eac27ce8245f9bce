/* test_publish.c - which number a published model gets, and what a file system may refuse. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/model.h"
#include "trainer/publish.h"

static char root[64], file[128], destination[128];

/* Linked in place of fsync: folders may be refused with this. */
int __real_fsync(int fd);
int __wrap_fsync(int fd);
static int folder_errno;

int __wrap_fsync(int fd)
{
    struct stat info;
    if (folder_errno == 0 || fstat(fd, &info) != 0 || !S_ISDIR(info.st_mode))
        return __real_fsync(fd);
    errno = folder_errno;
    return -1;
}

/* y ~ one Gaussian: the smallest model there is. */
static void set_up(void)
{
    static const char text[] =
        "{\"format_version\": 1, \"name\": \"tiny\", \"input\": {\"kind\": \"vector\", \"shape\": "
        "[1]}, \"target\": {\"dim\": 1}, \"proposal\": {\"kind\": \"gaussian_mixture\", "
        "\"components\": 1, \"mean_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 1}], "
        "\"log_variance_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 1}], "
        "\"weight_net\": [{\"type\": \"linear\", \"in\": 1, \"out\": 1}]}}";
    struct ebm_config *config = NULL;
    struct ebm_model *model = NULL;
    struct ebm_error error = {.status = EBM_OK};
    (void)snprintf(root, sizeof root, "/tmp/ebm-publish-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    (void)snprintf(file, sizeof file, "%s/model.safetensors", root);
    (void)snprintf(destination, sizeof destination, "%s/models/tiny", root);
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    float *params = calloc(config->net.n_params, sizeof *params);
    cr_assert_not_null(params);
    cr_assert_eq(ebm_model_new(config, params, &model, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(ebm_model_save(model, file, &error), EBM_OK, "%s: %s", error.where, error.text);
    ebm_model_unref(model);
    free(params);
}

static void tear_down(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(publish, .init = set_up, .fini = tear_down);

static void make_version(const char *name)
{
    char command[256];
    (void)snprintf(command, sizeof command, "mkdir -p '%s/%s'", destination, name);
    cr_assert_eq(system(command), 0);
}

static bool has_version(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s/model.safetensors", destination, name);
    return access(path, F_OK) == 0;
}

/* Publishes beside the folder `before` (NULL: none); returns the version, 0 when refused. */
static uint64_t publish_after(const char *before, struct ebm_error *ret_error)
{
    uint64_t version = 0;
    *ret_error = (struct ebm_error){.status = EBM_OK};
    if (before != NULL)
        make_version(before);
    enum ebm_status status = publish_model(file, destination, &version, ret_error);
    cr_assert_eq(status == EBM_OK, version > 0, "%s: %s, version %llu", ret_error->where, ret_error->text,
                 (unsigned long long)version);
    return version;
}

Test(publish, numbers_are_those_that_the_server_reads)
{
    static const struct {
        const char *before;
        uint64_t version;
    } cases[] = {
        {NULL, 1},
        {"7", 8},
        {"0900", 9},              /* a leading zero: no version */
        {"1234567890123456", 10}, /* 16 digits: no version */
        {"12x", 11},
        {"20261231235959", 20261231235960},
        {"999999999999998", 999999999999999},
    };
    struct ebm_error error;
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        uint64_t version = publish_after(cases[i].before, &error);
        cr_assert_eq(version, cases[i].version, "beside %s: version %llu", cases[i].before,
                     (unsigned long long)version);
    }
    cr_assert(has_version("20261231235960"));
}

Test(publish, a_version_that_none_can_follow_is_refused)
{
    struct ebm_error error;
    cr_assert_eq(publish_after("999999999999999", &error), 0);
    cr_assert_eq(error.status, EBM_INVALID);
    cr_assert(strstr(error.text, "none can follow") != NULL, "%s", error.text);
    cr_assert_not(has_version("1"));
    cr_assert_eq(publish_check(destination, &error), EBM_INVALID, "before a long training, too");
}

Test(publish, a_file_system_that_cannot_sync_a_folder_is_fine)
{
    struct ebm_error error;
    folder_errno = EINVAL;
    cr_assert_eq(publish_after(NULL, &error), 1, "%s: %s", error.where, error.text);
    cr_assert(has_version("1"));
}

Test(publish, a_disk_that_fails_is_not)
{
    struct ebm_error error;
    folder_errno = EIO;
    cr_assert_eq(publish_after(NULL, &error), 0);
    cr_assert(strstr(error.text, strerror(EIO)) != NULL, "%s", error.text);
}
