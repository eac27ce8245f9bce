/* counter.h - numbers that threads count and others read meanwhile. Nothing waits, and no order is promised between
 * one counter and another. */
#ifndef EBM_SERVER_COUNTER_H
#define EBM_SERVER_COUNTER_H

#include <stdatomic.h>

#include "core/base.h"

/* Any thread. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The one thread that writes it: a plain addition, as no other's can be lost. */
static inline void counter_set(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, n, memory_order_relaxed);
}

static inline void counter_add_own(_Atomic uint64_t *counter, uint64_t n)
{
    counter_set(counter, counter_get(counter) + n);
}

#endif
