/* evaluate.h - the command `evaluate`: how well a model predicts known rows, or a known density. */
#ifndef EBM_TRAINER_EVALUATE_H
#define EBM_TRAINER_EVALUATE_H

#include "core/buf.h"
#include "trainer/args.h"
#include "trainer/figures.h"
#include "trainer/surface.h"

/* Everything that an evaluation of rows found; borrows all but the figures' own numbers. */
struct evaluation {
    const struct args *args; /* what was asked */
    const char *model_path, *data_path;
    const struct ebm_config *config;
    const struct dataset *data; /* the rows, in their order */
    const struct score_spec *spec;
    const struct score_rows *rows; /* per row */
    const struct figures *figures;
    const struct surface *surface; /* one input, one target; else NULL */
};

/* Rows at most so many draws each; 0: the answers rest on none. */
uint32_t evaluation_draws(const struct evaluation *e);
/* The estimator's word. Static. */
const char *evaluation_estimator(const struct evaluation *e);
/* What may be done about the rows that are not reliable: a sentence. Static; NULL: all are. */
const char *evaluation_hint(const struct evaluation *e);
/* A target's name as text that is valid UTF-8 without control characters, at most EVALUATION_NAME_BYTES with its 0. */
#define EVALUATION_NAME_BYTES 132u
const char *evaluation_name(const struct evaluation *e, uint32_t d, char *space);

/* For a terminal. */
enum ebm_status evaluate_tell(const struct evaluation *e, struct ebm_buf *text);
/* Everything, as docs/evaluation.md describes it. */
enum ebm_status evaluate_json(const struct evaluation *e, struct ebm_buf *json);

enum ebm_status evaluate_command(const struct args *args, struct ebm_error *reterr);

#endif
