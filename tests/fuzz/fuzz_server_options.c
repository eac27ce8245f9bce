/* fuzz_server_options.c - how a server is told what to do: words of the command line, one a line; an empty line;
 * variables of the environment, one a line; an empty line; the configuration file. Every --config=... names that file.
 * What was accepted is printed as a file, which is read to the same values. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/options.h"
#include "tests/fuzz/fuzz.h"

#define BUF_BYTES (1u << 20)

static char config_word[64], config_variable[64];

static void name_file(struct fuzz_lines *words, struct fuzz_lines *variables, const char *path)
{
    (void)snprintf(config_word, sizeof config_word, "--config=%s", path);
    (void)snprintf(config_variable, sizeof config_variable, "EBM_SERVER_CONFIG=%s", path);
    for (int i = 0; i < words->n; i++)
        if (strncmp(words->at[i], "--config", strlen("--config")) == 0)
            words->at[i] = config_word;
    for (int i = 0; i < variables->n; i++)
        if (strncmp(variables->at[i], config_variable, strlen("EBM_SERVER_CONFIG=")) == 0)
            variables->at[i] = config_variable;
}

static bool is_whole_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 0x80)
        text++;
    return *text == 0;
}

static void print_and_read(const struct options *options)
{
    struct ebm_buf first, second;
    struct options again;
    struct ebm_error error;
    enum options_action action;
    char *words[] = {(char[]){"ebm-server"}, config_word, NULL};
    ebm_buf_init(&first, BUF_BYTES);
    ebm_buf_init(&second, BUF_BYTES);
    EBM_ASSERT(options_print(options, &first) == EBM_OK && options_print_sources(options, &second) == EBM_OK);
    ebm_buf_clear(&second);
    if (is_whole_ascii(first.bytes)) {
        (void)snprintf(config_word, sizeof config_word, "--config=%s", fuzz_file(first.bytes, first.size));
        EBM_ASSERT(options_parse(2, words, NULL, &again, &action, &error) == EBM_OK);
        EBM_ASSERT(options_print(&again, &second) == EBM_OK && strcmp(first.bytes, second.bytes) == 0);
        options_done(&again);
    }
    ebm_buf_done(&first);
    ebm_buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = fuzz_text(bytes, size), *rest = text;
    struct fuzz_lines words, variables;
    struct options options;
    struct ebm_error error = {.status = EBM_OK};
    enum options_action action;
    fuzz_cut_lines(&rest, &words);
    fuzz_cut_lines(&rest, &variables);
    name_file(&words, &variables, fuzz_file(rest, strlen(rest)));
    enum ebm_status status = options_parse(words.n, words.at, (const char *const *)variables.at, &options, &action,
                                           &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK && action == OPTIONS_RUN)
        print_and_read(&options);
    if (status == EBM_OK)
        options_done(&options);
    free(text);
    return 0;
}
