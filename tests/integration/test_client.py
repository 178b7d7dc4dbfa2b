"""The HTTP client over real sockets: framing, retries, errors, and the search for the token."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metawsm.client.address import parse_address
from metawsm.client.connection import unreachable
from metawsm.client.errors import ApiError, BadAnswer, DaemonUnreachable
from metawsm.client.http import Client
from metawsm.client.token import find_token
from metawsm.domain.errors import InvalidFields
from tests.support.scripted_server import ScriptedServer, answer, header, scripted

Play = Callable[[ScriptedServer, socket.socket], None]


def replies(*answers: bytes) -> Play:
    """Answer the requests of one connection with these bytes, then hang up."""

    def play(server: ScriptedServer, sock: socket.socket) -> None:
        for data in answers:
            if server.read_request(sock):
                sock.sendall(data)

    return play


def client(server: ScriptedServer, **options: float) -> Client:
    """A client that does not wait between tries."""
    return Client(server.url, wait=lambda seconds: None, **options)  # type: ignore[arg-type]


def test_requests_share_one_connection() -> None:
    """Answers with a length, in chunks, without a body and after an interim answer are told apart on one connection."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n1\r\n \r\n0\r\nTrailer: t\r\n\r\n"
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200, b"late")
    bodies = [answer(200, b"first"), chunked, b"HTTP/1.1 204 No Content\r\n\r\n", interim]
    with scripted(replies(*bodies), replies(answer(500, b"a second connection"))) as server:
        mine = client(server)
        found = [mine.request("GET", "/x").body for _ in bodies]
        assert found == [b"first", b"{} ", b"", b"late"]
        mine.close()


def test_a_body_without_length_ends_with_the_connection() -> None:
    """HTTP/1.0 answers work, and the connection is not used again."""
    old = b"HTTP/1.0 200 OK\r\n\r\nall of it"
    with scripted(replies(old), replies(answer(200, b"new"))) as server:
        mine = client(server)
        assert mine.request("GET", "/x").body == b"all of it"
        assert mine.request("GET", "/x").body == b"new"


def test_answers_may_arrive_byte_by_byte() -> None:
    """The end of an answer is found wherever the network cuts it."""

    def play(server: ScriptedServer, sock: socket.socket) -> None:
        server.read_request(sock)
        for byte in answer(200, b'{"a": 1}', "X-Y: z"):
            sock.sendall(bytes([byte]))

    with scripted(play) as server:
        assert client(server).call("GET", "/x") == (200, {"a": 1})


def test_ipv6_is_spoken() -> None:
    """An address in brackets is reached and named in the Host header."""
    with scripted(replies(answer(200, b"{}")), family=socket.AF_INET6) as server:
        assert Client(f"http://[::1]:{server.port}").call("GET", "/x") == (200, {})
        assert header(server.requests[0], "Host") == f"[::1]:{server.port}"


def test_query_and_body_are_encoded() -> None:
    """Any text reaches the daemon as it is; members that are None are left out."""
    with scripted(replies(answer(200, b"{}"))) as server:
        client(server).call("POST", "/x", {"q": "a&b=ü /", "none": None, "flag": True}, {"body": "ü\n\u202e"})
        head, _mark, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /api/v1/x?q=a%26b%3D%C3%BC%20%2F&flag=true HTTP/1.1\r\n")
        assert json.loads(body) == {"body": "ü\n\u202e"}


def test_a_write_is_repeated_with_the_same_key_when_its_answer_is_lost() -> None:
    """A connection cut in mid-answer leads to the same request again, so that the daemon can tell it is one."""
    cut = answer(201, b'{"thread": 1}')[:-5]
    with scripted(replies(b""), replies(cut), replies(answer(201, b'{"thread": 1}'))) as server:
        assert client(server).call("POST", "/x", body={"a": 1}) == (201, {"thread": 1})
        keys = {header(request, "Idempotency-Key") for request in server.requests}
        assert len(server.requests) == 3
        assert len(keys) == 1
        assert keys != {""}


