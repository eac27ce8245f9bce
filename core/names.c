/* names.c - the distance of two words is how many letters must be put in, taken out or replaced; near is less than a
 * third of the word, and two letters more. */
#include "core/names.h"

#include <stdio.h>
#include <string.h>

#define WORD_BYTES 64u /* longer words get no hint */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions and replacements that turn `a` into `b`. */
static size_t distance(const char *a, const char *b)
{
    size_t row[WORD_BYTES + 1], n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = smaller(replaced, smaller(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

size_t ebm_names_find(const char *word, const char *const *names, size_t n)
{
    size_t i = 0;
    while (i < n && (word == NULL || strcmp(word, names[i]) != 0))
        i++;
    return i;
}

const char *ebm_names_near(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2;
    if (strlen(word) > WORD_BYTES)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = strlen(names[i]) > WORD_BYTES ? best_distance : distance(word, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

const char *ebm_names_hint(const char *word, const char *const *names, size_t n, const char *otherwise,
                           char space[EBM_NAMES_HINT_BYTES])
{
    const char *near = ebm_names_near(word, names, n);
    if (near == NULL)
        return otherwise;
    (void)snprintf(space, EBM_NAMES_HINT_BYTES, ", did you mean '%s'?", near);
    return space;
}
