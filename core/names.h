/* names.h - a word that somebody wrote, among the names that there are. Any thread; results borrow from `names`. */
#ifndef EBM_CORE_NAMES_H
#define EBM_CORE_NAMES_H

#include "core/base.h"

#define EBM_NAMES_HINT_BYTES 96u

/* The place of `word` among `names` (n); n when it is none of them, or NULL. */
size_t ebm_names_find(const char *word, const char *const *names, size_t n);

/* The entry of `names` (n) that is closest to a mistyped `word`; NULL when none is near. */
const char *ebm_names_near(const char *word, const char *const *names, size_t n);

/* Such an entry as the end of a sentence, ", did you mean 'NAME'?", in `space`; `otherwise` when none is near. */
const char *ebm_names_hint(const char *word, const char *const *names, size_t n, const char *otherwise,
                           char space[EBM_NAMES_HINT_BYTES]);

#endif
