# Sourced by the scripts in the directory above. Sets ROOT (the checkout) and goes there;
# `environment GROUP` makes sure that what the group needs is installed, and sets PYTHON.
#
# TAU_VENV    where the environment lives (default: build/venv in the checkout)
# TAU_PYTHON  the Python to make it from (default: the newest one found, 3.11 or later)

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
case ${TAU_VENV:-} in
    '') TAU_VENV=$ROOT/build/venv ;;
    /*) ;;
    *) TAU_VENV=$(pwd -P)/$TAU_VENV ;;
esac
export TAU_VENV
# What the caller's shell adds to Python's path must not decide what we run.
unset PYTHONPATH PYTHONHOME
cd -- "$ROOT"

die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

# A name on PATH proves little: version managers leave stubs there that only print an error.
runs() {
    "$1" -c "import sys; sys.version_info < (3, 11) and sys.exit(1); $2" >/dev/null 2>&1
}

find_python() {
    if [ -n "${TAU_PYTHON:-}" ]; then
        runs "$TAU_PYTHON" '' || die "TAU_PYTHON=$TAU_PYTHON is no Python 3.11 or later that runs here"
        PYTHON=$TAU_PYTHON
        return
    fi
    for imports in 'import ssl, ensurepip.__main__' ''; do
        for PYTHON in python3.14 python3.13 python3.12 python3.11 python3 python; do
            if command -v "$PYTHON" >/dev/null 2>&1 && runs "$PYTHON" "$imports"; then return; fi
        done
    done
    if PYTHON=$(uv python find '>=3.11' 2>/dev/null) && runs "$PYTHON" ''; then return; fi
    die "no Python 3.11 or later found; install one (Debian and Ubuntu: apt install python3 python3-venv; with uv: uv python install), or set TAU_PYTHON to its path"
}

environment() {
    if [ -z "${TAU_PYTHON:-}" ] && [ -x "$TAU_VENV/bin/python" ] &&
        "$TAU_VENV/bin/python" -I "$ROOT/scripts/lib/environment.py" --ready "$1" 2>/dev/null; then
        PYTHON=$TAU_VENV/bin/python
        return
    fi
    find_python
    "$PYTHON" -I "$ROOT/scripts/lib/environment.py" "$1" || exit $?
    PYTHON=$TAU_VENV/bin/python
}
