/* fields.c - a JSON object, member by member, through its table.
 *
 *   member -> row of its name (none: refused, with the names that there are) -> reader of its kind
 *          -> value at its place
 *
 * Guarantees: what is returned OK is within every bound and finite; every refusal says where, what stood there and what
 * was expected; nothing of the JSON is borrowed afterwards. Does not know: any message. */
#include "proto/fields.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/image_list.h"

#define LATER "not available in this version"
#define WHERE_BYTES 96

/* One value on its way. */
struct reader {
    const struct json_lists *lists; /* NULL: all is in the tree */
    const void *limits;
    struct ebm_arena *arena;
    const struct field *field;
    const char *where;
    char *target; /* where the value goes */
    struct ebm_error *reterr;
};

/* The place of a value inside a member, for whoever wants to know. */
static void EBM_PRINTF(3, 4) say_where(const struct ebm_error *reterr, char where[WHERE_BYTES], const char *format, ...)
{
    where[0] = 0;
    if (!reterr)
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(where, WHERE_BYTES, format, arguments);
    va_end(arguments);
}

typedef enum ebm_status read_fn(const struct reader *reader, struct json_t *value);

static enum ebm_status fail_no_memory(const struct reader *reader)
{
    return ebm_error_set(reader->reterr, EBM_NO_MEMORY, reader->where, "no memory");
}

uint64_t field_max(const struct field *field, const void *limits)
{
    uint64_t max = field->max, lower;
    if (field->limit_at == FIELD_NO_LIMIT)
        return max;
    memcpy(&lower, (const char *)limits + field->limit_at, sizeof lower);
    return lower < max ? lower : max;
}

/* ---- words ---- */

static void list_words(const struct field *field, char *text, size_t text_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < field->n_words; i++)
        if (field->words[i].available && used < text_bytes)
            used += (size_t)snprintf(text + used, text_bytes - used, "%s%s", used ? ", " : "", field->words[i].word);
}

static enum ebm_status find_word(const struct reader *reader, const struct json_t *value, const char *where,
                                 uint32_t *ret_index)
{
    const struct field *field = reader->field;
    const char *text;
    enum ebm_status status = json_read_text(value, where, LIMIT_NAME_BYTES, &text, reader->reterr);
    if (status != EBM_OK)
        return status;
    for (uint32_t i = 0; i < field->n_words; i++)
        if (strcmp(text, field->words[i].word) == 0) {
            if (!field->words[i].available)
                return ebm_error_set(reader->reterr, EBM_INVALID, where, "'%s' is " LATER, text);
            *ret_index = i;
            return EBM_OK;
        }
    char known[160];
    list_words(field, known, sizeof known);
    return ebm_error_set(reader->reterr, EBM_INVALID, where, "unknown word '%.40s', expected one of: %s", text, known);
}

static enum ebm_status read_word(const struct reader *reader, struct json_t *value)
{
    uint32_t index;
    enum ebm_status status = find_word(reader, value, reader->where, &index);
    if (status == EBM_OK)
        memcpy(reader->target, &index, sizeof index);
    return status;
}

static enum ebm_status read_words(const struct reader *reader, struct json_t *value)
{
    size_t n;
    uint32_t bits = 0;
    enum ebm_status status = json_read_list(value, reader->where, 1, reader->field->n_words, "words", &n,
                                            reader->reterr);
    for (size_t i = 0; status == EBM_OK && i < n; i++) {
        char where[WHERE_BYTES];
        uint32_t bit = 0;
        say_where(reader->reterr, where, "%s[%zu]", reader->where, i);
        status = find_word(reader, json_read_at(value, i), where, &bit);
        bits |= 1u << bit;
    }
    if (status == EBM_OK)
        memcpy(reader->target, &bits, sizeof bits);
    return status;
}

/* ---- single values ---- */

static enum ebm_status read_text(const struct reader *reader, struct json_t *value)
{
    const char *text;
    enum ebm_status status = json_read_text(value, reader->where, reader->field->max, &text, reader->reterr);
    if (status != EBM_OK)
        return status;
    const char *copy = ebm_arena_text(reader->arena, text, strlen(text));
    if (!copy)
        return fail_no_memory(reader);
    memcpy(reader->target, &copy, sizeof copy);
    return EBM_OK;
}

