#!/bin/sh
# check-deb.sh PACKAGE.deb - installs the package on a bare Debian, reads its pages, lets systemd verify its unit, trains its
# example, starts the command line of the unit as a user without rights, asks it with curl, ebm-client and the Python client
# (which comes from PyPI with what it needs), and removes the package again. Needs root, 1 GiB of disk and some minutes; leaves
# nothing behind.
set -eu
deb=$(readlink -f "${1:?check-deb.sh: expected the package, as in deploy/check-deb.sh build-deb/ebm-server_0.1.0_amd64.deb}")
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh
. deploy/lib.sh

[ "$(id -u)" = 0 ] || { echo "check-deb.sh: run it as root: debootstrap and chroot need it" >&2; exit 1; }
install_packages debootstrap curl python3
work=$(mktemp -d /var/tmp/ebm-deb-XXXXXX)
server_pid=""
cleanup() {
    [ -z "$server_pid" ] || { kill "$server_pid" 2>/dev/null && wait "$server_pid" 2>/dev/null; } || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say "a bare Debian, and the package"
bare="$work/root"
bare_debian "$bare"
cp "$deb" "$bare/ebm-server.deb"
inside() { chroot "$bare" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
{ inside apt-get update && inside apt-get install -y --no-install-recommends man-db /ebm-server.deb; } >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
inside ebm-server --version
inside ebm-trainer --version

say "its pages"
for page in "$bare"/usr/share/man/man1/ebm-*; do
    name=$(basename "$page" .1.gz)
    lines=$(inside man "$name" 2>"$work/log" | wc -l)
    if [ -s "$work/log" ] || [ "$lines" -le 40 ]; then
        cat "$work/log" >&2
        echo "$name(1) has $lines lines, expected more than 40 and no warning" >&2
        exit 1
    fi
    echo "$name(1): $lines lines"
done
inside man ebm-server | grep -q -- --max-queue-rows

say "its unit, verified by the systemd of that Debian"
inside apt-get install -y --no-install-recommends systemd >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
# In a chroot there is no manager to ask about other units; what it says of ours counts, and it ends with 0.
inside systemd-analyze verify --recursive-errors=no /lib/systemd/system/ebm-server.service >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
if [ -s "$work/log" ]; then
    cat "$work/log" >&2
    echo "systemd-analyze verify has something to say" >&2
    exit 1
fi
echo "systemd-analyze $(inside systemd-analyze --version | sed -n '1s/systemd //p') has nothing to say"
inside systemd-analyze security --offline=true /lib/systemd/system/ebm-server.service | tail -n 1

say "its example, trained for a moment and published"
inside ebm-trainer train --config /usr/share/doc/ebm-server/examples/geyser/config.json --set training.epochs=8 \
    --output /tmp/geyser --publish /var/lib/ebm-server/models/geyser >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

say "the command line of its unit, as nobody, on a free port"
port=$(free_port)
command=$(sed -n 's/^ExecStart=//p' "$bare/lib/systemd/system/ebm-server.service")
seccomp=$(sed -n 's/^Environment=.* \(EBM_SERVER_SECCOMP=[a-z]*\)$/\1/p' "$bare/lib/systemd/system/ebm-server.service")
chroot --userspec=65534:65534 "$bare" sh -c ". /etc/default/ebm-server; export $seccomp; exec $command --port $port" >"$work/server.log" 2>&1 &
server_pid=$!
wait_until_ready "$work/server.log" "$server_pid"
confined "$server_pid"
curl -sS --fail-with-body --max-time 20 "http://127.0.0.1:$port/predict" -d '{"inputs": [[80]], "seed": 1}'
echo
inside ebm-client health --server "http://127.0.0.1:$port"
inside ebm-client predict --server "http://127.0.0.1:$port" --model geyser --input 80 --seed 1

say "and with the Python client, from a virtual environment there"
inside apt-get install -y --no-install-recommends python3-venv >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
same_certificates "$bare"
cp -r clients/python "$bare/ebmserve"
{ inside python3 -m venv /venv && inside /venv/bin/pip install --disable-pip-version-check /ebmserve; } >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
tail -n 1 "$work/log"
inside /venv/bin/python - "http://127.0.0.1:$port" <<'PY'
import sys
from ebmserve import Client
with Client(sys.argv[1]) as client:
    answer = client.predict([[80]], model="geyser", quantiles=[0.05, 0.5, 0.95], seed=1)
    print("mean", answer.mean[0], "quantiles", answer.quantiles[0].ravel())
PY

say "stopped"
kill -TERM "$server_pid"
status=0
wait "$server_pid" || status=$?
server_pid=""
[ "$status" = 0 ] || { cat "$work/server.log" >&2; echo "the server ended with $status, expected 0" >&2; exit 1; }

say "removed again"
inside dpkg --purge ebm-server >"$work/log" 2>&1
left=$(find "$bare/usr" "$bare/etc" "$bare/lib/systemd" -name '*ebm-*' | sort)
[ -z "$left" ] || { echo "left behind after a purge: $left" >&2; exit 1; }
[ -f "$bare/var/lib/ebm-server/models/geyser/1/model.safetensors" ] || { echo "a purge deleted models" >&2; exit 1; }
echo "the package is as it should be; models stay after a purge"
