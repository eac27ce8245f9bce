/* client_memory.c - each block is a calloc of its own with a link in front. */
#include "clients/client_memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct ebm_client_memory {
    struct ebm_client_memory *next;
    _Alignas(max_align_t) char bytes[];
};

void *client_memory_take(struct ebm_client_memory **chain, size_t n, size_t size)
{
    if (n > (SIZE_MAX / 2 - sizeof **chain) / size)
        return NULL;
    struct ebm_client_memory *block = calloc(1, sizeof *block + n * size);
    if (!block)
        return NULL;
    block->next = *chain;
    *chain = block;
    return block->bytes;
}

char *client_memory_text(struct ebm_client_memory **chain, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = client_memory_take(chain, size, 1);
    return copy ? memcpy(copy, text, size) : NULL;
}

void client_memory_free(struct ebm_client_memory *chain)
{
    while (chain) {
        struct ebm_client_memory *next = chain->next;
        free(chain);
        chain = next;
    }
}
