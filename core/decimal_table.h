/* decimal_table.h - powers of ten for decimal.c. */
#ifndef EBM_CORE_DECIMAL_TABLE_H
#define EBM_CORE_DECIMAL_TABLE_H

#include "core/base.h"

#define EBM_DECIMAL_LAST_POWER 80

/* 10^q stands at q + EBM_DECIMAL_LAST_POWER: the upper and the lower 64 of its first 128 binary digits. */
extern const uint64_t ebm_decimal_powers[2 * EBM_DECIMAL_LAST_POWER + 1][2];

#endif
