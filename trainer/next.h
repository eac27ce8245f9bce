/* next.h - the commands that usually follow, so written that they can be pasted into a shell where this one ran. */
#ifndef EBM_TRAINER_NEXT_H
#define EBM_TRAINER_NEXT_H

#include "core/buf.h"
#include "trainer/args.h"

/* How this program was called, argv[0]; borrow, static or argv. Before anything below; main thread. */
void next_init(const char *called);

const char *next_called(void); /* what next_init was given */
/* This program and the server beside it, each as a word of a shell; their bare names when they lie on PATH. Borrow:
 * until next_init. */
const char *next_trainer(void);
const char *next_server(void);

/* A space and a text as one word of a shell, quoted when it has to be. */
void next_put_word(struct ebm_buf *buf, const char *text);

/* The command that goes on with the unfinished run in `output`. */
void next_put_resume(struct ebm_buf *buf, const char *output);

/* On standard output, after a model file was written: evaluate it, and unless it was published, publish it as `name`
 * (NULL: none that fits) and serve it. */
void next_after_training(const char *model, const char *name, bool was_published);

/* On standard output, when the best epoch is among the last ones of a training that was not cut short: says so, with
 * the command that trains longer into a folder beside `output`. args: of that training; NULL for one that was resumed,
 * which knows its configuration and not its file. best_epoch 0: none. */
void next_train_longer(const struct args *args, const char *output, uint32_t best_epoch, uint32_t epochs);

#endif
