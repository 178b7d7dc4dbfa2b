"""The head of an HTTP/1.x request: bytes in, WSGI names out. Pure. RFC 9112, strict where laxness is an attack."""

from __future__ import annotations

import re
from typing import Any

Environ = dict[str, Any]

_PLAIN = bytes(sorted({9, *range(32, 127), *range(128, 256)}))
"""Every byte that may stand inside a line of a head; what remains after deleting these are line ends and intruders."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*").fullmatch
_DIGITS = re.compile(r"[0-9]{1,18}").fullmatch
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_SINGLE = frozenset({"HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_AUTHORIZATION"})
_NAMES: dict[str, str] = {}
_NAMES_MAX = 500


class Refusal(Exception):
    """A request that is answered with an error and ends its connection; `code` is the stable error code."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def malformed(message: str) -> Refusal:
    """A 400: what was sent is not an HTTP request that can be understood in one way only."""
    return Refusal(400, "malformed", message)


def only_plain_lines(head: bytes, line_ends: int) -> bool:
    """True when `head` holds exactly `line_ends` CRLF pairs (which the caller counted) and no other control byte."""
    return len(head.translate(None, _PLAIN)) == 2 * line_ends


def read_head(head: bytes, environ: Environ, max_lines: int = 100) -> None:
    """Write request line and header fields of `head` (without the empty line at its end) into `environ`.

    Raises Refusal: 400 for anything ambiguous, 414/431 for too much, 505 for another protocol version.
    """
    lines = head.decode("latin-1").split("\r\n")
    if not only_plain_lines(head, len(lines) - 1):
        raise malformed("The request head contains a control character or a line that does not end in CRLF.")
    if len(lines) > max_lines + 1:
        raise Refusal(431, "headers_too_large", f"More than {max_lines} header lines.")
    _read_request_line(lines[0], environ)
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        key = _NAMES.get(name) or _environ_key(name)
        if not colon:
            raise malformed("A header line has no colon.")
        if key is not None:
            value = value.strip(" \t")
            environ[key] = value if key not in environ else _joined(key, environ[key], value)
    if "HTTP_HOST" not in environ and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
        raise malformed("The Host header is missing.")


def _read_request_line(line: str, environ: Environ) -> None:
    """`METHOD target HTTP/1.x`, with exactly one space between the parts."""
    try:
        method, target, version = line.split(" ")
    except ValueError:
        raise malformed("The request line is not 'METHOD target HTTP/1.1'.") from None
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise _wrong_version(version)
    if method not in _METHODS and not _TOKEN(method):
        raise malformed("The request method is not a token.")
    if target[:1] != "/":
        target = _origin_form(method, target)
    path, _, query = target.partition("?")
    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = version
    environ["PATH_INFO"] = path if "%" not in path and path.isascii() else _unquoted(path)
    environ["QUERY_STRING"] = query


def _wrong_version(version: str) -> Refusal:
    if version.startswith("HTTP/"):
        return Refusal(505, "version_not_supported", "This server speaks HTTP/1.1.")
    return malformed("The request line does not end in HTTP/1.1.")


def _origin_form(method: str, target: str) -> str:
    """The path of an absolute target (`http://host/path`); `*` for OPTIONS stays (RFC 9112, 3.2)."""
    if target == "*" and method == "OPTIONS":
        return target
    scheme, found, rest = target.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        raise malformed("The request target must begin with '/'.")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    path = rest[len(authority) :]
    return path if path.startswith("/") else "/" + path


def _unquoted(path: str) -> str:
    """WSGI's decoded path: bytes as latin-1 text. Refuses broken escapes and bytes that are not UTF-8."""
    if not _ESCAPES(path):
        raise malformed("The path contains a '%' that is not followed by two hexadecimal digits.")
    raw = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), path.encode("latin-1"))
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise malformed("The path is not UTF-8.") from None
    return raw.decode("latin-1")


def _environ_key(name: str) -> str | None:
    """The WSGI key of a header name, None for a name with an underscore: it could pass itself off as another one."""
    if not _TOKEN(name):
        raise malformed("A header name is empty or contains a character that is not allowed.")
    if "_" in name:
        return None
    key = name.upper().replace("-", "_")
    key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key
    if len(_NAMES) < _NAMES_MAX:
        _NAMES[name] = key
    return key


def _joined(key: str, first: str, second: str) -> str:
    """The value of a repeated field; fields that decide about framing or identity must not be repeated."""
    if key in _SINGLE:
        raise malformed(f"The header {key.removeprefix('HTTP_').replace('_', '-').title()} is given twice.")
    return first + ("; " if key == "HTTP_COOKIE" else ", ") + second


