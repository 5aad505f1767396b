#!/bin/sh
# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.
#
# Make .venv if there is none, and install the package with extras into it.
#
# Usage: [PYTHON=/path/to/python] sh scripts/setup_env.sh [EXTRA ...]
#
# An installation is repeated only when pyproject.toml changed or the folder moved.

set -eu
cd "$(dirname "$0")/.."

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1
}

makes_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_recent "$PYTHON" || stop "PYTHON=$PYTHON is no Python 3.12 or newer."
        makes_environments "$PYTHON" || stop \
            "PYTHON=$PYTHON lacks the modules venv and ensurepip." \
            'On Debian and Ubuntu they are a package of their own: python3-venv.'
        found=$PYTHON
        return
    fi
    incomplete=
    # 3.12 comes first: it is what .python-version asks for.
    for candidate in python3.12 python3.13 python3.14 python3 python \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.1[2-9]*/bin/python; do
        is_recent "$candidate" || continue
        if makes_environments "$candidate"; then
            found=$candidate
            return
        fi
        incomplete=$candidate
    done
    [ -z "$incomplete" ] || stop \
        "$incomplete is recent enough, but lacks the modules venv and ensurepip." \
        'On Debian and Ubuntu they are a package of their own: python3-venv.'
    stop \
        'No Python 3.12 or newer was found. Install one and run this again, e.g. with' \
        '    sudo apt install python3.12-venv    Debian, Ubuntu' \
        '    brew install python@3.12            macOS' \
        '    pyenv install 3.12                  anywhere' \
        'If it is installed already, say where: make test PYTHON=/path/to/python3.12'
}

python=.venv/bin/python
if [ ! -e .venv ]; then
    find_python
    echo "Making .venv with $("$found" --version) ($found)."
    "$found" -m venv .venv
elif ! is_recent "$python"; then
    stop '.venv does not work, or its Python is older than 3.12.' \
        'Remove it and run this again: rm -r .venv'
fi

extras=$(echo "$*" | tr ' ' ',')
stamp=.venv/.installed-${extras:-package}
state() {
    pwd
    cat pyproject.toml
}
if ! state | cmp -s - "$stamp" 2>/dev/null; then
    echo "Installing torchgeo-experts${extras:+ [$extras]} into .venv." \
        'The first time takes a few minutes: PyTorch is large.'
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip
    "$python" -m pip install -q --disable-pip-version-check -e ".${extras:+[$extras]}"
    state | tee .venv/.installed-package >"$stamp"
fi
