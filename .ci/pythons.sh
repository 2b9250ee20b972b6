#!/bin/sh
# Prints every CPython 3.10 to 3.14 found here, one path a line, each once.
# The first is the one to build with: $PYTHON if that is set, else the system's own.
set -eu

supported='
import os, sys, sysconfig
right = sys.implementation.name == "cpython" and (3, 10) <= sys.version_info[:2] <= (3, 14)
right = right and not sysconfig.get_config_var("Py_GIL_DISABLED")
print(os.path.realpath(sys.executable) if right else "")
'

candidates() {
    echo "${PYTHON:-}"
    echo /usr/bin/python3
    for minor in 10 11 12 13 14; do echo "python3.$minor"; done
    echo python3
    # pyenv hides the versions that are not selected; it knows where they are
    if command -v pyenv >/dev/null; then
        pyenv versions --bare --skip-aliases | while read -r version; do echo "$(pyenv prefix "$version")/bin/python"; done
    fi
}

candidates | while read -r candidate; do
    [ -n "$candidate" ] || continue
    "$candidate" -c "$supported" 2>/dev/null </dev/null || true
done | awk 'NF && !seen[$0]++'
