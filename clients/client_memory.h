/* client_memory.h - a chain of zeroed blocks that are freed together: the memory of one answer. */
#ifndef EBM_CLIENTS_CLIENT_MEMORY_H
#define EBM_CLIENTS_CLIENT_MEMORY_H

#include <stddef.h>

struct ebm_client_memory;

/* n * size zeroed bytes in a new block of *chain; NULL: no memory, or too much. Borrow: as long as the chain. */
void *client_memory_take(struct ebm_client_memory **chain, size_t n, size_t size);
char *client_memory_text(struct ebm_client_memory **chain, const char *text); /* a copy */
void client_memory_free(struct ebm_client_memory *chain);                     /* NULL is fine */

#endif
