/* options_internal.h - what the files of options share: the table as data, and how a value finds its place. Private to
 * them.
 *
 *   options.c        precedence: file, environment, flags
 *   options_table.c  the table, values as text into members
 *   options_file.c   the JSON file
 *   options_show.c   --help, docs/OPTIONS.md, --print-config
 */
#ifndef EBM_SERVER_OPTIONS_INTERNAL_H
#define EBM_SERVER_OPTIONS_INTERNAL_H

#include "server/options.h"

enum option_kind { OPTION_TEXT, OPTION_WORD, OPTION_WHOLE };

struct option {
    enum option_kind kind;
    const char *name;  /* with '_' */
    size_t at;         /* of the member */
    const char *value; /* what --help calls it, or the words */
    const char *standard_text;
    uint64_t standard, min, max;
    const char *help;
};

extern const struct option options_table[OPTIONS_COUNT];

void options_set_defaults(struct options *options);

/* Flag "port-number" or name "port_number" (length bytes) -> its row; NULL: none. */
const struct option *options_find(const char *name, size_t length, char separator);
/* ", did you mean 'x'?" or an empty text, of the names that are known. */
void options_suggest(const char *name, char separator, char *ret_text, size_t bytes);

/* Puts a value into its place; INVALID with `where` and what was expected. The text is borrowed. */
enum ebm_status options_assign(struct options *options, const struct option *option, enum options_source source,
                               const char *where, const char *value, struct ebm_error *reterr) EBM_MUST_USE;

/* INVALID: what the option expects, what there was instead, and how to do without. */
enum ebm_status options_refuse(const struct option *option, enum options_source source, const char *where,
                               const char *got, struct ebm_error *reterr);

/* The values of a whole option; of the others. */
uint64_t options_whole(const struct options *options, const struct option *option);
const char *options_text(const struct options *options, const struct option *option);

/* EBM_SERVER_<NAME>. */
void options_variable(const struct option *option, char *ret_name, size_t bytes);

/* Reads a file into options; its texts live as long as options->file. */
enum ebm_status options_read_file(struct options *options, const char *path, struct ebm_error *reterr) EBM_MUST_USE;

#endif
