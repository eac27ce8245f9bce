/* arena.h - the memory of one job: many small allocations, freed together.
 *
 * Blocks grow geometrically up to the limit given at init. All memory is zeroed and 16-byte aligned.
 * One thread at a time; a job hands it from thread to thread with itself. */
#ifndef EBM_CORE_ARENA_H
#define EBM_CORE_ARENA_H

#include "core/base.h"

struct ebm_arena_block;

struct ebm_arena {
    struct ebm_arena_block *blocks; /* newest first */
    size_t usual_bytes;             /* of the next block, if that is enough */
    size_t used_bytes, max_bytes;   /* of all blocks; allocation beyond max_bytes fails */
};

void ebm_arena_init(struct ebm_arena *arena, size_t max_bytes);
void ebm_arena_done(struct ebm_arena *arena);

/* count * size zeroed bytes, NULL on overflow, at the limit, or without memory. Of 0 bytes: a valid pointer. */
void *ebm_arena_alloc(struct ebm_arena *arena, size_t count, size_t size) EBM_MUST_USE;
char *ebm_arena_text(struct ebm_arena *arena, const char *text, size_t length) EBM_MUST_USE;

#define EBM_ARENA_NEW(arena, type, count) ((type *)ebm_arena_alloc((arena), (count), sizeof(type)))

#endif
