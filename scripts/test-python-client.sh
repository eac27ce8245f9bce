#!/bin/bash
# test-python-client.sh - the Python package as a user gets it: built and installed into a virtual environment of its own, then
# pytest and mypy --strict. Exit status 1 on a failure.
#
#   scripts/test-python-client.sh [SERVER [FOLDER]]      build/server/ebm-server, build-test/python-client
#   ARVIZ=1      with ArviZ and xarray, about 400 MB more; without it what needs them is skipped
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/lib.sh"
client_venv python-client "$@"
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
# Built from a copy: setuptools leaves its folders beside what it builds.
rm -rf "$folder/package"
cp -r "$root/clients/python" "$folder/package"
pip install --upgrade --force-reinstall --no-deps "$folder/package"
pip install "$folder/package${ARVIZ:+[arviz]}" pytest==8.3.4 mypy==1.14.1 trio==0.27.0

cd "$folder" # both leave caches where they stand
status=0
EBM_SERVER_BINARY=$server "$python" -m pytest -q "$root/tests/clients/test_ebmserve.py" || status=1
"$python" -m mypy --config-file "$root/clients/python/pyproject.toml" "$root/clients/python/src/ebmserve" || status=1
exit $status
