"""The scripted server is what it says on the wire, and its ledger is true."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import pytest
from rouge_score.rouge_scorer import RougeScorer

from tests.scripted_server import (
    FAULTS,
    HOST,
    LORIS_INTERVAL,
    ROOT,
    Script,
    ServerProcess,
    prompt_hash,
)
from tests.scripted_text import (
    DUPLICATES,
    PLACEHOLDER,
    REFUSAL,
    bounded,
    latency_of,
    numbered_list,
    pick_fault,
    reply_text,
    sentence,
)

PROMPT = "Write tasks.\n###\n4. Instruction:"
KEY = "sk-canary-0123456789abcdef"


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server
    assert server.returncode == 0


@pytest.fixture
def start(shared: ServerProcess) -> Callable[..., ServerProcess]:
    """The shared server with an empty ledger and a new script."""

    def restart(**script: Any) -> ServerProcess:
        shared.reset(Script(**script))
        return shared

    return restart


class Got(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error, dict)
        return error


def call(
    server: ServerProcess,
    *,
    path: str = "/v1/completions",
    prompt: str = PROMPT,
    method: str = "POST",
    key: str | None = KEY,
    timeout: float = 10,
    **fields: Any,
) -> Got:
    body: dict[str, Any] = {"model": "scripted-model", **fields}
    if path == "/v1/chat/completions":
        body["messages"] = [
            {"role": "system", "content": "You are terse."},
            {"role": "user", "content": prompt},
        ]
    else:
        body["prompt"] = prompt
    connection = http.client.HTTPConnection(HOST, server.port, timeout=timeout)
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request(method, path, json.dumps(body), headers)
        response = connection.getresponse()
        return Got(response.status, response.headers, response.read())
    finally:
        connection.close()


def chat(server: ServerProcess, **options: Any) -> Got:
    return call(server, path="/v1/chat/completions", **options)


def send(server: ServerProcess, prompt: str = PROMPT) -> socket.socket:
    """A raw connection on which one request has been sent."""
    body = json.dumps({"model": "m", "prompt": prompt}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    sock = socket.create_connection((HOST, server.port), timeout=10)
    sock.sendall(head.encode() + body)
    return sock


def many(server: ServerProcess, prompts: list[str], width: int = 16) -> dict[str, Got]:
    with ThreadPoolExecutor(width) as pool:
        answers = list(pool.map(lambda prompt: call(server, prompt=prompt), prompts))
    return dict(zip(prompts, answers, strict=True))


def numbered_prompts(count: int) -> list[str]:
    return [f"Request {k}.\n###\n4. Instruction:" for k in range(count)]


# ---------------------------------------------------------------- good answers


def test_a_completion_continues_the_list(start: Callable[..., ServerProcess]) -> None:
    answer = call(start(tasks_per_reply=3), seed=7)
    (choice,) = answer.json["choices"]
    text = choice["text"]
    assert answer.status == 200
    assert choice["finish_reason"] == "stop"
    assert text.startswith(" ")
    assert text.endswith("\n###\n")
    whole = PROMPT + text
    assert re.findall(r"^(\d+)\. (\w+):", whole, re.M) == [
        (str(i), label) for i in (4, 5, 6) for label in ("Instruction", "Input", "Output")
    ]
    usage = answer.json["usage"]
    assert usage["prompt_tokens"] == len(PROMPT.split())
    assert usage["completion_tokens"] == len(text.split())
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_chat_uses_the_last_user_message_and_says_the_same(
    start: Callable[..., ServerProcess],
) -> None:
    server = start()
    (choice,) = chat(server).json["choices"]
    message = choice["message"]
    assert message["role"] == "assistant"
    assert message["refusal"] is None
    assert message["content"] == call(server).json["choices"][0]["text"]
    assert server.ledger().prompts[prompt_hash(PROMPT)].sold == 2


def test_replies_depend_on_prompt_and_seed_alone(start: Callable[..., ServerProcess]) -> None:
    prompts = numbered_prompts(60)
    first = many(start(latency=0.01, jitter=1.0), prompts)
    random.Random(0).shuffle(prompts)
    second = many(start(), prompts, width=1)
    assert {p: a.raw for p, a in first.items()} == {p: a.raw for p, a in second.items()}
    assert len({a.raw for a in first.values()}) == 60
    server = start()
    assert call(server, seed=1).raw == call(server, seed=1).raw != call(server, seed=2).raw


def test_a_prompt_without_a_number_gets_a_list_from_one() -> None:
    text = reply_text(Script(tasks_per_reply=(2, 2)), "Please write tasks.")
    assert text.startswith("1. Instruction: ")
    assert "\n###\n2. Instruction: " in text


def test_tasks_per_reply_takes_a_range() -> None:
    script = Script(tasks_per_reply=(2, 5))
    counts = {reply_text(script, PROMPT, k).count("Input:") for k in range(60)}
    assert counts == {2, 3, 4, 5}


def test_stop_and_max_tokens_are_obeyed() -> None:
    text = "one two\n###\n5. three"
    assert bounded(text, {"stop": ["\n5.", "\n9."]}) == ("one two\n###", "stop")
    assert bounded(text, {"stop": "9."}) == (text, "stop")
    assert bounded(text, {"max_tokens": 2}) == ("one two", "length")
    assert bounded(text, {"max_completion_tokens": 5}) == (text, "stop")


def test_instructions_are_varied_words() -> None:
    rng = random.Random(1)
    made = [sentence(rng) for _ in range(120)]
    assert {len(text.split()) for text in made} == set(range(8, 21))
    scorer = RougeScorer(["rougeL"])
    pairs = itertools.combinations(made, 2)
    assert max(scorer.score(a, b)["rougeL"].fmeasure for a, b in pairs) < 0.5


def test_duplicates_and_defects_come_in_their_shares() -> None:
    def blocks(**shares: float) -> list[str]:
        script = Script(tasks_per_reply=400, **shares)  # type: ignore[arg-type]
        text = numbered_list("", random.Random(3), script)
        return re.split(r"^\d+\. Instruction: ", text, flags=re.M)[1:]

    assert not any(d in b for b in blocks() for d in (*DUPLICATES, "image", PLACEHOLDER))
    repeated = blocks(duplicate_share=0.5)
    exact = sum(any(d in b for d in DUPLICATES) for b in repeated)
    assert 70 <= exact <= 130
    spoilt = blocks(bad_share=0.5)
    for sign in ("attached image", PLACEHOLDER, "Output:\n\n###"):
        assert 20 <= sum(sign in b for b in spoilt) <= 60
    assert 20 <= sum(len(b.split("\n")[0].split()) <= 3 for b in spoilt) <= 60
    same = re.compile(r"Input:\n(.*)\n\d+\. Output:\n\1\n###", re.S)
    assert 20 <= sum(bool(same.search(b)) for b in spoilt) <= 60


def test_a_reply_hook_writes_its_own_text(start: Callable[..., ServerProcess]) -> None:
    server = start(reply_hook="tests.test_scripted_server:shout")
    assert call(server, prompt="hey").json["choices"][0]["text"] == "HEY 2"


def shout(prompt: str, rng: random.Random) -> str:
    return f"{prompt.upper()} {rng.randint(2, 2)}"


def test_usage_can_be_left_out_or_name_cached_tokens(start: Callable[..., ServerProcess]) -> None:
    assert "usage" not in call(start(usage=False)).json
    usage = call(start(cached_tokens=3)).json["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 3}


# ---------------------------------------------------------------- faults on the wire

ERROR_FAULTS = {
    "401": (401, "invalid_request_error", None, "invalid_api_key"),
    "403": (403, "request_forbidden", None, "unsupported_country_region_territory"),
    "model_404": (404, "invalid_request_error", None, "model_not_found"),
    "route_404": (404, "invalid_request_error", None, None),
    "408": (408, "timeout", None, None),
    "429": (429, "requests", None, "rate_limit_exceeded"),
    "insufficient_quota": (429, "insufficient_quota", None, "insufficient_quota"),
    "500": (500, "server_error", None, None),
    "502": (502, "cf_bad_gateway", None, 502),
    "503": (503, "server_error", None, None),
    "529": (529, "overloaded_error", None, None),
    "context_400": (400, "invalid_request_error", "messages", "context_length_exceeded"),
    "context_400_vllm": (400, "BadRequestError", None, 400),
    "content_filter_400": (400, None, "prompt", "content_filter"),
}
OTHER_FAULTS = {
    *("truncated_json", "invalid_utf8", "html_200", "null_body", "empty_choices", "no_choices"),
    *("refusal", "content_filter", "length", "empty_text", "redirect"),
    *("hang", "slow_loris", "reset", "reset_before", "short_body"),
}


def test_every_fault_is_tested_here() -> None:
    assert ERROR_FAULTS.keys() | OTHER_FAULTS == FAULTS


@pytest.mark.parametrize("kind", sorted(ERROR_FAULTS))
def test_error_faults(start: Callable[..., ServerProcess], kind: str) -> None:
    server = start(faults={kind: 1.0})
    answer = call(server)
    error = answer.error
    assert (answer.status, error["type"], error["param"], error["code"]) == ERROR_FAULTS[kind]
    assert error["message"]
    assert "{" not in error["message"]
    assert ("retry-after" in answer.headers) == (kind == "429")
    ledger = server.ledger()
    assert ledger.kinds == {kind: 1}
    assert (ledger.sold, ledger.tokens, ledger.complete) == (0, 0, 0)
    assert server.entries()[0].complete


def test_401_echoes_the_start_of_the_key(start: Callable[..., ServerProcess]) -> None:
    message = call(start(faults={"401": 1.0})).error["message"]
    assert "sk-canar" in message
    assert KEY not in message


def test_retry_after_in_seconds_or_as_a_date(start: Callable[..., ServerProcess]) -> None:
    faults = {"429": 1.0}
    headers = call(start(faults=faults, retry_after=2, ratelimit_headers=True)).headers
    assert headers["retry-after"] == "2"
    assert headers["x-ratelimit-limit-requests"] == "10000"
    assert headers["x-ratelimit-reset-requests"]
    assert call(start(faults=faults, retry_after=0.05)).headers["retry-after"] == "0.05"
    assert "retry-after" not in call(start(faults=faults, retry_after=None)).headers
    server = start(faults=faults, retry_after=30, retry_after_date=True)
    date = parsedate_to_datetime(call(server).headers["retry-after"])
    assert 29 <= date.timestamp() - time.time() <= 31.5


@pytest.mark.parametrize("ask", [call, chat])
@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("html_200", rb"<!DOCTYPE html>.*"),
        ("null_body", rb"null"),
        ("empty_choices", rb'\{.*"choices":\[\].*\}'),
        ("no_choices", rb'\{((?!"choices").)*\}'),
        ("truncated_json", rb"\{.*[^}]"),
        ("invalid_utf8", rb'\{.*(text|content)":"\xff.*\}'),
    ],
)
def test_malformed_200(
    start: Callable[..., ServerProcess], ask: Callable[..., Got], kind: str, raw: bytes
) -> None:
    server = start(faults={kind: 1.0})
    answer = ask(server)
    assert answer.status == 200
    assert re.fullmatch(raw, answer.raw, re.S)
    assert answer.headers["content-length"] == str(len(answer.raw))
    is_html = kind == "html_200"
    assert answer.headers["content-type"].startswith("text/html") == is_html
    if kind in ("html_200", "truncated_json", "invalid_utf8"):
        with pytest.raises(ValueError):
            answer.json  # noqa: B018
    ledger = server.ledger()
    assert (ledger.sold, ledger.complete) == (1, 1)
    assert ledger.tokens > 100


@pytest.mark.parametrize("kind", ["length", "content_filter"])
def test_cut_answers(start: Callable[..., ServerProcess], kind: str) -> None:
    (choice,) = call(start(faults={kind: 1.0})).json["choices"]
    (whole,) = call(start()).json["choices"]
    assert choice["finish_reason"] == kind
    assert whole["text"].startswith(choice["text"])
    last = choice["text"].rpartition("Output:\n")[2]
    assert last
    assert "###" not in last


def test_refusals_and_empty_text(start: Callable[..., ServerProcess]) -> None:
    server = start(faults={"refusal": 1.0})
    message = chat(server).json["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, REFUSAL)
    assert call(server).json["choices"][0]["text"] == REFUSAL
    server = start(faults={"empty_text": 1.0})
    assert chat(server).json["choices"][0]["message"]["content"] == ""
    assert call(server).json["choices"][0]["text"] == ""


def test_redirect_tempts_to_another_path(start: Callable[..., ServerProcess]) -> None:
    server = start(faults={"redirect": 1.0})
    answer = call(server)
    assert answer.status == 307
    assert answer.headers["location"] == "/elsewhere/v1/completions"
    assert call(server, path=answer.headers["location"]).status == 404


def test_hang_never_answers(start: Callable[..., ServerProcess]) -> None:
    server = start(faults={"hang": 1.0})
    with send(server) as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert server.ledger().in_flight == 1
    ledger = server.wait(idle=True)
    assert (ledger.sold, ledger.kinds) == (0, {"hang": 1})


def test_slow_loris_drips(start: Callable[..., ServerProcess]) -> None:
    server = start(faults={"slow_loris": 1.0})
    with send(server) as sock:
        started, got = time.monotonic(), b""
        while len(got.partition(b"\r\n\r\n")[2]) < 6:
            got += sock.recv(4096)
        assert time.monotonic() - started >= 4 * LORIS_INTERVAL
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert got.endswith(b"      ")
    server.wait(idle=True)
    (entry,) = server.entries()
    assert (entry.status, entry.complete) == (200, False)


def received(sock: socket.socket) -> tuple[bytes, bool]:
    """Everything until the end, and whether that was a RST."""
    got = b""
    try:
        while chunk := sock.recv(65536):
            got += chunk
    except ConnectionResetError:
        return got, True
    return got, False


def test_resets_and_short_bodies(start: Callable[..., ServerProcess]) -> None:
    server = start(fault_plan=("reset_before", "reset", "short_body"))
    for expected_rst, has_head in ((True, False), (True, True), (False, True)):
        with send(server) as sock:
            got, rst = received(sock)
        assert rst == expected_rst
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK") == has_head
        if has_head:
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            assert 0 < len(body) < int(length[1])
    assert [(e.status, e.complete) for e in server.entries()] == [
        (0, False),
        (200, False),
        (200, False),
    ]
    ledger = server.ledger()
    assert (ledger.sold, ledger.complete) == (2, 0)


# ---------------------------------------------------------------- which request gets the fault


def test_the_plan_comes_first_then_every_nth(start: Callable[..., ServerProcess]) -> None:
    server = start(fault_plan=("500", "ok", "429"), fault_every={"503": 5})
    seen = [call(server).status for _ in range(10)]
    assert seen == [500, 200, 429, 200, 503, 200, 200, 200, 200, 503]


def test_shares_are_drawn_by_prompt_and_occurrence(start: Callable[..., ServerProcess]) -> None:
    script = Script(faults={"500": 0.3, "429": 0.2})
    prompts = numbered_prompts(2000)
    kinds = [pick_fault(script, 0, prompt_hash(p), 0) for p in prompts]
    assert 540 <= kinds.count("500") <= 660
    assert 340 <= kinds.count("429") <= 460
    assert kinds == [pick_fault(script, 99, prompt_hash(p), 0) for p in prompts]
    assert kinds != [pick_fault(script, 0, prompt_hash(p), 1) for p in prompts]
    server = start(faults=script.faults)
    expected = [pick_fault(script, 0, prompt_hash(PROMPT), k) for k in range(8)]
    for _ in range(8):
        call(server)
    assert [entry.kind for entry in server.entries()] == expected


def test_fault_attempts_lets_the_retry_through(start: Callable[..., ServerProcess]) -> None:
    server = start(faults={"500": 1.0}, fault_attempts=2)
    assert [call(server).status for _ in range(3)] == [500, 500, 200]


def test_a_script_with_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fault kinds: 418"):
        Script(faults={"418": 0.1})
    with pytest.raises(ValueError, match="more than 1"):
        Script(faults={"500": 0.7, "503": 0.4})


def test_latency_is_a_function_of_prompt_and_attempt() -> None:
    script = Script(latency=0.1, jitter=0.2, tail_share=0.1, tail_factor=10)
    times = [latency_of(script, str(k), 0) for k in range(1000)]
    assert times == [latency_of(script, str(k), 0) for k in range(1000)]
    assert latency_of(script, "0", 0) != latency_of(script, "0", 1)
    slow = [t for t in times if t > 0.5]
    assert 60 <= len(slow) <= 140
    assert all(0.08 <= t <= 0.12 for t in times if t not in slow)


# ---------------------------------------------------------------- what the API refuses


def test_parameters_are_refused_in_openai_words(start: Callable[..., ServerProcess]) -> None:
    refused = {"max_tokens": "max_completion_tokens", "temperature": 1, "seed": None, "stop": None}
    server = start(refuse_params=refused)
    error = call(server, max_tokens=10).error
    assert (error["param"], error["code"]) == ("max_tokens", "unsupported_parameter")
    assert error["message"] == (
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead."
    )
    error = call(server, temperature=0.7).error
    assert (error["param"], error["code"]) == ("temperature", "unsupported_value")
    assert error["message"] == (
        "Unsupported value: 'temperature' does not support 0.7 with this model. "
        "Only the default (1) value is supported."
    )
    assert call(server, seed=0).error["param"] == "seed"
    answer = call(server, stop=["x"])
    assert (answer.status, answer.error["param"]) == (400, "stop")
    assert call(server, temperature=1.0, max_completion_tokens=9999).status == 200


def test_one_api_only(start: Callable[..., ServerProcess]) -> None:
    server = start(api="chat")
    answer = call(server)
    assert answer.status == 404
    assert "This is a chat model and not supported" in answer.error["message"]
    assert chat(server).status == 200
    server = start(api="completions")
    assert "This is not a chat model" in chat(server).error["message"]
    assert call(server).status == 200
    answer = call(start(api="chat", missing_api="vllm"))
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


def test_keys_models_and_paths(start: Callable[..., ServerProcess]) -> None:
    server = start(api_key=KEY, model="m1", check_model=True)
    assert call(server, key="sk-wrong").error["code"] == "invalid_api_key"
    assert "You didn't provide an API key" in call(server, key=None).error["message"]
    assert call(server).error["code"] == "model_not_found"
    assert call(server, model="m1").status == 200
    models = call(server, method="GET", path="/v1/models").json
    assert [m["id"] for m in models["data"]] == ["m1"]
    assert call(server, path="/v2/none").error["message"] == "Invalid URL (POST /v2/none)"
    ledger = server.ledger()
    assert (ledger.requests, ledger.sold) == (6, 1)
    assert server.entries()[3].authorization == f"Bearer {KEY}"


def test_rpm_answers_429_and_says_when(start: Callable[..., ServerProcess]) -> None:
    server = start(rpm=120, rpm_burst=2, ratelimit_headers=True)
    answers = [call(server) for _ in range(3)]
    assert [a.status for a in answers] == [200, 200, 429]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "120"
    wait = float(answers[2].headers["retry-after"])
    assert 0 < wait <= 0.5
    time.sleep(wait + 0.01)
    assert call(server).status == 200


def test_a_body_that_is_not_json(start: Callable[..., ServerProcess]) -> None:
    connection = http.client.HTTPConnection(HOST, start().port, timeout=10)
    for body in ("{nope", "[1]"):  # on one connection: errors keep it alive
        connection.request("POST", "/v1/completions", body)
        response = connection.getresponse()
        assert response.status == 400
        assert b"could not parse the JSON body" in response.read()
    connection.close()


# ---------------------------------------------------------------- the ledger, slots, life and death


def test_the_ledger_counts_prompts_and_peaks(start: Callable[..., ServerProcess]) -> None:
    server = start(latency=0.3, fault_plan=("500",))
    call(server)
    answers = many(server, [*numbered_prompts(8), PROMPT], width=9)
    ledger = server.wait(idle=True)
    assert (ledger.requests, ledger.sold, ledger.complete) == (10, 9, 9)
    assert ledger.prompts[prompt_hash(PROMPT)] == (2, 1, 1)
    assert all(ledger.prompts[prompt_hash(p)].sold == 1 for p in numbered_prompts(8))
    assert ledger.tokens == sum(a.json["usage"]["total_tokens"] for a in answers.values())
    assert 5 <= ledger.peak_in_flight <= 9
    assert ledger.in_flight == 0
    assert ledger.paths == {"/v1/completions": 10}
    assert ledger.cpu_seconds > 0
    entries = server.entries()
    assert [e.order for e in entries] == list(range(10))
    assert all(e.ended is not None and e.ended - e.started >= 0.29 for e in entries[1:])
    server.reset()
    assert server.ledger().requests == 0


def test_no_more_are_served_at_once_than_there_are_slots(
    start: Callable[..., ServerProcess],
) -> None:
    server = start(latency=0.05, slots=3)
    started = time.monotonic()
    many(server, numbered_prompts(12), width=12)
    assert time.monotonic() - started >= 4 * 0.05
    ledger = server.ledger()
    assert ledger.peak_serving == 3
    assert ledger.peak_in_flight > 3
    ends = [e.ended or 0 for e in server.entries()]
    assert ends == sorted(ends)  # first come, first served


def test_a_client_killed_in_flight_has_still_bought(start: Callable[..., ServerProcess]) -> None:
    server = start(latency=0.3)
    code = (
        "import http.client, json\n"
        f"c = http.client.HTTPConnection({HOST!r}, {server.port})\n"
        "c.request('POST', '/v1/completions', json.dumps({'prompt': 'x'}))\n"
        "c.getresponse().read()\n"
    )
    client = subprocess.Popen([sys.executable, "-c", code])
    server.wait(in_flight=1)
    client.kill()
    client.wait()
    assert server.wait(idle=True).prompts == {prompt_hash("x"): (1, 1, 0)}
    assert call(server).status == 200


def test_close_drops_and_reopen_serves_on_the_same_port(
    start: Callable[..., ServerProcess],
) -> None:
    server = start(latency=5)
    with send(server) as sock:
        server.wait(in_flight=1)
        server.close()
        got, _ = received(sock)
        assert got == b""
    with pytest.raises(ConnectionRefusedError):
        call(server)
    ledger = server.ledger()
    assert (ledger.requests, ledger.sold, ledger.in_flight) == (1, 0, 0)
    server.use(Script())
    server.reopen()
    server.reopen()
    assert call(server).status == 200
    assert server.ledger().requests == 2


def test_wait_gives_up(start: Callable[..., ServerProcess]) -> None:
    with pytest.raises(TimeoutError):
        start().wait(sold=1, timeout=0.05)


def test_the_server_dies_with_its_parent() -> None:
    code = (
        "import os, signal\n"
        "from tests.scripted_server import ServerProcess\n"
        "server = ServerProcess().__enter__()\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    output, _ = parent.communicate(timeout=30)
    assert parent.returncode == -signal.SIGKILL
    try:
        handle = os.pidfd_open(int(output))
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([handle], [], [], 10)
        assert ready
    finally:
        os.close(handle)


def test_it_ends_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    """In dev mode with warnings as errors, with clients hanging, waiting and idle."""
    script = Script(latency=30, fault_plan=("hang", "slow_loris"))
    flags = ("-X", "dev", "-W", "error")
    with ServerProcess(script, python_flags=flags) as server:
        socks = [send(server) for _ in range(3)]
        socks.append(socket.create_connection((HOST, server.port)))
        server.wait(in_flight=3)
    for sock in socks:
        sock.close()
    assert server.returncode == 0
    assert capfd.readouterr().err == ""


def test_the_openai_client_reads_it(start: Callable[..., ServerProcess]) -> None:
    openai = pytest.importorskip("openai")
    server = start(api_key=KEY, fault_plan=("ok", "ok", "insufficient_quota"))
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
        completion = client.completions.create(model="scripted-model", prompt=PROMPT, seed=3)
        assert completion.choices[0].text == reply_text(Script(), PROMPT, 3)
        message = [{"role": "user", "content": PROMPT}]
        answer = client.chat.completions.create(model="scripted-model", messages=message)
        assert answer.choices[0].message.content == reply_text(Script(), PROMPT)
        with pytest.raises(openai.RateLimitError) as caught:
            client.completions.create(model="scripted-model", prompt=PROMPT)
        assert caught.value.code == "insufficient_quota"
