/* test_addresses.c - connections of addresses come and go, up to the limit of each. */
#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "server/addresses.h"

static struct sockaddr_storage client(const char *text, uint16_t port)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    struct sockaddr_in *v4 = (void *)&storage;
    struct sockaddr_in6 *v6 = (void *)&storage;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else {
        cr_assert_eq(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
    }
    return storage;
}

static struct address *enter(struct addresses *addresses, const char *text, uint16_t port)
{
    struct sockaddr_storage storage = client(text, port);
    return addresses_enter(addresses, (const struct sockaddr *)&storage);
}

Test(addresses, each_has_its_limit)
{
    static const char *const texts[] = {"127.0.0.1", "127.0.0.2", "::1", "7f00:1::"};
    struct addresses *addresses = addresses_new(2);
    struct address *entered[EBM_COUNT_OF(texts)][2];
    for (size_t i = 0; i < EBM_COUNT_OF(texts); i++)
        for (uint16_t k = 0; k < 2; k++)
            cr_assert_not_null(entered[i][k] = enter(addresses, texts[i], k), "%s", texts[i]);
    for (size_t i = 0; i < EBM_COUNT_OF(texts); i++)
        cr_expect_null(enter(addresses, texts[i], 9), "%s", texts[i]);
    addresses_leave(addresses, entered[1][0]);
    cr_expect_null(enter(addresses, texts[0], 9));
    cr_assert_not_null(entered[1][0] = enter(addresses, texts[1], 9));
    for (size_t i = 0; i < EBM_COUNT_OF(texts); i++)
        for (uint16_t k = 0; k < 2; k++)
            addresses_leave(addresses, entered[i][k]);
    addresses_leave(addresses, NULL);
    struct address *again = enter(addresses, texts[0], 1);
    cr_assert_not_null(again);
    addresses_leave(addresses, again);
    cr_assert_null(addresses_free(addresses));
}

/* More than there are lists. */
Test(addresses, many)
{
    enum { N = 5000 };
    static struct address *entered[N];
    struct addresses *addresses = addresses_new(1);
    for (uint32_t i = 0; i < N; i++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000u + i)};
        cr_assert_not_null(entered[i] = addresses_enter(addresses, (const struct sockaddr *)&v4));
        cr_assert_null(addresses_enter(addresses, (const struct sockaddr *)&v4));
    }
    for (uint32_t i = 0; i < N; i++)
        addresses_leave(addresses, entered[i]);
    cr_assert_null(addresses_free(addresses));
}
