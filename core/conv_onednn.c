/* conv_onednn.c - convolutions by oneDNN 2, the one file that knows it.
 *
 * The library is opened when the first trunk is trained: programs that serve never map it, nor the OpenMP that it
 * brings. Only its C interface is used, found by name. It runs one thread a call: `omp_set_num_threads` holds for the
 * thread that calls it, so every call says it first.
 *
 * A convolution is a primitive with scratch memory of the caller's, activations as they lie (nhwc), weights in the
 * order that the library likes best; to and from that order lead two reorders. Bias, what is added and relu are part of
 * the primitive. A call makes handles for its memory and drops them again: microseconds beside milliseconds. */
#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/conv.h"

#define LIBRARY "libdnnl.so.2"

#define FUNCTIONS(X)                                                                                                   \
    X(dnnl_engine_create)                                                                                              \
    X(dnnl_stream_create)                                                                                              \
    X(dnnl_stream_wait)                                                                                                \
    X(dnnl_stream_destroy)                                                                                             \
    X(dnnl_memory_desc_init_by_tag)                                                                                    \
    X(dnnl_memory_desc_get_size)                                                                                       \
    X(dnnl_memory_create)                                                                                              \
    X(dnnl_memory_destroy)                                                                                             \
    X(dnnl_convolution_forward_desc_init)                                                                              \
    X(dnnl_convolution_backward_data_desc_init)                                                                        \
    X(dnnl_convolution_backward_weights_desc_init)                                                                     \
    X(dnnl_reorder_primitive_desc_create)                                                                              \
    X(dnnl_primitive_desc_create)                                                                                      \
    X(dnnl_primitive_desc_destroy)                                                                                     \
    X(dnnl_primitive_desc_query_md)                                                                                    \
    X(dnnl_primitive_create)                                                                                           \
    X(dnnl_primitive_destroy)                                                                                          \
    X(dnnl_primitive_execute)                                                                                          \
    X(dnnl_primitive_attr_create)                                                                                      \
    X(dnnl_primitive_attr_destroy)                                                                                     \
    X(dnnl_primitive_attr_set_scratchpad_mode)                                                                         \
    X(dnnl_primitive_attr_set_post_ops)                                                                                \
    X(dnnl_post_ops_create)                                                                                            \
    X(dnnl_post_ops_destroy)                                                                                           \
    X(dnnl_post_ops_append_sum)                                                                                        \
    X(dnnl_post_ops_append_eltwise)

static struct {
    void *library; /* NULL: there is none */
    dnnl_engine_t engine;
    void (*omp_set_num_threads)(int);
#define X(name) __typeof__(name) *name;
    FUNCTIONS(X)
#undef X
} lib;

/* A pointer to a function out of one to data, as POSIX allows and ISO C has no words for. */
static bool find(void *library, const char *name, void *ret_function)
{
    void *symbol = dlsym(library, name);
    *(void **)ret_function = symbol;
    return symbol != NULL;
}

static void open_once(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    bool ok = library != NULL && find(library, "omp_set_num_threads", (void *)&lib.omp_set_num_threads);
#define X(name) ok = ok && find(library, #name, (void *)&lib.name);
    FUNCTIONS(X)
#undef X
    if (ok)
        lib.omp_set_num_threads(1);
    if (ok && lib.dnnl_engine_create(&lib.engine, dnnl_cpu, 0) == dnnl_success)
        lib.library = library; /* for good: other threads may be in it when the last trunk goes */
    else if (library != NULL)
        (void)dlclose(library);
}

static enum ebm_status status_of(dnnl_status_t status)
{
    return status == dnnl_success ? EBM_OK : status == dnnl_out_of_memory ? EBM_NO_MEMORY : EBM_DEVICE;
}

/* ---- making ---- */

struct ebm_conv {
    struct ebm_conv_spec spec;
    dnnl_memory_desc_t from, to, packed, plain, bias, scratch;
    dnnl_primitive_t run, pack, unpack; /* pack or unpack, by the pass */
};

