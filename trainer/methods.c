/* methods.c - the tables of the methods as text, so that what is read and what is told cannot differ. */
#include "trainer/methods.h"

#include <stdio.h>

#include "trainer/method.h"

#define TEXT_BYTES (1u << 20)

static const char *unit_of(enum method_kind kind)
{
    switch (kind) {
    case METHOD_WIDTH:
        return ", in the target's unit; a list: one for each target";
    case METHOD_WIDTHS:
        return ", in the target's unit; lists of lists: one for each target";
    case METHOD_NUMBER:
    case METHOD_COUNT:
    case METHOD_NETS:
        return "";
    }
    return "";
}

static void put_parameter(struct ebm_buf *buf, const struct method_parameter *p)
{
    (void)ebm_buf_printf(buf, "    %s", p->name);
    if (p->kind == METHOD_WIDTHS)
        (void)ebm_buf_printf(buf, " [%g, %g]", p->published[0], p->published[p->n_published - 1]);
    else if (p->nets == NULL)
        (void)ebm_buf_printf(buf, " %g", p->published[0]);
    (void)ebm_buf_printf(buf, "\n        %s%s\n", p->help, unit_of(p->kind));
    if (p->nets != NULL)
        (void)ebm_buf_printf(buf, "        %s\n", p->nets);
}

static void put_method(struct ebm_buf *buf, const struct method *method)
{
    (void)ebm_buf_printf(buf, "%s\n    %s\n", method->name, method->summary);
    for (uint32_t i = 0; i < method->n_parameters; i++)
        put_parameter(buf, &method->parameters[i]);
}

enum ebm_status methods_text(const char *name, struct ebm_buf *buf, struct ebm_error *reterr)
{
    const struct method *const *all, *one = NULL;
    enum ebm_status status = name != NULL ? method_find(name, &one, reterr) : EBM_OK;
    if (status != EBM_OK)
        return status;
    size_t n = method_all(&all);
    for (size_t i = 0; i < n; i++)
        if (one == NULL || one == all[i])
            put_method(buf, all[i]);
    return buf->status == EBM_OK ? EBM_OK : ebm_error_set(reterr, buf->status, "methods", "no memory");
}

enum ebm_status methods_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, TEXT_BYTES);
    enum ebm_status status = methods_text(args_get(args, "method"), &buf, reterr);
    if (status == EBM_OK)
        (void)fputs(buf.bytes, stdout);
    return status;
}
