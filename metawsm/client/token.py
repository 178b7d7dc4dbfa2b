"""Finding the token that lets a person write as human or operator."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

LARGEST = 4096


class Found(NamedTuple):
    """A token and where it is from; `token` None when there is none. `notes` say what was passed over and why.

    `named`: the environment said which one; else it was found on the way up and is for this machine's daemon.
    """

    token: str | None
    source: str
    notes: tuple[str, ...] = ()
    named: bool = False


def find_token(env: Mapping[str, str], directory: str) -> Found:
    """The token: METAWSM_TOKEN, else the file METAWSM_TOKEN_FILE, else `.metawsm/token` upwards from `directory`.

    A file counts only if it is a regular one that belongs to me or to root and holds one printable line.
    """
    if env.get("METAWSM_TOKEN"):
        return Found(env["METAWSM_TOKEN"].strip(), "METAWSM_TOKEN", named=True)
    named = env.get("METAWSM_TOKEN_FILE")
    notes: list[str] = []
    for path in [named] if named else _candidates(directory):
        token, fault = _read(path)
        if token is not None:
            return Found(token, path, tuple(notes), named is not None)
        if fault != "there is no such file" or named:
            notes.append(f"token file {path} is ignored: {fault}")
    return Found(None, "", tuple(notes))


def _candidates(directory: str) -> Iterator[str]:
    """`.metawsm/token` in this folder and in each above it."""
    here = os.path.abspath(directory)
    while True:
        yield os.path.join(here, ".metawsm", "token")
        above = os.path.dirname(here)
        if above == here:
            return
        here = above


def _read(path: str) -> tuple[str | None, str]:
    """The token in a file, or what is wrong with the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None, "there is no such file"
    except OSError as error:
        return None, (error.strerror or "it cannot be opened").lower()
    try:
        fault = _untrusted(os.fstat(descriptor))
        data = b"" if fault else os.read(descriptor, LARGEST + 1)
    except OSError as error:
        return None, (error.strerror or "it cannot be read").lower()
    finally:
        os.close(descriptor)
    token = data.decode("latin-1").strip()
    if not fault and not (token and token.isascii() and token.isprintable() and len(data) <= LARGEST):
        fault = "it does not hold one line with a token"
    return (None, fault) if fault else (token, "")


def _untrusted(status: os.stat_result) -> str:
    """Why a file must not be believed, or an empty text."""
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_uid not in (os.geteuid(), 0):
        return f"it belongs to another user (uid {status.st_uid})"
    return ""
