/* arena.c - blocks of zeroed memory, handed out from front to back, freed together.
 *
 *   arena -> newest block -> older block -> ... -> first block
 *            [header|used.......|free....]
 *
 * A request that does not fit into the newest block gets a new one, twice as large as the last (FIRST_BYTES at first),
 * or as large as the request, or as what the limit leaves. Memory comes from calloc, so large blocks cost only the
 * pages that are touched. Guarantees: all blocks with their headers together stay within max_bytes; every pointer is
 * 16-byte aligned and its memory zero; nothing is freed before ebm_arena_done, which may be called again. */
#include "core/arena.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096u
#define ARENA_ALIGNMENT 16u

struct ebm_arena_block {
    struct ebm_arena_block *older;
    size_t used_bytes, size_bytes; /* of `memory` */
    _Alignas(ARENA_ALIGNMENT) unsigned char memory[];
};

void ebm_arena_init(struct ebm_arena *arena, size_t max_bytes)
{
    *arena = (struct ebm_arena){.usual_bytes = FIRST_BYTES, .max_bytes = max_bytes};
}

void ebm_arena_done(struct ebm_arena *arena)
{
    struct ebm_arena_block *block = arena->blocks;
    while (block) {
        struct ebm_arena_block *older = block->older;
#ifdef EBM_PLANT_LEAK /* a fault for the tests to find: the oldest block is forgotten */
        if (!older)
            break;
#endif
        free(block);
        block = older;
    }
    ebm_arena_init(arena, arena->max_bytes);
}

/* A new newest block with room for `bytes`. */
static struct ebm_arena_block *add_block(struct ebm_arena *arena, size_t bytes)
{
    size_t header_bytes = sizeof(struct ebm_arena_block);
    size_t left_bytes = arena->max_bytes - arena->used_bytes;
    if (left_bytes < header_bytes || bytes > left_bytes - header_bytes)
        return NULL;
    size_t size = arena->usual_bytes < left_bytes - header_bytes ? arena->usual_bytes : left_bytes - header_bytes;
    if (size < bytes)
        size = bytes; /* which says nothing of what comes next */
    struct ebm_arena_block *block = calloc(1, header_bytes + size);
    if (!block)
        return NULL;
    block->older = arena->blocks;
    block->size_bytes = size;
    arena->blocks = block;
    arena->used_bytes += header_bytes + size;
    arena->usual_bytes = arena->usual_bytes < arena->max_bytes / 2 ? arena->usual_bytes * 2 : arena->max_bytes;
    return block;
}

void *ebm_arena_alloc(struct ebm_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    struct ebm_arena_block *block = arena->blocks;
    size_t start = block ? ebm_round_up(block->used_bytes, ARENA_ALIGNMENT) : 0;
    if (!block || start > block->size_bytes || bytes > block->size_bytes - start) {
        block = add_block(arena, bytes);
        start = 0;
    }
    if (!block)
        return NULL;
    block->used_bytes = start + bytes;
    return block->memory + start;
}

char *ebm_arena_text(struct ebm_arena *arena, const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? ebm_arena_alloc(arena, length + 1, 1) : NULL;
    if (copy && length > 0)
        memcpy(copy, text, length);
    return copy;
}
