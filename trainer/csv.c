/* csv.c - line by line: read_line -> split_fields -> the chosen fields become numbers.
 *
 *   csv_open   header: names, checked (not empty, no two equal)
 *   csv_read   rows; every row has as many fields as the header; empty lines are skipped
 *
 * Guarantees: a line is at most LIMIT_LINE_BYTES, a file at most LIMIT_DATA_ROWS rows; an error names file, line and
 * column. A quoted field ends on its line. Does not know targets, inputs or splits: that is dataset.c. */
#include "trainer/csv.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

#define NUMBER_BYTES 64u

struct csv {
    char *path;
    FILE *file;
    uint64_t line;       /* number of the last line read, from 1 */
    struct ebm_buf text; /* that line; fields are cut out in place */
    char **fields;       /* (n_columns) into text */
    char **names;        /* (n_columns) */
    uint32_t n_columns;
    uint32_t text_column; /* n_columns: none */
    bool has_line;        /* the line that was read last is data, and not taken yet */
};

/* ---- numbers ---- */

static locale_t c_locale;

static void make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    EBM_ASSERT(c_locale != (locale_t)0);
}

bool csv_number(const char *text, size_t length, double *ret_value)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char copy[NUMBER_BYTES], *end = NULL;
    while (length > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        length--;
    }
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    if (length == 0 || length >= sizeof copy)
        return false;
    for (size_t i = 0; i < length; i++)
        if (strchr("0123456789+-.eE", text[i]) == NULL || text[i] == '\0')
            return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    (void)pthread_once(&once, make_locale);
    double value = strtod_l(copy, &end, c_locale);
    if (*end != '\0' || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

static bool is_missing(const char *field)
{
    static const char *const words[] = {"NA", "N/A", "nan", "NaN", "NAN", "null", "?"};
    while (*field == ' ' || *field == '\t')
        field++;
    if (*field == '\0')
        return true;
    for (size_t i = 0; i < EBM_COUNT_OF(words); i++)
        if (strcmp(field, words[i]) == 0)
            return true;
    return false;
}

/* ---- lines and fields ---- */

static enum ebm_status at_line(const struct csv *csv, enum ebm_status status, struct ebm_error *reterr,
                               const char *text)
{
    char where[sizeof reterr->where];
    (void)snprintf(where, sizeof where, "%.60s, line %llu", csv->path, (unsigned long long)csv->line);
    return ebm_error_set(reterr, status, where, "%s", text);
}

/* To the end of the line read so far; fails with the buffer's own status. */
static enum ebm_status append(struct csv *csv, const char *bytes, size_t size, struct ebm_error *reterr)
{
    enum ebm_status status = ebm_buf_append(&csv->text, bytes, size);
    if (status == EBM_OK)
        return EBM_OK;
    return at_line(csv, status, reterr,
                   status == EBM_TOO_LARGE ? "the line is longer than 4 MiB" : "no memory for the line");
}

/* The next line without its end into csv->text, or the one that is there already. NOT_FOUND at the end of the file,
 * without an error text. */
static enum ebm_status read_line(struct csv *csv, struct ebm_error *reterr)
{
    if (csv->has_line) {
        csv->has_line = false;
        return EBM_OK;
    }
    int c = getc_unlocked(csv->file);
    if (c == EOF)
        return ferror(csv->file) ? at_line(csv, EBM_INVALID, reterr, "the file cannot be read") : EBM_NOT_FOUND;
    csv->line++;
    ebm_buf_clear(&csv->text);
    for (; c != EOF && c != '\n'; c = getc_unlocked(csv->file)) {
        char byte = (char)c;
        if (byte == '\0')
            return at_line(csv, EBM_INVALID, reterr, "a zero byte: this is not a text file");
        enum ebm_status status = append(csv, &byte, 1, reterr);
        if (status != EBM_OK)
            return status;
    }
    enum ebm_status status = append(csv, "", 0, reterr); /* an empty line has bytes, too */
    if (status != EBM_OK)
        return status;
    if (csv->text.size > 0 && csv->text.bytes[csv->text.size - 1] == '\r')
        csv->text.bytes[--csv->text.size] = '\0';
    return EBM_OK;
}

/* Unquotes the field at `from` in place and ends it with 0. Returns what follows its comma, NULL behind the last field;
 * *ret_closed is false for a quote without an end, or text behind it. */
static char *cut_field(char *from, bool *ret_closed)
{
    char *to = from;
    *ret_closed = true;
    if (*from != '"') {
        char *comma = strchr(from, ',');
        if (comma != NULL)
            *comma = '\0';
        return comma != NULL ? comma + 1 : NULL;
    }
    for (from++; *from != '\0' && !(from[0] == '"' && from[1] != '"'); from++) {
        if (*from == '"')
            from++;
        *to++ = *from;
    }
    *ret_closed = from[0] == '"' && (from[1] == ',' || from[1] == '\0');
    bool is_last = !*ret_closed || from[1] == '\0';
    *to = '\0';
    return is_last ? NULL : from + 2;
}

/* Cuts the line into at most `most` fields. */
static enum ebm_status split_fields(struct csv *csv, char **fields, uint32_t most, uint32_t *ret_n,
                                    struct ebm_error *reterr)
{
    uint32_t n = 0;
    bool closed = true;
    for (char *at = csv->text.bytes; at != NULL; n++) {
        char *field = at;
        at = cut_field(field, &closed);
        if (!closed)
            return at_line(csv, EBM_INVALID, reterr, "a quote is not closed, or text follows it before the comma");
        if (n < most)
            fields[n] = field;
    }
    *ret_n = n;
    return EBM_OK;
}

/* ---- header ---- */

static enum ebm_status check_names(const struct csv *csv, struct ebm_error *reterr)
{
    char text[160];
    for (uint32_t i = 0; i < csv->n_columns; i++) {
        if (csv->names[i][0] == '\0') {
            (void)snprintf(text, sizeof text, "column %u of the header has no name", i + 1);
            return at_line(csv, EBM_INVALID, reterr, text);
        }
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(csv->names[i], csv->names[j]) == 0) {
                (void)snprintf(text, sizeof text, "two columns are named '%.64s'", csv->names[i]);
                return at_line(csv, EBM_INVALID, reterr, text);
            }
    }
    return EBM_OK;
}

