/* test_next.c - words are quoted when a shell would take them apart, programs are found where they lie, longer
 * trainings are proposed when they may help. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trainer/next.h"

Test(next, quotes_what_a_shell_would_take_apart)
{
    static const struct {
        const char *text, *word;
    } cases[] = {{"out/model.safetensors", " out/model.safetensors"},
                 {"training.epochs=40", " training.epochs=40"},
                 {"my runs", " 'my runs'"},
                 {"it's", " 'it'\\''s'"},
                 {"{\"step\": 0.5}", " '{\"step\": 0.5}'"},
                 {"$HOME", " '$HOME'"},
                 {"~", " '~'"},
                 {"", " ''"}};
    struct ebm_buf buf;
    ebm_buf_init(&buf, 4096);
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        ebm_buf_clear(&buf);
        next_put_word(&buf, cases[i].text);
        cr_expect_str_eq(buf.bytes, cases[i].word);
    }
    ebm_buf_done(&buf);
}

static void make_program(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    cr_assert_geq(fd, 0);
    (void)close(fd);
}

Test(next, finds_the_server_of_a_build_and_of_an_install)
{
    static const struct {
        const char *called, *trainer, *server;
    } cases[] = {{"ebm-trainer", "ebm-trainer", "ebm-server"},
                 {"a b/trainer/ebm-trainer", "'a b/trainer/ebm-trainer'", "'a b/server/ebm-server'"},
                 {"bin/ebm-trainer", "bin/ebm-trainer", "bin/ebm-server"},
                 {"alone/ebm-trainer", "alone/ebm-trainer", "ebm-server"}};
    char folder[] = "/tmp/ebm-next-XXXXXX";
    static const char *const folders[] = {"a b", "a b/trainer", "a b/server", "bin", "alone"};
    cr_assert(mkdtemp(folder) != NULL && chdir(folder) == 0);
    for (size_t i = 0; i < EBM_COUNT_OF(folders); i++)
        cr_assert_eq(mkdir(folders[i], 0755), 0);
    make_program("a b/server/ebm-server");
    make_program("bin/ebm-server");
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        next_init(cases[i].called);
        cr_expect_str_eq(next_trainer(), cases[i].trainer);
        cr_expect_str_eq(next_server(), cases[i].server);
    }
    cr_assert_eq(chdir("a b/trainer"), 0);
    next_init("./ebm-trainer");
    cr_expect_str_eq(next_server(), "./../server/ebm-server");
    cr_assert_eq(chdir(folder), 0);
    (void)unlink("a b/server/ebm-server");
    (void)unlink("bin/ebm-server");
    for (size_t i = EBM_COUNT_OF(folders); i-- > 0;)
        (void)rmdir(folders[i]);
    (void)rmdir(folder);
}

/* ---- what is printed ---- */

static const struct args_option options[] = {{.name = "config", .value = "FILE"},
                                             {.name = "max-bad-files", .value = "N"},
                                             {.name = "data", .value = "FILE"},
                                             {.name = "targets", .value = "FILE"},
                                             {.name = "set", .value = "KEY=VALUE", .repeats = true}};
static const struct args_command command = {.name = "train", .options = options, .n_options = 5};

static void expect_printed(const char *text)
{
    (void)fflush(stdout);
    cr_expect_stdout_eq_str(text);
}

Test(next, proposes_a_longer_training_with_what_was_given, .init = cr_redirect_stdout)
{
    static const char *const argv[] = {"--config",           "my config.json", "--set",
                                       "training.epochs=40", "--set",          "data.validation=0.2"};
    struct args args;
    cr_assert_eq(args_parse(&command, EBM_COUNT_OF(argv), argv, &args, NULL), EBM_OK);
    next_train_longer(&args, "out/", 36, 40); /* not among the last tenth */
    next_train_longer(&args, "out/", 0, 40);  /* none */
    next_train_longer(&args, "out/", 37, 40);
    expect_printed("the best epoch, 37 of 40, is among the last ones: a longer training may be better:\n"
                   "  ebm-trainer train --config 'my config.json' --set data.validation=0.2 --set training.epochs=80 "
                   "--output out-80-epochs\n");
}

Test(next, a_resumed_training_is_told_what_to_change, .init = cr_redirect_stdout)
{
    next_train_longer(NULL, "out", 3, 3);
    expect_printed(
        "the best epoch, 3 of 3, is among the last ones: a longer training may be better. A finished run cannot be "
        "resumed: train again with --set training.epochs=6\n");
}

Test(next, commands_after_a_training, .init = cr_redirect_stdout)
{
    next_init("ebm-trainer");
    next_after_training("my runs/model.safetensors", "geyser", false);
    expect_printed("next:\n  ebm-trainer evaluate --data TEST --report report.html "
                   "--model 'my runs/model.safetensors'   # TEST: rows that "
                   "training has not seen\n  ebm-trainer publish 'my runs/model.safetensors' repository/geyser\n"
                   "  ebm-server --model-repository repository\n");
}
