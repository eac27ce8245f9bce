/* safetensors_header.c - the JSON subset of a safetensors header.
 *
 *   header   = { "__metadata__": {string: string, ...}, name: tensor, ... }
 *   tensor   = { "dtype": string, "shape": [unsigned, ...], "data_offsets": [unsigned, unsigned] }
 *
 * The grammar has a fixed depth, so the parser is one function a level and never recurses: nothing that a file says can
 * exhaust the stack. Strings are checked to be UTF-8 without 0 and decoded in place (an escape is never shorter than
 * what it stands for), so no string is allocated. The text ends with a 0 that no rule accepts: it stops every loop.
 *
 *   parse -> entries in the file's order -> sorted by place: no gap, no overlap, nothing left over
 *                                        -> sorted by name: no duplicate
 *
 * Guarantees: what it accepts is consistent: every tensor's bytes are exactly its shape times its dtype and lie within
 * data_bytes; every count is within limits.h. What it refuses is named. Any thread. */
#include "core/safetensors_header.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    char *start, *at, *end;
    const char *where; /* the tensor or key that is being read */
    struct ebm_header *header;
    bool has_metadata;
    struct ebm_error *reterr;
};

static enum ebm_status fail(const struct parser *p, const char *message)
{
    return ebm_error_set(p->reterr, EBM_DAMAGED, p->where, "%s at byte %zu of the header", message,
                         (size_t)(p->at - p->start));
}

static void skip_space(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r')
        p->at++;
}

static bool accept(struct parser *p, char c)
{
    skip_space(p);
    if (*p->at != c)
        return false;
    p->at++;
    return true;
}

/* ---- strings ---- */

/* Bytes of the UTF-8 sequence at s, 0 when it is none (overlong, a surrogate, above U+10FFFF, cut). */
static size_t utf8_bytes(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool is_bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
                  (s[0] == 0xf4 && s[1] > 0x8f);
    return is_bad ? 0 : n;
}

static size_t put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    to[0] = (char)(lead[n] | code);
    return n;
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const char *s)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The code of \uXXXX at p->at (a pair of them beyond U+FFFF), 0 when it is none that a string may hold. */
static uint32_t unicode_escape(struct parser *p)
{
    int32_t code = hex4(p->at + 2);
    if (code <= 0)
        return 0;
    p->at += 6;
    if (code < 0xd800 || code > 0xdfff)
        return (uint32_t)code;
    int32_t low = code < 0xdc00 && p->at[0] == '\\' && p->at[1] == 'u' ? hex4(p->at + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    p->at += 6;
    return 0x10000u + ((uint32_t)(code - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
}

/* The code of the escape at p->at, which it moves past; 0 when it is none. */
static uint32_t escape(struct parser *p)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = p->at[1];
    if (c == 'u')
        return unicode_escape(p);
    const char *found = c ? strchr(from, c) : NULL;
    if (!found)
        return 0;
    p->at += 2;
    return (unsigned char)to[found - from];
}

static enum ebm_status parse_string(struct parser *p, const char **ret_text)
{
    if (!accept(p, '"'))
        return fail(p, "expected a string");
    char *text = p->at, *to = p->at;
    while (*p->at != '"') {
        if (p->at == p->end)
            return fail(p, "a string without an end");
        if ((unsigned char)*p->at < 0x20)
            return fail(p, "a control character in a string");
        if (*p->at == '\\') {
            uint32_t code = escape(p);
            if (code == 0)
                return fail(p, "an escape that is not valid");
            to += put_utf8(to, code);
            continue;
        }
        size_t n = utf8_bytes((const unsigned char *)p->at);
        if (n == 0)
            return fail(p, "a string that is not UTF-8");
        memmove(to, p->at, n);
        to += n;
        p->at += n;
    }
    p->at++;
    *to = 0;
    *ret_text = text;
    return EBM_OK;
}

/* A tensor's name or a key, and the ':' after it. */
static enum ebm_status parse_name(struct parser *p, const char **ret_name)
{
    const char *name = "";
    enum ebm_status status = parse_string(p, &name);
    if (status != EBM_OK)
        return status;
    if (!name[0])
        return fail(p, "an empty name");
    p->where = name;
    *ret_name = name;
    return accept(p, ':') ? EBM_OK : fail(p, "expected ':'");
}

/* ---- numbers ---- */

static enum ebm_status parse_unsigned(struct parser *p, uint64_t *ret_value)
{
    skip_space(p);
    const char *first = p->at;
    uint64_t value = 0;
    for (; *p->at >= '0' && *p->at <= '9'; p->at++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p->at - '0'), &value))
            return fail(p, "a number beyond 64 bits");
    if (p->at == first || (*first == '0' && p->at - first > 1))
        return fail(p, "expected an unsigned integer");
    if (*p->at == '.' || *p->at == 'e' || *p->at == 'E')
        return fail(p, "expected an unsigned integer, got a fraction or exponent");
    *ret_value = value;
    return EBM_OK;
}

