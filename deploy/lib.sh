# lib.sh - what the checks of image and package share. Source it after `set -eu` and scripts/lib.sh.

# same_certificates ROOT: what this machine trusts; again after ca-certificates was installed there.
same_certificates() {
    if [ -d /etc/ssl/certs ]; then
        mkdir -p "$1/etc/ssl"
        cp -rL /etc/ssl/certs "$1/etc/ssl/" 2>/dev/null || true # a dangling link among them is none of ours
    fi
}

# bare_debian DIR: a root folder with Debian's smallest system, which reaches Debian's and Python's packages as this machine
# does: the same proxies, names and certificates.
bare_debian() {
    debootstrap --variant=minbase bookworm "$1" >"$1.log" 2>&1 || { tail -n 20 "$1.log" >&2; return 1; }
    for file in $(grep -ls Acquire /etc/apt/apt.conf /etc/apt/apt.conf.d/* || true); do
        cp "$file" "$1$file"
    done
    cp /etc/resolv.conf /etc/hosts "$1/etc/"
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$1/etc/"
    same_certificates "$1"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# confined PID: a server without capabilities, that cannot get any, and whose system calls are filtered.
confined() {
    has=$(sed -n 's/^\(CapEff\|NoNewPrivs\|Seccomp\):\t//p' "/proc/$1/status" | paste -sd ' ')
    echo "capabilities, no new privileges, seccomp: $has"
    [ "$has" = "0000000000000000 1 2" ] || { echo "expected 0000000000000000 1 2" >&2; return 1; }
}

# wait_until_ready LOG PID: until the server that writes the log says so; says its log when it does not.
wait_until_ready() {
    for _ in $(seq 100); do
        ! grep "listening and ready" "$1" || return 0
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    cat "$1" >&2
    return 1
}