static enum ebm_status read_whole(const struct reader *reader, struct json_t *value)
{
    uint64_t whole;
    enum ebm_status status = json_read_integer(value, reader->where, reader->field->min,
                                               field_max(reader->field, reader->limits), &whole, reader->reterr);
    if (status == EBM_OK)
        memcpy(reader->target, &whole, sizeof whole);
    return status;
}

static enum ebm_status read_number(const struct reader *reader, struct json_t *value)
{
    if (!json_read_is_number(value))
        return ebm_error_set(reader->reterr, EBM_INVALID, reader->where, "expected a number, got %s",
                             json_read_kind(value));
    double number = json_read_double(value);
    memcpy(reader->target, &number, sizeof number);
    return EBM_OK;
}

static enum ebm_status check_fraction(const struct reader *reader, const struct json_t *value, const char *where,
                                      double *ret_fraction)
{
    if (!json_read_is_number(value))
        return ebm_error_set(reader->reterr, EBM_INVALID, where, "expected a number between 0 and 1, got %s",
                             json_read_kind(value));
    double number = json_read_double(value);
    if (!(number > 0.0 && number < 1.0))
        return ebm_error_set(reader->reterr, EBM_INVALID, where,
                             "expected a number between 0 and 1, both excluded, got %g", number);
    *ret_fraction = number;
    return EBM_OK;
}

static enum ebm_status read_fraction(const struct reader *reader, struct json_t *value)
{
    double fraction = 0.0;
    enum ebm_status status = check_fraction(reader, value, reader->where, &fraction);
    if (status == EBM_OK)
        memcpy(reader->target, &fraction, sizeof fraction);
    return status;
}

static enum ebm_status read_flag(const struct reader *reader, struct json_t *value)
{
    bool flag;
    enum ebm_status status = json_read_bool(value, reader->where, &flag, reader->reterr);
    if (status == EBM_OK)
        memcpy(reader->target, &flag, sizeof flag);
    return status;
}

/* ---- lists ---- */

static enum ebm_status read_fractions(const struct reader *reader, struct json_t *value)
{
    size_t n;
    enum ebm_status status = json_read_list(value, reader->where, 1, reader->field->max, "probabilities", &n,
                                            reader->reterr);
    if (status != EBM_OK)
        return status;
    double *numbers = EBM_ARENA_NEW(reader->arena, double, n);
    if (!numbers)
        return fail_no_memory(reader);
    for (size_t i = 0; status == EBM_OK && i < n; i++) {
        char where[WHERE_BYTES];
        say_where(reader->reterr, where, "%s[%zu]", reader->where, i);
        status = check_fraction(reader, json_read_at(value, i), where, &numbers[i]);
    }
    struct field_numbers result = {(uint32_t)n, numbers};
    memcpy(reader->target, &result, sizeof result);
    return status;
}

static enum ebm_status read_length(const struct reader *reader, const struct json_t *value, const char *where,
                                   double *ret_length)
{
    double number = json_read_is_number(value) ? json_read_double(value) : NAN;
    if (!(number > 0.0))
        return ebm_error_set(reader->reterr, EBM_INVALID, where, "expected a number above 0");
    *ret_length = number;
    return EBM_OK;
}

static enum ebm_status read_lengths(const struct reader *reader, struct json_t *value)
{
    bool is_list = json_read_is_list(value);
    size_t n = 1;
    enum ebm_status status = EBM_OK;
    if (is_list)
        status = json_read_list(value, reader->where, 1, reader->field->max, "numbers", &n, reader->reterr);
    if (status != EBM_OK)
        return status;
    double *numbers = EBM_ARENA_NEW(reader->arena, double, n);
    if (!numbers)
        return fail_no_memory(reader);
    for (size_t i = 0; status == EBM_OK && i < n; i++) {
        char where[WHERE_BYTES];
        say_where(reader->reterr, where, is_list ? "%s[%zu]" : "%s", reader->where, i);
        status = read_length(reader, is_list ? json_read_at(value, i) : value, where, &numbers[i]);
    }
    struct field_numbers result = {(uint32_t)n, numbers};
    memcpy(reader->target, &result, sizeof result);
    return status;
}

