/* addresses.c - a table of the addresses that have connections now: lists by a hash, under one mutex.
 *
 * As large as there are connections, and no larger: an address is forgotten with its last one. The hash has a secret,
 * so that nobody can choose addresses that lie in one list. */
#include "server/addresses.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/list.h"
#include "core/rng.h"

#define LISTS 1024u
#define ADDRESS_BYTES 16u /* of IPv6; IPv4 in front, then zeros */

struct address {
    struct ebm_list link;
    int family;
    uint8_t bytes[ADDRESS_BYTES];
    uint32_t n;
};

struct addresses {
    uint32_t max_connections; /* fixed, as secret */
    uint64_t secret;
    pthread_mutex_t mutex;
    struct ebm_list lists[LISTS]; /* under mutex, with all that they hold */
};

struct addresses *addresses_new(uint32_t max_connections)
{
    struct addresses *addresses = calloc(1, sizeof *addresses);
    if (!addresses)
        return NULL;
    addresses->max_connections = max_connections;
    addresses->secret = ebm_seed_random();
    (void)pthread_mutex_init(&addresses->mutex, NULL);
    for (uint32_t i = 0; i < LISTS; i++)
        ebm_list_init(&addresses->lists[i]);
    return addresses;
}

struct addresses *addresses_free(struct addresses *addresses)
{
    if (!addresses)
        return NULL;
    (void)pthread_mutex_destroy(&addresses->mutex);
    free(addresses);
    return NULL;
}

static struct address address_of(const struct sockaddr *client)
{
    struct address address = {.family = client->sa_family};
    if (client->sa_family == AF_INET)
        memcpy(address.bytes, &((const struct sockaddr_in *)(const void *)client)->sin_addr, sizeof(struct in_addr));
    else if (client->sa_family == AF_INET6)
        memcpy(address.bytes, &((const struct sockaddr_in6 *)(const void *)client)->sin6_addr, ADDRESS_BYTES);
    return address;
}

static struct ebm_list *list_of(struct addresses *addresses, const struct address *address)
{
    uint64_t words[2];
    memcpy(words, address->bytes, sizeof words);
    uint32_t hash[4];
    ebm_philox(addresses->secret ^ words[0], (uint32_t)words[1], (uint32_t)(words[1] >> 32), 0, 0, hash);
    return &addresses->lists[hash[0] % LISTS];
}

/* Under the mutex; NULL: it has no connection. */
static struct address *find(struct ebm_list *list, const struct address *wanted)
{
    for (struct ebm_list *link = list->next; link != list; link = link->next) {
        struct address *address = EBM_CONTAINER_OF(link, struct address, link);
        if (address->family == wanted->family && memcmp(address->bytes, wanted->bytes, ADDRESS_BYTES) == 0)
            return address;
    }
    return NULL;
}

/* Under the mutex; NULL: no memory. */
static struct address *add(struct ebm_list *list, const struct address *wanted)
{
    struct address *address = malloc(sizeof *address);
    if (!address)
        return NULL;
    *address = *wanted;
    ebm_list_append(list, &address->link);
    return address;
}

struct address *addresses_enter(struct addresses *addresses, const struct sockaddr *client)
{
    struct address wanted = address_of(client);
    struct ebm_list *list = list_of(addresses, &wanted);
    (void)pthread_mutex_lock(&addresses->mutex);
    struct address *address = find(list, &wanted);
    if (!address)
        address = add(list, &wanted);
    else if (address->n == addresses->max_connections)
        address = NULL;
    if (address)
        address->n++;
    (void)pthread_mutex_unlock(&addresses->mutex);
    return address;
}

void addresses_leave(struct addresses *addresses, struct address *address)
{
    if (!address)
        return;
    (void)pthread_mutex_lock(&addresses->mutex);
    bool is_last = --address->n == 0;
    if (is_last)
        ebm_list_remove(&address->link);
    (void)pthread_mutex_unlock(&addresses->mutex);
    if (is_last)
        free(address);
}
