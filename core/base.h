/* base.h - attributes, asserts and scope cleanup that every file may use. */
#ifndef EBM_CORE_BASE_H
#define EBM_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EBM_MUST_USE __attribute__((warn_unused_result))
#define EBM_PRINTF(text_at, first_at) __attribute__((format(printf, text_at, first_at)))
#define EBM_NORETURN __attribute__((noreturn))
#define EBM_AUTO(cleanup_function) __attribute__((cleanup(cleanup_function)))
#define EBM_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define EBM_ALIGNMENT 64u /* bytes: of every tensor and every kernel's buffer */

/* Hands a pointer out of a variable that has a scope cleanup. `pointer` is evaluated twice. */
#define EBM_TAKE_PTR(pointer)                                                                                          \
    __extension__({                                                                                                    \
        __typeof__(pointer) ebm_taken_ = (pointer);                                                                    \
        (pointer) = NULL;                                                                                              \
        ebm_taken_;                                                                                                    \
    })

/* Our own bugs, never a client's input. Stays on in release builds: control path only. */
#define EBM_ASSERT(condition) ((condition) ? (void)0 : ebm_assert_failed(#condition, __FILE__, __LINE__))

/* The same for inner loops: only in debug builds. */
#ifdef NDEBUG
#define EBM_DASSERT(condition) ((void)0)
#else
#define EBM_DASSERT(condition) EBM_ASSERT(condition)
#endif

EBM_NORETURN void ebm_assert_failed(const char *condition, const char *file, int line);

static inline size_t ebm_round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* free() for EBM_AUTO: EBM_AUTO(ebm_freep) char *text = NULL; */
void ebm_freep(void *pointer_to_pointer);

/* `bytes` of zeroed memory aligned to EBM_ALIGNMENT; NULL when there is none. New: free(). */
void *ebm_alloc_aligned(size_t bytes);
/* The same, not written: it stays with the system until somebody does. */
void *ebm_alloc_untouched(size_t bytes);

#endif
