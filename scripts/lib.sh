# lib.sh - what the scripts share. Source it after `set -eu`, with $root set to the top of the tree.

BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config libmicrohttpd-dev libuv1-dev libjansson-dev libopenblas-dev librandom123-dev"

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
