/* kernels_cpu.c - chooses the widest set of fast kernels that this machine executes; EBM_KERNELS=generic|avx2|avx512
 * in the environment asks for a narrower one (tests, comparisons). */
#include "core/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/blas.h"

const struct ebm_kernels *ebm_kernels_generic(void);
#if defined(__x86_64__)
const struct ebm_kernels *ebm_kernels_avx2(void);
const struct ebm_kernels *ebm_kernels_avx512(void);
#endif

static const struct ebm_kernels *chosen;

static bool is_asked_for(const char *wish, const char *name)
{
    return wish == NULL || strcmp(wish, name) == 0;
}

static void choose(void)
{
    const char *wish = getenv("EBM_KERNELS");
    ebm_blas_init();
    chosen = ebm_kernels_generic();
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (has_avx2 && is_asked_for(wish, "avx2"))
        chosen = ebm_kernels_avx2();
    if (has_avx512 && is_asked_for(wish, "avx512"))
        chosen = ebm_kernels_avx512();
#else
    (void)wish;
    (void)is_asked_for;
#endif
}

const struct ebm_kernels *ebm_kernels_cpu(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, choose);
    return chosen;
}
