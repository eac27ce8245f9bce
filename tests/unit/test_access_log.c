/* test_access_log.c - a line as JSON reads back to what it was made of, whatever that was. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "server/access_log.h"
#include "server/log_json.h"

static json_t *read_line(const struct access_line *line)
{
    struct ebm_buf buf;
    json_error_t error;
    ebm_buf_init(&buf, 1u << 16);
    access_log_json(&buf, line);
    cr_assert_eq(buf.status, EBM_OK);
    cr_assert_eq(strchr(buf.bytes, '\n'), buf.bytes + buf.size - 1, "%s", buf.bytes);
    json_t *value = json_loads(buf.bytes, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(value, "%s: %s", error.text, buf.bytes);
    ebm_buf_done(&buf);
    return value;
}

static void expect_text(const json_t *value, const char *name, const char *text)
{
    const char *is = json_string_value(json_object_get(value, name));
    cr_assert_not_null(is, "%s", name);
    cr_expect_str_eq(is, text, "%s: %s", name, is);
}

static void expect_number(const json_t *value, const char *name, double number)
{
    const json_t *is = json_object_get(value, name);
    cr_assert(json_is_number(is), "%s", name);
    cr_expect_eq(json_number_value(is), number, "%s: %.17g", name, json_number_value(is));
}

Test(access_log, every_member_of_a_line_as_json)
{
    struct trace trace;
    cr_assert(trace_read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", 1, &trace));
    json_t *value = read_line(&(struct access_line){.method = "POST",
                                                    .path = "/predict",
                                                    .route = "/predict",
                                                    .model = "toy",
                                                    .version = 3,
                                                    .rows = 2,
                                                    .status = 200,
                                                    .bytes_in = 37,
                                                    .bytes_out = 1u << 31,
                                                    .queue_us = 21,
                                                    .compute_us = 1500000,
                                                    .total_us = 61000001,
                                                    .sent = true,
                                                    .request_id = "mine-1",
                                                    .trace = &trace});
    expect_text(value, "level", "info");
    expect_text(value, "message", "request");
    expect_text(value, "request_id", "mine-1");
    expect_text(value, "trace_id", "4bf92f3577b34da6a3ce929d0e0e4736");
    expect_text(value, "parent_span_id", "00f067aa0ba902b7");
    expect_text(value, "span_id", trace.span);
    expect_text(value, "method", "POST");
    expect_text(value, "path", "/predict");
    expect_text(value, "route", "/predict");
    expect_text(value, "model", "toy");
    expect_number(value, "version", 3);
    expect_number(value, "rows", 2);
    expect_number(value, "status", 200);
    expect_number(value, "bytes_in", 37);
    expect_number(value, "bytes_out", 2147483648.0);
    expect_number(value, "queue_seconds", 0.000021);
    expect_number(value, "compute_seconds", 1.5);
    expect_number(value, "total_seconds", 61.000001);
    cr_expect(json_is_true(json_object_get(value, "sent")));
    const char *time = json_string_value(json_object_get(value, "time"));
    cr_expect(time && strlen(time) == 24 && time[10] == 'T' && time[23] == 'Z', "%s", time);
    cr_expect_eq(json_object_size(value), 20, "%zu", json_object_size(value));
    json_decref(value);
}

Test(access_log, what_is_not_known_is_null)
{
    json_t *value = read_line(&(struct access_line){.method = "GET", .path = "/x", .request_id = "a"});
    static const char *const names[] = {"trace_id", "span_id", "parent_span_id", "route", "model", "version"};
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++)
        cr_expect(json_is_null(json_object_get(value, names[i])), "%s", names[i]);
    cr_expect(json_is_false(json_object_get(value, "sent")));
    json_decref(value);
}

Test(access_log, texts_of_clients_stay_in_their_place)
{
    char path[1000] = "/";
    static const struct {
        const char *path, *read;
    } cases[] = {{"/a\",\"status\":200,\"x\":\"\\", "/a\",\"status\":200,\"x\":\"\\"},
                 {"/a\n{\"forged\":1}", "/a\n{\"forged\":1}"},
                 {"/\x01\x1f\x7f", "/\x01\x1f\x7f"},
                 {"/\xc3\xbc\xf0\x9f\x98\x80", "/\xc3\xbc\xf0\x9f\x98\x80"},
                 {"/\xff\xc3", "/??"}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        json_t *value = read_line(&(struct access_line){.method = "GET", .path = cases[i].path, .request_id = ""});
        expect_text(value, "path", cases[i].read);
        json_decref(value);
    }
    for (size_t i = 1; i < sizeof path - 1; i++)
        path[i] = (char)(i % 2 ? 0xc3 : 0xbc); /* cut in the middle of a letter */
    json_t *value = read_line(&(struct access_line){.method = path, .path = path, .request_id = ""});
    cr_expect_eq(strlen(json_string_value(json_object_get(value, "path"))), 128);
    json_decref(value);
}
