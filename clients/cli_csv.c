/* cli_csv.c - line by line: getline -> fields -> the chosen ones become numbers.
 *
 * Fields may be quoted, lines may end in CRLF, an UTF-8 mark at the start and empty lines are skipped. A field that is
 * no finite number is an error that names line and column: a model's input has no gaps. Memory is one line, whatever
 * the file's size; a line has at most LINE_BYTES. */
#include "clients/cli_csv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli_args.h"
#include "clients/client_http.h"

#define LINE_BYTES (4u << 20)

struct cli_csv {
    FILE *file;
    char *path, *line, **fields, **names; /* names and fields (n_columns); fields point into line */
    size_t capacity, n_columns, n_chosen, *chosen;
    uint64_t number; /* of the line */
};

static enum ebm_client_status at_line(const struct cli_csv *csv, struct ebm_client_error *reterr, const char *text)
{
    char where[128];
    (void)snprintf(where, sizeof where, "%.90s, line %llu", csv->path, (unsigned long long)csv->number);
    return client_fail(reterr, EBM_CLIENT_INVALID, where, "%s", text);
}

static enum ebm_client_status no_memory(struct ebm_client_error *reterr)
{
    return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "data", "no memory");
}

/* The next line that is not empty; *ret_end at the end of the file. */
static enum ebm_client_status next_line(struct cli_csv *csv, bool *ret_end, struct ebm_client_error *reterr)
{
    ssize_t n;
    *ret_end = false;
    do {
        n = getline(&csv->line, &csv->capacity, csv->file);
        csv->number++;
        if (n < 0 && !feof(csv->file))
            return at_line(csv, reterr, "the file cannot be read");
        if (n < 0) {
            *ret_end = true;
            return EBM_CLIENT_OK;
        }
        if (n > (ssize_t)LINE_BYTES)
            return at_line(csv, reterr, "the line is longer than 4 MiB");
        if (strlen(csv->line) != (size_t)n)
            return at_line(csv, reterr, "a zero byte: this is not a text file");
        csv->line[strcspn(csv->line, "\r\n")] = '\0';
    } while (csv->line[0] == '\0');
    return EBM_CLIENT_OK;
}

/* Ends the field at `from` with 0, unquoted; returns what follows its comma, NULL behind the last one. */
static char *cut_field(char *from)
{
    char *to = from;
    if (*from != '"') {
        char *comma = strchr(from, ',');
        if (comma)
            *comma = '\0';
        return comma ? comma + 1 : NULL;
    }
    for (from++; *from && !(from[0] == '"' && from[1] != '"'); from++) {
        if (*from == '"')
            from++;
        *to++ = *from;
    }
    if (*from == '"')
        from++;
    bool is_last = *from != ',';
    *to = '\0';
    return is_last ? NULL : from + 1;
}

/* Cuts the line into fields, of which the first n_columns are kept; returns how many there are. */
static size_t split(struct cli_csv *csv)
{
    size_t n = 0;
    for (char *rest = csv->line; rest; n++) {
        char *field = rest;
        rest = cut_field(field);
        if (n < csv->n_columns)
            csv->fields[n] = field;
    }
    return n;
}

