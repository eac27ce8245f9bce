#!/bin/bash
# check-haproxy.sh [BUILD] [KILLS] - two servers behind Debian's HAProxy with haproxy.cfg: one of them is killed (SIGKILL) under
# load and started again, KILLS times (default: 5), and no request may fail at the client. Takes half a minute; leaves
# nothing behind.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh

install_packages haproxy python3
haproxy -c -f deploy/haproxy.cfg
exec python3 deploy/check-haproxy.py "${1:-build}/server/ebm-server" "${2:-5}"