/* Numbers of a list, or one bare number when X is 1. `first` is where the size was set. ret_numbers NULL: only looks.
 */
static enum ebm_status read_vector(const struct reader *reader, const struct json_t *vector, const char *where,
                                   const char *first, size_t X, double *ret_numbers)
{
    bool is_list = json_read_is_list(vector);
    size_t length = is_list ? json_read_length(vector) : 1;
    if (!is_list && !json_read_is_number(vector))
        return ebm_error_set(reader->reterr, EBM_INVALID, where, "expected a list of numbers, got %s",
                             json_read_kind(vector));
    if (length != X)
        return ebm_error_set(reader->reterr, EBM_INVALID, where, "expected %zu numbers as in %s, got %zu", X, first,
                             length);
    for (size_t x = 0; x < X; x++) {
        const struct json_t *number = is_list ? json_read_at(vector, x) : vector;
        if (!json_read_is_number(number)) {
            char at[WHERE_BYTES];
            say_where(reader->reterr, at, "%.60s[%zu]", where, x);
            return ebm_error_set(reader->reterr, EBM_INVALID, at, "expected a number, got %s", json_read_kind(number));
        }
        if (ret_numbers)
            ret_numbers[x] = json_read_double(number);
    }
    return EBM_OK;
}

/* The size of a list's first vector. */
static enum ebm_status vector_size(const struct reader *reader, const struct json_t *list, const char *where,
                                   size_t *ret_size)
{
    const struct json_t *first = json_read_at(list, 0);
    *ret_size = json_read_is_list(first) ? json_read_length(first) : 1;
    if (*ret_size == 0)
        return ebm_error_set(reader->reterr, EBM_INVALID, where, "expected numbers, got an empty list");
    return EBM_OK;
}

/* n vectors of X numbers; their places are "<where>[i]". */
static enum ebm_status read_vectors(const struct reader *reader, const struct json_t *list, const char *where,
                                    const char *first, size_t n, size_t X, double *ret_numbers)
{
    enum ebm_status status = EBM_OK;
    for (size_t i = 0; status == EBM_OK && i < n; i++) {
        char at[WHERE_BYTES];
        say_where(reader->reterr, at, "%.60s[%zu]", where, i);
        status = read_vector(reader, json_read_at(list, i), at, first, X, ret_numbers ? ret_numbers + i * X : NULL);
    }
    return status;
}

/* The list that was cut out in this value's place; NULL: none was, the value is there itself. */
static const struct json_list *list_of(const struct reader *reader, const struct json_t *value)
{
    return reader->lists ? json_lists_find(reader->lists, value) : NULL;
}

static enum ebm_status take_rows(const struct reader *reader, const struct json_list *list)
{
    struct field_rows rows = {.n = (uint32_t)list->sizes[0], .X = (uint32_t)list->sizes[1], .numbers = list->numbers};
    if (list->n_levels > 2 || list->sizes[0] > field_max(reader->field, reader->limits))
        return EBM_INVALID;
    memcpy(reader->target, &rows, sizeof rows);
    return EBM_OK;
}

static enum ebm_status read_images(const struct reader *reader, const struct json_t *value)
{
    struct field_rows rows;
    enum ebm_status status = image_list_read(value, reader->where, field_max(reader->field, reader->limits),
                                             reader->arena, &rows, reader->reterr);
    if (status == EBM_OK)
        memcpy(reader->target, &rows, sizeof rows);
    return status;
}

static enum ebm_status read_rows(const struct reader *reader, struct json_t *value)
{
    size_t n, X;
    char first[WHERE_BYTES];
    const struct json_list *list = list_of(reader, value);
    if (list)
        return take_rows(reader, list);
    if (image_list_is_one(value))
        return read_images(reader, value);
    enum ebm_status status = json_read_list(value, reader->where, 1, field_max(reader->field, reader->limits), "rows",
                                            &n, reader->reterr);
    say_where(reader->reterr, first, "%s[0]", reader->where);
    if (status == EBM_OK)
        status = vector_size(reader, value, first, &X);
    if (status != EBM_OK)
        return status;
    bool is_even = n * X <=
                   LIMIT_JSON_VALUES; /* else some row is shorter, and memory for all is not worth asking for */
    double *numbers = is_even ? ebm_arena_alloc(reader->arena, n * X, sizeof *numbers) : NULL;
    if (is_even && !numbers)
        return fail_no_memory(reader);
    status = read_vectors(reader, value, reader->where, first, n, X, numbers);
    EBM_ASSERT(is_even || status != EBM_OK);
    struct field_rows rows = {.n = (uint32_t)n, .X = (uint32_t)X, .numbers = numbers};
    memcpy(reader->target, &rows, sizeof rows);
    return status;
}

