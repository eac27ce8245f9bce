#!/bin/sh
# check-image.sh - builds the image of the Dockerfile without a Docker engine, and asks it. The base image is made here, of
# the same packages as Debian's own. Needs root, about 3 GiB of disk and some minutes; leaves nothing behind.
#
#   deploy/check-image.sh [--gpu]
#   --gpu     its stage with the plug-in of --device cuda instead, on a machine without a GPU. NVIDIA's image is replaced by
#             the toolkit that is found here, as far as it is needed. About 15 GiB.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh
. deploy/lib.sh
MOST_MIB=90 # over the base image; oneDNN, by which the trainer is faster on images, and its OpenMP are 38 of them

target=serve name=ebm-server
if [ "${1:-}" = --gpu ]; then
    target=gpu name=ebm-server-gpu
    MOST_MIB=$((MOST_MIB + 600)) # cuBLASLt is 540 of them
    nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
    toolkit=$(realpath "$("$nvcc" --dryrun -c x.cu 2>&1 | sed -n 's/^#[$] TOP=//p')")
fi

[ "$(id -u)" = 0 ] || { echo "check-image.sh: run it as root: debootstrap and buildah's chroot isolation need it" >&2; exit 1; }
install_packages debootstrap buildah curl python3
export BUILDAH_ISOLATION=chroot
work=$(mktemp -d /var/tmp/ebm-image-XXXXXX)
server_pid=""
run_pid=""
cleanup() {
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null || true
    [ -z "$run_pid" ] || wait "$run_pid" 2>/dev/null || true
    build_ah umount --all >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
build_ah() { buildah --storage-driver vfs --root "$work/storage" --runroot "$work/runroot" "$@"; }

say "the base image: debootstrap bookworm, without documents, as debian:bookworm-slim is"
base="$work/base"
bare_debian "$base"
rm -rf "$base"/usr/share/doc/* "$base"/usr/share/man/* "$base"/usr/share/locale/* "$base"/var/lib/apt/lists/* \
    "$base"/var/cache/apt/archives/*.deb
printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$base/etc/dpkg/dpkg.cfg.d/slim"
image_of() { # image_of DIR NAME: takes the folder along
    container=$(build_ah from scratch)
    build_ah add --quiet "$container" "$1" / >/dev/null
    build_ah config --cmd bash "$container"
    build_ah commit --quiet "$container" "$2" >/dev/null
    build_ah rm "$container" >/dev/null
    rm -rf --one-file-system "$1"
}
image_of "$base" docker.io/library/debian:bookworm-slim
if [ $target = gpu ]; then
    say "in place of NVIDIA's image: the toolkit of $toolkit"
    there="$work/cuda/usr/local/cuda-13.0"
    mkdir -p "$there/lib64"
    cp -a "$toolkit/bin" "$toolkit/nvvm" "$toolkit/include" "$there/"
    cp -a "$toolkit/lib64/"libcudart* "$toolkit/lib64/"libcudadevrt.a "$toolkit/lib64/"libcublasLt.so* "$there/lib64/"
    image_of "$work/cuda" "docker.io/$(sed -n 's/^FROM \(nvidia.*\) AS cuda/\1/p' Dockerfile)"
fi

say "the image: buildah bud of the Dockerfile, target $target"
build_ah bud --target $target --pull-never --network host --format docker --build-arg VERSION="$(scripts/version.sh "$(
    sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)" || true)" -t $name . >"$work/log" 2>&1 ||
    { tail -n 40 "$work/log" >&2; exit 1; }

mib_of() { # mib_of IMAGE: of its files
    own=$(build_ah from --pull-never "$1")
    du -sm "$(build_ah mount "$own")" | cut -f 1
    build_ah rm "$own" >/dev/null
}
added=$(($(mib_of localhost/$name) - $(mib_of docker.io/library/debian:bookworm-slim)))
field() { build_ah inspect --type image --format "{{$1}}" localhost/$name; }
echo "over the base: $added MiB   user: $(field .Docker.Config.User)   health check: $(field .Docker.Config.Healthcheck.Test)"
[ "$added" -le "$MOST_MIB" ] || { echo "the image adds $added MiB, expected at most $MOST_MIB" >&2; exit 1; }

say "run as its user, with its own command line on a free port, and asked"
mkdir -p "$work/models/relu_1d/1"
cp tests/golden/relu_1d/model.safetensors "$work/models/relu_1d/1/"
chmod -R a+rX "$work/models"
port=$(free_port)
command=$(field 'range .Docker.Config.Entrypoint}}{{.}} {{end' | sed "s/ 8080 / $port /")
container=$(build_ah from --pull-never localhost/$name)
mounted=$(build_ah mount "$container")
build_ah config --volume /models- "$container" # buildah would lay an empty volume over ours; docker would not
# The shell tells its process id, which the server then has: no namespace of processes under this isolation.
# shellcheck disable=SC2016,SC2086
build_ah run --volume "$work/models:/models:ro" "$container" -- \
    sh -c 'echo $$ >/tmp/pid; exec "$@"' sh $command >"$work/server.log" 2>&1 &
run_pid=$!
wait_until_ready "$work/server.log" "$run_pid"
server_pid=$(cat "$mounted/tmp/pid")
user=$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$server_pid/status")
echo "serving as user $user"
[ "$user" != 0 ] || { echo "the server runs as root, expected the image's own user" >&2; exit 1; }
if [ $target = serve ]; then
    confined "$server_pid"
else
    grep "no GPU, computing on the CPU: no driver: " "$work/server.log" || { cat "$work/server.log" >&2; exit 1; }
    plugin=/usr/lib/ebm/libebm-cuda.so
    build_ah run "$container" -- ldd /usr/bin/ebm-server $plugin >"$work/libraries"
    grep -A 99 "^$plugin" "$work/libraries" | grep -E 'cublasLt|not found'
    ! grep -q 'not found' "$work/libraries" || { echo "libraries are missing" >&2; exit 1; }
    ! sed "\\|^$plugin|,\$d" "$work/libraries" | grep -i 'cu[db]' || { echo "the server links CUDA" >&2; exit 1; }
    grep -q '/usr/local/cuda/lib64/libcublasLt.so.13' "$work/libraries" || { echo "cuBLASLt is not the image's" >&2; exit 1; }
fi
build_ah run "$container" -- ebm-server --version
build_ah run "$container" -- healthcheck "$port" && echo "health check: ready"
if build_ah run "$container" -- healthcheck 1 2>/dev/null; then
    echo "the health check is content where nobody listens" >&2
    exit 1
fi
curl -sS --fail-with-body --max-time 20 "http://127.0.0.1:$port/predict" -d '{"inputs": [[0.1, 0.2, 0.3]], "seed": 1}'
echo
kill -TERM "$server_pid"
status=0
wait "$run_pid" || status=$?
server_pid=""
run_pid=""
tail -n 1 "$work/server.log"
[ "$status" = 0 ] || { echo "the server ended with $status, expected 0" >&2; exit 1; }
echo "the image is as it should be"
