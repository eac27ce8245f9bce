/* lingering.h - connections that are over for us while their clients may still be sending, or have not yet got all of
 * our answer. Closed at once, the kernel would meet the client's next bytes with a reset, and a reset throws away what
 * has not been delivered and what the client has not read. Loop thread only. */
#ifndef EBM_SERVER_LINGERING_H
#define EBM_SERVER_LINGERING_H

#include <uv.h>

#include "core/status.h"

#define LINGERING_SOCKETS 256u /* at a time; more are closed without */

struct lingering;

/* New: lingering_close. */
enum ebm_status lingering_new(uv_loop_t *loop, struct lingering **ret_lingering) EBM_MUST_USE;
/* Closes all at once; the loop frees it in its next rounds. NULL is fine; returns NULL. */
struct lingering *lingering_close(struct lingering *lingering);

/* To be called before the owner closes `fd`, whose sending side is shut: keeps the connection by a descriptor of its
 * own if there is anything to lose. is_cut: the client was in the middle of sending. */
void lingering_before_close(struct lingering *lingering, int fd, bool is_cut);
/* How many are kept now. */
uint32_t lingering_count(const struct lingering *lingering);

#endif