static dnnl_status_t describe(struct ebm_conv *conv)
{
    const struct ebm_conv_spec *s = &conv->spec;
    dnnl_dims_t from = {s->n, s->from.channels, s->from.height, s->from.width};
    dnnl_dims_t to = {s->n, s->to.channels, s->to.height, s->to.width};
    dnnl_dims_t weight = {s->to.channels, s->from.channels, s->kernel, s->kernel}, bias = {s->to.channels};
    dnnl_status_t status = lib.dnnl_memory_desc_init_by_tag(&conv->from, 4, from, dnnl_f32, dnnl_nhwc);
    if (status == dnnl_success)
        status = lib.dnnl_memory_desc_init_by_tag(&conv->to, 4, to, dnnl_f32, dnnl_nhwc);
    if (status == dnnl_success)
        status = lib.dnnl_memory_desc_init_by_tag(&conv->packed, 4, weight, dnnl_f32, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = lib.dnnl_memory_desc_init_by_tag(&conv->plain, 4, weight, dnnl_f32, dnnl_oihw);
    if (status == dnnl_success)
        status = lib.dnnl_memory_desc_init_by_tag(&conv->bias, 1, bias, dnnl_f32, dnnl_a);
    return status;
}

/* Scratch memory is the caller's; what out held is added, then relu, where the spec says so. New: destroy. */
static dnnl_status_t make_attributes(const struct ebm_conv_spec *spec, dnnl_primitive_attr_t *ret_attributes)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = lib.dnnl_primitive_attr_create(&attributes);
    if (status == dnnl_success)
        status = lib.dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = lib.dnnl_post_ops_create(&ops);
    if (status == dnnl_success && spec->adds)
        status = lib.dnnl_post_ops_append_sum(ops, 1.0f);
    if (status == dnnl_success && spec->has_relu)
        status = lib.dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
    if (status == dnnl_success)
        status = lib.dnnl_primitive_attr_set_post_ops(attributes, ops);
    if (ops != NULL)
        (void)lib.dnnl_post_ops_destroy(ops);
    *ret_attributes = attributes;
    return status;
}

static dnnl_status_t describe_run(const struct ebm_conv *conv, dnnl_primitive_attr_t attributes,
                                  dnnl_primitive_desc_t *ret_description)
{
    const struct ebm_conv_spec *s = &conv->spec;
    const dnnl_dims_t stride = {s->stride, s->stride}, padding = {s->padding, s->padding};
    bool is_forward = s->pass == EBM_CONV_FORWARD;
    dnnl_convolution_desc_t forward, backward;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = lib.dnnl_convolution_forward_desc_init(
        &forward, is_forward ? dnnl_forward_inference : dnnl_forward_training, dnnl_convolution_direct, &conv->from,
        &conv->packed, is_forward ? &conv->bias : NULL, &conv->to, stride, padding, padding);
    if (status == dnnl_success)
        status = lib.dnnl_primitive_desc_create(&hint, &forward, attributes, lib.engine, NULL);
    if (status != dnnl_success || is_forward) {
        *ret_description = hint;
        return status;
    }
    if (s->pass == EBM_CONV_INPUT)
        status = lib.dnnl_convolution_backward_data_desc_init(&backward, dnnl_convolution_direct, &conv->from,
                                                              &conv->packed, &conv->to, stride, padding, padding);
    else
        status = lib.dnnl_convolution_backward_weights_desc_init(
            &backward, dnnl_convolution_direct, &conv->from, &conv->packed, NULL, &conv->to, stride, padding, padding);
    if (status == dnnl_success)
        status = lib.dnnl_primitive_desc_create(ret_description, &backward, attributes, lib.engine, hint);
    (void)lib.dnnl_primitive_desc_destroy(hint);
    return status;
}

static dnnl_status_t make_reorder(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                                  dnnl_primitive_t *ret_reorder)
{
    dnnl_primitive_desc_t description = NULL;
    dnnl_status_t status = lib.dnnl_reorder_primitive_desc_create(&description, from, lib.engine, to, lib.engine, NULL);
    if (status != dnnl_success)
        return status;
    status = lib.dnnl_primitive_create(ret_reorder, description);
    (void)lib.dnnl_primitive_desc_destroy(description);
    return status;
}

static dnnl_status_t make_primitives(struct ebm_conv *conv)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t description = NULL;
    bool gives_weights = conv->spec.pass == EBM_CONV_WEIGHT;
    dnnl_status_t status = make_attributes(&conv->spec, &attributes);
    if (status == dnnl_success)
        status = describe_run(conv, attributes, &description);
    if (status == dnnl_success)
        status = lib.dnnl_primitive_create(&conv->run, description);
    if (status == dnnl_success) {
        dnnl_query_t weights = gives_weights ? dnnl_query_diff_weights_md : dnnl_query_weights_md;
        conv->packed = *lib.dnnl_primitive_desc_query_md(description, weights, 0);
        conv->scratch = *lib.dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
        status = gives_weights ? make_reorder(&conv->packed, &conv->plain, &conv->unpack)
                               : make_reorder(&conv->plain, &conv->packed, &conv->pack);
    }
    if (description != NULL)
        (void)lib.dnnl_primitive_desc_destroy(description);
    if (attributes != NULL)
        (void)lib.dnnl_primitive_attr_destroy(attributes);
    return status;
}

static struct ebm_conv *release(struct ebm_conv *conv)
{
    if (conv == NULL)
        return NULL;
    dnnl_primitive_t primitives[] = {conv->run, conv->pack, conv->unpack};
    for (size_t i = 0; i < EBM_COUNT_OF(primitives); i++)
        if (primitives[i] != NULL)
            (void)lib.dnnl_primitive_destroy(primitives[i]);
    free(conv);
    return NULL;
}

