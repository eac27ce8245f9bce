/* image_list.h - images in the list `inputs` of a request's JSON: [{"b64": "iVBORw0..."}, ...]. What is in them is
 * looked at later, when it is known whose input they are. Any thread. */
#ifndef EBM_PROTO_IMAGE_LIST_H
#define EBM_PROTO_IMAGE_LIST_H

#include "proto/fields.h"
#include "proto/json_read.h"

#define IMAGE_LIST_MEMBER "b64"

/* Is the list's first value an object, as an image is? */
bool image_list_is_one(const struct json_t *list);

/* 1 to max_rows images, decoded from base64 into the arena: ret_rows->images. INVALID or NO_MEMORY with where = the
 * value ("inputs[3].b64"). */
enum ebm_status image_list_read(const struct json_t *list, const char *where, uint64_t max_rows,
                                struct ebm_arena *arena, struct field_rows *ret_rows, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
