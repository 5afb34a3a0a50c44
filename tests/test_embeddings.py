"""Embeddings from a server on a real socket, and from a model folder on disk.

Enters: made-up texts. Leaves: nothing. Knows no model of the real world.
"""

from __future__ import annotations

import doctest
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfinstruct.errors import GaveUp, ProviderRefused, UsageError
from selfinstruct.novelty import Means, get_method
from selfinstruct.providers import embeddings
from selfinstruct.providers.embeddings import EmbeddingsEndpoint
from selfinstruct.providers.static_vectors import load_static_model
from tests.cli import environment, run

KEY = "sk-canary-4711"
Answer = tuple[int, bytes, dict[str, str]]


def vector(text: str) -> list[float]:
    return [float(len(text)), float(text.count("a")), 1.0]


def good(body: dict[str, Any]) -> Answer:
    rows = [
        {"object": "embedding", "index": i, "embedding": vector(text)}
        for i, text in enumerate(body["input"])
    ]
    # A server may answer in any order.
    return 200, json.dumps({"object": "list", "data": rows[::-1]}).encode(), {}


def said(status: int, message: str, **headers: str) -> Callable[[dict[str, Any]], Answer]:
    content = json.dumps({"error": {"message": message}}).encode()
    return lambda body: (status, content, headers)


def raw(content: bytes) -> Callable[[dict[str, Any]], Answer]:
    return lambda body: (200, content, {})


class Server(ThreadingHTTPServer):
    """Answers what the script says, then `good`. asked: (path, Authorization, body) of requests."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Callable[[dict[str, Any]], Answer]] = []
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        answer = self.server.script.pop(0) if self.server.script else good
        status, content, headers = answer(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def endpoint(url: str, **options: Any) -> EmbeddingsEndpoint:
    return EmbeddingsEndpoint(base_url=url, model="m", api_key=KEY, backoff=0.0, **options)


def test_texts_are_asked_in_batches_and_come_back_in_order(server: Server) -> None:
    texts = ["aa", "b", " ", "banana", "cab"]
    with endpoint(server.url, batch=2) as embed:
        found = embed(texts)
    assert found.tolist() == [vector("aa"), vector("b"), [0, 0, 0], vector("banana"), vector("cab")]
    assert found.dtype == np.float32
    bodies = [body for _, _, body in server.asked]
    assert [body["input"] for body in bodies] == [["aa", "b"], ["banana", "cab"]]
    assert {(body["model"], body["encoding_format"]) for body in bodies} == {("m", "float")}
    assert {(path, key) for path, key, _ in server.asked} == {("/v1/embeddings", f"Bearer {KEY}")}


def test_nothing_to_embed_asks_nothing(server: Server) -> None:
    with endpoint(server.url) as embed:
        assert embed([]).shape == (0, 0)
        assert embed(["", "\n"]).shape == (2, 0)
    assert not server.asked


def test_a_long_text_is_cut_and_a_lone_surrogate_replaced(server: Server) -> None:
    with endpoint(server.url, max_chars=3) as embed:
        embed(["abcdef", "x\ud800y"])
    assert server.asked[0][2]["input"] == ["abc", "x?y"]


@pytest.mark.parametrize(
    "failure",
    [
        said(429, "slow down", Retry_After="0"),
        said(500, "oops"),
        said(503, "loading model"),
        raw(b"<html>"),
        raw(b"null"),
        raw(b'{"data": []}'),
        raw(b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}'),
        raw(b'{"data": [{"index": 0, "embedding": "AACAPw=="}]}'),
    ],
)
def test_what_may_pass_is_tried_again(
    server: Server, failure: Callable[[dict[str, Any]], Answer]
) -> None:
    server.script = [failure, failure]
    with endpoint(server.url) as embed:
        assert embed(["aa"]).tolist() == [vector("aa")]
    assert len(server.asked) == 3


@pytest.mark.parametrize(("failure", "asked"), [(said(500, "oops"), 5), (raw(b"<html>"), 3)])
def test_what_does_not_pass_is_given_up(
    server: Server, failure: Callable[[dict[str, Any]], Answer], asked: int
) -> None:
    server.script = [failure] * 10
    with endpoint(server.url) as embed, pytest.raises(GaveUp, match=server.url):
        embed(["aa"])
    assert len(server.asked) == asked


def test_patience_is_no_attempt(server: Server) -> None:
    server.script = [said(429, "slow down")] * 20
    with endpoint(server.url) as embed:
        assert embed(["aa"]).tolist() == [vector("aa")]


@pytest.mark.parametrize(
    ("failure", "hint"),
    [
        (said(401, f"bad key {KEY}"), "OPENAI_API_KEY"),
        (said(404, "model m does not exist"), "--model"),
        (said(400, "too many tokens in one text"), "too many tokens"),
        (said(405, "no"), "/v1/embeddings"),
        (said(307, "", Location="http://elsewhere/"), "redirect"),
    ],
)
def test_a_refusal_is_final_and_keeps_the_key_to_itself(
    server: Server, failure: Callable[[dict[str, Any]], Answer], hint: str
) -> None:
    server.script = [failure]
    with endpoint(server.url) as embed, pytest.raises(ProviderRefused) as caught:
        embed(["aa"])
    assert hint in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(server.asked) == 1


def test_nobody_there_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with endpoint(f"http://127.0.0.1:{port}/v1") as embed, pytest.raises(GaveUp, match="server up"):
        embed(["aa"])


def test_vectors_of_two_lengths_are_not_one_array(server: Server) -> None:
    server.script = [raw(b'{"data": [{"index": 0, "embedding": [1, 2]}]}')]
    with endpoint(server.url, batch=1) as embed, pytest.raises(GaveUp, match="different lengths"):
        embed(["aa", "b"])


def test_the_semantic_method_asks_once_for_a_chunk(server: Server) -> None:
    with endpoint(server.url) as embed:
        method = get_method("semantic", Means(str.split, 0.99, embed))
        found = method.decide(["0", "1", "2", "3"], ["aaaa", "aaab", "b", ""])
        assert [neighbour and neighbour.id for neighbour in found] == [None, "0", None, None]
    assert len(server.asked) == 1


def test_docstring_examples() -> None:
    assert doctest.testmod(embeddings).failed == 0


# ── a model folder ───────────────────────────────────────────────────────────────────────────


def saved_model(folder: Path) -> Path:
    """A real model2vec model of three words."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"[UNK]": 0, "river": 1, "stream": 2, "tax": 3}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.array([[0, 0], [1, 0], [1, 0.1], [0, 1]], np.float32)
    StaticModel(vectors, tokenizer, {}).save_pretrained(folder)
    return folder