def body_length(environ: Environ, limit: int) -> int:
    """Bytes of body announced by the head, or -1 for a chunked one.

    Raises Refusal where length and encoding contradict each other (request smuggling), 413 above `limit`, 501 for a
    coding we do not know.
    """
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    text = environ.get("CONTENT_LENGTH")
    if coding is not None:
        return _chunked_mark(environ, coding, text)
    if text is None:
        return 0
    if not _DIGITS(text):
        raise malformed("Content-Length is not a number.")
    if int(text) > limit:
        raise too_large(limit)
    return int(text)


def _chunked_mark(environ: Environ, coding: str, length: str | None) -> int:
    if length is not None:
        raise malformed("Content-Length and Transfer-Encoding exclude each other.")
    if environ["SERVER_PROTOCOL"] == "HTTP/1.0":
        raise malformed("HTTP/1.0 has no Transfer-Encoding.")
    if coding.lower() != "chunked":
        raise Refusal(501, "not_implemented", "The only Transfer-Encoding understood is 'chunked'.")
    return -1


def too_large(limit: int) -> Refusal:
    """A 413 that names the limit in bytes."""
    return Refusal(413, "too_large", f"The request body is larger than {limit} bytes.")


def wants_close(environ: Environ) -> bool:
    """True when the connection ends after this request by the client's wish or by its protocol version."""
    connection = environ.get("HTTP_CONNECTION")
    if connection is None:
        return bool(environ["SERVER_PROTOCOL"] == "HTTP/1.0")
    tokens = {token.strip().lower() for token in connection.split(",")}
    return "close" in tokens or (environ["SERVER_PROTOCOL"] == "HTTP/1.0" and "keep-alive" not in tokens)


def wants_continue(environ: Environ) -> bool:
    """True when the client waits for `100 Continue` before it sends the body. Raises Refusal 417 for another wish."""
    expect = environ.get("HTTP_EXPECT")
    if expect is None or environ["SERVER_PROTOCOL"] == "HTTP/1.0":
        return False
    if expect.lower() != "100-continue":
        raise Refusal(417, "expectation_failed", "The only Expect understood is '100-continue'.")
    return True


class ChunkedBody:
    """Undoes the chunked coding. Coding and content together count against the limit, so tiny chunks gain nothing."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit
        self._wire = bytearray()
        self._read = 0
        self._seen = 0
        self._line_end = 0

    def feed(self, data: bytes) -> bool:
        """Take what has arrived; True when the body is complete. Raises Refusal 400 or 413."""
        self._seen += len(data)
        self._wire = self._wire[self._read :] + data
        self._read = 0
        while (size := self._next_size()) is not None:
            if size == 0:
                return self._past_trailers()
            if not self._take_chunk(size):
                return False
        return False

    def rest(self) -> bytes:
        """What came after the body: the beginning of the next request."""
        return bytes(self._wire[self._read :])

    def _next_size(self) -> int | None:
        """The size in the chunk line at the reading position, None when the line is not complete yet."""
        end = self._wire.find(b"\r\n", self._read)
        if end < 0:
            self._check_bounds(len(self._wire) - self._read > 256)
            return None
        line = self._wire[self._read : end]
        size = line.split(b";", 1)[0].rstrip(b" \t")
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,12}", size) or len(line) > 256 or line.translate(None, _PLAIN):
            raise malformed("A chunk does not begin with a clean line that gives its size.")
        self._line_end = end + 2
        return int(size, 16)

    def _check_bounds(self, line_too_long: bool) -> None:
        if line_too_long:
            raise malformed("A chunk line is too long.")
        if self._seen > self._limit + 4096:
            raise too_large(self._limit)

    def _take_chunk(self, size: int) -> bool:
        end = self._line_end + size
        if len(self.content) + size > self._limit:
            raise too_large(self._limit)
        if len(self._wire) < end + 2:
            self._check_bounds(False)
            return False
        if self._wire[end : end + 2] != b"\r\n":
            raise malformed("A chunk does not end where its size says.")
        self.content += self._wire[self._line_end : end]
        self._read = end + 2
        return True

    def _past_trailers(self) -> bool:
        """Skip trailer fields; they are not used. True when the empty line at their end has arrived."""
        start = self._line_end - 2
        end = self._wire.find(b"\r\n\r\n", start)
        if end >= 0:
            self._read = end + 4
            return True
        if len(self._wire) - start > 4096:
            raise Refusal(431, "headers_too_large", "The trailers are too large.")
        return False
