/* fuzz_numbers.c - numbers as text and back. The input is text, read as a CSV's field and as an option; and its first 8
 * bytes are a number, written as JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "proto/json_write.h"
#include "tests/fuzz/fuzz.h"
#include "trainer/csv.h"
#include "trainer/html.h"
#include "trainer/protocol.h"
#include "trainer/seeds.h"

#define BUF_BYTES 4096u

static void check_reads_back(struct ebm_buf *buf, double value)
{
    EBM_ASSERT(buf->status == EBM_OK);
    fuzz_check_json(buf->bytes, buf->size);
    double back = strtod(buf->bytes, NULL);
    EBM_ASSERT(isfinite(value) ? memcmp(&back, &value, sizeof back) == 0 : strcmp(buf->bytes, "null") == 0);
}

/* Byte for byte what printf writes. */
static void check_digits(double value)
{
    char expected[64], text[EBM_DECIMAL_BYTES];
    for (int digits = 1; digits <= EBM_DECIMAL_MAX_DIGITS; digits++) {
        int length = snprintf(expected, sizeof expected, "%.*g", digits, value);
        EBM_ASSERT(ebm_decimal_write(text, value, digits) == (size_t)length);
        EBM_ASSERT(memcmp(text, expected, (size_t)length) == 0);
    }
}

static void write_number(double value)
{
    struct ebm_buf buf;
    char space[HTML_NUMBER_BYTES];
    ebm_buf_init(&buf, BUF_BYTES);
    json_write_number(&buf, value, JSON_WRITE_DOUBLE_DIGITS);
    check_reads_back(&buf, value);
    if (isfinite(value)) {
        ebm_buf_clear(&buf);
        (void)ebm_buf_json_number(&buf, value);
        check_reads_back(&buf, value);
        check_digits(value);
    }
    ebm_buf_clear(&buf);
    json_write_number(&buf, (double)(float)value, JSON_WRITE_FLOAT_DIGITS);
    EBM_ASSERT(!isfinite((float)value) || strtof(buf.bytes, NULL) == (float)value);
    EBM_ASSERT(html_format(value, space)[0] != 0);
    ebm_buf_done(&buf);
}

/* What is decided at all is what strtod says, and is a number of JSON. */
static void read_decimal(const char *text, size_t size)
{
    double value = NAN;
    size_t length = ebm_decimal_read(text, text + size, &value);
    if (length == 0)
        return;
    char *same = fuzz_text((const uint8_t *)text, length), *end;
    double expected = strtod(same, &end);
    EBM_ASSERT(*end == 0 && memcmp(&value, &expected, sizeof value) == 0);
    fuzz_check_json(same, length);
    free(same);
}

static void read_number(const char *text, size_t size)
{
    double value = NAN;
    if (!csv_number(text, size, &value))
        return;
    EBM_ASSERT(isfinite(value) && value == strtod(text, NULL));
}

static void read_options(const char *text)
{
    struct ebm_error error = {.status = EBM_OK};
    struct protocol_grid grid;
    uint64_t *seeds = NULL;
    uint32_t n = 0;
    enum ebm_status status = protocol_grid_parse(text, &grid, &error);
    fuzz_check_error(status, &error);
    EBM_ASSERT(status != EBM_OK || (isfinite(grid.lower) && isfinite(grid.upper) && grid.lower < grid.upper &&
                                    grid.points >= 2 && grid.points <= LIMIT_SAMPLES));
    status = seeds_parse(text, &seeds, &n, &error);
    fuzz_check_error(status, &error);
    EBM_ASSERT(status != EBM_OK || (n >= 1 && n <= CHILDREN_MAX));
    free(seeds);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = fuzz_text(bytes, size);
    double value = 0.0;
    memcpy(&value, text, size < sizeof value ? size : sizeof value);
    write_number(value);
    read_number(text, size);
    read_decimal(text, size);
    read_options(text);
    free(text);
    return 0;
}
