/* test_options.c - defaults, both spellings, refusals, help. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "server/options.h"

#define ARGUMENTS(...) ((const char *const[]){"ebm-server", __VA_ARGS__})
#define PARSE(...) parse(EBM_COUNT_OF(ARGUMENTS(__VA_ARGS__)), ARGUMENTS(__VA_ARGS__))

static struct options options;
static enum options_action action;
static struct ebm_error error;
static const char *const *environment;

static enum ebm_status parse(size_t argc, const char *const *argv)
{
    memset(&options, 0, sizeof options);
    return options_parse((int)argc, (char *const *)argv, environment, &options, &action, &error);
}

Test(options, defaults)
{
    cr_assert_eq(PARSE("--model-repository", "models"), EBM_OK, "%s", error.text);
    cr_assert_eq(action, OPTIONS_RUN);
    cr_assert_str_eq(options.model_repository, "models");
    cr_assert_str_eq(options.host, "127.0.0.1");
    cr_assert_eq(options.port, 8080);
    cr_assert_eq(options.workers, 0);
    cr_assert_eq(options.max_batch_size, 64);
    cr_assert_eq(options.max_queue_rows, 4096);
    cr_assert_eq(options.timeout_ms, 30000);
    cr_assert_eq(options.max_body_bytes, 4 << 20);
    cr_assert_eq(options.max_samples, 65536);
    cr_assert_eq(options.max_steps, 1000);
    cr_assert_eq(options.body_timeout_ms, 30000);
    cr_assert_eq(options.max_inflight_bytes, 256 << 20);
    cr_assert_eq(options.max_connections_per_address, 0);
    cr_assert_eq(options.pre_stop_ms, 0);
    cr_assert_eq(options.max_queue_delay_microseconds, 0);
    cr_assert_str_eq(options.log_level, "info");
    cr_assert_str_eq(options.device, "cpu");
}

Test(options, both_spellings)
{
    cr_assert_eq(
        PARSE("--model-repository=a=b", "--port", "0", "--max-queue-delay-microseconds=500", "--log-level", "debug"),
        EBM_OK, "%s", error.text);
    cr_assert_str_eq(options.model_repository, "a=b");
    cr_assert_eq(options.port, 0);
    cr_assert_eq(options.max_queue_delay_microseconds, 500);
    cr_assert_str_eq(options.log_level, "debug");
}

static void expect_refusal(enum ebm_status status, const char *where, const char *fragment)
{
    cr_expect_eq(status, EBM_INVALID, "%s %s: accepted", where, fragment);
    cr_expect_str_eq(error.where, where, "where '%s', expected '%s'", error.where, where);
    cr_expect_not_null(strstr(error.text, fragment), "'%s' lacks '%s'", error.text, fragment);
    cr_expect_null(options.model_repository, "the output was touched");
}

Test(options, refusals_say_where_and_what)
{
    expect_refusal(PARSE("--port", "1"), "--model-repository", "missing");
    expect_refusal(PARSE("--check-config"), "--model-repository", "EBM_SERVER_MODEL_REPOSITORY or a file of --config");
    expect_refusal(PARSE("--confg", "a"), "--confg", "did you mean 'config'?");
    expect_refusal(PARSE("--model-repository"), "--model-repository", "expected a value");
    expect_refusal(PARSE("--model-repository", ""), "--model-repository", "expected DIR");
    expect_refusal(PARSE("--model-repository="), "--model-repository", "expected DIR");
    expect_refusal(PARSE("--model-repository", "a", "--port", "65536"), "--port",
                   "expected a whole number from 0 to 65535, got '65536'; leave it out for the default, 8080");
    expect_refusal(PARSE("--model-repository", "a", "--port", "-1"), "--port", "got '-1'");
    expect_refusal(PARSE("--model-repository", "a", "--port", "80x"), "--port", "got '80x'");
    expect_refusal(PARSE("--model-repository", "a", "--port="), "--port", "got nothing; leave it out");
    expect_refusal(PARSE("--model-repository", "a", "--port", "99999999999999999999999"), "--port", "got '9999");
    expect_refusal(PARSE("--model-repository", "a", "--max-batch-size", "0"), "--max-batch-size", "from 1 to 1024");
    expect_refusal(PARSE("--model-repository", "a", "--max_batch_size", "1"), "--max_batch_size", "unknown option");
    expect_refusal(PARSE("--model-repository", "a", "--prot", "1"), "--prot",
                   "unknown option, did you mean 'port'?; --help");
    expect_refusal(PARSE("--model-repository", "a", "models"), "models", "unknown option");
    expect_refusal(PARSE("--model-repository", "a", "--"), "--", "unknown option");
    expect_refusal(PARSE("--model-repository", "a", "--port", "1", "--port", "2"), "--port", "given twice");
    expect_refusal(PARSE("--model-repository", "a", "--log-level", "loud"), "--log-level", "error|warning|info|debug");
    expect_refusal(PARSE("--model-repository", "a", "--log-level", "inf"), "--log-level", "got 'inf'");
    expect_refusal(PARSE("--model-repository", "a", "--precision", "fp16"), "--precision",
                   "expected one of tf32|fp32|bf16");
}

Test(options, help_and_version_need_nothing_else)
{
    cr_assert_eq(PARSE("--help"), EBM_OK);
    cr_assert_eq(action, OPTIONS_SHOW_HELP);
    cr_assert_eq(PARSE("-h"), EBM_OK);
    cr_assert_eq(action, OPTIONS_SHOW_HELP);
    cr_assert_eq(PARSE("--version"), EBM_OK);
    cr_assert_eq(action, OPTIONS_SHOW_VERSION);
}

static bool has_flag(const char *help, const char *member)
{
    char flag[64] = "--";
    for (size_t i = 0; member[i] && i < sizeof flag - 4; i++) {
        flag[i + 2] = member[i] == '_' ? '-' : member[i];
        flag[i + 3] = ' ';
    }
    return strstr(help, flag) != NULL;
}

Test(options, help_names_every_option_with_default_and_bounds)
{
    struct ebm_buf help;
    ebm_buf_init(&help, 65536);
    cr_assert_eq(options_help(&help), EBM_OK);
#define HAS_FLAG(member, ...) cr_expect(has_flag(help.bytes, #member), "%s is missing", #member);
    OPTIONS_MAP(HAS_FLAG, HAS_FLAG, HAS_FLAG)
    cr_expect_not_null(strstr(help.bytes, "[8080; 0 to 65535]"), "%s", help.bytes);
    cr_expect_not_null(strstr(help.bytes, "--log-level error|warning|info|debug"), "%s", help.bytes);
    ebm_buf_done(&help);
}

/* ---- where values come from ---- */