/* The shape of targets, from their first row and its first target. */
static enum ebm_status targets_shape(const struct reader *reader, const struct json_t *value,
                                     struct field_targets *ret_shape)
{
    size_t rows, n, D;
    uint64_t max = field_max(reader->field, reader->limits);
    char first[WHERE_BYTES];
    say_where(reader->reterr, first, "%s[0]", reader->where);
    enum ebm_status status = json_read_list(value, reader->where, 1, LIMIT_ROWS, "rows", &rows, reader->reterr);
    if (status == EBM_OK)
        status = json_read_list(json_read_at(value, 0), first, 1, max, "targets", &n, reader->reterr);
    say_where(reader->reterr, first, "%s[0][0]", reader->where);
    if (status == EBM_OK)
        status = vector_size(reader, json_read_at(value, 0), first, &D);
    if (status == EBM_OK)
        *ret_shape = (struct field_targets){(uint32_t)rows, (uint32_t)n, (uint32_t)D, NULL};
    return status;
}

/* n_levels 2: targets of one number. */
static enum ebm_status take_targets(const struct reader *reader, const struct json_list *list)
{
    const size_t *sizes = list->sizes;
    struct field_targets targets = {(uint32_t)sizes[0], (uint32_t)sizes[1], (uint32_t)sizes[2], list->numbers};
    if (list->n_levels < 2 || sizes[0] > LIMIT_ROWS || sizes[1] > field_max(reader->field, reader->limits))
        return EBM_INVALID;
    memcpy(reader->target, &targets, sizeof targets);
    return EBM_OK;
}

static enum ebm_status read_targets(const struct reader *reader, struct json_t *value)
{
    struct field_targets shape;
    const struct json_list *list = list_of(reader, value);
    if (list)
        return take_targets(reader, list);
    enum ebm_status status = targets_shape(reader, value, &shape);
    if (status != EBM_OK)
        return status;
    size_t row_numbers = (size_t)shape.n * shape.D;
    bool is_even = shape.rows * row_numbers <= LIMIT_JSON_VALUES;
    double *numbers = is_even ? ebm_arena_alloc(reader->arena, shape.rows * row_numbers, sizeof *numbers) : NULL;
    if (is_even && !numbers)
        return fail_no_memory(reader);
    for (size_t i = 0; status == EBM_OK && i < shape.rows; i++) {
        char where[WHERE_BYTES], first[WHERE_BYTES];
        size_t n;
        say_where(reader->reterr, where, "%s[%zu]", reader->where, i);
        say_where(reader->reterr, first, "%s[0][0]", reader->where);
        status = json_read_list(json_read_at(value, i), where, shape.n, shape.n, "targets", &n, reader->reterr);
        if (status == EBM_OK)
            status = read_vectors(reader, json_read_at(value, i), where, first, n, shape.D,
                                  numbers ? numbers + i * row_numbers : NULL);
    }
    EBM_ASSERT(is_even || status != EBM_OK);
    shape.numbers = numbers;
    memcpy(reader->target, &shape, sizeof shape);
    return status;
}

/* A list of numbers, or lists of numbers that are equally long. */
static enum ebm_status points_shape(const struct reader *reader, const struct json_t *value,
                                    struct field_targets *ret_shape)
{
    size_t rows, n;
    uint64_t max = field_max(reader->field, reader->limits);
    enum ebm_status status = json_read_list(value, reader->where, 1, max > LIMIT_ROWS ? max : LIMIT_ROWS, "targets", &n,
                                            reader->reterr);
    if (status != EBM_OK)
        return status;
    bool is_shared = !json_read_is_list(json_read_at(value, 0));
    rows = is_shared ? 0 : n;
    if (!is_shared) {
        char first[WHERE_BYTES];
        say_where(reader->reterr, first, "%s[0]", reader->where);
        status = json_read_list(json_read_at(value, 0), first, 1, max, "targets", &n, reader->reterr);
    } else {
        status = json_read_list(value, reader->where, 1, max, "targets", &n, reader->reterr);
    }
    if (status == EBM_OK)
        *ret_shape = (struct field_targets){(uint32_t)rows, (uint32_t)n, 1, NULL};
    return status;
}

