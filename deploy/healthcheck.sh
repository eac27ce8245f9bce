#!/bin/bash
# healthcheck.sh PORT - status 0 when the server of this machine is ready. Bash alone: an image needs no HTTP client for it.
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
