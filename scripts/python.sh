# Sourced by the other scripts: find_python sets PYTHON to a CPython 3.11, 3.12 or 3.13 that can make a venv.
# METAWSM_PYTHON names one to be used and nothing else. A name on PATH proves nothing (it may be a shim that fails), so
# each candidate is run.

fits() { # fits COMMAND: it runs, and is a CPython of a supported minor
    "$1" -c 'import sys; sys.exit(sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
        >/dev/null 2>&1
}

makes_venvs() { # makes_venvs COMMAND: it brings all that a venv with pip needs
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

candidates() {
    for minor in 3.11 3.12 3.13; do
        command -v "python$minor" || true
        for folder in /usr/bin /usr/local/bin /opt/homebrew/bin; do
            [ ! -x "$folder/python$minor" ] || echo "$folder/python$minor"
        done
        for python in "$HOME"/.pyenv/versions/"$minor"*/bin/python; do
            [ ! -x "$python" ] || echo "$python"
        done
    done
    command -v python3 || true
}

find_python() {
    HOME=${HOME:-/nonexistent}
    without_venv=
    OLD_IFS=$IFS
    IFS='
'
    for python in ${METAWSM_PYTHON:-$(candidates)}; do
        if fits "$python"; then
            if makes_venvs "$python"; then
                IFS=$OLD_IFS
                PYTHON=$("$python" -c 'import sys; print(sys.executable)')
                return
            fi
            without_venv=${without_venv:-$python}
        fi
    done
    IFS=$OLD_IFS
    if [ -z "$without_venv" ]; then
        echo "metawsm needs CPython 3.11, 3.12 or 3.13, and ${METAWSM_PYTHON:-nothing found here} is not one;" \
            "install it, or name it in METAWSM_PYTHON" >&2
        exit 69
    fi
    package=$("$without_venv" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $package, without which $without_venv cannot make a venv" >&2
        apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >&2
        if makes_venvs "$without_venv"; then
            PYTHON=$without_venv
            return
        fi
    fi
    echo "$without_venv cannot make a venv; on Debian and Ubuntu: apt-get install $package" >&2
    exit 69
}