static enum ebm_status make(const struct ebm_conv_spec *spec, struct ebm_conv **ret_conv)
{
    struct ebm_conv *conv = calloc(1, sizeof *conv);
    if (conv == NULL)
        return EBM_NO_MEMORY;
    conv->spec = *spec;
    lib.omp_set_num_threads(1);
    dnnl_status_t status = describe(conv);
    if (status == dnnl_success)
        status = make_primitives(conv);
    if (status != dnnl_success) {
        (void)release(conv);
        return status_of(status);
    }
    *ret_conv = conv;
    return EBM_OK;
}

static size_t floats_of(const dnnl_memory_desc_t *description)
{
    return (lib.dnnl_memory_desc_get_size(description) + sizeof(float) - 1) / sizeof(float);
}

static size_t packed_count(const struct ebm_conv *conv)
{
    return floats_of(&conv->packed);
}

static size_t scratch_count(const struct ebm_conv *conv)
{
    return floats_of(&conv->scratch);
}

/* ---- running ---- */

struct argument {
    int kind;
    const dnnl_memory_desc_t *description;
    const float *data; /* written to where the kind says so: the library's interface has no const */
};

static enum ebm_status execute(dnnl_primitive_t primitive, const struct argument *arguments, int n)
{
    dnnl_exec_arg_t args[5];
    dnnl_stream_t stream = NULL;
    int made = 0;
    lib.omp_set_num_threads(1);
    dnnl_status_t status = lib.dnnl_stream_create(&stream, lib.engine, dnnl_stream_default_flags);
    for (; status == dnnl_success && made < n; made++) {
        args[made].arg = arguments[made].kind;
        status = lib.dnnl_memory_create(&args[made].memory, arguments[made].description, lib.engine,
                                        (void *)(uintptr_t)arguments[made].data);
        if (status != dnnl_success)
            break;
    }
    if (status == dnnl_success)
        status = lib.dnnl_primitive_execute(primitive, stream, n, args);
    if (status == dnnl_success)
        status = lib.dnnl_stream_wait(stream);
    while (made > 0)
        (void)lib.dnnl_memory_destroy(args[--made].memory);
    if (stream != NULL)
        (void)lib.dnnl_stream_destroy(stream);
    return status_of(status);
}

static enum ebm_status pack(const struct ebm_conv *conv, float *packed, const float *weight)
{
    const struct argument arguments[] = {{DNNL_ARG_FROM, &conv->plain, weight}, {DNNL_ARG_TO, &conv->packed, packed}};
    return execute(conv->pack, arguments, 2);
}

static enum ebm_status unpack(const struct ebm_conv *conv, float *weight, const float *packed)
{
    const struct argument arguments[] = {{DNNL_ARG_FROM, &conv->packed, packed}, {DNNL_ARG_TO, &conv->plain, weight}};
    return execute(conv->unpack, arguments, 2);
}

static enum ebm_status forward(const struct ebm_conv *conv, uint32_t n, float *out, const float *in,
                               const float *packed, const float *bias, float *scratch)
{
    EBM_ASSERT(n == conv->spec.n);
    const struct argument arguments[] = {{DNNL_ARG_SRC, &conv->from, in},
                                         {DNNL_ARG_WEIGHTS, &conv->packed, packed},
                                         {DNNL_ARG_BIAS, &conv->bias, bias},
                                         {DNNL_ARG_DST, &conv->to, out},
                                         {DNNL_ARG_SCRATCHPAD, &conv->scratch, scratch}};
    return execute(conv->run, arguments, 5);
}

static enum ebm_status input(const struct ebm_conv *conv, float *din, const float *dout, const float *packed,
                             float *scratch)
{
    const struct argument arguments[] = {{DNNL_ARG_DIFF_SRC, &conv->from, din},
                                         {DNNL_ARG_WEIGHTS, &conv->packed, packed},
                                         {DNNL_ARG_DIFF_DST, &conv->to, dout},
                                         {DNNL_ARG_SCRATCHPAD, &conv->scratch, scratch}};
    return execute(conv->run, arguments, 4);
}

static enum ebm_status weight(const struct ebm_conv *conv, float *packed, const float *in, const float *dout,
                              float *scratch)
{
    const struct argument arguments[] = {{DNNL_ARG_SRC, &conv->from, in},
                                         {DNNL_ARG_DIFF_WEIGHTS, &conv->packed, packed},
                                         {DNNL_ARG_DIFF_DST, &conv->to, dout},
                                         {DNNL_ARG_SCRATCHPAD, &conv->scratch, scratch}};
    return execute(conv->run, arguments, 4);
}

const struct ebm_conv_backend *ebm_conv_onednn(void)
{
    static const struct ebm_conv_backend backend = {.name = "oneDNN",
                                                    .make = make,
                                                    .free = release,
                                                    .packed_count = packed_count,
                                                    .scratch_count = scratch_count,
                                                    .pack = pack,
                                                    .unpack = unpack,
                                                    .forward = forward,
                                                    .is_fixed = true,
                                                    .input = input,
                                                    .weight = weight};
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, open_once);
    return lib.library != NULL ? &backend : NULL;
}
