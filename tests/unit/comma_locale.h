/* comma_locale.h - a locale whose decimal point is a comma. */
#ifndef EBM_TESTS_COMMA_LOCALE_H
#define EBM_TESTS_COMMA_LOCALE_H

#include <criterion/criterion.h>
#include <locale.h>

#include "core/base.h"

/* Sets one for this process; the test is skipped where there is none. */
static inline void set_comma_locale(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ru_RU.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < EBM_COUNT_OF(names) && !found; i++)
        found = setlocale(LC_ALL, names[i]) != NULL && localeconv()->decimal_point[0] != '.';
    if (!found)
        cr_skip_test("no such locale is installed");
}

#endif