static enum ebm_client_status read_header(struct cli_csv *csv, struct ebm_client_error *reterr)
{
    bool is_end;
    double number;
    enum ebm_client_status status = next_line(csv, &is_end, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    if (is_end)
        return at_line(csv, reterr, "empty, expected a line of column names and a line a row");
    if (strncmp(csv->line, "\xef\xbb\xbf", 3) == 0)
        memmove(csv->line, csv->line + 3, strlen(csv->line + 3) + 1);
    csv->n_columns = 1;
    for (const char *c = csv->line; *c; c++)
        csv->n_columns += *c == ','; /* at least as many as there are */
    csv->fields = calloc(csv->n_columns, sizeof *csv->fields);
    csv->names = calloc(csv->n_columns, sizeof *csv->names);
    if (!csv->fields || !csv->names)
        return no_memory(reterr);
    csv->n_columns = split(csv);
    for (size_t i = 0; i < csv->n_columns; i++) {
        if (cli_number(csv->fields[i], &number))
            return at_line(csv, reterr, "numbers, expected the names of the columns");
        if (!(csv->names[i] = strdup(csv->fields[i])))
            return no_memory(reterr);
    }
    return EBM_CLIENT_OK;
}

static enum ebm_client_status choose(struct cli_csv *csv, const char *const *names, size_t n,
                                     struct ebm_client_error *reterr)
{
    char text[256];
    csv->n_chosen = n;
    if (!(csv->chosen = calloc(n, sizeof *csv->chosen)))
        return no_memory(reterr);
    if (!names && csv->n_columns != n) {
        (void)snprintf(text, sizeof text, "%zu columns, expected %zu in the model's order: it knows no names of inputs",
                       csv->n_columns, n);
        return at_line(csv, reterr, text);
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = names ? 0 : i;
        while (names && at < csv->n_columns && strcmp(csv->names[at], names[i]) != 0)
            at++;
        if (at == csv->n_columns) {
            (void)snprintf(text, sizeof text, "no column '%.100s', which the model takes as input", names[i]);
            return at_line(csv, reterr, text);
        }
        csv->chosen[i] = at;
    }
    return EBM_CLIENT_OK;
}

enum ebm_client_status cli_csv_open(const char *path, const char *const *names, size_t n, struct cli_csv **ret_csv,
                                    struct ebm_client_error *reterr)
{
    struct cli_csv *csv = calloc(1, sizeof *csv);
    if (!csv || !(csv->path = strdup(path))) {
        free(csv);
        return no_memory(reterr);
    }
    csv->file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    enum ebm_client_status status = EBM_CLIENT_OK;
    if (!csv->file)
        status = client_fail(reterr, EBM_CLIENT_INVALID, path, "cannot be opened: %s", strerror(errno));
    if (status == EBM_CLIENT_OK)
        status = read_header(csv, reterr);
    if (status == EBM_CLIENT_OK)
        status = choose(csv, names, n, reterr);
    if (status == EBM_CLIENT_OK)
        *ret_csv = csv;
    else
        (void)cli_csv_free(csv);
    return status;
}

struct cli_csv *cli_csv_free(struct cli_csv *csv)
{
    if (!csv)
        return NULL;
    if (csv->file && csv->file != stdin)
        (void)fclose(csv->file);
    for (size_t i = 0; csv->names && i < csv->n_columns; i++)
        free(csv->names[i]);
    free(csv->names);
    free(csv->fields);
    free(csv->chosen);
    free(csv->line);
    free(csv->path);
    free(csv);
    return NULL;
}

static enum ebm_client_status read_row(struct cli_csv *csv, double *values, struct ebm_client_error *reterr)
{
    char text[256];
    size_t n = split(csv);
    if (n != csv->n_columns) {
        (void)snprintf(text, sizeof text, "%zu fields, expected %zu as in the header", n, csv->n_columns);
        return at_line(csv, reterr, text);
    }
    for (size_t i = 0; i < csv->n_chosen; i++) {
        size_t at = csv->chosen[i];
        if (cli_number(csv->fields[at], &values[i]))
            continue;
        (void)snprintf(text, sizeof text, "column '%.60s' is '%.60s', expected a finite number", csv->names[at],
                       csv->fields[at]);
        return at_line(csv, reterr, text);
    }
    return EBM_CLIENT_OK;
}

enum ebm_client_status cli_csv_read(struct cli_csv *csv, size_t most, double *values, size_t *ret_n_rows,
                                    struct ebm_client_error *reterr)
{
    size_t n = 0;
    for (; n < most; n++) {
        bool is_end;
        enum ebm_client_status status = next_line(csv, &is_end, reterr);
        if (status == EBM_CLIENT_OK && is_end)
            break;
        if (status == EBM_CLIENT_OK)
            status = read_row(csv, values + n * csv->n_chosen, reterr);
        if (status != EBM_CLIENT_OK)
            return status;
    }
    *ret_n_rows = n;
    return EBM_CLIENT_OK;
}
