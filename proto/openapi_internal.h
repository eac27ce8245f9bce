/* openapi_internal.h - what the files of the description share. Private to them. */
#ifndef EBM_PROTO_OPENAPI_INTERNAL_H
#define EBM_PROTO_OPENAPI_INTERNAL_H

#include "proto/fields.h"
#include "proto/openapi.h"

/* Appends at most 1023 bytes, " for every '. */
void openapi_say(struct ebm_buf *buf, const char *format, ...) EBM_PRINTF(2, 3);
/* Keywords of an object with these members, without braces. */
void openapi_write_object(struct ebm_buf *buf, const struct field *fields, uint32_t n, const struct openapi_info *info);

/* openapi_oip.c: the schemas of /v2, without a comma at either end. */
void openapi_oip_schemas(struct ebm_buf *buf, const struct openapi_info *info);

#endif
