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
        {REQUEST_PREDICT, {"nobody", "1", "in\"puts", "2"}, "{\"nobody\":\"1\",\"in\\\"puts\":\"2\"}"},
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
    struct query query = {.n = 0};
    for (uint32_t i = 0; i < QUERY_PAIRS; i++)
        cr_assert(query_add(&query, "seed", NULL));
    cr_assert_not(query.is_full);
    cr_assert_not(query_add(&query, "seed", "1"));
    cr_assert(query.is_full);
}
