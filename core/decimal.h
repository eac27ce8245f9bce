/* decimal.h - doubles to decimal digits and back, in a tenth of the time that the C library takes, and with the same
 * result to the last digit. No locale: the point is a '.'. Pure; any thread. */
#ifndef EBM_CORE_DECIMAL_H
#define EBM_CORE_DECIMAL_H

#include "core/base.h"

#define EBM_DECIMAL_BYTES 48      /* room to write any number; -1.2345678901234567e-308 takes 24 */
#define EBM_DECIMAL_MAX_DIGITS 17 /* that give every double back */

/* Writes a finite `value` as printf's %.*g does with 1 to 17 significant digits; returns the number of bytes. No 0 at
 * the end. */
size_t ebm_decimal_write(char ret_text[EBM_DECIMAL_BYTES], double value, int digits);

/* The same with the fewest of 15, 16 and 17 digits that read back as `value`. */
size_t ebm_decimal_write_whole(char ret_text[EBM_DECIMAL_BYTES], double value);

/* Reads a number as JSON writes it, from the front of text .. end - 1, to the nearest double; returns its bytes. 0:
 * none stands there, or one that is not decided here (more than 19 digits, very large or small, halfway between two
 * doubles), for strtod to read. */
size_t ebm_decimal_read(const char *text, const char *end, double *ret_value);

#endif
