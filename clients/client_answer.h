/* client_answer.h - the JSON of answers -> plain structs. */
#ifndef EBM_CLIENTS_CLIENT_ANSWER_H
#define EBM_CLIENTS_CLIENT_ANSWER_H

#include "clients/client_http.h"

struct json_t;

/* The object that a body is. New: json_decref. Any thread. */
enum ebm_client_status client_load(const struct client_bytes *body, struct json_t **ret_root,
                                   struct ebm_client_error *reterr);

/* n_rows: those that were asked for. BAD_ANSWER with where = the member that is missing, of another type or of another
 * size than its neighbours; unknown members are passed over. New: ebm_client_..._done. Any thread. */
enum ebm_client_status client_read_answer(const struct client_bytes *body, size_t n_rows, bool is_refinement,
                                          struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr);
enum ebm_client_status client_read_models(const struct client_bytes *body, struct ebm_client_models *ret_models,
                                          struct ebm_client_error *reterr);
enum ebm_client_status client_read_model(const struct client_bytes *body, struct ebm_client_model *ret_model,
                                         struct ebm_client_error *reterr);
/* Is there a member `name` that is true? */
enum ebm_client_status client_read_true(const struct client_bytes *body, const char *name,
                                        struct ebm_client_error *reterr);

#endif
