/* cli_json.h - numbers and texts as JSON on standard output. */
#ifndef EBM_CLIENTS_CLI_JSON_H
#define EBM_CLIENTS_CLI_JSON_H

#include "clients/ebm_client.h"

/* The shortest decimal of up to 17 digits that reads back as `value`; `missing` when it is not finite. */
void cli_json_number(double value, const char *missing);
void cli_json_text(const char *text); /* UTF-8, in quotes */

/* ,"name":[[1,2],null] or without dimensions that are 1 deep less; nothing for NULL. width 0: plain numbers. */
void cli_json_numbers(const char *name, const double *values, size_t n, size_t width);
void cli_json_value(const char *name, const double *value);
/* "name":["a","b"] */
void cli_json_texts(const char *name, const char *const *texts, size_t n);

/* A row of an answer as docs/API.md has it. */
void cli_json_row(const struct ebm_client_answer *answer, size_t row);
/* {"model":...,"predictions":[ */
void cli_json_head(const struct ebm_client_answer *answer);

#endif
