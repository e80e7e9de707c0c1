#!/bin/sh
# Makes the private Python environment .venv from requirements.lock, whose every file is verified
# by its hash. Nothing is installed outside it, except python3-venv when it is missing and root asks.
set -eu
cd "$(dirname "$0")/.."

python=""
for candidate in python3.11 python3 python3.14 python3.13 python3.12; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Counterfoil needs Python 3.11 or newer, and none was found." >&2
    exit 1
fi

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Python's venv module is missing; installing the package python$version-venv ..."
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq "python$version-venv" >/dev/null ||
            { apt-get update -qq && apt-get install -y -qq "python$version-venv" >/dev/null; }
    else
        echo "Python's venv module is missing. Install it, on Debian and Ubuntu with:" >&2
        echo "    sudo apt-get install python$version-venv" >&2
        exit 1
    fi
fi

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "Making the private environment .venv with $("$python" --version) ..."
    "$python" -m venv --clear .venv
fi
echo "Installing what requirements.lock names ..."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=1
.venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
