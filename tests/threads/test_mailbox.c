/* test_mailbox.c - many threads post to one loop: everything arrives, once, in each thread's order; the loop may post
 * to itself; what was not looked at is there for mailbox_drain. For ThreadSanitizer, and alone. */
#include <pthread.h>

#include "server/mailbox.h"
#include "tests/threads/check.h"

enum { THREADS = 4, LETTERS = 20000 };

struct letter {
    struct ebm_list link;
    uint32_t thread, number;
};

struct office {
    struct mailbox *mailbox;
    uv_loop_t loop;
    uint32_t next[THREADS]; /* loop thread: the number expected of each */
    uint32_t n_received, n_expected;
    struct letter own;
    bool posted_own, received_own;
};

static struct letter letters[THREADS][LETTERS];
static struct office office;

static void on_mail(void *user, struct ebm_list *mail)
{
    struct office *here = user;
    struct ebm_list *link;
    while ((link = ebm_list_pop(mail)) != NULL) {
        struct letter *letter = EBM_CONTAINER_OF(link, struct letter, link);
        if (letter == &here->own) {
            here->received_own = true;
            continue;
        }
        CHECK_EQ(letter->number, here->next[letter->thread]);
        here->next[letter->thread] = letter->number + 1;
        here->n_received++;
    }
    if (!here->posted_own) { /* no lock is held, so the loop may post too */
        here->posted_own = true;
        mailbox_post(here->mailbox, &here->own.link);
    }
    if (here->n_received == here->n_expected && here->received_own)
        here->mailbox = mailbox_close(here->mailbox);
}

static void *post_all(void *argument)
{
    struct letter *mine = argument;
    for (uint32_t i = 0; i < LETTERS; i++) {
        ebm_list_init(&mine[i].link);
        mine[i].number = i;
        mailbox_post(office.mailbox, &mine[i].link);
    }
    return NULL;
}

static void on_late_mail(void *user, struct ebm_list *mail)
{
    uint32_t *count = user;
    while (ebm_list_pop(mail))
        ++*count;
}

/* As at the end of a server: the loop runs no more, the last posts still must be found. */
static void test_drain(void)
{
    uv_loop_t loop;
    struct mailbox *mailbox;
    struct letter late[3];
    uint32_t count = 0;
    CHECK_EQ(uv_loop_init(&loop), 0);
    CHECK_EQ(mailbox_new(&loop, on_late_mail, &count, &mailbox), EBM_OK);
    for (size_t i = 0; i < EBM_COUNT_OF(late); i++) {
        ebm_list_init(&late[i].link);
        mailbox_post(mailbox, &late[i].link);
    }
    mailbox_drain(mailbox);
    CHECK_EQ(count, 3);
    mailbox_drain(mailbox); /* nothing there: no call */
    CHECK_EQ(count, 3);
    mailbox = mailbox_close(mailbox);
    CHECK(mailbox == NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&loop), 0);
}

static void test_many_threads(void)
{
    pthread_t threads[THREADS];
    office.n_expected = THREADS * LETTERS;
    ebm_list_init(&office.own.link);
    CHECK_EQ(uv_loop_init(&office.loop), 0);
    CHECK_EQ(mailbox_new(&office.loop, on_mail, &office, &office.mailbox), EBM_OK);
    for (uint32_t t = 0; t < THREADS; t++) {
        for (uint32_t i = 0; i < LETTERS; i++)
            letters[t][i].thread = t;
        CHECK_EQ(pthread_create(&threads[t], NULL, post_all, letters[t]), 0);
    }
    (void)uv_run(&office.loop, UV_RUN_DEFAULT);
    for (uint32_t t = 0; t < THREADS; t++) {
        CHECK_EQ(pthread_join(threads[t], NULL), 0);
        CHECK_EQ(office.next[t], LETTERS);
    }
    CHECK_EQ(office.n_received, THREADS * LETTERS);
    CHECK_EQ(uv_loop_close(&office.loop), 0);
}

int main(void)
{
    test_drain();
    test_many_threads();
    return check_result("mailbox");
}
