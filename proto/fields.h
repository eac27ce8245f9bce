/* fields.h - what a JSON object may hold, as a table: the one source of checks, texts of errors and the interface's
 * description (openapi.h).
 *
 * A row of the table is a member: its name, its kind, its bounds, where its value goes. Any thread. */
#ifndef EBM_PROTO_FIELDS_H
#define EBM_PROTO_FIELDS_H

#include <stddef.h>

#include "core/arena.h"
#include "core/status.h"
#include "proto/json_lists.h"

/* An image as it came, PNG or JPEG, which nobody has looked at. */
struct field_image {
    const uint8_t *bytes;
    size_t size;
};

#define FIELD_ROW_DIMS 3u

/* Rows of one size, in one of three forms: the others are NULL. */
struct field_rows {
    uint32_t n, X;                    /* X 0: images, which become rows when it is known of what size */
    const double *numbers;            /* (n, X), finite */
    const uint8_t *bytes;             /* (n, X), numbers of 8 bits */
    const struct field_image *images; /* (n) */
    uint32_t dims[FIELD_ROW_DIMS];    /* of a row that came as an image: channels, height, width; all 0: of X numbers */
};

/* For every row of a request equally many targets. */
struct field_targets {
    uint32_t rows, n, D;   /* of FIELD_POINTS rows may be 0: (n) numbers for all rows */
    const double *numbers; /* (rows, n, D), finite */
};

struct field_numbers {
    uint32_t n;
    const double *numbers;
};

/* kind, type of the value in the message */
enum field_kind {
    FIELD_ROWS,      /* struct field_rows: 1 .. max rows of the same size; bare numbers are rows of one; or images */
    FIELD_TARGETS,   /* struct field_targets: 1 .. max a row */
    FIELD_POINTS,    /* struct field_targets of D = 1: 1 .. max numbers, rows 0; or 1 .. max a row */
    FIELD_TEXT,      /* const char *: at most max characters, copied into the arena */
    FIELD_WHOLE,     /* uint64_t: min .. max */
    FIELD_NUMBER,    /* double: finite */
    FIELD_FRACTION,  /* double: above 0, below 1 */
    FIELD_FRACTIONS, /* struct field_numbers: 1 .. max, each above 0, below 1 */
    FIELD_LENGTHS,   /* struct field_numbers: 1 .. max, each above 0; one may stand without its list */
    FIELD_FLAG,      /* bool */
    FIELD_WORD,      /* uint32_t: index in words */
    FIELD_WORDS,     /* uint32_t: bits by index in words */
    FIELD_OBJECT,    /* the members of another table, into the same message */
    FIELD_LATER,     /* known, and refused: not available in this version */
};

struct field_word {
    const char *word;
    bool available; /* in this version */
};

struct field {
    const char *name;
    enum field_kind kind;
    size_t at; /* of the value in the message */
    uint64_t min, max;
    size_t limit_at;   /* of a lower maximum, a uint64_t, in the limits; FIELD_NO_LIMIT: none */
    uint64_t standard; /* the value when left out, of WHOLE, FLAG, WORD and WORDS; lowered to the limit */
    bool has_standard, required;
    const struct field_word *words;
    uint32_t n_words;
    const struct field *members; /* of OBJECT */
    uint32_t n_members;
    const char *help; /* for the interface's description */
};

#define FIELD_NO_LIMIT SIZE_MAX

/* One bit a row of the outermost table: did it stand in the object? */
typedef uint32_t field_seen;

/* Reads `root` (NULL: an object without members) into `message`, defaults first. `limits` is what limit_at points into.
 * `lists`: what was cut out of the text, NULL: nothing. INVALID or NO_MEMORY with where = the member ("interval.level",
 * "inputs[3][0]"), but for lists that were cut out, whose refusal has no words; message may be half filled then. Texts
 * and arrays lie in the arena. */
enum ebm_status fields_read(const struct field *fields, uint32_t n, struct json_t *root, const struct json_lists *lists,
                            const void *limits, struct ebm_arena *arena, void *message, field_seen *ret_seen,
                            struct ebm_error *reterr) EBM_MUST_USE;

/* The row of the member whose name is name[0 .. length - 1]; NULL: there is none. Borrow. */
const struct field *fields_find(const struct field *fields, uint32_t n, const char *name, size_t length);

/* Names of the members that may be long lists of numbers, for json_lists_parse; returns how many. Borrow. */
uint32_t fields_lists(const struct field *fields, uint32_t n, const char *ret_names[JSON_LISTS]);

/* The maximum of a WHOLE, ROWS or TARGETS under these limits. */
uint64_t field_max(const struct field *field, const void *limits);

#endif
