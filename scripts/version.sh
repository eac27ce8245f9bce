#!/bin/sh
# version.sh - prints the version of this tree: $EBM_VERSION if it is set, else what git knows, else nothing and status 1.
# version.sh BASE: the version that the next tag will have, named before the first tag exists.
#
#   at the tag v0.1.0: 0.1.0     5 commits after it: 0.1.0+5.g1a2b3c4     no tag: BASE+g1a2b3c4     edited: ...-dirty
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -n "${EBM_VERSION:-}" ]; then
    echo "$EBM_VERSION"
    exit 0
fi
[ -e "$root/.git" ] || exit 1 # an unpacked release inside somebody else's repository is not a commit of that repository
if described=$(git -C "$root" describe --tags --match 'v[0-9]*' --dirty --abbrev=7 2>/dev/null); then
    echo "$described" | sed -E 's/^v//; s/-([0-9]+)-g/+\1.g/'
else
    commit=$(git -C "$root" describe --always --dirty --abbrev=7 --exclude '*' 2>/dev/null)
    echo "$1+g$commit"
fi