/* [unsigned, ...], at most max of them */
static enum ebm_status parse_array(struct parser *p, uint64_t *ret_values, uint32_t max, uint32_t *ret_n)
{
    if (!accept(p, '['))
        return fail(p, "expected '['");
    uint32_t n = 0;
    if (!accept(p, ']')) {
        do {
            if (n == max)
                return fail(p, "more numbers than allowed");
            enum ebm_status status = parse_unsigned(p, &ret_values[n++]);
            if (status != EBM_OK)
                return status;
        } while (accept(p, ','));
        if (!accept(p, ']'))
            return fail(p, "expected ',' or ']'");
    }
    *ret_n = n;
    return EBM_OK;
}

/* ---- tensors ---- */

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
#define X(name, bytes) {#name, bytes},
    EBM_DTYPE_MAP(X)
#undef X
};

const char *ebm_dtype_name(enum ebm_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t ebm_dtype_bytes(enum ebm_dtype dtype)
{
    return dtypes[dtype].bytes;
}

void ebm_shape_text(const uint64_t *shape, uint32_t n_dims, char ret_text[EBM_SHAPE_TEXT_BYTES])
{
    size_t at = (size_t)snprintf(ret_text, EBM_SHAPE_TEXT_BYTES, "(");
    for (uint32_t i = 0; i < n_dims; i++)
        at += (size_t)snprintf(ret_text + at, EBM_SHAPE_TEXT_BYTES - at, "%s%" PRIu64, i ? ", " : "", shape[i]);
    (void)snprintf(ret_text + at, EBM_SHAPE_TEXT_BYTES - at, ")");
}

static enum ebm_status parse_dtype(struct parser *p, enum ebm_dtype *ret_dtype)
{
    const char *word;
    enum ebm_status status = parse_string(p, &word);
    if (status != EBM_OK)
        return status;
    for (size_t i = 0; i < EBM_COUNT_OF(dtypes); i++)
        if (strcmp(dtypes[i].name, word) == 0) {
            *ret_dtype = (enum ebm_dtype)i;
            return EBM_OK;
        }
    return ebm_error_set(p->reterr, EBM_DAMAGED, p->where, "unknown dtype \"%.32s\"", word);
}

static enum ebm_status parse_offsets(struct parser *p, struct ebm_header_entry *entry)
{
    uint64_t offsets[2];
    uint32_t n;
    enum ebm_status status = parse_array(p, offsets, 2, &n);
    if (status != EBM_OK)
        return status;
    if (n != 2)
        return fail(p, "data_offsets needs two numbers");
    entry->begin = offsets[0];
    entry->end = offsets[1];
    return EBM_OK;
}

enum { SEEN_DTYPE = 1, SEEN_SHAPE = 2, SEEN_OFFSETS = 4, SEEN_ALL = 7 };

/* One "key": value of a tensor's object. */
static enum ebm_status parse_tensor_member(struct parser *p, struct ebm_header_entry *entry, unsigned *seen)
{
    const char *key;
    enum ebm_status status = parse_string(p, &key);
    if (status != EBM_OK)
        return status;
    unsigned bit = strcmp(key, "dtype") == 0          ? SEEN_DTYPE
                   : strcmp(key, "shape") == 0        ? SEEN_SHAPE
                   : strcmp(key, "data_offsets") == 0 ? SEEN_OFFSETS
                                                      : 0;
    if (bit == 0)
        return ebm_error_set(p->reterr, EBM_DAMAGED, p->where, "unknown key \"%.64s\"", key);
    if (*seen & bit)
        return ebm_error_set(p->reterr, EBM_DAMAGED, p->where, "%s stands twice", key);
    *seen |= bit;
    if (!accept(p, ':'))
        return fail(p, "expected ':'");
    if (bit == SEEN_DTYPE)
        return parse_dtype(p, &entry->tensor.dtype);
    if (bit == SEEN_SHAPE)
        return parse_array(p, entry->tensor.shape, LIMIT_TENSOR_DIMS, &entry->tensor.n_dims);
    return parse_offsets(p, entry);
}

/* Sets the count; the offsets must agree with it and with the data section. */
static enum ebm_status check_size(const struct parser *p, struct ebm_header_entry *entry, uint64_t data_bytes)
{
    struct ebm_tensor *tensor = &entry->tensor;
    size_t count = 1, bytes;
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        if (__builtin_mul_overflow(count, tensor->shape[i], &count))
            return ebm_error_set(p->reterr, EBM_DAMAGED, p->where, "the shape's product is beyond 64 bits");
    if (__builtin_mul_overflow(count, dtypes[tensor->dtype].bytes, &bytes))
        return ebm_error_set(p->reterr, EBM_DAMAGED, p->where, "its size is beyond 64 bits");
    if (entry->begin > entry->end || entry->end > data_bytes)
        return ebm_error_set(p->reterr, EBM_DAMAGED, p->where,
                             "data_offsets [%" PRIu64 ", %" PRIu64 "] do not lie within the %" PRIu64
                             " bytes of data that the file has",
                             entry->begin, entry->end, data_bytes);
    if (entry->end - entry->begin != bytes)
        return ebm_error_set(p->reterr, EBM_DAMAGED, p->where,
                             "shape and dtype want %zu bytes, data_offsets give %" PRIu64, bytes,
                             entry->end - entry->begin);
    tensor->count = count;
    return EBM_OK;
}

/* Room for one more element in an array of at most LIMIT_TENSORS. */
static enum ebm_status grow(const struct parser *p, void **array, size_t count, size_t *capacity, size_t element_bytes)
{
    if (count < *capacity)
        return EBM_OK;
    if (count >= LIMIT_TENSORS)
        return ebm_error_set(p->reterr, EBM_TOO_LARGE, p->where, "more than %u entries", LIMIT_TENSORS);
    size_t wanted = *capacity ? *capacity * 2 : 32;
    void *grown = realloc(*array, wanted * element_bytes);
    if (!grown)
        return ebm_error_set(p->reterr, EBM_NO_MEMORY, p->where, "no memory for the header");
    *array = grown;
    *capacity = wanted;
    return EBM_OK;
}

static enum ebm_status parse_tensor(struct parser *p, const char *name, uint64_t data_bytes)
{
    if (strlen(name) > LIMIT_TENSOR_NAME_BYTES)
        return ebm_error_set(p->reterr, EBM_TOO_LARGE, name, "a name longer than %u bytes", LIMIT_TENSOR_NAME_BYTES);
    struct ebm_header_entry entry = {.tensor.name = name};
    unsigned seen = 0;
    if (!accept(p, '{'))
        return fail(p, "expected '{'");
    do {
        enum ebm_status status = parse_tensor_member(p, &entry, &seen);
        if (status != EBM_OK)
            return status;
    } while (accept(p, ','));
    if (!accept(p, '}'))
        return fail(p, "expected ',' or '}'");
    if (seen != SEEN_ALL)
        return ebm_error_set(p->reterr, EBM_DAMAGED, name, "needs dtype, shape and data_offsets");
    enum ebm_status status = check_size(p, &entry, data_bytes);
    if (status != EBM_OK)
        return status;
    struct ebm_header *header = p->header;
    void *entries = header->entries;
    status = grow(p, &entries, header->n_entries, &header->entry_capacity, sizeof entry);
    header->entries = entries;
    if (status == EBM_OK)
        header->entries[header->n_entries++] = entry;
    return status;
}

/* ---- metadata ---- */

static enum ebm_status parse_metadata_member(struct parser *p)
{
    struct ebm_metadata member;
    enum ebm_status status = parse_name(p, &member.key);
    if (status != EBM_OK)
        return status;
    if ((status = parse_string(p, &member.value)) != EBM_OK)
        return status;
    struct ebm_header *header = p->header;
    void *metadata = header->metadata;
    status = grow(p, &metadata, header->n_metadata, &header->metadata_capacity, sizeof member);
    header->metadata = metadata;
    if (status == EBM_OK)
        header->metadata[header->n_metadata++] = member;
    return status;
}

static enum ebm_status parse_metadata(struct parser *p)
{
    if (p->has_metadata)
        return fail(p, "a second __metadata__");
    p->has_metadata = true;
    if (!accept(p, '{'))
        return fail(p, "expected '{'");
    if (accept(p, '}'))
        return EBM_OK;
    do {
        p->where = "__metadata__";
        enum ebm_status status = parse_metadata_member(p);
        if (status != EBM_OK)
            return status;
    } while (accept(p, ','));
    return accept(p, '}') ? EBM_OK : fail(p, "expected ',' or '}'");
}

/* ---- the whole ---- */

static enum ebm_status parse_members(struct parser *p, uint64_t data_bytes)
{
    if (accept(p, '}'))
        return EBM_OK;
    do {
        const char *name;
        p->where = "header";
        enum ebm_status status = parse_name(p, &name);
        if (status == EBM_OK)
            status = strcmp(name, "__metadata__") == 0 ? parse_metadata(p) : parse_tensor(p, name, data_bytes);
        if (status != EBM_OK)
            return status;
    } while (accept(p, ','));
    p->where = "header";
    return accept(p, '}') ? EBM_OK : fail(p, "expected ',' or '}'");
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_place(const void *a, const void *b)
{
    const struct ebm_header_entry *left = a, *right = b;
    int order = compare_u64(left->begin, right->begin);
    return order ? order : compare_u64(left->end, right->end);
}

static int by_name(const void *a, const void *b)
{
    const struct ebm_header_entry *left = a, *right = b;
    return strcmp(left->tensor.name, right->tensor.name);
}

static int by_key(const void *a, const void *b)
{
    const struct ebm_metadata *left = a, *right = b;
    return strcmp(left->key, right->key);
}

/* Sorts the entries by place: one must start where the one before ends, the last one at the end of the data. */
static enum ebm_status check_layout(struct ebm_header *header, uint64_t data_bytes, struct ebm_error *reterr)
{
    uint64_t expected = 0;
    if (header->n_entries > 0)
        qsort(header->entries, header->n_entries, sizeof *header->entries, by_place);
    for (size_t i = 0; i < header->n_entries; i++) {
        const struct ebm_header_entry *entry = &header->entries[i];
        if (entry->begin != expected)
            return ebm_error_set(reterr, EBM_DAMAGED, entry->tensor.name,
                                 "its data start at byte %" PRIu64 ", expected %" PRIu64 ": %s", entry->begin, expected,
                                 entry->begin < expected ? "tensors overlap" : "a gap between tensors");
        expected = entry->end;
    }
    if (expected != data_bytes)
        return ebm_error_set(reterr, EBM_DAMAGED, "header",
                             "the tensors cover %" PRIu64 " bytes, the file has %" PRIu64 " bytes of data", expected,
                             data_bytes);
    return EBM_OK;
}

/* Sorts by name and by key. */
static enum ebm_status check_duplicates(struct ebm_header *header, struct ebm_error *reterr)
{
    if (header->n_entries > 0)
        qsort(header->entries, header->n_entries, sizeof *header->entries, by_name);
    for (size_t i = 1; i < header->n_entries; i++)
        if (by_name(&header->entries[i - 1], &header->entries[i]) == 0)
            return ebm_error_set(reterr, EBM_DAMAGED, header->entries[i].tensor.name, "two tensors have this name");
    if (header->n_metadata > 0)
        qsort(header->metadata, header->n_metadata, sizeof *header->metadata, by_key);
    for (size_t i = 1; i < header->n_metadata; i++)
        if (by_key(&header->metadata[i - 1], &header->metadata[i]) == 0)
            return ebm_error_set(reterr, EBM_DAMAGED, header->metadata[i].key, "__metadata__ has this key twice");
    return EBM_OK;
}

enum ebm_status ebm_header_parse(char *text, size_t length, uint64_t data_bytes, struct ebm_header *ret_header,
                                 struct ebm_error *reterr)
{
    EBM_AUTO(ebm_header_done) struct ebm_header header = {0};
    struct parser parser = {
        .start = text, .at = text, .end = text + length, .where = "header", .header = &header, .reterr = reterr};
    if (!accept(&parser, '{'))
        return fail(&parser, "expected '{'");
    enum ebm_status status = parse_members(&parser, data_bytes);
    if (status != EBM_OK)
        return status;
    skip_space(&parser);
    if (parser.at != parser.end)
        return fail(&parser, "something after the closing '}'");
    if ((status = check_layout(&header, data_bytes, reterr)) != EBM_OK)
        return status;
    if ((status = check_duplicates(&header, reterr)) != EBM_OK)
        return status;
    *ret_header = header;
    header = (struct ebm_header){0};
    return EBM_OK;
}

void ebm_header_done(struct ebm_header *header)
{
    free(header->entries);
    free(header->metadata);
    *header = (struct ebm_header){0};
}

/* ---- printing ---- */

/* Failures stay in the buffer's status, which is looked at once, at the end. */
static void print_tensor(struct ebm_buf *buf, const struct ebm_tensor *tensor, uint64_t begin, uint64_t end)
{
    (void)ebm_buf_json_text(buf, tensor->name);
    (void)ebm_buf_printf(buf, ":{\"dtype\":\"%s\",\"shape\":[", ebm_dtype_name(tensor->dtype));
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        (void)ebm_buf_printf(buf, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
    (void)ebm_buf_printf(buf, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
}

enum ebm_status ebm_header_print(struct ebm_buf *buf, const struct ebm_metadata *metadata, size_t n_metadata,
                                 const struct ebm_tensor *const *tensors, size_t n_tensors, uint64_t *ret_data_bytes)
{
    size_t start = buf->size;
    (void)ebm_buf_text(buf, "{\"__metadata__\":{");
    for (size_t i = 0; i < n_metadata; i++) {
        (void)ebm_buf_text(buf, i ? "," : "");
        (void)ebm_buf_json_text(buf, metadata[i].key);
        (void)ebm_buf_text(buf, ":");
        (void)ebm_buf_json_text(buf, metadata[i].value);
    }
    (void)ebm_buf_text(buf, "}");
    uint64_t at = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        uint64_t end = at + tensors[i]->count * ebm_dtype_bytes(tensors[i]->dtype);
        (void)ebm_buf_text(buf, ",");
        print_tensor(buf, tensors[i], at, end);
        at = end;
    }
    (void)ebm_buf_text(buf, "}");
    while (buf->status == EBM_OK && (buf->size - start) % 8 != 0)
        (void)ebm_buf_text(buf, " ");
    if (buf->status == EBM_OK)
        *ret_data_bytes = at;
    return buf->status;
}
