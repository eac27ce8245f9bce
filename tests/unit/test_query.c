/* test_query.c - arguments of a URL as the JSON object that they stand for. */
#include <criterion/criterion.h>

#include "proto/query.h"

Test(query, every_kind_of_field)
{
    static const struct {
        enum request_kind kind;
        const char *pairs[8]; /* name, value, ... */
        const char *json;
    } cases[] = {
        {REQUEST_PREDICT, {NULL}, "{}"},
        {REQUEST_PREDICT, {"model", "7", "seed", "7"}, "{\"model\":\"7\",\"seed\":7}"},
        {REQUEST_PREDICT,
         {"outputs", "mean,std", "quantiles", "0.1,0.9"},
         "{\"outputs\":[\"mean\",\"std\"],\"quantiles\":[0.1,0.9]}"},
        {REQUEST_PREDICT,
         {"interval.level", "0.5", "seed", "1", "interval.kind", "equal_tailed"},
         "{\"interval\":{\"level\":0.5,\"kind\":\"equal_tailed\"},\"seed\":1}"},
        {REQUEST_PREDICT,
         {"cdf", "-1,2e3,1.5E-7", "estimator", "exact"},
         "{\"cdf\":[-1,2e3,1.5E-7],\"estimator\":\"exact\"}"},
        {REQUEST_PREDICT, {"cdf", "", "quantiles", "a,,1"}, "{\"cdf\":[\"\"],\"quantiles\":[\"a\",\"\",1]}"},
        {REQUEST_PREDICT,
         {"seed", "01", "num_samples", "1.", "version", "+1"},
         "{\"seed\":\"01\",\"num_samples\":\"1.\",\"version\":\"+1\"}"},
        {REQUEST_PREDICT,
         {"seed", "1e", "num_samples", "0x1", "version", "-"},
         "{\"seed\":\"1e\",\"num_samples\":\"0x1\",\"version\":\"-\"}"},
        {REQUEST_PREDICT,
         {"seed", "1e999", "cdf", "-1e400,1e-400"},
         "{\"seed\":\"1e999\",\"cdf\":[\"-1e400\",1e-400]}"},
        {REQUEST_PREDICT, {"nobody", "in\"puts"}, "{\"nobody\":\"in\\\"puts\"}"},
        {REQUEST_PREDICT,
         {"interval.nobody", "1", "seed.x", "2"},
         "{\"interval\":{\"nobody\":\"1\"},\"seed.x\":\"2\"}"},
        {REQUEST_SAMPLE,
         {"resample", "false", "refine.step_length", "0.1,0.2"},
         "{\"resample\":false,\"refine\":{\"step_length\":[0.1,0.2]}}"},
        {REQUEST_SAMPLE, {"resample", "no"}, "{\"resample\":\"no\"}"},
        {REQUEST_DENSITY,
         {"grid.lower", "0", "grid.points", "5", "targets", "1"},
         "{\"grid\":{\"lower\":0,\"points\":5},\"targets\":\"1\"}"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct query query = {.n = 0};
        struct ebm_buf buf;
        for (uint32_t j = 0; j < 8 && cases[i].pairs[j]; j += 2)
            cr_assert(query_add(&query, cases[i].pairs[j], cases[i].pairs[j + 1]));
        ebm_buf_init(&buf, 1024);
        query_write(&query, cases[i].kind, &buf);
        cr_assert_str_eq(buf.bytes, cases[i].json, "case %zu: %s", i, buf.bytes);
        ebm_buf_done(&buf);
    }
}

Test(query, too_many)
{
    static char names[QUERY_PAIRS + 1][3];
    struct query query = {.n = 0};
    for (uint32_t i = 0; i <= QUERY_PAIRS; i++) {
        names[i][0] = (char)('a' + i % 26);
        names[i][1] = (char)('a' + i / 26);
        cr_assert_eq(query_add(&query, names[i], NULL), i < QUERY_PAIRS);
    }
    cr_assert_str_eq(query.error.where, "query");
}

Test(query, names_that_no_field_has)
{
    static const char *const names[] = {"in\"puts", "Seed", "seed ", "\xd8", "a1"};
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++) {
        struct query query = {.n = 0};
        cr_assert_not(query_add(&query, names[i], "1"));
        cr_assert_str_eq(query.error.text, "unknown field");
    }
}

Test(query, names_that_are_there_already)
{
    static const struct {
        const char *first, *second;
        bool is_good;
    } cases[] = {{"seed", "seed", false},
                 {"interval", "interval.level", false},
                 {"interval.level", "interval", false},
                 {"interval.level", "interval.kind", true},
                 {"interval.level", "interval.level", false},
                 {"seed", "seeds", true},
                 {"", "", false},
                 {"a.b", "a.bc", true}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct query query = {.n = 0};
        cr_assert(query_add(&query, cases[i].first, "1"));
        cr_assert_eq(query_add(&query, cases[i].second, "1"), cases[i].is_good, "case %zu", i);
        if (!cases[i].is_good)
            cr_assert_str_eq(query.error.where, cases[i].second);
    }
}
