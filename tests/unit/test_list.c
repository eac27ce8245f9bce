/* test_list.c - order, removal, moving. */
#include <criterion/criterion.h>

#include "core/list.h"

struct item {
    int number;
    struct ebm_list link;
};

/* The numbers in the order of `head`, as decimal digits. */
static int digits(const struct ebm_list *head)
{
    int value = 0;
    for (const struct ebm_list *link = head->next; link != head; link = link->next)
        value = value * 10 + EBM_CONTAINER_OF(link, struct item, link)->number;
    return value;
}

static int digits_backwards(const struct ebm_list *head)
{
    int value = 0;
    for (const struct ebm_list *link = head->previous; link != head; link = link->previous)
        value = value * 10 + EBM_CONTAINER_OF(link, struct item, link)->number;
    return value;
}

static void fill(struct ebm_list *head, struct item *items, int first, int n)
{
    ebm_list_init(head);
    for (int i = 0; i < n; i++) {
        items[i].number = first + i;
        ebm_list_append(head, &items[i].link);
    }
}

Test(list, first_in_first_out)
{
    struct ebm_list head;
    struct item items[3];
    fill(&head, items, 1, 3);
    cr_assert_eq(digits(&head), 123, "%d", digits(&head));
    cr_assert_eq(digits_backwards(&head), 321);
    for (int i = 1; i <= 3; i++) {
        struct ebm_list *link = ebm_list_pop(&head);
        cr_assert_eq(EBM_CONTAINER_OF(link, struct item, link)->number, i);
    }
    cr_assert(ebm_list_is_empty(&head));
    cr_assert_null(ebm_list_pop(&head));
}

Test(list, removal_from_anywhere_and_twice)
{
    struct ebm_list head;
    struct item items[5];
    fill(&head, items, 1, 5);
    ebm_list_remove(&items[2].link);
    ebm_list_remove(&items[2].link);
    cr_assert_eq(digits(&head), 1245, "%d", digits(&head));
    ebm_list_remove(&items[0].link);
    ebm_list_remove(&items[4].link);
    cr_assert_eq(digits(&head), 24, "%d", digits(&head));
    cr_assert_eq(digits_backwards(&head), 42);
    ebm_list_append(&head, &items[2].link);
    cr_assert_eq(digits(&head), 243);
}

Test(list, moving_all_keeps_the_order)
{
    struct ebm_list to, from;
    struct item left[2], right[3];
    fill(&to, left, 1, 2);
    fill(&from, right, 3, 3);
    ebm_list_move_all(&to, &from);
    cr_assert_eq(digits(&to), 12345, "%d", digits(&to));
    cr_assert_eq(digits_backwards(&to), 54321);
    cr_assert(ebm_list_is_empty(&from));
    ebm_list_move_all(&to, &from);
    cr_assert_eq(digits(&to), 12345);
    ebm_list_move_all(&from, &to);
    cr_assert_eq(digits(&from), 12345);
    cr_assert(ebm_list_is_empty(&to));
}
