/* deadline.h - things with a time, ordered. Loop thread only (or whoever owns the list). */
#ifndef EBM_SERVER_DEADLINE_H
#define EBM_SERVER_DEADLINE_H

#include "core/list.h"

struct deadline {
    struct ebm_list link;
    uint64_t at_us; /* of ebm_clock_us */
};

struct deadline_list {
    struct ebm_list head; /* earliest first */
};

static inline void deadline_list_init(struct deadline_list *list)
{
    ebm_list_init(&list->head);
}

static inline void deadline_init(struct deadline *deadline)
{
    ebm_list_init(&deadline->link);
}

/* Searches from the latest: one step for deadlines that come in order, as they do when all have one timeout. */
static inline void deadline_add(struct deadline_list *list, struct deadline *deadline, uint64_t at_us)
{
    struct ebm_list *before = list->head.previous;
    while (before != &list->head && EBM_CONTAINER_OF(before, struct deadline, link)->at_us > at_us)
        before = before->previous;
    deadline->at_us = at_us;
    ebm_list_append(before->next, &deadline->link);
}

/* Fine for one that is in no list. */
static inline void deadline_remove(struct deadline *deadline)
{
    ebm_list_remove(&deadline->link);
}

/* The earliest, still in the list; NULL when there is none. */
static inline struct deadline *deadline_first(const struct deadline_list *list)
{
    return ebm_list_is_empty(&list->head) ? NULL : EBM_CONTAINER_OF(list->head.next, struct deadline, link);
}

#endif
