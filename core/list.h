/* list.h - an intrusive, circular, doubly linked list: the link lies inside the thing that is listed.
 * No allocation, no locking: whoever owns the head owns the lock. */
#ifndef EBM_CORE_LIST_H
#define EBM_CORE_LIST_H

#include "core/base.h"

struct ebm_list {
    struct ebm_list *next, *previous;
};

/* The struct that contains `link` as its `member`. */
#define EBM_CONTAINER_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void ebm_list_init(struct ebm_list *head)
{
    head->next = head->previous = head;
}

static inline bool ebm_list_is_empty(const struct ebm_list *head)
{
    return head->next == head;
}

static inline void ebm_list_append(struct ebm_list *head, struct ebm_list *link)
{
    link->next = head;
    link->previous = head->previous;
    head->previous->next = link;
    head->previous = link;
}

/* Takes `link` out of its list; a link that is in none (initialised alone) may be removed too. */
static inline void ebm_list_remove(struct ebm_list *link)
{
    link->next->previous = link->previous;
    link->previous->next = link->next;
    ebm_list_init(link);
}

/* The first link, taken out; NULL when empty. */
static inline struct ebm_list *ebm_list_pop(struct ebm_list *head)
{
    struct ebm_list *first = head->next;
    if (first == head)
        return NULL;
    ebm_list_remove(first);
    return first;
}

/* Moves all of `from` to the end of `to`; `from` is empty afterwards. */
static inline void ebm_list_move_all(struct ebm_list *to, struct ebm_list *from)
{
    if (ebm_list_is_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    ebm_list_init(from);
}

#endif
