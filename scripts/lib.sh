# lib.sh - what the scripts share. Source it after `set -eu`, with $root set to the top of the tree.

BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config libmicrohttpd-dev libgnutls28-dev libuv1-dev libjansson-dev libopenblas-dev libdnnl-dev librandom123-dev zlib1g-dev libspng-dev libturbojpeg0-dev libseccomp-dev"

say() {
    if [ -t 1 ]; then
        printf '\n\033[1m== %s\033[0m\n' "$*"
    else
        printf '\n== %s\n' "$*"
    fi
}

# install_packages NAME ...: those that are missing, from Debian's packages; asks sudo when not root.
install_packages() {
    missing=""
    for package in "$@"; do
        if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
            missing="$missing $package"
        fi
    done
    [ -n "$missing" ] || return 0
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "These packages are missing, and neither root nor sudo is at hand:$missing" >&2
            return 1
        fi
        sudo="sudo"
    fi
    say "installing Debian packages:$missing"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# build_in DIR [meson setup option ...]: configures once, again when the options change, then builds. Without options a
# folder that is configured already stays as it is. TARGETS limits what is built.
build_in() {
    directory=$1
    shift
    if [ ! -f "$directory/build.ninja" ] ||
        { [ $# -gt 0 ] && [ "$(cat "$directory/.options" 2>/dev/null)" != "$*" ]; }; then
        rm -rf "$directory"
        mkdir -p "$(dirname "$directory")"
        meson setup "$directory" "$root" "$@" >"$directory.log" 2>&1 || { cat "$directory.log" >&2; return 1; }
        printf '%s' "$*" >"$directory/.options"
    fi
    # shellcheck disable=SC2086
    ninja -C "$directory" ${TARGETS:-} >"$directory.log" 2>&1 || { tail -n 60 "$directory.log" >&2; return 1; }
    rm -f "$directory.log"
}

# find_clients DIR: a folder that was configured before libcurl was there looks again.
find_clients() {
    if [ -f "$1/build.ninja" ] && ! grep -q '^build clients/ebm-client:' "$1/build.ninja"; then
        meson setup --reconfigure "$1" "$root" >/dev/null
    fi
}

# start_server SERVER LOG OPTION ...: starts one on a free port of 127.0.0.1 and waits for it; sets server_pid and port.
start_server() {
    server=$1 log=$2
    shift 2
    "$server" "$@" --port 0 >"$log" 2>&1 &
    server_pid=$!
    port=""
    for _ in $(seq 300); do
        port=$(sed -n 's/.*listening.* port=\([0-9][0-9]*\).*/\1/p' "$log" | tail -n 1)
        [ -z "$port" ] || return 0
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "the server did not come up:" >&2
    cat "$log" >&2
    return 1
}

# stop_server: its exit status; 0 when there is none.
stop_server() {
    [ -n "${server_pid:-}" ] || return 0
    kill "$server_pid" 2>/dev/null || true
    ended=0
    wait "$server_pid" || ended=$?
    server_pid=""
    return $ended
}

# client_venv NAME [SERVER [FOLDER]]: a virtual environment for what asks a server that is built; sets server, folder, python.
client_venv() {
    server=${2:-$root/build/server/ebm-server}
    folder=${3:-$root/build-test/$1}
    [ -x "$server" ] || { echo "no server at $server: ninja -C build" >&2; return 1; }
    server=$(realpath "$server")
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    python=$folder/venv/bin/python
    [ -x "$python" ] || python3 -m venv "$folder/venv"
}
