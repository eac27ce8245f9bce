/* socket_state.c - two questions to the kernel. By linux/tcp.h, which knows more than the C library's header and cannot
 * stand beside it in a file. */
#include "server/socket_state.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

bool socket_state_get(int fd, struct socket_state *ret_state)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return false;
    *ret_state = (struct socket_state){info.tcpi_bytes_received, info.tcpi_last_data_recv};
    return true;
}

int socket_state_unsent_bytes(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}
