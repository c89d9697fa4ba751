"""The server of a page: what it answers, and what it refuses and lives on."""

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conf.cli import command
from eval.load import open_run
from eval.serve import __main__ as serve
from eval.serve import answers as module
from eval.serve.answers import Answers, colours
from eval.serve.app import application
from eval.serve.connection import server_of
from eval.serve.limits import MOST_BODY, MOST_WAITING, Refused, served

ROOT = Path(__file__).parents[1]
SUDOKU = ROOT / "pretrained" / "sudoku6"
PUZZLE = "1...4.6....14..623.......1.4..534.6."
JSON = {"Content-Type": "application/json"}


class Reply(NamedTuple):
    """What came back."""

    status_code: int
    headers: dict[str, str]  # names in lower case
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """A browser's part, without a browser."""

    def __init__(self, port: int):
        self.port = port

    def get(self, path: str, headers: dict | None = None) -> Reply:
        return self.ask("GET", path, None, headers or {})

    def post(self, path: str, json_=None, content=None, headers: dict | None = None) -> Reply:
        if content is None:
            content, headers = json.dumps(json_), JSON | (headers or {})
        return self.ask("POST", path, content, headers)

    def ask(self, method: str, path: str, content, headers: dict) -> Reply:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        line.request(method, path, content, headers)
        found = line.getresponse()
        names = {name.lower(): value for name, value in found.getheaders()}
        reply = Reply(found.status, names, found.read().decode())
        line.close()
        return reply


@contextmanager
def serving(answers: Answers) -> Iterator[Client]:
    """A real server in this process, at a free port."""
    bound = serve.bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    server = server_of(application(answers, "127.0.0.1", port))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Client(port)
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers(open_run(SUDOKU))


@pytest.fixture(scope="module")
def client(answers) -> Iterator[Client]:
    with serving(answers) as found:
        yield found


def test_a_puzzle_is_solved(client):
    found = client.post("/solve", {"puzzle": PUZZLE, "segments": 3})
    assert found.status_code == 200
    trace = found.json()
    assert [step["segment"] for step in trace["steps"]] == [1, 1, 2, 2, 3, 3]
    assert trace["truth"] is not None
    assert trace["notes"] == []


def test_rows_of_numbers_are_a_puzzle_too(client):
    text = client.post("/solve", {"puzzle": PUZZLE, "segments": 2}).json()
    cells = [0 if c == "." else int(c) for c in PUZZLE]
    rows = [cells[i : i + 6] for i in range(0, 36, 6)]
    assert client.post("/solve", {"puzzle": rows, "segments": 2}).json() == text


def test_nothing_is_kept_between_visitors(client):
    first = client.post("/solve", {"puzzle": PUZZLE, "segments": 4}).json()
    client.post("/solve", {"puzzle": "." * 36, "segments": 9})
    client.post("/new", {})
    assert client.post("/solve", {"puzzle": PUZZLE, "segments": 4}).json() == first


def test_new_puzzles_are_puzzles(client, answers):
    found = [client.post("/new", {}).json()["question"] for _ in range(2)]
    assert found[0] != found[1]
    rows = [[token - 1 for token in found[0][i : i + 6]] for i in range(0, 36, 6)]
    assert client.post("/solve", {"puzzle": rows, "segments": 1}).json()["truth"]


