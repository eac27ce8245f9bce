/* replay.c - runs a target on the files of its corpus, for builds without libFuzzer: replay_NAME [FOLDER | FILE] ...
 * A failed check aborts; the file that was read last is named before. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define FILE_BYTES (1u << 20)

static int n_files;

static void replay_file(const char *path)
{
    static uint8_t space[FILE_BYTES];
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(space, 1, sizeof space, file) : 0;
    if (!file || size == sizeof space) {
        (void)fprintf(stderr, "%s: cannot be read, or larger than %u bytes\n", path, FILE_BYTES);
        exit(2);
    }
    (void)fclose(file);
    (void)printf("%s\n", path);
    (void)fflush(stdout);
    uint8_t *bytes = malloc(size ? size : 1); /* of its own: a read beyond the end is seen */
    EBM_ASSERT(bytes != NULL);
    memcpy(bytes, space, size);
    (void)LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    n_files++;
}

static void replay_folder(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char *file;
        EBM_ASSERT(asprintf(&file, "%s/%s", path, entries[i]->d_name) > 0);
        if (entries[i]->d_name[0] != '.')
            replay_file(file);
        free(file);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

int main(int argc, char **argv)
{
    (void)LLVMFuzzerInitialize(&argc, &argv);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat about;
        bool is_folder = stat(argv[i], &about) == 0 && S_ISDIR(about.st_mode);
        if (is_folder)
            replay_folder(argv[i]);
        else
            replay_file(argv[i]);
    }
    (void)printf("%d inputs\n", n_files);
    return n_files > 0 ? 0 : 1;
}
