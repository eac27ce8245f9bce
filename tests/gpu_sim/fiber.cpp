/* fiber.cpp - see fiber.h. */
#include "tests/gpu_sim/fiber.h"

#include "tests/gpu_sim/sim.h"

#include <sys/mman.h>

namespace gpu_sim
{

static const size_t PAGE = 4096;

#ifndef GPU_SIM_UCONTEXT
/* void (void **keep, void *to): the registers that a function must preserve go onto the stack, whose pointer is kept.
 */
extern "C" void gpu_sim_switch(void **keep, void *to);
asm(R"(
    .text
    .globl gpu_sim_switch
    .hidden gpu_sim_switch
    .type gpu_sim_switch, @function
gpu_sim_switch:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
    .size gpu_sim_switch, . - gpu_sim_switch
)");
#endif

static void prepare(fiber *f, void (*entry)())
{
#ifdef GPU_SIM_UCONTEXT
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack + PAGE;
    f->context.uc_stack.ss_size = FIBER_STACK;
    f->context.uc_link = nullptr;
    makecontext(&f->context, entry, 0);
#else
    void **top = reinterpret_cast<void **>(f->stack + PAGE + FIBER_STACK);
    *--top = nullptr; /* where entry would return to; keeps the stack aligned as a call does */
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->stack_pointer = top;
#endif
}

fiber *fiber_new(void (*entry)())
{
    void *memory = mmap(nullptr, PAGE + FIBER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("no memory for the stack of a thread");
    mprotect(memory, PAGE, PROT_NONE);
    fiber *f = new fiber();
    f->stack = static_cast<char *>(memory);
    prepare(f, entry);
    return f;
}

void fiber_free(fiber *f)
{
    munmap(f->stack, PAGE + FIBER_STACK);
    delete f;
}

void fiber_switch(fiber *from, fiber *to)
{
#ifdef GPU_SIM_UCONTEXT
    swapcontext(&from->context, &to->context);
#else
    gpu_sim_switch(&from->stack_pointer, to->stack_pointer);
#endif
}

} // namespace gpu_sim
