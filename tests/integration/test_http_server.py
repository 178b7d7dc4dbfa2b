"""The HTTP server over real sockets: what it answers, what it refuses, what it bounds, how it stops."""

from __future__ import annotations

import resource
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import gevent.socket
import pytest

from metawsm.api.http_handler import Connection
from metawsm.api.http_server import HttpServer
from metawsm.api.http_shared import Limits, Shared
from metawsm.domain.errors import Refused
from tests.support.eventually import eventually
from tests.support.http_app import app, echo, error_body
from tests.support.http_process import HttpProcess, http_process
from tests.support.raw_http import RawHttp, post

SHORT = {"header_seconds": 0.3, "body_seconds": 0.3, "send_seconds": 0.3, "idle_seconds": 0.6}


@pytest.fixture(scope="module")
def server() -> Iterator[HttpProcess]:
    """One server with the default limits, shared by the tests that do not stop it."""
    with http_process() as process:
        yield process


@pytest.fixture(scope="module")
def hasty() -> Iterator[HttpProcess]:
    """A server whose patience is a fraction of a second."""
    with http_process(http=SHORT) as process:
        yield process


def test_keep_alive_serves_many_requests_on_one_connection(server: HttpProcess) -> None:
    """Requests follow each other on one connection, each answered for itself."""
    with RawHttp(server.port) as client:
        for number in range(50):
            assert client.get(f"/echo?{number}").json()["environ"]["QUERY_STRING"] == str(number)


def test_no_answer_waits_for_an_acknowledgement(server: HttpProcess) -> None:
    """Answers of several sends come at once: Nagle's algorithm would add 40 ms to each (measured 4 s for these)."""
    with RawHttp(server.port) as client:
        began = time.monotonic()
        for _ in range(100):
            assert client.get("/stream").body == b"one,two,three"
        assert time.monotonic() - began < 2


def test_pipelined_requests_are_answered_in_order(server: HttpProcess) -> None:
    """Requests that arrive together, with and without bodies, are answered one after the other."""
    with RawHttp(server.port) as client:
        client.send(b"".join(post(b"b" * number, target=f"/echo?{number}") for number in range(20)))
        assert [client.read().json()["length"] for _ in range(20)] == list(range(20))


def test_the_environ_follows_pep_3333(server: HttpProcess) -> None:
    """Path, query, headers and the client's address arrive as WSGI wants them; underscored headers do not pass."""
    request = (
        b"GET /a%20b%C3%BC?q=%ff&r HTTP/1.1\r\nHost: h:1\r\nContent-Type: t/x\r\nX-A:  1 \r\nx-a: 2\r\n"
        b"X_A: evil\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n"
    )
    with RawHttp(server.port) as client:
        seen = client.ask(request).json()["environ"]
    assert seen["PATH_INFO"] == "/a b\u00c3\u00bc"
    assert seen["QUERY_STRING"] == "q=%ff&r"
    assert (seen["HTTP_HOST"], seen["CONTENT_TYPE"], seen["HTTP_X_A"]) == ("h:1", "t/x", "1, 2")
    assert (seen["HTTP_COOKIE"], seen["REMOTE_ADDR"], seen["SCRIPT_NAME"]) == ("a=1; b=2", "127.0.0.1", "")
    assert seen["SERVER_PORT"] == str(server.port)


def test_an_absolute_target_is_understood(server: HttpProcess) -> None:
    """RFC 9112 3.2.2: a server must accept the absolute form."""
    with RawHttp(server.port) as client:
        seen = client.ask(b"GET http://h/x?y HTTP/1.1\r\nHost: h\r\n\r\n").json()["environ"]
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/x", "y")


def test_head_has_the_length_and_no_body(server: HttpProcess) -> None:
    """HEAD answers as GET does, without the body, and the connection goes on."""
    with RawHttp(server.port) as client:
        answer = client.ask(b"HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n", head_only=True)
        assert answer.status == 200 and int(answer.headers["content-length"]) > 10
        streamed = client.ask(b"HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n", head_only=True)
        assert streamed.status == 200 and client.get("/echo").status == 200


def test_204_has_neither_length_nor_body(server: HttpProcess) -> None:
    """A 204 ends with its head (RFC 9110 8.6) and the connection goes on."""
    with RawHttp(server.port) as client:
        answer = client.get("/empty")
        assert answer.status == 204 and "content-length" not in answer.headers
        assert client.get("/echo").status == 200


