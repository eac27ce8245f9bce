#!/bin/bash
# make_site.sh - the documentation as a site of plain files, in FOLDER/html. A link or an anchor that leads nowhere fails
# the run, and so does a page that reads anything from another server.
#
#   scripts/make_site.sh [--pictures] [BUILD [FOLDER]]     build, build-test/site
#   --pictures      first draws docs/pictures/ anew: trains four models, asks a server (some minutes)
#
# MkDocs and its theme come from PyPI, at the versions of site_requirements.txt, into FOLDER/venv: once. To read the site:
# open FOLDER/html/index.html, or, so that searching works, python3 -m http.server --bind 127.0.0.1 -d FOLDER/html
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
requirements=$root/scripts/site_requirements.txt
matplotlib=3.11.2

pictures=""
if [ "${1:-}" = --pictures ]; then
    pictures=yes
    shift
fi
build=$(realpath -m "${1:-$root/build}")
folder=$(realpath -m "${2:-$root/build-test/site}")
[ -x "$build/server/ebm-server" ] && [ -x "$build/trainer/ebm-trainer" ] ||
    { echo "no programs in $build: ninja -C $build" >&2; exit 1; }
mkdir -p "$folder"

if ! cmp -s "$requirements" "$folder/venv/installed.txt"; then
    echo "== installing MkDocs into $folder/venv"
    python3 -m venv --clear "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements"
    cp "$requirements" "$folder/venv/installed.txt"
fi

if [ -n "$pictures" ]; then
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "matplotlib==$matplotlib"
    "$folder/venv/bin/python3" "$root/scripts/make_pictures.py" "$build"
fi

cd "$root"
# Not --quiet: what is not logged is not counted as a warning, and --strict would let it pass. The variable stands for the
# theme's advertisement of its successor.
EBM_BUILD=$build NO_MKDOCS_2_WARNING=1 "$folder/venv/bin/mkdocs" build --strict --clean --site-dir "$folder/html"

# What a browser would fetch by itself; links that a reader may follow are another matter.
outside=$(grep -rhoE '<(script|img|iframe|source)[^>]* src="?(https?:)?//[^>]*>|<link[^>]* href="?(https?:)?//[^>]*>|url\("?(https?:)?//[^)]*\)' \
    --include='*.html' --include='*.css' "$folder/html" || true)
[ -z "$outside" ] || { echo "read from another server, expected nothing:" >&2; echo "$outside" | sort | uniq -c >&2; exit 1; }
echo "$(find "$folder/html" -name '*.html' | wc -l) pages in $folder/html"