static const char *write_file(const char *text)
{
    static char path[] = "/tmp/ebm-options-XXXXXX";
    static bool is_open;
    if (!is_open) {
        int fd = mkstemp(path);
        cr_assert(fd >= 0);
        (void)close(fd);
        is_open = true;
    }
    FILE *file = fopen(path, "we");
    (void)fputs(text, file);
    (void)fclose(file);
    return path;
}

Test(options, a_flag_beats_the_environment_beats_the_file_beats_the_default)
{
    const char *path = write_file(
        "{\"model_repository\": \"of-file\", \"port\": 1, \"workers\": 1, \"max_batch_size\": 1}");
    const char *const variables[] = {"EBM_SERVER_PORT=2", "EBM_SERVER_WORKERS=2", "EBM_SERVER_LOG_LEVEL=", "OTHER=1",
                                     NULL};
    environment = variables;
    cr_assert_eq(PARSE("--config", path, "--port", "3"), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(options.port, 3);
    cr_assert_eq(options.workers, 2);
    cr_assert_eq(options.max_batch_size, 1);
    cr_assert_eq(options.timeout_ms, 30000);
    cr_assert_str_eq(options.model_repository, "of-file");
    cr_assert_str_eq(options.log_level, "info", "an empty variable is none");
    cr_assert_eq(options.sources[OPTIONS_AT_port], OPTIONS_FLAG);
    cr_assert_eq(options.sources[OPTIONS_AT_workers], OPTIONS_ENVIRONMENT);
    cr_assert_eq(options.sources[OPTIONS_AT_max_batch_size], OPTIONS_FILE);
    cr_assert_eq(options.sources[OPTIONS_AT_timeout_ms], OPTIONS_DEFAULT);
    options_done(&options);
    char named[64];
    (void)snprintf(named, sizeof named, "EBM_SERVER_CONFIG=%s", path);
    const char *const by_name[] = {named, NULL};
    environment = by_name;
    cr_assert_eq(PARSE("--port", "3"), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(options.max_batch_size, 1);
    options_done(&options);
    environment = NULL;
    (void)unlink(path);
}

Test(options, what_a_file_may_not_hold)
{
    static const struct {
        const char *text, *key, *fragment;
    } cases[] = {
        {"{\"prot\": 1}", "prot", "unknown option, did you mean 'port'?"},
        {"{\"config\": \"a\"}", "config", "unknown option; docs/OPTIONS.md and --help"},
        {"{\"port\": 70000}", "port", "from 0 to 65535, got '70000'; remove the key for the default, 8080"},
        {"{\"port\": \"80\"}", "port",
         "expected a whole number from 0 to 65535, got \"80\", a text: write a number without quotes; remove the key"},
        {"{\"port\": -1}", "port", "expected a whole number from 0 to 65535, got '-1'"},
        {"{\"port\": 1.5}", "port", "got 1.5; remove"},
        {"{\"port\": null}", "port", "got null; remove"},
        {"{\"port\": [[[1]]]}", "port", "got [[[1]]]; remove"},
        {"{\"model_repository\": true}", "model_repository", "expected DIR, got true without quotes"},
        {"{\"log_level\": \"loud\"}", "log_level", "expected one of error|warning|info|debug, got 'loud'"},
        {"{\"host\": 1}", "host", "expected ADDRESS, got 1 without quotes; remove the key for the default, 127.0.0.1"},
        {"{\"host\": \"\"}", "host", "got nothing"},
        {"{\"port\": 1, \"port\": 2}", NULL, "not valid JSON: duplicate"},
        {"{\"port\": 1", NULL, "line 1, column"},
        {"{\"port\": 1,}", NULL, "; --print-config shows a valid file"},
        {"[]", NULL, "expected an object"},
        {"", NULL, "not valid JSON"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        const char *path = write_file(cases[i].text);
        cr_expect_eq(PARSE("--model-repository", "m", "--config", path), EBM_INVALID, "%s", cases[i].text);
        cr_expect(strncmp(error.where, path, strlen(path)) == 0, "%s: where '%s'", cases[i].text, error.where);
        cr_expect(!cases[i].key || strstr(error.where, cases[i].key), "%s: where '%s'", cases[i].text, error.where);
        cr_expect_not_null(strstr(error.text, cases[i].fragment), "%s: '%s'", cases[i].text, error.text);
        (void)unlink(path);
    }
    cr_expect_eq(PARSE("--model-repository", "m", "--config", "/nowhere/at/all"), EBM_INVALID);
    cr_expect_not_null(strstr(error.text, "No such file"), "%s", error.text);
    cr_expect_eq(PARSE("--model-repository", "m", "--config", "/"), EBM_INVALID);
    cr_expect_eq(PARSE("--config", "a", "--config", "b"), EBM_INVALID);
    cr_expect_eq(PARSE("--config"), EBM_INVALID);
}

Test(options, a_file_has_a_limit_and_a_long_path_shows_its_end)
{
    char *text = malloc(LIMIT_OPTIONS_FILE_BYTES + 2), path[512] = "";
    cr_assert_not_null(text);
    memset(text, ' ', LIMIT_OPTIONS_FILE_BYTES + 1);
    text[LIMIT_OPTIONS_FILE_BYTES + 1] = 0;
    memcpy(text, "{}", 2);
    const char *file = write_file(text);
    cr_expect_eq(PARSE("--model-repository", "m", "--config", file), EBM_INVALID);
    cr_expect_not_null(strstr(error.text, "at most 65536 bytes"), "%s", error.text);
    (void)unlink(file);
    text[LIMIT_OPTIONS_FILE_BYTES] = 0;
    file = write_file(text);
    cr_expect_eq(PARSE("--model-repository", "m", "--config", file), EBM_OK, "%s", error.text);
    options_done(&options);
    (void)unlink(file);
    free(text);
    file = write_file("{\"prot\": 1}");
    while (strlen(path) < 200)
        (void)snprintf(path + strlen(path), sizeof path - strlen(path), "/tmp/..");
    (void)snprintf(path + strlen(path), sizeof path - strlen(path), "%s", file);
    cr_expect_eq(PARSE("--model-repository", "m", "--config", path), EBM_INVALID);
    cr_expect(strstr(error.where, strrchr(file, '/')) && strstr(error.where, ": prot"), "%s", error.where);
    (void)unlink(file);
}

static char warnings[1024];

static void keep_line(void *user, enum ebm_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)snprintf(warnings + strlen(warnings), sizeof warnings - strlen(warnings), "%s\n", line);
}

Test(options, variables_are_checked_as_flags_are)
{
    const char *const bad[] = {"EBM_SERVER_PORT=x", NULL};
    environment = bad;
    cr_assert_eq(PARSE("--model-repository", "m"), EBM_INVALID);
    cr_assert_str_eq(error.where, "EBM_SERVER_PORT");
    cr_assert_not_null(strstr(error.text, "got 'x'; unset the variable for the default, 8080"), "%s", error.text);
    const char *const links[] = {"EBM_SERVER_PORT=tcp://10.0.0.1:80",
                                 "EBM_SERVER_SERVICE_HOST=10.0.0.1",
                                 "EBM_SERVER_PORT_80_TCP_ADDR=10.0.0.1",
                                 "EBM_SERVER_CANARY_PORT=tcp://10.0.0.1:80",
                                 "EBM_SERVER_CANARY_SERVICE_PORT_HTTP=80",
                                 "EBM_SERVER_PROT=1",
                                 "EBM_SERVER_XYZZY=1",
                                 NULL};
    environment = links;
    ebm_log_set(keep_line, NULL);
    cr_assert_eq(PARSE("--model-repository", "m"), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(options.port, 8080);
    options_warn(environment);
    cr_expect_str_eq(warnings,
                     "a variable is no option, and is passed over, did you mean 'port'? name=EBM_SERVER_PROT\n"
                     "a variable is no option, and is passed over: name=EBM_SERVER_XYZZY\n");
    ebm_log_set(NULL, NULL);
    environment = NULL;
}

Test(options, a_file_can_be_started_without_a_repository)
{
    struct ebm_buf text;
    ebm_buf_init(&text, 65536);
    cr_assert_eq(PARSE("--print-config"), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(options_print(&options, &text), EBM_OK);
    cr_expect_null(strstr(text.bytes, "model_repository"), "%s", text.bytes);
    ebm_buf_done(&text);
}

Test(options, what_is_printed_can_be_read_again)
{
    struct ebm_buf text, sources;
    ebm_buf_init(&text, 65536);
    ebm_buf_init(&sources, 65536);
    cr_assert_eq(PARSE("--model-repository", "a \"b\"", "--port", "7", "--print-config"), EBM_OK);
    cr_assert_eq(action, OPTIONS_PRINT_CONFIG);
    cr_assert_eq(options_print(&options, &text), EBM_OK);
    cr_assert_eq(options_print_sources(&options, &sources), EBM_OK);
    cr_assert_str_eq(sources.bytes, "model_repository = \"a \\\"b\\\"\"  (flag)\nport = 7  (flag)\n", "%s",
                     sources.bytes);
    const char *path = write_file(text.bytes);
    cr_assert_eq(PARSE("--config", path), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_str_eq(options.model_repository, "a \"b\"");
    cr_assert_eq(options.port, 7);
    options_done(&options);
    ebm_buf_done(&text);
    ebm_buf_done(&sources);
    (void)unlink(path);
}