static enum ebm_status take_points(const struct reader *reader, const struct json_list *list)
{
    bool is_shared = list->n_levels == 1;
    size_t rows = is_shared ? 0 : list->sizes[0], n = list->sizes[is_shared ? 0 : 1];
    uint64_t max = field_max(reader->field, reader->limits), max_rows = max > LIMIT_ROWS ? max : LIMIT_ROWS;
    struct field_targets points = {(uint32_t)rows, (uint32_t)n, 1, list->numbers};
    if (list->n_levels > 2 || rows > max_rows || n > max)
        return EBM_INVALID;
    memcpy(reader->target, &points, sizeof points);
    return EBM_OK;
}

static enum ebm_status read_points(const struct reader *reader, struct json_t *value)
{
    struct field_targets shape;
    char first[WHERE_BYTES];
    const struct json_list *list = list_of(reader, value);
    if (list)
        return take_points(reader, list);
    enum ebm_status status = points_shape(reader, value, &shape);
    if (status != EBM_OK)
        return status;
    size_t rows = shape.rows > 0 ? shape.rows : 1, n = shape.n;
    bool is_even = rows * n <= LIMIT_JSON_VALUES;
    double *numbers = is_even ? ebm_arena_alloc(reader->arena, rows * n, sizeof *numbers) : NULL;
    if (is_even && !numbers)
        return fail_no_memory(reader);
    say_where(reader->reterr, first, "%s[0]", reader->where);
    status = shape.rows > 0 ? read_vectors(reader, value, reader->where, first, rows, n, numbers)
                            : read_vector(reader, value, reader->where, reader->where, n, numbers);
    EBM_ASSERT(is_even || status != EBM_OK);
    shape.numbers = numbers;
    memcpy(reader->target, &shape, sizeof shape);
    return status;
}

/* ---- the table ---- */

static read_fn *const readers[] = {
    [FIELD_ROWS] = read_rows,         [FIELD_TARGETS] = read_targets,     [FIELD_POINTS] = read_points,
    [FIELD_TEXT] = read_text,         [FIELD_WHOLE] = read_whole,         [FIELD_NUMBER] = read_number,
    [FIELD_FRACTION] = read_fraction, [FIELD_FRACTIONS] = read_fractions, [FIELD_LENGTHS] = read_lengths,
    [FIELD_FLAG] = read_flag,         [FIELD_WORD] = read_word,           [FIELD_WORDS] = read_words,
};

static void set_standard(const struct field *field, const void *limits, char *target)
{
    uint64_t max = field->kind == FIELD_WHOLE ? field_max(field, limits) : UINT64_MAX;
    uint64_t whole = field->standard < max ? field->standard : max;
    uint32_t index = (uint32_t)whole;
    bool flag = whole != 0;
    if (field->kind == FIELD_WHOLE)
        memcpy(target, &whole, sizeof whole);
    else if (field->kind == FIELD_FLAG)
        memcpy(target, &flag, sizeof flag);
    else
        memcpy(target, &index, sizeof index);
}

static void set_standards(const struct field *fields, uint32_t n, const void *limits, char *message)
{
    for (uint32_t i = 0; i < n; i++) {
        if (fields[i].has_standard)
            set_standard(&fields[i], limits, message + fields[i].at);
        set_standards(fields[i].members, fields[i].n_members, limits, message);
    }
}

