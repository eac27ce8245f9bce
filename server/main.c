/* main.c - ebm-server: reads the options, runs the server, tells the shell how it went.
 *
 * Exit status: 0 after a graceful stop, 1 when the server could not start, 2 for options that make no sense. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/version.h"
#include "server/api_keys.h"
#include "server/log_json.h"
#include "server/log_output.h"
#include "server/selftest.h"
#include "server/server.h"

#define HELP_BYTES 65536u
#define RETURNED_BYTES (64 << 10) /* blocks from this size on go back to the system when they are freed */
#define HEAPS 2                   /* of the allocator, for all threads */

/* What `status` says of the text in buf: exit status. */
static int show(FILE *stream, struct ebm_buf *text, enum ebm_status status)
{
    if (status == EBM_OK)
        (void)fwrite(text->bytes, 1, text->size, stream);
    ebm_buf_done(text);
    return status == EBM_OK ? 0 : 1;
}

static int show_help(enum ebm_status write(struct ebm_buf *buf))
{
    struct ebm_buf text;
    ebm_buf_init(&text, HELP_BYTES);
    return show(stdout, &text, write(&text));
}

static int print_config(const struct options *options)
{
    struct ebm_buf text;
    ebm_buf_init(&text, HELP_BYTES);
    int failed = show(stdout, &text, options_print(options, &text));
    ebm_buf_init(&text, HELP_BYTES);
    (void)fflush(stdout);
    return show(stderr, &text, options_print_sources(options, &text)) || failed;
}

static enum ebm_log_level level_of(const char *word)
{
    enum ebm_log_level level = EBM_LOG_ERROR;
    while (level < EBM_LOG_DEBUG && strcmp(ebm_log_level_word(level), word) != 0)
        level++;
    return level;
}

/* Bodies and answers of a few large requests must not stay with us for ever. glibc raises its own threshold to the
 * largest block ever freed, and keeps a heap a thread, each as large as its worst moment; said explicitly, it does
 * neither. */
static void bound_heaps(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, RETURNED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, 2 * RETURNED_BYTES);
    (void)mallopt(M_ARENA_MAX, HEAPS);
}

static int run(const struct options *options, enum ebm_status serve(const struct options *, struct ebm_error *))
{
    struct ebm_error error;
    if (serve(options, &error) == EBM_OK)
        return 0;
    ebm_log_error("cannot serve: %s%s%s", error.where, error.where[0] ? ": " : "", error.text);
    return 1;
}

/* Its lines of models are what was asked for, so no quieter level leaves them out. */
static int check_config(const struct options *options)
{
    ebm_log_set_level(EBM_LOG_INFO);
    return run(options, server_check);
}

static int act(const struct options *options, enum options_action action)
{
    switch (action) {
    case OPTIONS_SHOW_HELP:
        return show_help(options_help);
    case OPTIONS_SHOW_MARKDOWN:
        return show_help(options_markdown);
    case OPTIONS_SHOW_VERSION:
        (void)puts("ebm-server " EBM_VERSION);
        return 0;
    case OPTIONS_PRINT_CONFIG:
        return print_config(options);
    case OPTIONS_CHECK_CONFIG:
        return check_config(options);
    case OPTIONS_PRINT_AND_CHECK_CONFIG: {
        int failed = print_config(options);
        return check_config(options) || failed;
    }
    case OPTIONS_RUN:
        ebm_log_set_level(level_of(options->log_level));
        log_output_never_wait();
        return run(options, server_run);
    }
    return 1;
}

/* --make-key ROLES NAME: the line for the file goes to stdout, so that >> can add it, and the key, which nobody can
 * read out of it, to stderr. */
static int make_key(int argc, char **argv)
{
    char key[API_KEYS_KEY_BYTES], line[API_KEYS_LINE_BYTES];
    struct ebm_error error;
    (void)ebm_error_set(&error, EBM_INVALID, "--make-key", "expected ROLE[,ROLE] NAME after it, and nothing else");
    if (argc != 4 || api_keys_make(argv[2], argv[3], key, line, &error) != EBM_OK) {
        (void)fprintf(stderr, "ebm-server: %s: %s\n", error.where, error.text);
        return 2;
    }
    (void)printf("%s\n", line);
    (void)fflush(stdout);
    (void)fprintf(stderr, "the key, shown this once: %s\n", key);
    return 0;
}

/* --gpu-selftest [DEVICE [PRECISION [PLUGIN [NETWORK ROWS]]]] */
static int gpu_selftest(int argc, char **argv)
{
    struct ebm_device_choice choice;
    struct ebm_error error;
    const char *device = argc > 2 ? argv[2] : "cuda", *precision = argc > 3 ? argv[3] : "tf32";
    enum ebm_status status = ebm_device_choose(device, precision, &choice, &error);
    if (status == EBM_OK && (argc == 6 || argc > 7 || !choice.by_plugin))
        status = ebm_error_set(
            &error, EBM_INVALID, "--gpu-selftest",
            "expected [cuda|cuda:N,...|cuda:all [tf32|fp32|bf16 [FILE of the plug-in [T|V|C ROWS]]]] after it");
    choice.file = argc > 4 ? argv[4] : NULL;
    if (status == EBM_OK)
        status = argc == 7 ? selftest_time(&choice, argv[5], argv[6], &error) : selftest_run(&choice, &error);
    if (status == EBM_OK)
        return 0;
    (void)fprintf(stderr, "ebm-server: %s: %s\n", error.where, error.text);
    return status == EBM_INVALID ? 2 : 1;
}

static bool reads_values(enum options_action action)
{
    return action != OPTIONS_SHOW_HELP && action != OPTIONS_SHOW_MARKDOWN && action != OPTIONS_SHOW_VERSION;
}

int main(int argc, char **argv)
{
    struct options options;
    enum options_action action;
    struct ebm_error error;
    bound_heaps();
    (void)signal(SIGPIPE, SIG_IGN); /* a client that left must not end us */
    if (argc > 1 && strcmp(argv[1], "--make-key") == 0)
        return make_key(argc, argv);
    if (argc > 1 && strcmp(argv[1], "--gpu-selftest") == 0)
        return gpu_selftest(argc, argv);
    if (options_parse(argc, argv, (const char *const *)environ, &options, &action, &error) != EBM_OK) {
        (void)fprintf(stderr, "ebm-server: %s: %s\n", error.where, error.text);
        return 2;
    }
    if (strcmp(options.log_format, "json") == 0)
        log_json_start();
    if (reads_values(action))
        options_warn((const char *const *)environ);
    int exit_status = act(&options, action);
    options_done(&options);
    return exit_status;
}
