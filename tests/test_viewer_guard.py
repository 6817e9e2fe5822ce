"""Who may speak to the local page: each line attacks it, against a real server."""

import json
import socket
import time

import pytest
from viewer_server import Client, FakeLearning, served, small_session

from contractile.viewer import connections, guard, serving
from contractile.viewer.guard import LARGEST_BODY

WRITE = ("X-Contractile", "1")
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    with small_session(tmp_path_factory.mktemp("guard"), learning=FakeLearning()) as shown:
        yield shown


@pytest.fixture(scope="module")
def client(shown):
    with served(shown) as running:
        yield Client(running).enter()


@pytest.fixture
def stranger(shown):
    """A client of a server of its own, whose token nobody has shown yet."""
    with served(shown) as running:
        yield Client(running)


def talk(port, text, *, read=True):
    """What the server says to these bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        link.sendall(text)
        found = b""
        while read and (part := link.recv(65536)):
            found += part
    return found


# the name of the host


@pytest.mark.parametrize(
    "host",
    [
        ["evil.example"],
        ["127.0.0.1"],
        ["127.0.0.1:1"],
        ["localhost.evil.example:{port}"],
        ["127.0.0.1.evil.example:{port}"],
        ["evil@127.0.0.1:{port}"],
        ["0.0.0.0:{port}"],
        ["127.1:{port}"],
        ["2130706433:{port}"],
        ["[::1]:{port}"],
        ["127.0.0.1:0{port}"],
        [""],
    ],
)
def test_another_host_is_refused(client, host):
    status, headers, body = client.ask("GET", "/api/session", host=[one.format(port=client.port) for one in host])
    assert status == 403
    assert json.loads(body) == {"error": "this address is not served here"}
    assert headers["Content-Security-Policy"] == STRICT


def test_a_missing_or_double_host_is_refused(client):
    cookie = client.cookie.encode()
    assert talk(client.port, b"GET / HTTP/1.1\r\nCookie: " + cookie + b"\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert talk(client.port, b"GET / HTTP/1.0\r\nCookie: " + cookie + b"\r\n\r\n").startswith(b"HTTP/1.1 403")
    twice = f"Host: {client.host}\r\n".encode() * 2
    assert talk(client.port, b"GET / HTTP/1.1\r\n" + twice + b"\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost"])
def test_our_names_are_served(client, name):
    assert client.ask("GET", "/api/session", host=[f"{name}:{client.port}"])[0] == 200


def test_an_address_of_another_host_in_the_request_line(client):
    head = f"Host: {client.host}\r\nCookie: {client.cookie}\r\nConnection: close\r\n\r\n".encode()
    assert b" 404 " in talk(client.port, b"GET http://evil.example/api/session HTTP/1.1\r\n" + head).splitlines()[0]


# where a request comes from


@pytest.mark.parametrize(
    "origin",
    [
        ["http://evil.example"],
        ["null"],
        [""],
        ["http://127.0.0.1"],
        ["http://localhost:{port}"],
        ["https://127.0.0.1:{port}"],
        ["http://127.0.0.1:{port}.evil.example"],
        ["http://127.0.0.1:{port}", "http://127.0.0.1:{port}"],
        ["http://127.0.0.1:{port}", "http://evil.example"],
    ],
)
def test_another_origin_is_refused(client, origin):
    headers = [("Origin", one.format(port=client.port)) for one in origin]
    for method, path in (("GET", "/api/session"), ("POST", "/api/undo")):
        status, _, body = client.ask(method, path, b"{}", headers=[*headers, WRITE])
        assert (status, json.loads(body)) == (403, {"error": "requests from other pages are refused"})


@pytest.mark.parametrize("site", [["cross-site"], ["same-site"], ["Same-Origin"], [""], ["same-origin", "cross-site"]])
def test_another_site_is_refused(client, site):
    status, _, body = client.ask("GET", "/api/session", headers=[("Sec-Fetch-Site", one) for one in site])
    assert (status, json.loads(body)) == (403, {"error": "requests from other sites are refused"})


def test_our_own_page_is_served(client):
    headers = [("Origin", f"http://{client.host}"), ("Sec-Fetch-Site", "same-origin"), WRITE]
    assert client.ask("POST", "/api/undo", b"{}", headers=headers)[0] == 200
    assert client.ask("GET", "/api/session", headers=[("Sec-Fetch-Site", "none")])[0] == 200


def test_a_frame_of_this_machine_only_where_it_was_asked_for(shown, client):
    into_frame = [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Dest", "iframe")]
    assert client.ask("GET", "/api/session", headers=into_frame)[0] == 403
    with served(shown, framed=True) as running:
        framed = Client(running).enter()
        assert framed.ask("GET", "/api/session", headers=into_frame)[0] == 200
        assert framed.ask("GET", "/api/session", headers=into_frame[:1])[0] == 403
        assert framed.ask("GET", "/api/session", headers=[("Sec-Fetch-Site", "cross-site"), into_frame[1]])[0] == 403
        policy = framed.ask("GET", "/")[1]["Content-Security-Policy"]
        assert policy == STRICT.replace("'none'", "@").replace(
            "frame-ancestors @", f"frame-ancestors {guard.JUPYTER}"
        ).replace("@", "'none'")
        assert running.address.link.startswith("http://localhost:")


# token and cookie


def test_the_token_works_once(stranger):
    status, headers, _ = stranger.ask("GET", f"/?token={stranger.token}")
    assert (status, headers["Location"]) == (303, "/")
    parts = headers["Set-Cookie"].split("; ")
    assert parts[0].startswith(f"contractile-{stranger.port}=")
    assert sorted(parts[1:]) == ["HttpOnly", "Path=/", "SameSite=Strict"]
    again, headers, body = stranger.ask("GET", f"/?token={stranger.token}")
    assert (again, headers["Set-Cookie"]) == (401, None)
    assert body.decode() == guard.OPEN_IT


def test_another_window_of_the_same_browser_just_opens(stranger):
    stranger.enter()
    assert stranger.ask("GET", "/api/session")[0] == 200
    assert stranger.get("/api/session")[0] == 200
    status, headers, _ = stranger.ask("GET", f"/?token={stranger.token}")  # the printed link, again
    assert (status, headers["Location"], headers["Set-Cookie"]) == (303, "/", None)


def test_a_wrong_token_gives_nothing_and_takes_nothing(stranger):
    right = stranger.token
    wrong = [
        "",
        "token=",
        "token=x",
        f"token={right[:-1]}",
        f"token={right}x",
        f"Token={right}",
        f"token={right.lower()}",
    ]
    wrong += [f"token={right}&token={right}", f"token=x&token={right}", "&".join(["a=b"] * 1000), "token=%ff%00"]
    for query in wrong:
        status, headers, _ = stranger.ask("GET", f"/?{query}")
        assert (status, headers["Set-Cookie"]) == (401, None)
    for method, path in (("HEAD", "/"), ("POST", "/"), ("GET", "/api/session"), ("GET", "//"), ("GET", "/page/")):
        assert stranger.ask(method, f"{path}?token={right}", headers=[WRITE])[0] == 401
    stranger.enter()


def test_without_the_cookie_nothing_is_served(client):
    name, secret = client.cookie.split("=")
    for cookie in (
        "",
        f"{name}=",
        f"{name}=forged",
        f"{name}={secret[:-1]}",
        f"{name}={secret}x",
        f"{name}={secret.swapcase()}",
        f"contractile={secret}",
        f"{name}x={secret}",
        f"x{name}={secret}",
        f"a={name}={secret}",
        f"{name}=\xff\xfe",
    ):
        for path in ("/", "/page/main.js", "/api/session", "/api/news", "/nothing"):
            status, _, body = client.ask("GET", path, cookie=cookie)
            assert status == 401
            assert guard.OPEN_IT in body.decode()
        assert client.ask("POST", "/api/undo", b"{}", headers=[WRITE], cookie=cookie)[0] == 401


def test_the_cookie_is_found_among_others(client):
    others = ['json={"a": [1, "b;c"]}', "_xsrf=2|abc", "bad name=1", "=", "\xe4=\xf6", "contractile-1=other"]
    for cookie in (f"{'; '.join(others)}; {client.cookie}", f"{client.cookie}; {others[0]}", f"a=b;{client.cookie}"):
        assert client.ask("GET", "/api/session", cookie=cookie)[0] == 200
    forged = f"contractile-{client.port}=forged; {client.cookie}"  # another port of this machine may have set one
    assert client.ask("GET", "/api/session", cookie=forged)[0] == 200


# requests that change something


def test_a_write_without_its_header_is_refused(client):
    for headers in ([], [("X-Contractile", "0")], [("X-Contractile", "")], [WRITE, WRITE]):
        status, _, body = client.ask("POST", "/api/undo", b"{}", headers=headers)
        assert (status, json.loads(body)) == (
            403,
            {"error": "requests that change something carry the header X-Contractile: 1"},
        )


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"])
def test_other_methods_are_refused(client, method):
    status, headers, body = client.ask(method, "/api/session", headers=[WRITE])
    assert (status, headers["Allow"]) == (405, "GET, HEAD, POST")
    assert headers["Content-Security-Policy"] == STRICT
    assert headers["Access-Control-Allow-Origin"] is None
    assert b"cookie" not in body.lower()


def test_a_head_has_no_body(client):
    status, headers, body = client.ask("HEAD", "/api/session")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0
    assert client.ask("HEAD", "/api/session", cookie="")[::2] == (401, b"")


def test_the_method_of_a_path_is_the_only_one(client):
    assert client.ask("POST", "/api/session", b"{}", headers=[WRITE])[0] == 405
    status, headers, body = client.ask("GET", "/api/strokes")
    assert (status, json.loads(body)) == (405, {"error": "method not allowed"})
    assert headers["Content-Security-Policy"] == STRICT


def test_a_body_of_a_declared_size_that_is_too_large(client):
    head = f"POST /api/strokes HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\nX-Contractile: 1\r\n"
    for length in (str(LARGEST_BODY + 1), "9" * 18, "9" * 4000):
        said = talk(client.port, f"{head}Content-Length: {length}\r\n\r\n".encode())
        assert said.split(b" ")[1] in (b"413", b"400")
    for length in ("-1", "x", "1, 2"):
        assert talk(client.port, f"{head}Content-Length: {length}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")
    assert b" 413 " in talk(client.port, f"{head}Content-Length: {LARGEST_BODY + 1}\r\n\r\n".encode())


def test_a_body_without_a_length_that_is_too_large(client):
    head = f"POST /api/strokes HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\nX-Contractile: 1\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as link:
        link.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        part = b"10000\r\n" + b"[" * 65536 + b"\r\n"
        sent = 0
        try:
            while sent < 4 * LARGEST_BODY:
                link.sendall(part)
                sent += len(part)
        except OSError:  # the server has closed it
            pass
        assert sent < 4 * LARGEST_BODY or b" 413 " in link.recv(65536)
    assert client.get("/api/session")[0] == 200


def test_a_body_just_within_the_bound_is_read(client):
    body = b" " * (LARGEST_BODY - 2) + b"{}"
    status, answer = client.post("/api/strokes", raw=body)
    assert status == 400
    assert answer["error"].startswith("kind must be one of ")


def test_two_lengths_and_smuggled_requests(client):
    head = f"POST /api/undo HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\nX-Contractile: 1\r\n"
    for more in (
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content Length: 2\r\n",
        "a\0b: c\r\n",
    ):
        assert talk(client.port, f"{head}{more}\r\n{{}}".encode()).startswith(b"HTTP/1.1 400")


# every answer has its headers


def test_every_answer_has_the_strict_headers(client):
    asked = [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/api/session"),
        ("GET", "/api/images/9/pixels"),
        ("GET", "/api/images/0/pixels?level=0&y=0&x=0&h=1&w=1"),
    ]
    asked += [("POST", "/api/strokes"), ("GET", "/api/images/1/prediction?level=0&y=0&x=0&h=1&w=1"), ("PUT", "/")]
    for method, path in asked:
        for cookie in (None, ""):
            _, headers, _ = client.ask(method, path, b"{" if method == "POST" else None, headers=[WRITE], cookie=cookie)
            assert headers.get_all("Content-Security-Policy") == [STRICT]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cache-Control"] == "no-store"
            assert headers["Server"] is None


def test_what_is_no_http_gets_the_headers_too(client):
    for text in (b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET /\r\n\r\n"):
        said = talk(client.port, text)
        assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert f"content-security-policy: {STRICT}".encode() in said


def test_a_fault_is_an_answer_with_our_headers(shown, client, monkeypatch, caplog):
    monkeypatch.setattr(type(shown.session), "changes", property(lambda self: 1 / 0))
    status, headers, body = client.ask("GET", "/api/session")
    assert (status, headers["Content-Security-Policy"]) == (500, STRICT)
    assert json.loads(body)["error"].startswith("this is a fault in contractile")
    assert "ZeroDivisionError" in caplog.text
    assert b"division" not in body


def test_a_fault_of_the_application_itself(caplog):
    async def broken(scope, receive, send):
        raise KeyError("x")

    status, body = ask_directly(broken, "/api/x")
    assert status == 500
    assert b"this is a fault in contractile" in body
    assert "a request of the local page failed: /api/x" in caplog.text


def ask_directly(app, path, kind="http"):
    """(status, body) of one request to a guard without a server, by somebody whom it knows."""
    import asyncio

    wall, sent = guard.Guard(app, port=9), []
    cookie = f"contractile-9={wall._secret}".encode()
    scope = {
        "type": kind,
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost:9"), (b"cookie", cookie)],
    }

    async def send(message):
        sent.append(message)

    asyncio.run(wall(scope, None, send))
    return sent[0].get("status", sent[0]), sent[-1].get("body")


# connections


def test_websockets_are_refused(client):
    keys = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    keys += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    for path in ("/", "/api/news", "/ws"):
        head = f"GET {path} HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\n{keys}\r\n"
        said = talk(client.port, head.encode())
        assert said.startswith(b"HTTP/1.1 400")
        assert b"only plain HTTP is spoken here" in said or b'"error"' in said
    assert ask_directly(None, "/", "websocket")[0] == {"type": "websocket.close", "code": 1008}


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(client, monkeypatch, text):
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as link:
        link.sendall(text)
        assert link.recv(100) == b""
    assert client.get("/api/session")[0] == 200


def drip(link):
    for number in range(200):
        link.sendall(f"X-{number}: y\r\n".encode())
        time.sleep(0.05)


def test_a_head_that_drips_ends_the_connection(client, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as link:
        link.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            drip(link)
    assert time.monotonic() - started < 9


def test_the_second_head_of_a_connection_must_come_too(client, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    head = f"GET /api/jobs HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\n".encode()
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as link:
        link.sendall(head + b"\r\n")
        found = b""
        while b'"jobs"' not in found:
            found += link.recv(65536)
        link.sendall(head)
        assert link.recv(65536) == b""


def test_a_head_that_is_too_long(client):
    said = talk(client.port, b"GET / HTTP/1.1\r\nHost: " + b"x" * 2**20, read=False)
    assert said == b""
    long = f"GET / HTTP/1.1\r\nHost: {client.host}\r\nX: {'y' * 200_000}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as link:
        try:
            link.sendall(long)
            assert link.recv(65536).startswith(b"HTTP/1.1 400")
        except OSError:  # closed before all was sent
            pass
    assert client.get("/api/session")[0] == 200


def test_a_body_that_does_not_come(client, monkeypatch):
    monkeypatch.setattr(guard, "BODY_S", 0.3)
    head = f"POST /api/undo HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\nX-Contractile: 1\r\n"
    assert b" 408 " in talk(client.port, f"{head}Content-Length: 10\r\n\r\n{{".encode())


def test_a_body_that_breaks_off_changes_nothing(client):
    before = client.get("/api/session")[1]["changes"]
    head = f"POST /api/strokes HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\nX-Contractile: 1\r\n"
    stroke = json.dumps({"kind": "paint", "image": 0, "points": [[1, 1]], "radius": 1, "value": 0})
    talk(client.port, f"{head}Content-Length: {len(stroke) + 5}\r\n\r\n{stroke}".encode(), read=False)
    time.sleep(0.2)
    assert client.get("/api/session")[1]["changes"] == before


def test_too_many_connections_end_at_once(client, monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 5)
    links = [socket.create_connection(("127.0.0.1", client.port), timeout=20) for _ in range(12)]
    time.sleep(0.3)
    ended = 0
    for link in links:
        link.settimeout(0.05)
        try:
            ended += link.recv(10) == b""
        except TimeoutError:
            pass
        except OSError:
            ended += 1
        link.close()
    assert ended >= 7
    time.sleep(0.2)
    assert client.get("/api/session")[0] == 200


# where it listens


def test_other_machines_only_with_consent(shown):
    with pytest.raises(
        ValueError, match=r"other machines can reach 0\.0\.0\.0: whoever reads the traffic there can see and"
    ):
        serving.Serving(shown, host="0.0.0.0")
    with served(shown, host="0.0.0.0", consent=True) as running:
        assert Client(running).enter().get("/api/session")[0] == 200
        assert Client(running).ask("GET", "/", host=["evil.example"])[0] == 403


def test_only_this_machine_by_default(shown):
    with served(shown) as running:
        assert running.address.link.startswith("http://127.0.0.1:")
        assert running._socket.getsockname()[0] == "127.0.0.1"


def test_ports(shown):
    with pytest.raises(ValueError, match=r"port must be from 1,024 to 65,535, got 80; leave it out"):
        serving.Serving(shown, port=80)
    with served(shown) as running:
        port = Client(running).port
        with pytest.raises(ValueError, match=rf"cannot listen at port {port} of 127\.0\.0\.1 \(.*\); leave out --port"):
            serving.Serving(shown, port=port)


def test_names_of_hosts():
    assert serving.names_of("127.0.0.1") == serving.names_of("localhost") == ("127.0.0.1", "localhost")
    assert serving.names_of("192.0.2.7") == ("192.0.2.7",)
    assert serving.names_of("fe80::1") == ("[fe80::1]",)
    assert "127.0.0.1" in serving.names_of("0.0.0.0")
    assert serving.reachable_name("fe80::1") == "[fe80::1]"
    assert serving.reachable_name("0.0.0.0") == socket.gethostname()