static enum ebm_status fail_unknown(const struct field *fields, uint32_t n, const char *where, struct ebm_error *reterr)
{
    char known[240];
    size_t used = 0;
    for (uint32_t i = 0; i < n; i++)
        if (fields[i].kind != FIELD_LATER && used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", fields[i].name);
    return ebm_error_set(reterr, EBM_INVALID, where, "unknown field, expected one of: %s", known);
}

/* What the members of one object have in common. */
struct object {
    const struct field *fields;
    uint32_t n;
    const char *prefix; /* "" or "interval." */
    const struct json_lists *lists;
    const void *limits;
    struct ebm_arena *arena;
    char *message;
    field_seen seen;
    struct ebm_error *reterr;
};

static enum ebm_status read_object(struct object *object, const char *where, struct json_t *value);

static enum ebm_status read_inner(const struct object *outer, const struct field *field, const char *where,
                                  struct json_t *value)
{
    char prefix[WHERE_BYTES];
    say_where(outer->reterr, prefix, "%.60s.", where);
    struct object inner = *outer;
    inner.fields = field->members;
    inner.n = field->n_members;
    inner.prefix = prefix;
    inner.seen = 0;
    return read_object(&inner, where, value);
}

static enum ebm_status read_member(struct object *object, const char *name, struct json_t *value)
{
    char where[WHERE_BYTES];
    say_where(object->reterr, where, "%s%.60s", object->prefix, name);
    const struct field *field = fields_find(object->fields, object->n, name, strlen(name));
    if (!field)
        return fail_unknown(object->fields, object->n, where, object->reterr);
    object->seen |= 1u << (field - object->fields);
    if (field->kind == FIELD_LATER)
        return ebm_error_set(object->reterr, EBM_INVALID, where, LATER);
    if (field->kind == FIELD_OBJECT && json_read_is_text(value))
        return ebm_error_set(object->reterr, EBM_INVALID, where,
                             "expected an object, got a text; in a query each member stands by itself, as %s.%s=...",
                             field->name, field->members[0].name);
    if (field->kind == FIELD_OBJECT)
        return read_inner(object, field, where, value);
    struct reader reader = {object->lists, object->limits, object->arena, field, where, object->message + field->at,
                            object->reterr};
    return readers[field->kind](&reader, value);
}

static enum ebm_status check_required(const struct object *object)
{
    for (uint32_t i = 0; i < object->n; i++)
        if (object->fields[i].required && !(object->seen >> i & 1u)) {
            char where[WHERE_BYTES];
            say_where(object->reterr, where, "%s%s", object->prefix, object->fields[i].name);
            return ebm_error_set(object->reterr, EBM_INVALID, where, "missing, expected %s", object->fields[i].help);
        }
    return EBM_OK;
}

static enum ebm_status read_object(struct object *object, const char *where, struct json_t *value)
{
    enum ebm_status status = value ? json_read_object(value, where, object->reterr) : EBM_OK;
    if (status != EBM_OK)
        return status;
    void *member = value ? json_read_first(value) : NULL;
    for (; status == EBM_OK && member; member = json_read_next(value, member))
        status = read_member(object, json_read_key(member), json_read_value(member));
    return status == EBM_OK ? check_required(object) : status;
}

enum ebm_status fields_read(const struct field *fields, uint32_t n, struct json_t *root, const struct json_lists *lists,
                            const void *limits, struct ebm_arena *arena, void *message, field_seen *ret_seen,
                            struct ebm_error *reterr)
{
    struct object object = {fields, n, "", lists, limits, arena, message, 0, reterr};
    EBM_ASSERT(n <= 8 * sizeof object.seen);
    set_standards(fields, n, limits, message);
    enum ebm_status status = read_object(&object, "body", root);
    *ret_seen = object.seen;
    return status;
}

const struct field *fields_find(const struct field *fields, uint32_t n, const char *name, size_t length)
{
    for (uint32_t i = 0; i < n; i++)
        if (strlen(fields[i].name) == length && memcmp(fields[i].name, name, length) == 0)
            return &fields[i];
    return NULL;
}

uint32_t fields_lists(const struct field *fields, uint32_t n, const char *ret_names[JSON_LISTS])
{
    uint32_t n_lists = 0;
    for (uint32_t i = 0; i < n && n_lists < JSON_LISTS; i++)
        if (fields[i].kind == FIELD_ROWS || fields[i].kind == FIELD_TARGETS || fields[i].kind == FIELD_POINTS)
            ret_names[n_lists++] = fields[i].name;
    return n_lists;
}