def test_a_model_folder_embeds_without_a_network(tmp_path: Path) -> None:
    embed = load_static_model(saved_model(tmp_path / "model"))
    assert embed([]).shape == (0, 2)
    method = get_method("semantic", Means(str.split, 0.9, embed))
    found = method.decide(["0", "1", "2"], ["river", "stream", "tax"])
    assert [neighbour and neighbour.id for neighbour in found] == [None, "0", None]


def test_a_folder_without_a_model_is_refused_before_anything_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.safetensors"):
        load_static_model(tmp_path)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match="not a model2vec model"):
        load_static_model(tmp_path)


def test_without_model2vec_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(UsageError, match=r"selfinstruct\[semantic\]"):
        load_static_model(tmp_path)


# ---------------------------------------------------------------------------- through the command


def rows_file(path: Path, instructions: list[str]) -> Path:
    rows = [{"instruction": text, "input": "", "output": "Yes."} for text in instructions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_clean_asks_the_endpoint_and_keeps_the_key_to_itself(
    server: Server, tmp_path: Path
) -> None:
    source = rows_file(tmp_path / "in.jsonl", ["Name a far river.", "Name a bad river.", "Zoos?"])
    url = f"http://127.0.0.1:{server.server_port}/v1"
    out = tmp_path / "out"
    done = run(
        *("clean", source, "--out", out, "--only", "dedup", "--dedup", "semantic"),
        *("--embed", url, "--embed-model", "tiny"),
        env=environment(OPENAI_API_KEY=KEY),
    )
    assert done.code == 0, done.err
    (rejected,) = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert (rejected["row"], rejected["neighbour"]["row"]) == (1, 0)
    assert rejected["neighbour"]["score"] > 0.9
    assert {key for _path, key, _body in server.asked} == {f"Bearer {KEY}"}
    written = b"".join(path.read_bytes() for path in out.iterdir())
    assert KEY.encode() not in written
    assert KEY not in done.err + done.out


def test_an_endpoint_that_refuses_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.script = [said(401, "no such key")]
    source = rows_file(tmp_path / "in.jsonl", ["Name a far river."])
    url = f"http://127.0.0.1:{server.server_port}/v1"
    done = run(
        *("clean", source, "--out", tmp_path / "out", "--only", "dedup", "--dedup", "semantic"),
        *("--embed", url, "--embed-model", "tiny"),
    )
    assert done.code == 3
    assert "no such key" in done.complaint
    assert not list((tmp_path / "out").glob("*kept*"))