def test_a_generator_is_sent_chunked_or_with_its_announced_length(server: HttpProcess) -> None:
    """A stream is framed in each of the three ways HTTP knows."""
    with RawHttp(server.port) as client:
        chunked = client.get("/stream")
        assert (chunked.headers["transfer-encoding"], chunked.body) == ("chunked", b"one,two,three")
        announced = client.get("/stream?13")
        assert ("transfer-encoding" not in announced.headers, announced.body) == (True, b"one,two,three")
        old = client.ask(b"GET /stream HTTP/1.0\r\n\r\n")
        assert (old.headers["connection"], old.body) == ("close", b"one,two,three")


def test_write_comes_before_the_result(server: HttpProcess) -> None:
    """What the application gives to PEP 3333's write callable is sent first."""
    with RawHttp(server.port) as client:
        assert client.get("/write").body == b"written, returned"


def test_connection_close_and_http_1_0(server: HttpProcess) -> None:
    """The connection ends when the client says so, or speaks HTTP/1.0 without asking to keep it."""
    with RawHttp(server.port) as client:
        answer = client.ask(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.headers["connection"] == "close" and client.is_closed()
    with RawHttp(server.port) as client:
        assert client.ask(b"GET /echo HTTP/1.0\r\n\r\n").status == 200 and client.is_closed()
    with RawHttp(server.port) as client:
        kept = client.ask(b"GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert kept.headers["connection"] == "keep-alive" and client.get("/echo").status == 200


def test_100_continue_is_sent_before_the_body_and_only_for_one_that_fits(server: HttpProcess) -> None:
    """A client that waits hears 100 or the refusal before it sends a byte of the body."""
    with RawHttp(server.port) as client:
        client.send(post(b"", "Expect: 100-continue", "Content-Length: 3"))
        assert client.read().status == 100
        assert client.ask(b"abc").json()["body"] == "abc"
        assert client.ask(post(b"", "Expect: 100-continue", "Content-Length: 9999999")).status == 413
    with RawHttp(server.port) as client:
        assert client.ask(post(b"", "Expect: miracles", "Content-Length: 1")).status == 417


def test_chunked_bodies_arrive_whole(server: HttpProcess) -> None:
    """Chunks with extensions and trailers, cut anywhere, make one body; the next request follows."""
    wire = post(b"3;a=b\r\nabc\r\n5\r\ndefgh\r\n0\r\nTrailer: x\r\n\r\n", "Transfer-Encoding: chunked")
    with RawHttp(server.port) as client:
        for byte in wire:
            client.send(bytes([byte]))
        assert client.read().json()["body"] == "abcdefgh"
        assert client.ask(wire + wire).json()["body"] == client.read().json()["body"]


REFUSED = {
    "no version": (b"GET /\r\nHost: x\r\n\r\n", 400),
    "a tab between": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no path": (b"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "connect": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bad method": (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "other protocol": (b"GET / RTSP/1.0\r\nHost: x\r\n\r\n", 400),
    "http/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "bare lf": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare lf in a header": (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
    "bare cr in a header": (b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
    "nul": (b"GET / HTTP/1.1\r\nHost: x\x00\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: x\r\noops\r\n\r\n", 400),
    "space before the colon": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", 400),
    "folded line": (b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n z\r\n\r\n", 400),
    "broken escape": (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "half escape": (b"GET /a%4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "path not utf-8": (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "length not a number": (post(b"abc", "Content-Length: +3"), 400),
    "length list": (post(b"abc", "Content-Length: 3, 3"), 400),
    "two lengths": (post(b"abc", "Content-Length: 3", "Content-Length: 4"), 400),
    "same length twice": (post(b"abc", "Content-Length: 3", "Content-Length: 3"), 400),
    "length and chunked": (post(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
    "chunked twice": (post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    "gzip": (post(b"0\r\n\r\n", "Transfer-Encoding: gzip, chunked"), 501),
    "chunked in 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunk size not hex": (post(b"xyz\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 400),
    "chunk size negative": (post(b"-3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 400),
    "chunk too long": (post(b"3\r\nabcd\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 400),
    "bare lf in a chunk line": (post(b"3;x\ny\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 400),
    "endless chunk line": (post(b"3;" + b"x" * 400, "Transfer-Encoding: chunked"), 400),
    "huge body": (post(b"", "Content-Length: 1048577"), 413),
    "absurd length": (post(b"", "Content-Length: 99999999999999999999999"), 400),
    "huge chunk": (post(b"fffffff\r\n", "Transfer-Encoding: chunked"), 413),
    "long line": (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "big header": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 150 + b"\r\n", 431),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_requests_are_refused_with_the_error_object(server: HttpProcess, name: str) -> None:
    """Each way to break HTTP gets its status, the JSON error, and the end of the connection."""
    wire, status = REFUSED[name]
    with RawHttp(server.port) as client:
        answer = client.ask(wire)
        assert answer.status == status, answer
        assert set(answer.json()["error"]) == {"code", "message", "correlation_id"}
        assert answer.headers["connection"] == "close" and answer.headers["content-type"] == "application/json"
        assert client.is_closed()


def test_a_large_body_that_was_sent_anyway_does_not_hide_the_413(server: HttpProcess) -> None:
    """The client that goes on sending after the refusal can send all of it and read the answer then."""
    with RawHttp(server.port) as client:
        wire = post(b"x" * 3_000_000)
        client.send(wire[:1000])
        assert select.select([client.sock], [], [], 5)[0]
        client.send(wire[1000:])
        assert client.read().status == 413


def test_chunked_bodies_count_against_the_cap(server: HttpProcess) -> None:
    """A chunked body of many chunks is cut at the cap, and a body of one-byte chunks even earlier."""
    thousand = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    with RawHttp(server.port) as client:
        answer = client.ask(post(thousand * 1040 + b"0\r\n\r\n", "Transfer-Encoding: chunked"))
        assert answer.json()["length"] == 1_040_000
        assert client.ask(post(thousand * 1100, "Transfer-Encoding: chunked")).status == 413
    with RawHttp(server.port) as client:
        assert client.ask(post(b"1\r\nx\r\n" * 400_000, "Transfer-Encoding: chunked")).status == 413


def test_the_applications_faults_are_500_without_its_words() -> None:
    """An exception, a wrong length and a broken header are logged and answered with 500; nothing leaks."""
    with http_process() as own:
        for path in ("/fail", "/fail-os", "/short", "/inject"):
            with RawHttp(own.port) as client:
                answer = client.get(path)
                assert (answer.status, answer.json()["error"]["code"]) == (500, "internal")
                assert b"secret" not in answer.body and client.is_closed()
        assert "a secret inside" in own.log()


def test_a_stream_cut_short_ends_the_connection(server: HttpProcess) -> None:
    """A stream that is shorter than announced is visible to the client as an early end."""
    with RawHttp(server.port) as client, pytest.raises(AssertionError, match="early"):
        client.get("/stream?100")


def test_disconnects_are_silent() -> None:
    """Clients that vanish in the middle of anything leave no word in the log and no connection behind."""
    with http_process() as own:
        for wire in (b"", b"GET /", post(b"abc", "Content-Length: 10"), b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n"):
            with RawHttp(own.port) as client:
                client.send(wire)
        with RawHttp(own.port) as client:
            eventually(lambda: client.get("/stats").json()["connections"] == 1)
        assert own.log() == ""


def test_slow_heads_and_bodies_time_out(hasty: HttpProcess) -> None:
    """A client that drips bytes is told 408 when its time is over, however busily it drips."""
    for start, drip in ((b"GET / HTTP/1.1\r\nX: ", b"y"), (post(b"a", "Content-Length: 9000"), b"a")):
        with RawHttp(hasty.port) as client:
            client.send(start)
            client.sock.settimeout(0.02)
            began = time.monotonic()
            while not client.buffer and time.monotonic() - began < 5:
                _drip(client, drip)
            client.sock.settimeout(5)
            answer = client.read()
            assert (answer.status, answer.json()["error"]["code"]) == (408, "request_timeout")
            assert time.monotonic() - began < 2


def _drip(client: RawHttp, drip: bytes) -> None:
    client.send(drip)
    with suppress(TimeoutError):
        client._more()


def test_idle_connections_are_closed_without_a_word(hasty: HttpProcess) -> None:
    """After its idle time a kept-alive connection is closed; one that never said anything, too."""
    with RawHttp(hasty.port) as used, RawHttp(hasty.port) as silent:
        assert used.get("/echo").status == 200
        assert used.is_closed() and silent.is_closed()


def test_a_pause_of_the_process_is_nobodys_delay(hasty: HttpProcess) -> None:
    """After the process was stopped for longer than any limit, its connections still stand and are served."""
    with RawHttp(hasty.port) as client:
        assert client.get("/echo").status == 200
        hasty.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        eventually(lambda: time.monotonic() > stopped + 1.0)
        hasty.process.send_signal(signal.SIGCONT)
        assert client.get("/echo").status == 200


def test_a_client_that_does_not_read_is_cut(hasty: HttpProcess) -> None:
    """A response nobody takes is given up after the send time."""
    with RawHttp(hasty.port, receive_buffer=4096) as stuck, RawHttp(hasty.port) as other:
        stuck.send(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: other.get("/stats").json()["connections"] == 2)
        eventually(lambda: other.get("/stats").json()["connections"] == 1)


def test_work_in_the_application_is_not_timed(hasty: HttpProcess) -> None:
    """The limits are for clients: an application may take longer than any of them."""
    with RawHttp(hasty.port) as client:
        assert client.get("/slow?1.2").json() == "slept"
        assert client.get("/echo").status == 200


def test_unread_bodies_together_are_bounded() -> None:
    """Clients that announce bodies and do not send them cannot fill the memory: the next one gets 503 and a hint."""
    with http_process(http={"unread_bytes": 2_000_000}) as own, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(RawHttp(own.port)).send(post(b"x", "Content-Length: 900000"))
        client = stack.enter_context(RawHttp(own.port))
        refused = client.ask(post(b"x", "Content-Length: 900000"))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")


def test_two_thousand_idle_connections_leave_the_server_responsive(server: HttpProcess) -> None:
    """With 2,000 silent connections a new client is still served at once."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(2000, allowed - 200)
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(RawHttp(server.port))
        client = stack.enter_context(RawHttp(server.port))
        eventually(lambda: client.get("/stats").json()["connections"] > count)
        began = time.monotonic()
        for _ in range(100):
            client.get("/echo")
        assert time.monotonic() - began < 1
    with RawHttp(server.port) as client:
        eventually(lambda: client.get("/stats").json()["connections"] == 1)


def test_idle_connections_give_way_when_all_are_taken() -> None:
    """Idle clients that hold every connection are cut, a few at a time, as soon as others want in."""
    with http_process(http={"connections": 20, "idle_seconds": 60}) as own, ExitStack() as stack:
        idle = [stack.enter_context(RawHttp(own.port)) for _ in range(20)]
        late = stack.enter_context(RawHttp(own.port, timeout=5))
        assert late.get("/echo").status == 200
        ended, _, _ = select.select([client.sock for client in idle], [], [], 5)
        assert 1 <= len(ended) < 10


def test_a_taken_port_is_refused_by_name(server: HttpProcess) -> None:
    """Listening on a taken address raises one clear error that names it."""
    with pytest.raises(Refused, match=f"127.0.0.1:{server.port}"):
        HttpServer(("127.0.0.1", server.port), app, error_body=error_body).start()


def test_stop_answers_what_is_in_flight_and_closes_the_rest() -> None:
    """At SIGTERM idle connections end at once, running requests are answered with close, new ones find nobody."""
    with http_process() as own, RawHttp(own.port) as idle, RawHttp(own.port) as busy:
        assert idle.get("/echo").status == 200
        busy.send(b"GET /slow?0.6 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: idle.get("/stats").json()["connections"] == 2)
        began = time.monotonic()
        own.terminate()
        assert idle.is_closed() and time.monotonic() - began < 0.4
        answer = busy.read()
        assert (answer.json(), answer.headers["connection"]) == ("slept", "close")
        assert own.process.wait(5) == 0 and time.monotonic() - began < 2
        with pytest.raises(ConnectionRefusedError):
            RawHttp(own.port)


def test_a_request_that_arrives_with_the_stop_is_still_answered() -> None:
    """An idle connection whose next request is already there is not closed before that is answered."""
    client, served = gevent.socket.socketpair()
    shared = Shared(echo, error_body, Limits(), {})
    connection = Connection(served, ("127.0.0.1", 1), shared)
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    shared.stopping = True
    connection.finish()
    connection.handle()
    assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_stop_cuts_off_what_takes_too_long() -> None:
    """A request that outlasts the stop's patience does not keep the process."""
    with http_process(stop_seconds=0.3) as own, RawHttp(own.port) as busy, RawHttp(own.port) as other:
        busy.send(b"GET /slow?60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: other.get("/stats").json()["connections"] == 2)
        own.terminate()
        assert own.process.wait(5) == 0 and busy.is_closed()