def test_two_writes_have_two_keys() -> None:
    """Keys belong to one request."""
    with scripted(replies(answer(200, b"{}"), answer(200, b"{}"))) as server:
        mine = client(server)
        mine.call("POST", "/x", body={})
        mine.call("POST", "/x", body={})
        assert len({header(request, "Idempotency-Key") for request in server.requests}) == 2


def test_a_write_that_stays_unanswered_says_that_it_may_be_stored() -> None:
    """After three lost answers the error does not claim that nothing happened."""
    with scripted(replies(b"")) as server:
        mine = client(server)
        with pytest.raises(DaemonUnreachable, match="may have been stored"):
            mine.call("POST", "/x", body={})
        assert len(server.requests) == 3


def test_a_stale_connection_is_replaced() -> None:
    """A kept connection that the daemon closed meanwhile costs nothing but a new one."""
    with scripted(replies(answer(200, b"{}"))) as server:
        mine = client(server)
        mine.call("GET", "/x")
        mine.call("GET", "/x")
        assert len(server.requests) == 2


def test_the_daemon_may_ask_to_come_back() -> None:
    """503 with Retry-After is tried again after that time, bounded, and given up after three tries."""
    busy = answer(503, b'{"error": {"code": "overloaded", "message": "later"}}', "Retry-After: 3600")
    waits: list[float] = []
    with scripted(replies(busy, answer(200, b"{}"))) as server:
        assert Client(server.url, wait=waits.append).call("POST", "/x", body={}) == (200, {})
        assert waits == [5.0]
    with scripted(replies(busy, busy, busy, busy)) as server:
        with pytest.raises(ApiError, match="later"):
            client(server).call("POST", "/x", body={})
        assert len(server.requests) == 3


def test_an_error_of_the_daemon_is_told_in_its_words() -> None:
    """Status, code, fields, correlation id and further members come through."""
    error = {
        "code": "stale_sequence",
        "message": "no",
        "fields": {"a": ["b"]},
        "correlation_id": "c",
        "details": {"d": 1},
    }
    reply = replies(answer(409, json.dumps({"error": error, "thread": {"x": 1}}).encode()))
    with scripted(reply) as server, pytest.raises(ApiError) as caught:
        client(server).call("POST", "/x", body={})
    found = caught.value
    assert (found.status, found.code, found.message, found.fields) == (409, "stale_sequence", "no", {"a": ["b"]})
    assert (found.correlation_id, found.details) == ("c", {"d": 1, "thread": {"x": 1}})


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "no"}', b'{"detail": "no"}'])
def test_an_error_without_an_error_object_is_not_the_daemons(body: bytes) -> None:
    """Another program's "not found" is no thread that is missing; a proxy's page says that the daemon is away."""
    with scripted(replies(answer(404, body))) as server, pytest.raises(BadAnswer, match="another program's port"):
        client(server).call("GET", "/x")
    with scripted(replies(answer(502, body))) as server, pytest.raises(DaemonUnreachable, match="says 502"):
        client(server).call("GET", "/x")


