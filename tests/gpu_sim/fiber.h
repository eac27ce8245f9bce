/* fiber.h - stacks that one thread of the processor switches between.
 *
 * On x86-64 the switch is a dozen instructions of our own: swapcontext makes a system call each time, which is ten
 * times as slow. Elsewhere, and with GPU_SIM_UCONTEXT, it is swapcontext. */
#ifndef GPU_SIM_FIBER_H
#define GPU_SIM_FIBER_H

#include <stddef.h>

#if !defined(__x86_64__) && !defined(GPU_SIM_UCONTEXT)
#define GPU_SIM_UCONTEXT
#endif
#ifdef GPU_SIM_UCONTEXT
#include <ucontext.h>
#endif

namespace gpu_sim
{

const size_t FIBER_STACK = 128 << 10;

struct fiber {
#ifdef GPU_SIM_UCONTEXT
    ucontext_t context;
#else
    void *stack_pointer;
#endif
    char *stack; /* a page that nobody may touch, then FIBER_STACK bytes */
};

/* A fiber that runs `entry`, which never returns. */
fiber *fiber_new(void (*entry)());
void fiber_free(fiber *f);
/* Goes on in `to`; what ran is kept in `from`. */
void fiber_switch(fiber *from, fiber *to);

} // namespace gpu_sim

#endif
