/* next.c - this program as it was called, the server where a build or an install puts it, words quoted for a shell.
 *
 *   called as   build/trainer/ebm-trainer      -> build/server/ebm-server      (a build folder)
 *               /usr/local/bin/ebm-trainer     -> /usr/local/bin/ebm-server    (an install)
 *               ebm-trainer                    -> ebm-server
 *
 * Paths are given as the user gave them, so they hold where the user stands. */
#include "trainer/next.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/files.h"

#define WORD_BYTES 8192u
#define COMMAND_BYTES 65536u
#define LAST_SHARE 10u /* the last ones are a tenth of the epochs */
#define LONGER 2u      /* times as many */

static struct {
    const char *called;
    char trainer[WORD_BYTES], server[WORD_BYTES];
} words = {"ebm-trainer", "ebm-trainer", "ebm-server"}; /* main thread, before others start */

/* ---- words ---- */

static bool needs_quotes(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+=:,@%";
    return text[0] == 0 || text[strspn(text, plain)] != 0;
}

static void put_quoted(struct ebm_buf *buf, const char *text)
{
    if (!needs_quotes(text)) {
        (void)ebm_buf_text(buf, text);
        return;
    }
    (void)ebm_buf_text(buf, "'");
    for (; *text != 0; text++)
        (void)ebm_buf_append(buf, *text == '\'' ? "'\\''" : text, *text == '\'' ? 4 : 1);
    (void)ebm_buf_text(buf, "'");
}

void next_put_word(struct ebm_buf *buf, const char *text)
{
    (void)ebm_buf_text(buf, " ");
    put_quoted(buf, text);
}

/* Stays as it is when there is no room. */
static void set_word(char word[WORD_BYTES], const char *text)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, WORD_BYTES - 1);
    put_quoted(&buf, text);
    if (buf.status == EBM_OK)
        memcpy(word, buf.bytes, buf.size + 1);
}

/* ---- programs ---- */

static bool try_server(const char *folder, const char *name)
{
    EBM_AUTO(ebm_freep) char *path = folder != NULL ? files_join(folder, name) : NULL;
    if (path == NULL || access(path, X_OK) != 0)
        return false;
    set_word(words.server, path);
    return true;
}

void next_init(const char *called)
{
    words.called = called;
    set_word(words.trainer, called);
    set_word(words.server, "ebm-server");
    if (strchr(called, '/') == NULL)
        return;
    EBM_AUTO(ebm_freep) char *folder = files_folder(called);
    EBM_AUTO(ebm_freep) char *above = folder != NULL ? files_folder(folder) : NULL;
    if (!try_server(folder, "ebm-server") && !try_server(above, "server/ebm-server"))
        (void)try_server(folder, "../server/ebm-server");
}

const char *next_called(void)
{
    return words.called;
}

const char *next_trainer(void)
{
    return words.trainer;
}

const char *next_server(void)
{
    return words.server;
}

/* ---- commands ---- */

static void print(struct ebm_buf *buf)
{
    if (buf->status == EBM_OK)
        (void)fputs(buf->bytes, stdout);
}

void next_after_training(const char *model, const char *name, bool was_published)
{
    EBM_AUTO(ebm_freep) char *place = files_join("repository", name != NULL ? name : "NAME");
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, COMMAND_BYTES);
    if (place == NULL)
        return;
    (void)ebm_buf_printf(&buf, "next:\n  %s evaluate --data TEST --report report.html --model", words.trainer);
    next_put_word(&buf, model);
    (void)ebm_buf_text(&buf, "   # TEST: rows that training has not seen\n");
    if (!was_published) {
        (void)ebm_buf_printf(&buf, "  %s publish", words.trainer);
        next_put_word(&buf, model);
        next_put_word(&buf, place);
        (void)ebm_buf_printf(&buf, "\n  %s --model-repository repository\n", words.server);
    }
    print(&buf);
}

/* What the run was given, but for its length and its place. */
static void put_given(struct ebm_buf *buf, const struct args *args)
{
    static const char *const names[] = {"config", "data", "targets", "max-bad-files"};
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++)
        if (args_get(args, names[i]) != NULL) {
            (void)ebm_buf_printf(buf, " --%s", names[i]);
            next_put_word(buf, args_get(args, names[i]));
        }
    for (uint32_t i = 0; i < args->n_repeats; i++)
        if (strncmp(args->repeats[i], "training.epochs=", strlen("training.epochs=")) != 0) {
            (void)ebm_buf_text(buf, " --set");
            next_put_word(buf, args->repeats[i]);
        }
}

/* DIR-400-epochs, beside DIR. */
static void put_longer_output(struct ebm_buf *buf, const char *output, uint64_t epochs)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf place;
    size_t length = strlen(output);
    while (length > 1 && output[length - 1] == '/')
        length--;
    ebm_buf_init(&place, WORD_BYTES);
    (void)ebm_buf_append(&place, output, length);
    if (ebm_buf_printf(&place, "-%" PRIu64 "-epochs", epochs) == EBM_OK) {
        (void)ebm_buf_text(buf, " --output");
        next_put_word(buf, place.bytes);
    }
}

void next_train_longer(const struct args *args, const char *output, uint32_t best_epoch, uint32_t epochs)
{
    uint32_t last = epochs / LAST_SHARE > 0 ? epochs / LAST_SHARE : 1;
    uint64_t longer = (uint64_t)epochs * LONGER;
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, COMMAND_BYTES);
    if (best_epoch == 0 || best_epoch + last <= epochs)
        return;
    (void)ebm_buf_printf(
        &buf, "the best epoch, %" PRIu32 " of %" PRIu32 ", is among the last ones: a longer training may be better",
        best_epoch, epochs);
    if (args != NULL) {
        (void)ebm_buf_printf(&buf, ":\n  %s train", words.trainer);
        put_given(&buf, args);
        (void)ebm_buf_printf(&buf, " --set training.epochs=%" PRIu64, longer);
        put_longer_output(&buf, output, longer);
    } else {
        (void)ebm_buf_printf(
            &buf, ". A finished run cannot be resumed: train again with --set training.epochs=%" PRIu64, longer);
    }
    (void)ebm_buf_text(&buf, "\n");
    print(&buf);
}

void next_put_resume(struct ebm_buf *buf, const char *output)
{
    (void)ebm_buf_printf(buf, "%s train --resume", words.trainer);
    next_put_word(buf, output);
}
