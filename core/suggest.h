/* suggest.h - "did you mean": the known word that is nearest to a mistyped one. */
#ifndef EBM_CORE_SUGGEST_H
#define EBM_CORE_SUGGEST_H

#include "core/base.h"

/* The entry of `names` (n) that is closest to `word`; NULL when none is near. Borrow: of names. Any thread. */
const char *ebm_suggest(const char *word, const char *const *names, size_t n);

#endif