static char *trimmed(char *name)
{
    while (*name == ' ' || *name == '\t')
        name++;
    for (size_t n = strlen(name); n > 0 && (name[n - 1] == ' ' || name[n - 1] == '\t'); n--)
        name[n - 1] = '\0';
    return name;
}

static enum ebm_status read_header(struct csv *csv, struct ebm_error *reterr)
{
    enum ebm_status status = read_line(csv, reterr);
    if (status == EBM_NOT_FOUND)
        return ebm_error_set(reterr, EBM_INVALID, csv->path, "the file is empty; expected a header line with names");
    if (status != EBM_OK)
        return status;
    if (strncmp(csv->text.bytes, "\xef\xbb\xbf", 3) == 0)
        memmove(csv->text.bytes, csv->text.bytes + 3, csv->text.size - 2);
    uint32_t commas = 0;
    for (const char *at = csv->text.bytes; *at != '\0'; at++)
        commas += *at == ',';
    if (commas >= LIMIT_DATA_COLUMNS)
        return at_line(csv, EBM_TOO_LARGE, reterr, "more than 65536 columns");
    csv->fields = calloc(commas + 1, sizeof *csv->fields);
    csv->names = calloc(commas + 1, sizeof *csv->names);
    if (csv->fields == NULL || csv->names == NULL)
        return at_line(csv, EBM_NO_MEMORY, reterr, "no memory");
    status = split_fields(csv, csv->fields, commas + 1, &csv->n_columns, reterr);
    for (uint32_t i = 0; status == EBM_OK && i < csv->n_columns; i++) {
        csv->names[i] = strdup(trimmed(csv->fields[i]));
        if (csv->names[i] == NULL)
            status = at_line(csv, EBM_NO_MEMORY, reterr, "no memory");
    }
    return status == EBM_OK ? check_names(csv, reterr) : status;
}