def test_the_page_and_its_files(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in page.text
    for path in ("/style.css", "/viewer.js", "/serve.js"):
        found = client.get(path)
        assert found.status_code == 200
        assert found.headers["x-content-type-options"] == "nosniff"
        assert path in page.text


BAD = {
    "no JSON": ("{", JSON, 400, "no JSON"),
    "deep JSON": ("[" * 60_000, JSON, 400, "no JSON"),
    "a huge number": ("[" + "9" * 60_000 + "]", JSON, 400, "no JSON"),
    "a list": ("[]", JSON, 400, "no JSON object"),
    "a form": ("puzzle=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "JSON"),
    "text": ("{}", {"Content-Type": "text/plain"}, 415, "JSON"),
    "too large": (" " * (MOST_BODY + 1), JSON, 413, "KB"),
    "not UTF-8": (b"\xff\xfe", JSON, 400, "no JSON"),
    "no puzzle": ("{}", JSON, 400, "puzzle must be"),
    "a number": ('{"puzzle": 3}', JSON, 400, "puzzle must be"),
    "size": ('{"puzzle": "123"}', JSON, 422, "3 cells, not 36"),
    "a large grid": (json.dumps({"puzzle": [[0] * 200] * 100}), JSON, 422, "more than 30 rows"),
    "a wide grid": (json.dumps({"puzzle": [[0] * 9000]}), JSON, 422, "more than 30 rows"),
    "a long text": (json.dumps({"puzzle": "." * 50_000}), JSON, 422, "more than 30 rows"),
    "a character": (json.dumps({"puzzle": "z" * 36}), JSON, 422, "knows"),
    "a contradiction": (json.dumps({"puzzle": "11" + "." * 34}), JSON, 422, "row 1 has two 1s"),
    "segments": (json.dumps({"puzzle": PUZZLE, "segments": 10**9}), JSON, 422, "from 1 to 64"),
    "half": (json.dumps({"puzzle": PUZZLE, "segments": 1.5}), JSON, 422, "from 1 to 64"),
    "true": (json.dumps({"puzzle": PUZZLE, "segments": True}), JSON, 422, "from 1 to 64"),
    "unknown": (json.dumps({"puzzle": PUZZLE, "model": "x"}), JSON, 400, "'model' is no part"),
    "a surrogate": ('{"puzzle": "\\ud800"}', JSON, 422, ""),
    "nested": (json.dumps({"puzzle": [[[[1]]]]}), JSON, 422, ""),
    "mixed": (json.dumps({"puzzle": [[1, "a", None, {}]] * 6}), JSON, 422, ""),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_questions_are_refused_in_a_line(case, client):
    content, headers, status, told = BAD[case]
    found = client.post("/solve", content=content, headers=headers)
    assert found.status_code == status, found.text
    error = found.json()["error"]
    assert told in error
    assert "\n" not in error
    assert client.post("/solve", {"puzzle": PUZZLE, "segments": 1}).status_code == 200


def test_a_body_without_a_length_is_cut_off(client):
    head = b"POST /solve HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % client.port
    head += b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    part = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", client.port)) as one:
        one.settimeout(30)
        one.sendall(head + 9 * part + b"0\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:9", "localhost.evil.example:8000"])
def test_other_names_are_refused(client, host):
    found = client.get("/", {"Host": host})
    assert found.status_code == 403
    assert "content-security-policy" in found.headers


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9"])
def test_other_pages_are_refused(client, origin):
    question = {"puzzle": PUZZLE}
    found = client.post("/solve", question, headers={"Origin": origin})
    assert found.status_code == 403
    own = client.post("/new", {}, headers={"Origin": f"http://127.0.0.1:{client.port}"})
    assert own.status_code == 200


def test_names_that_serve():
    for name in ("127.0.0.1:80", "localhost:80", "[::1]:80", "localhost"):
        assert served(name, "127.0.0.1", 80)
    assert not served("192.168.0.4:80", "127.0.0.1", 80)
    assert served("192.168.0.4:80", "192.168.0.4", 80)
    assert served("192.168.0.4:80", "0.0.0.0", 80)
    assert not served("evil.example:80", "0.0.0.0", 80)


def test_other_methods_and_paths(client):
    assert client.get("/solve").status_code == 405
    assert client.get("/../../etc/passwd").status_code == 404
    assert client.get("/eval/serve/app.py").status_code == 404


def test_a_flood_gets_429_and_others_their_answer(answers, monkeypatch):
    held = threading.Event()

    def slow(question):
        held.wait(20)
        return {"done": True}

    monkeypatch.setattr(answers, "solve", slow)
    with serving(answers) as client:
        codes = []
        ask = lambda: codes.append(client.post("/solve", {}).status_code)  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 15
        while codes.count(429) < 20 - MOST_WAITING - 1 and time.monotonic() < end:
            time.sleep(0.02)
        held.set()
        for thread in threads:
            thread.join()
        assert codes.count(429) == 20 - MOST_WAITING - 1
        assert codes.count(200) == MOST_WAITING + 1
        assert client.post("/solve", {}).status_code == 200


def test_a_request_that_does_not_come_is_not_waited_for(answers, monkeypatch):
    """Nor one whose head comes a letter at a time."""
    monkeypatch.setattr("eval.serve.connection.HEAD_SECONDS", 0.3)
    with serving(answers) as client:
        idle = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(20)]
        for one in idle[10:]:
            one.sendall(b"GET / HT")
        assert client.get("/").status_code == 200
        for one in idle:
            one.settimeout(30)
            assert one.recv(1) == b""
            one.close()


def test_more_connections_than_there_is_room_for_get_429(answers, monkeypatch):
    monkeypatch.setattr("eval.serve.connection.MOST", 5)
    with serving(answers) as client:
        idle = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(5)]
        time.sleep(0.2)
        assert client.get("/").status_code == 429
        for one in idle:
            one.close()
        time.sleep(0.2)
        assert client.get("/").status_code == 200


