"""Where the daemon is: an http or https address, read without the standard library's slow parser."""

from __future__ import annotations

from typing import NamedTuple

from metawsm.domain.errors import InvalidFields

SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Address(NamedTuple):
    """A server: `base` is the path it lives under (empty or `/...` without a slash at its end)."""

    secure: bool
    host: str
    port: int
    base: str = ""

    @property
    def authority(self) -> str:
        """Host and port as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it can only be this machine."""
        octets = self.host.split(".")
        loopback = len(octets) == 4 and octets[0] == "127" and all(o.isascii() and o.isdigit() for o in octets)
        return loopback or self.host in ("localhost", "::1")

    @property
    def url(self) -> str:
        """The address as people write it."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.base}"


def parse_address(server: str) -> Address:
    """Read `http://host:port/base`; scheme, port and base may be missing. Raises InvalidFields for anything else."""
    scheme, separator, rest = server.strip().partition("://")
    if not separator:
        scheme, rest = "http", scheme
    authority, slash, base = rest.partition("/")
    host, port = _host_and_port(authority, scheme, server)
    if scheme not in ("http", "https") or not host or any(sign in rest for sign in "@?# \t\r\n"):
        raise _fault(server)
    return Address(scheme == "https", host, port, f"/{base}".rstrip("/") if slash else "")


def _host_and_port(authority: str, scheme: str, server: str) -> tuple[str, int]:
    """Split `host`, `host:port`, `[v6]` and `[v6]:port`."""
    if authority.startswith("["):
        host, _bracket, rest = authority[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _colon, port = authority.partition(":")
    if not port:
        return host, 443 if scheme == "https" else 80
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise _fault(server)
    return host, int(port)


def _fault(server: str) -> InvalidFields:
    """The one complaint about an address."""
    text = f"must be like http://127.0.0.1:3001, not {server!r}"
    return InvalidFields(f"the server's address {text}", fields={"server": [text]})


def segment(name: str, text: str, *, ours: bool = True) -> str:
    """An id as a segment of a path. Raises InvalidFields for the field `name` when it can be none.

    An id that is not `ours` was perhaps chosen by another program, which may have put anything into it.
    """
    fault = ""
    if not text.strip():
        fault = "must not be blank"
    elif ours and any(sign == "/" or sign.isspace() for sign in text):
        fault = f"must be an id, without slash or blank, not {text!r}"
    if fault:
        raise InvalidFields(f"{name} {fault}", fields={name: [fault]})
    return quote(text)


def quote(text: str) -> str:
    """Percent-encode a text for a path segment or a query value. Raises InvalidFields for lone surrogates."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidFields(f"{text!r} is not valid text (lone surrogates)") from None
    return "".join(chr(byte) if byte in SAFE else f"%{byte:02X}" for byte in data)