/* The first line, if it is no header, stays for csv_read. */
static enum ebm_status take_names(struct csv *csv, const char *const *names, uint32_t n, struct ebm_error *reterr)
{
    enum ebm_status status = read_line(csv, reterr);
    if (status == EBM_NOT_FOUND)
        return ebm_error_set(reterr, EBM_INVALID, csv->path, "the file is empty");
    if (status != EBM_OK)
        return status;
    size_t first = strcspn(csv->text.bytes, ", \t"); /* center is a name, center_1.jpg an image's */
    csv->has_line = first != strlen(names[0]) || strncmp(csv->text.bytes, names[0], first) != 0;
    csv->fields = calloc(n, sizeof *csv->fields);
    csv->names = calloc(n, sizeof *csv->names);
    csv->n_columns = csv->names != NULL ? n : 0;
    for (uint32_t i = 0; i < csv->n_columns; i++)
        csv->names[i] = strdup(names[i]);
    for (uint32_t i = 0; i < n; i++)
        if (csv->fields == NULL || csv->names == NULL || csv->names[i] == NULL)
            return at_line(csv, EBM_NO_MEMORY, reterr, "no memory");
    return EBM_OK;
}

/* names NULL: the file has a header. */
static enum ebm_status open_csv(const char *path, const char *const *names, uint32_t n, struct csv **ret_csv,
                                struct ebm_error *reterr)
{
    EBM_AUTO(csv_freep) struct csv *csv = calloc(1, sizeof *csv);
    if (csv == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    ebm_buf_init(&csv->text, LIMIT_LINE_BYTES);
    csv->path = strdup(path);
    if (csv->path == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    csv->file = fopen(path, "re");
    if (csv->file == NULL)
        return ebm_error_set(reterr, EBM_NOT_FOUND, path, "cannot open the data file: %s", strerror(errno));
    enum ebm_status status = names != NULL ? take_names(csv, names, n, reterr) : read_header(csv, reterr);
    csv->text_column = csv->n_columns;
    if (status == EBM_OK)
        *ret_csv = EBM_TAKE_PTR(csv);
    return status;
}

enum ebm_status csv_open(const char *path, struct csv **ret_csv, struct ebm_error *reterr)
{
    return open_csv(path, NULL, 0, ret_csv, reterr);
}

enum ebm_status csv_open_named(const char *path, const char *const *names, uint32_t n, struct csv **ret_csv,
                               struct ebm_error *reterr)
{
    return open_csv(path, names, n, ret_csv, reterr);
}

struct csv *csv_free(struct csv *csv)
{
    if (csv == NULL)
        return NULL;
    if (csv->file != NULL)
        (void)fclose(csv->file);
    for (uint32_t i = 0; csv->names != NULL && i < csv->n_columns; i++)
        free(csv->names[i]);
    ebm_buf_done(&csv->text);
    free(csv->names);
    free(csv->fields);
    free(csv->path);
    free(csv);
    return NULL;
}

void csv_freep(struct csv **csv)
{
    *csv = csv_free(*csv);
}

uint32_t csv_names(const struct csv *csv, char *const **ret_names)
{
    *ret_names = csv->names;
    return csv->n_columns;
}

void csv_keep_text(struct csv *csv, uint32_t column)
{
    EBM_ASSERT(column < csv->n_columns);
    csv->text_column = column;
}

/* ---- rows ---- */

static enum ebm_status bad_field(const struct csv *csv, uint32_t column, const char *field, bool missing,
                                 struct ebm_error *reterr)
{
    char text[sizeof reterr->text];
    if (missing)
        (void)snprintf(
            text, sizeof text,
            "column '%.64s' has no value; fill it in, or leave such rows out: data.missing \"drop\" to train, "
            "--missing drop to evaluate",
            csv->names[column]);
    else
        (void)snprintf(text, sizeof text, "column '%.64s' is '%.40s', expected a finite number", csv->names[column],
                       field);
    return at_line(csv, EBM_INVALID, reterr, text);
}

/* The chosen fields of the current line as numbers. *ret_missing: a value is missing and that is allowed. */
static enum ebm_status read_fields(struct csv *csv, const uint32_t *columns, uint32_t n_columns, bool drop_missing,
                                   double *values, bool *ret_missing, struct ebm_error *reterr)
{
    uint32_t n = 0;
    enum ebm_status status = split_fields(csv, csv->fields, csv->n_columns, &n, reterr);
    if (status != EBM_OK)
        return status;
    if (n != csv->n_columns) {
        char text[96];
        (void)snprintf(text, sizeof text, "%u fields, expected %u as in the header", n, csv->n_columns);
        return at_line(csv, EBM_INVALID, reterr, text);
    }
    *ret_missing = false;
    for (uint32_t i = 0; i < n_columns; i++) {
        const char *field = csv->fields[columns[i]];
        bool missing = is_missing(field);
        if (missing && drop_missing)
            *ret_missing = true;
        else if (missing || !csv_number(field, strlen(field), &values[i]))
            return bad_field(csv, columns[i], field, missing, reterr);
    }
    return EBM_OK;
}

/* Room for one more row. */
static enum ebm_status grow(const struct csv *csv, struct csv_table *table, uint32_t *capacity,
                            struct ebm_error *reterr)
{
    if (table->n_rows < *capacity)
        return EBM_OK;
    if (*capacity >= LIMIT_DATA_ROWS)
        return at_line(csv, EBM_TOO_LARGE, reterr, "more rows than the limit of 2^28");
    uint32_t wanted = *capacity == 0 ? 1024 : *capacity * 2;
    double *values = reallocarray(table->values, wanted, sizeof *values * table->n_columns);
    if (values != NULL)
        table->values = values;
    uint32_t *numbers = reallocarray(table->numbers, wanted, sizeof *numbers);
    if (numbers != NULL)
        table->numbers = numbers;
    bool keeps = csv->text_column < csv->n_columns;
    char **texts = keeps ? reallocarray(table->texts, wanted, sizeof *texts) : NULL;
    if (texts != NULL)
        table->texts = texts;
    if (values == NULL || numbers == NULL || (keeps && texts == NULL))
        return at_line(csv, EBM_NO_MEMORY, reterr, "no memory for so many rows");
    *capacity = wanted;
    return EBM_OK;
}

static enum ebm_status keep_text(const struct csv *csv, struct csv_table *table, struct ebm_error *reterr)
{
    if (csv->text_column == csv->n_columns)
        return EBM_OK;
    table->texts[table->n_rows] = strdup(trimmed(csv->fields[csv->text_column]));
    return table->texts[table->n_rows] != NULL ? EBM_OK : at_line(csv, EBM_NO_MEMORY, reterr, "no memory");
}

enum ebm_status csv_read(struct csv *csv, const uint32_t *columns, uint32_t n_columns, bool drop_missing,
                         struct csv_table *ret_table, struct ebm_error *reterr)
{
    EBM_AUTO(csv_table_done) struct csv_table table = {.n_columns = n_columns};
    uint32_t capacity = 0, number = 0;
    enum ebm_status status;
    EBM_ASSERT(n_columns > 0);
    while ((status = read_line(csv, reterr)) == EBM_OK) {
        bool missing = false;
        if (csv->text.size == 0)
            continue;
        status = grow(csv, &table, &capacity, reterr);
        if (status == EBM_OK)
            status = read_fields(csv, columns, n_columns, drop_missing, table.values + (size_t)table.n_rows * n_columns,
                                 &missing, reterr);
        if (status == EBM_OK && !missing)
            status = keep_text(csv, &table, reterr);
        if (status != EBM_OK)
            return status;
        table.numbers[table.n_rows] = number++;
        table.n_rows += missing ? 0 : 1;
        table.n_dropped += missing ? 1 : 0;
    }
    if (status != EBM_NOT_FOUND)
        return status;
    *ret_table = table;
    table = (struct csv_table){.n_rows = 0};
    return EBM_OK;
}

void csv_table_done(struct csv_table *table)
{
    for (uint32_t i = 0; table->texts != NULL && i < table->n_rows; i++)
        free(table->texts[i]);
    free(table->texts);
    free(table->values);
    free(table->numbers);
    *table = (struct csv_table){.n_rows = 0};
}