def test_a_large_body_hears_why_it_is_refused(client):
    content = " " * (10 << 20)
    assert client.post("/solve", content=content, headers=JSON).status_code == 413


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 3000])
def test_what_is_no_http_is_survived(client, sent):
    with socket.create_connection(("127.0.0.1", client.port)) as one:
        one.settimeout(30)
        one.sendall(sent)
        one.shutdown(socket.SHUT_WR)
        one.recv(1000)
    assert client.get("/").status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(client, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", -1)
    found = client.post("/solve", {"puzzle": PUZZLE, "segments": 8})
    assert found.status_code == 422
    assert "use fewer segments" in found.json()["error"]


def test_a_fault_of_ours_is_told_and_survived(client, answers, monkeypatch):
    def broken():
        raise RuntimeError("a secret")

    monkeypatch.setattr(answers, "new", broken)
    found = client.post("/new", {})
    assert found.status_code == 500
    assert "secret" not in found.text
    assert client.get("/").status_code == 200


GRIDS = [None, [], [[]], [[1], [1, 2]], [[10]], [[-1]], [[True]], [["1"]], [[1.0]], [[0] * 31], "1"]


@pytest.mark.parametrize("grid", GRIDS)
def test_what_is_no_arc_grid_is_refused(grid):
    with pytest.raises(Refused):
        colours(grid, 30)


# ---- the command


def run(capsys, monkeypatch, *words: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["eval/serve/__main__.py", *words])
    with pytest.raises(SystemExit) as left:
        command("serve", serve.main)
    return left.value.code, capsys.readouterr().err


def test_a_taken_port_is_said_in_a_line(capsys, monkeypatch):
    taken = serve.bind("127.0.0.1", 0)
    taken.listen()
    port = taken.getsockname()[1]
    code, err = run(capsys, monkeypatch, f"run={SUDOKU}", f"port={port}")
    taken.close()
    assert code == 2
    assert err.count("\n") == 1
    assert "use port=0 for a free one" in err


@pytest.mark.parametrize("word", ["port=70000", "port=-1", "port=x", "host=no.such.name.invalid"])
def test_where_it_cannot_be_is_said_in_a_line(word, capsys, monkeypatch):
    code, err = run(capsys, monkeypatch, f"run={SUDOKU}", word)
    assert code == 2
    assert err.count("\n") == 1
