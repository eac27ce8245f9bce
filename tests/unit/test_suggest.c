/* test_suggest.c - near words, far words, long words. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/suggest.h"

Test(suggest, the_nearest_word_or_none)
{
    static const char *const names[] = {"feature_net", "target_net", "energy_net", "proposal", "name"};
    static const struct {
        const char *word, *near;
    } cases[] = {{"feature_nets", "feature_net"},
                 {"featur_net", "feature_net"},
                 {"energynet", "energy_net"},
                 {"propsal", "proposal"},
                 {"Name", "name"},
                 {"colour", NULL},
                 {"", NULL},
                 {"xyzzy", NULL}};
    char endless[200];
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        const char *near = ebm_suggest(cases[i].word, names, EBM_COUNT_OF(names));
        cr_assert((near == NULL) == (cases[i].near == NULL) && (near == NULL || strcmp(near, cases[i].near) == 0),
                  "'%s': %s", cases[i].word, near != NULL ? near : "none");
    }
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    cr_assert_null(ebm_suggest(endless, names, EBM_COUNT_OF(names)));
    const char *const long_name[] = {endless};
    cr_assert_null(ebm_suggest("a", long_name, 1));
}
