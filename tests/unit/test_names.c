/* test_names.c - known words, near words, far words, long words. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/names.h"

Test(names, a_word_has_a_place_or_none)
{
    static const char *const names[] = {"real", "bounded", "periodic"};
    cr_assert_eq(ebm_names_find("real", names, 3), 0);
    cr_assert_eq(ebm_names_find("periodic", names, 3), 2);
    cr_assert_eq(ebm_names_find("bound", names, 3), 3);
    cr_assert_eq(ebm_names_find("", names, 3), 3);
    cr_assert_eq(ebm_names_find(NULL, names, 3), 3);
    cr_assert_eq(ebm_names_find("real", names, 0), 0);
}

Test(names, a_hint_ends_a_sentence)
{
    static const char *const names[] = {"cosine", "constant", "step"};
    char space[EBM_NAMES_HINT_BYTES], most[64 + 1] = "";
    const char *const longest[] = {memset(most, 'a', 64)};
    cr_assert_str_eq(ebm_names_hint("cosin", names, 3, "", space), ", did you mean 'cosine'?");
    cr_assert_str_eq(ebm_names_hint("linear", names, 3, "; there are three", space), "; there are three");
    cr_assert_str_eq(ebm_names_hint("aaaa", names, 0, "", space), "");
    const char *hint = ebm_names_hint(most, longest, 1, "", space);
    cr_assert_eq(strlen(hint), strlen(", did you mean ''?") + 64);
    cr_assert_eq(hint[strlen(hint) - 1], '?');
}

Test(names, the_nearest_word_or_none)
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
        const char *near = ebm_names_near(cases[i].word, names, EBM_COUNT_OF(names));
        cr_assert((near == NULL) == (cases[i].near == NULL) && (near == NULL || strcmp(near, cases[i].near) == 0),
                  "'%s': %s", cases[i].word, near != NULL ? near : "none");
    }
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    cr_assert_null(ebm_names_near(endless, names, EBM_COUNT_OF(names)));
    const char *const long_name[] = {endless};
    cr_assert_null(ebm_names_near("a", long_name, 1));
}
