/* order.h - what qsort compares numbers by: ascending, NaN beside anything. Any thread. */
#ifndef EBM_CORE_ORDER_H
#define EBM_CORE_ORDER_H

/* Of an array of double, of float. */
int ebm_order_doubles(const void *a, const void *b);
int ebm_order_floats(const void *a, const void *b);

#endif
