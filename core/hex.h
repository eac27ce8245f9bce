/* hex.h - hexadecimal digits, lower case alone. Pure; any thread. */
#ifndef EBM_CORE_HEX_H
#define EBM_CORE_HEX_H

#include "core/base.h"

/* 0 .. 15; -1: no such digit. */
static inline int ebm_hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Of the lowest four bits. */
static inline char ebm_hex_digit(uint64_t value)
{
    return "0123456789abcdef"[value & 15];
}

#endif