@pytest.mark.parametrize(
    "data",
    [
        answer(200, b"<html>"),
        answer(200, b"[]"),
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
)
def test_another_program_on_the_port_is_recognised(data: bytes) -> None:
    """Whatever answers, the client says that it is not the daemon."""
    with scripted(replies(data)) as server, pytest.raises(BadAnswer):
        client(server).call("GET", "/x")


def test_no_daemon_is_said_with_the_address_and_what_to_do() -> None:
    """A refused connection names the address, how to start the daemon, and the option."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DaemonUnreachable) as caught:
            Client(f"http://{place}").call("GET", "/x")
    expected = (
        f"connection refused: no metawsm daemon answers at http://{place};"
        f" start it with `metawsm.pyz serve --addr {place}`, or name another with --server"
    )
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("server", "way"),
    [
        ("http://localhost:3001", "start it with `metawsm.pyz serve`,"),
        ("http://[::1]:3002", "start it with `metawsm.pyz serve --addr [::1]:3002`,"),
        ("https://127.0.0.1:3001", "start it there,"),
        ("http://192.0.2.1:3001", "start it there,"),
    ],
)
def test_the_way_to_start_a_daemon_fits_its_address(server: str, way: str) -> None:
    """The command that is shown starts one where the client has looked."""
    assert way in str(unreachable(parse_address(server), "no"))


def test_a_daemon_that_hangs_is_given_up_once() -> None:
    """No answer in time is not asked for again."""

    def hang(server: ScriptedServer, sock: socket.socket) -> None:
        server.read_request(sock)
        sock.recv(1)

    with scripted(hang) as server:
        with pytest.raises(DaemonUnreachable, match=r"no answer within 0\.2 s"):
            client(server, timeout=0.2).call("GET", "/x")
        assert len(server.requests) == 1


def test_a_header_cannot_smuggle_a_second_request() -> None:
    """Line ends in a token or a header are refused before anything is sent."""
    with pytest.raises(InvalidFields, match="Authorization"):
        Client("http://127.0.0.1:1", "x\r\nX: y")._head("GET", "/", b"", {})


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:3001", "http://127.0.0.1:3001"),
        ("127.0.0.1:3001/", "http://127.0.0.1:3001"),
        ("https://example.org/metawsm/", "https://example.org:443/metawsm"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_addresses_are_read(text: str, url: str) -> None:
    """Scheme and port have defaults; a path is a prefix."""
    assert parse_address(text).url == url


@pytest.mark.parametrize(
    "text", ["", "ftp://x", "http://", "http://x:y", "http://x:99999", "http://a@b", "http://x?y", "a b"]
)
def test_bad_addresses_are_refused(text: str) -> None:
    """The complaint shows what an address looks like."""
    with pytest.raises(InvalidFields, match=r"http://127\.0\.0\.1:3001"):
        parse_address(text)


def test_the_token_is_found_upwards(tmp_path: Path) -> None:
    """Environment first, then the named file, then `.metawsm/token` from the working directory upwards."""
    (tmp_path / ".metawsm").mkdir()
    (tmp_path / ".metawsm" / "token").write_text("from-project\n")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    named = tmp_path / "named"
    named.write_text("from-file\n")
    assert find_token({}, str(deep)).token == "from-project"
    assert find_token({"METAWSM_TOKEN_FILE": str(named)}, str(deep)).token == "from-file"
    assert find_token({"METAWSM_TOKEN": "t", "METAWSM_TOKEN_FILE": str(named)}, str(deep)).token == "t"
    missing = find_token({"METAWSM_TOKEN_FILE": str(tmp_path / "no")}, str(deep))
    assert missing.token is None
    assert "no such file" in missing.notes[0]


def test_a_token_file_that_cannot_be_trusted_is_passed_over(tmp_path: Path) -> None:
    """A fifo, a folder, an empty file and a stranger's file are ignored with a note."""
    folder = tmp_path / ".metawsm"
    folder.mkdir()
    path = folder / "token"
    os.mkfifo(path)
    assert "not a regular file" in find_token({}, str(tmp_path)).notes[0]
    path.unlink()
    path.write_text("two\nlines\n")
    assert "one line" in find_token({}, str(tmp_path)).notes[0]
    path.write_text("fine")
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        found = find_token({}, str(tmp_path))
        assert found.token is None
        assert "another user" in found.notes[0]


def test_the_client_loads_nothing_heavy() -> None:
    """Importing the client and the feed brings in neither server libraries nor the slow parts of the standard one."""
    heavy = ["gevent", "redis", "apsw", "bottle", "cattrs", "msgpack", "attrs", "http.client", "ssl", "random"]
    modules = "metawsm.client.http, metawsm.client.feed, metawsm.client.token"
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
