"""The pure half of the OpenAI provider: bytes → Reply, headers → seconds, refusals → dialect."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import json
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.errors import Adaptable, Malformed, Outcome, ServerFailed
from selfinstruct.providers.answers import read_body
from selfinstruct.providers.dialect import Dialect, explain
from selfinstruct.providers.refusals import Answered, refusal, retry_after
from selfinstruct.records import Api, Choice, Prompt, Reply, Ticket

APIS: tuple[Api, ...] = ("completions", "chat")
PROMPT = Prompt(text="Write.", stop=("\n21.",), example_ids=("a",), first=4, asked=17, seed=99)
SAMPLING = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 3072}


def completion(**changes: Any) -> dict[str, Any]:
    return {
        "model": "m-1",
        "choices": [{"index": 0, "text": " Nile.", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7},
        **changes,
    }


def chat(message: object, finish_reason: object = "stop") -> dict[str, Any]:
    return completion(choices=[{"message": message, "finish_reason": finish_reason}])


def read(data: object, api: Api = "completions") -> Reply:
    return read_body(Ticket(3, "en"), api, json.dumps(data).encode())


# ── replies ──────────────────────────────────────────────────────────────────────────────────


def test_a_completion() -> None:
    assert read(completion()) == Reply(3, " Nile.", "stop", "m-1", 5, 7)


def test_a_chat_completion() -> None:
    data = chat({"role": "assistant", "content": "Nile.", "refusal": None})
    assert read(data, "chat") == Reply(3, "Nile.", "stop", "m-1", 5, 7)


def test_every_choice_is_read() -> None:
    choices = [{"text": "a", "finish_reason": "length"}, {"text": "b", "finish_reason": "stop"}]
    reply = read(completion(choices=choices))
    assert (reply.text, reply.finish_reason) == ("a", "length")
    assert reply.rest == (Choice("b", "stop"),)
    assert reply.choices == (Choice("a", "length"), Choice("b", "stop"))
    assert (reply.prompt_tokens, reply.completion_tokens) == (5, 7)


def message(content: object, index: int, **more: object) -> dict[str, Any]:
    return {"index": index, "message": {"content": content, **more}, "finish_reason": "stop"}


def test_choices_are_read_in_the_order_of_their_index() -> None:
    choices = [message(text, index) for text, index in (("c", 2), ("a", 0), ("b", 1))]
    assert [c.text for c in read(completion(choices=choices), "chat").choices] == ["a", "b", "c"]
    for choice in choices:
        del choice["index"]
    assert [c.text for c in read(completion(choices=choices), "chat").choices] == ["c", "a", "b"]


def test_the_first_choice_with_a_text_takes_the_place_of_one_without() -> None:
    filtered = {**message("Ni", 1), "finish_reason": "content_filter"}
    choices = [message(None, 0, refusal="No."), filtered, message("Nile.", 2), message("Po.", 3)]
    reply = read(completion(choices=choices), "chat")
    assert (reply.text, reply.finish_reason, reply.outcome) == ("Nile.", "stop", "")
    assert reply.rest == (
        Choice("", "stop", "refusal"),
        Choice("", "content_filter", "content_filter"),
        Choice("Po.", "stop"),
    )


def test_an_outcome_needs_all_choices_without_a_text() -> None:
    choices = [message(" ", 0), message(None, 1, refusal="No.")]
    reply = read(completion(choices=choices), "chat")
    assert (reply.outcome, reply.text) == ("empty", "")
    assert reply.rest == (Choice("", "stop", "refusal"),)


@pytest.mark.parametrize("bad", [None, 3, "a", {}, {"message": 3}, {"message": {"content": [1]}}])
def test_one_bad_choice_among_good_ones_is_not_malformed(bad: object) -> None:
    reply = read(completion(choices=[bad, message("Nile.", 1)]), "chat")
    assert (reply.text, reply.outcome) == ("Nile.", "")
    assert reply.rest == (Choice("", outcome="malformed"),)
    refused = read(completion(choices=[bad, message(None, 1, refusal="No.")]), "chat")
    assert refused.outcome == "refusal"
    with pytest.raises(Malformed):
        read(completion(choices=[bad, bad]), "chat")


@pytest.mark.parametrize(
    ("usage", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 4}}, 4),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, 0),
        ({"prompt_tokens_details": {"cached_tokens": 9}}, 5),
        ({"prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 2}, 3),
        ({"prompt_tokens_details": None, "prompt_cache_hit_tokens": 3}, 3),
        ({"prompt_tokens_details": {"cached_tokens": -1}}, None),
        ({"prompt_tokens_details": {"cached_tokens": True}}, None),
        ({"prompt_tokens_details": [4]}, None),
        ({"prompt_tokens": None, "prompt_tokens_details": {"cached_tokens": 4}}, None),
        ({}, None),
    ],
)
def test_tokens_from_the_cache(usage: dict[str, object], cached: int | None) -> None:
    given = {"prompt_tokens": 5, "completion_tokens": 7, **usage}
    assert read(completion(usage=given)).cached_tokens == cached


@pytest.mark.parametrize("junk", [None, 3, ["x"], {"x": 1}, True])
def test_missing_extras_do_not_matter(junk: object) -> None:
    data = completion(model=junk, usage=junk, choices=[{"text": "a", "finish_reason": junk}])
    assert read(data) == Reply(3, "a")
    assert read({"choices": [{"text": "a"}]}) == Reply(3, "a")


@pytest.mark.parametrize("count", [-1, 1.5, "7", True, None, [7], 10**13, 10**40])
def test_a_nonsensical_token_count_is_no_count(count: object) -> None:
    reply = read(completion(usage={"prompt_tokens": count, "completion_tokens": 7}))
    assert (reply.prompt_tokens, reply.completion_tokens) == (None, 7)


@pytest.mark.parametrize("text", ["", " ", "\n\t \n"])
def test_an_empty_answer_is_an_outcome(text: str) -> None:
    expected = Reply(3, "", "stop", "m-1", 5, 7, outcome="empty")
    assert read(completion(choices=[{"text": text, "finish_reason": "stop"}])) == expected
    assert read(chat({"content": text}), "chat") == expected
    assert read(chat({"content": None}), "chat") == expected
    assert read(chat({}), "chat") == expected


def test_a_refusal_is_an_outcome() -> None:
    reply = read(chat({"content": None, "refusal": "I can't."}), "chat")
    assert (reply.outcome, reply.text, reply.completion_tokens) == ("refusal", "", 7)
    both = read(chat({"content": "Nile.", "refusal": "I can't."}), "chat")
    assert (both.outcome, both.text) == ("refusal", "")


@pytest.mark.parametrize("api", APIS)
def test_filtered_content_is_an_outcome(api: Api) -> None:
    choice = {"text": "Ni", "message": {"content": "Ni"}, "finish_reason": "content_filter"}
    reply = read(completion(choices=[choice]), api)
    assert (reply.outcome, reply.text) == ("content_filter", "")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>Hm.\n4. Output: x</think>\nNile.", "\nNile."),
        ("\n <think></think>Nile.", "Nile."),
        ("<think>a</think>b<think>c</think>", "b<think>c</think>"),
        ("The tag <think>x</think> is ours.", "The tag <think>x</think> is ours."),
        ("<think>never ends", "<think>never ends"),
    ],
)
def test_a_thought_before_the_answer_is_taken_off(content: str, text: str) -> None:
    assert read(chat({"content": content}), "chat").text == text


def test_only_a_thought_is_an_empty_answer() -> None:
    assert read(chat({"content": "<think>Hm.</think>\n"}), "chat").outcome == "empty"


def test_text_of_all_kinds_survives() -> None:
    text = "\ufeffa\u2028b\r\n\x00\x7f🙂é"
    assert read(completion(choices=[{"text": text}])).text == text
    raw = json.dumps(completion(choices=[{"text": text}]), ensure_ascii=False).encode()
    assert read_body(Ticket(3, "en"), "completions", raw).text == text
    assert read_body(Ticket(3, "en"), "completions", b"\xef\xbb\xbf" + raw).text == text
    assert (
        read_body(Ticket(3, "en"), "completions", b'{"choices":[{"text":"\\ud800"}]}').text
        == "\ud800"
    )


# ── malformed ────────────────────────────────────────────────────────────────────────────────

BAD_BYTES = {
    "nothing": b"",
    "blank": b"  \n",
    "html": b"<html><body>502</body></html>",
    "cut": b'{"choices": [{"text": "Ni',
    "two": b'{"choices": [{"text": "a"}]}{}',
    "not utf-8": b'{"choices": [{"text": "\xff"}]}',
    "cut utf-8": b'{"choices": [{"text": "\xc3"}]}',
    "surrogate": b'{"choices": [{"text": "\xed\xa0\x80 x"}]}',
    "event stream": b'data: {"choices": [{"text": "a"}]}\n\n',
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 200_000,
    "long number": b"9" * 5000,
}
BAD_DATA: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 3,
    "text": "Nile.",
    "list": [completion()],
    "empty object": {},
    "error": {"error": {"message": "overloaded"}},
    "no choices": completion(choices=[]),
    "choices null": completion(choices=None),
    "choices object": completion(choices={"text": "a"}),
    "choices text": completion(choices="a"),
    "choice null": completion(choices=[None]),
    "choice text": completion(choices=["a"]),
    "choice list": completion(choices=[[{"text": "a"}]]),
    "empty choice": completion(choices=[{}]),
    "text null": completion(choices=[{"text": None, "message": None}]),
    "text number": completion(choices=[{"text": 3, "message": {"content": 3}}]),
    "text list": completion(choices=[{"text": ["a"], "message": {"content": ["a"]}}]),
    "text object": completion(choices=[{"text": {}, "message": {"content": {"text": "a"}}}]),
    "message list": completion(choices=[{"message": [{"content": "a"}]}]),
    "message text": completion(choices=[{"message": "a"}]),
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("body", BAD_BYTES.values(), ids=BAD_BYTES)
def test_bytes_that_are_no_answer(body: bytes, api: Api) -> None:
    with pytest.raises(Malformed) as caught:
        read_body(Ticket(0, "en"), api, body)
    assert caught.value.status == 200
    assert caught.value.retryable
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("data", BAD_DATA.values(), ids=BAD_DATA)
def test_json_that_is_no_answer(data: object, api: Api) -> None:
    with pytest.raises(Malformed):
        read(data, api)


def test_one_api_does_not_read_the_other() -> None:
    with pytest.raises(Malformed):
        read(completion(), "chat")
    with pytest.raises(Malformed):
        read(chat({"content": "a"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "text",
                    "message",
                    "content",
                    "refusal",
                    "finish_reason",
                    "usage",
                    "model",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
NEARLY = st.builds(
    lambda choices, more: {"choices": choices, **more},
    st.lists(
        JSON
        | st.dictionaries(
            st.sampled_from(["text", "message", "finish_reason", "index"]),
            JSON | st.just("a") | st.just({"content": "a"}),
            max_size=4,
        ),
        min_size=1,
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(["usage", "model"]), JSON, max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60)
    | (JSON | NEARLY).map(lambda data: json.dumps(data).encode())
    | st.builds(
        lambda data, at, byte: data[:at] + bytes([byte]) + data[at + 1 :],
        NEARLY.map(lambda data: json.dumps(data).encode()),
        st.integers(0, 80),
        st.integers(0, 255),
    ),
    st.sampled_from(APIS),
)
def test_any_body_is_a_reply_or_malformed(body: bytes, api: Api) -> None:
    with contextlib.suppress(Malformed):
        reply = read_body(Ticket(5, "en"), api, body)
        assert reply.request == 5
        assert bool(reply.text.strip()) != bool(reply.outcome)
        assert isinstance(reply.finish_reason, str)
        assert isinstance(reply.model, str)
        for count in (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens):
            assert count is None or count >= 0
        assert (reply.cached_tokens or 0) <= (reply.prompt_tokens or 0)
        for choice in reply.choices:
            assert bool(choice.text.strip()) != bool(choice.outcome)


# ── Retry-After ──────────────────────────────────────────────────────────────────────────────

NOW = 1_700_000_000.0


def wait(value: str) -> float | None:
    return retry_after({"retry-after": value}, NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("0.25", 0.25),
        (" 7 ", 7.0),
        ("-5", 0.0),
        ("nan", 0.0),
        ("3600", 3600.0),
        ("86400", 3600.0),
        ("inf", 3600.0),
        ("1e300", 3600.0),
        ("", None),
        ("soon", None),
        ("7 s", None),
        ("Tuesday", None),
        ("\x00", None),
    ],
)
def test_seconds(value: str, seconds: float | None) -> None:
    assert wait(value) == seconds


def test_no_header() -> None:
    assert retry_after({}, NOW) is None


@pytest.mark.parametrize("later", [0, 1, 90, 3600])
def test_a_date(later: int) -> None:
    assert wait(email.utils.formatdate(NOW + later, usegmt=True)) == later


def test_a_date_in_another_zone() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    then = datetime.datetime.fromtimestamp(NOW + 60, zone)
    assert wait(email.utils.format_datetime(then)) == 60


def test_a_date_that_is_past_or_far() -> None:
    assert wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert wait("Wed, 21 Oct 2065 07:28:00 GMT") == 3600.0


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 2020 00:00:00 +999999999999999",
        "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2020 99999999999999999999:00:00 GMT",
    ],
)
def test_a_date_beyond_all_calendars_is_nonsense(value: str) -> None:
    assert wait(value) is None


@settings(deadline=None)
@given(
    st.text(max_size=30)
    | st.builds(
        "Mon, {} {} {} {}:{}:00 {}".format,
        st.integers(0, 10**12),
        st.sampled_from(["Jan", "Feb", "x"]),
        st.integers(0, 10**12),
        st.integers(0, 10**12),
        st.integers(0, 99),
        st.sampled_from(["GMT", "-0000", "+2359", "-9999", "+99999999999", "EST", ""]),
    ),
    st.floats(0, 4e9),
)
def test_any_header_is_a_wait_or_none(value: str, now: float) -> None:
    seconds = retry_after({"retry-after": value}, now)
    assert seconds is None or 0.0 <= seconds <= 3600.0


# ── dialect ──────────────────────────────────────────────────────────────────────────────────


def test_the_completions_request() -> None:
    assert Dialect().parameters(PROMPT, SAMPLING) == {
        "prompt": "Write.",
        "stop": ["\n21."],
        "seed": 99,
        **SAMPLING,
    }


def test_the_chat_request() -> None:
    assert Dialect(api="chat").parameters(PROMPT, SAMPLING) == {
        "messages": [{"role": "user", "content": "Write."}],
        "stop": ["\n21."],
        "seed": 99,
        **SAMPLING,
    }


def test_changes_add_up() -> None:
    dialect = Dialect()
    for change in ("api=chat", "max_tokens=max_completion_tokens", "drop temperature", "drop stop"):
        dialect = dialect.changed(change)
    assert dialect.parameters(PROMPT, SAMPLING) == {
        "messages": [{"role": "user", "content": "Write."}],
        "max_completion_tokens": 3072,
        "seed": 99,
        "top_p": 0.9,
    }


Change = Literal[
    "api=chat",
    "max_tokens=max_completion_tokens",
    "drop seed",
    "drop top_p",
    "drop response_format",
    "drop n",
]
CHANGES: tuple[Change, ...] = (
    "api=chat",
    "max_tokens=max_completion_tokens",
    "drop seed",
    "drop top_p",
    "drop response_format",
    "drop n",
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(CHANGES), max_size=8))
def test_a_change_once_adopted_changes_nothing_again(changes: list[Change]) -> None:
    """The generator counts on it: a change that another request brought is no change."""
    dialect = Dialect()
    for change in changes:
        dialect = dialect.changed(change)
    for change in changes:
        assert dialect.changed(change) == dialect
    in_order = Dialect()
    for change in sorted(set(changes)):
        in_order = in_order.changed(change)
    assert in_order == dialect


def test_a_dialect_leaves_the_sampling_alone() -> None:
    sampling = dict(SAMPLING)
    Dialect(max_tokens_name="max_completion_tokens").parameters(PROMPT, sampling)
    assert sampling == SAMPLING


# ── refusals of a schema and of several choices ──────────────────────────────────────────────


def openai(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return {"error": error}


def vllm(message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequestError", "code": 400}


def llama(message: str, code: int = 400) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": "invalid_request_error"}}


JSON_TYPES = 'must be one of "text" or "json_object", but got: json_schema'
SCHEMA_REFUSED: dict[str, tuple[int, dict[str, Any]]] = {
    "openai": (
        400,
        openai(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with "
            "this model. Learn more about supported models at the Structured Outputs guide"
        ),
    ),
    "openai, param": (
        400,
        openai(
            "Unsupported value: this model does not support it. Stop and seed are fine.",
            param="response_format.type",
        ),
    ),
    "openai, parameter": (
        400,
        openai(
            "Unsupported parameter: 'response_format' is not supported with this model.",
            param="response_format",
            code="unsupported_parameter",
        ),
    ),
    "openai, schema": (400, openai("Invalid schema for response_format 'tasks': In context=()")),
    "azure": (
        400,
        openai("response_format value as json_schema is enabled only for api versions 2024-08-01"),
    ),
    "vllm, before json_schema": (
        400,
        vllm(
            "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': "
            "\"Input should be 'text' or 'json_object'\", 'input': 'json_schema'}]"
        ),
    ),
    "vllm, extra": (
        400,
        vllm(
            "[{'type': 'extra_forbidden', 'loc': ('body', 'response_format'), 'msg': "
            "'Extra inputs are not permitted'}]"
        ),
    ),
    "vllm, guided": (400, vllm("guided decoding is not supported by this engine")),
    "vllm, tpu": (400, vllm("Structured output is not supported on TPU.")),
    "vllm, xgrammar": (
        400,
        vllm("The provided JSON schema contains features not supported by xgrammar."),
    ),
    "vllm, compile": (400, vllm("Failed to compile grammar: bad rule")),
    "llama.cpp": (400, llama(f"response_format type {JSON_TYPES}")),
    "llama.cpp, grammar": (400, llama("Failed to parse grammar")),
    "llama.cpp, old": (500, llama(f"response_format type {JSON_TYPES}", 500)),
    "llama.cpp, both": (
        500,
        llama('Either "json_schema" or "grammar" can be specified, but not both', 500),
    ),
    "deepseek": (400, openai("This response_format type is unavailable now")),
    "deepseek, 422": (
        422,
        openai(
            "Failed to deserialize the JSON body into the target type: response_format: "
            "response_format.type `json_schema` is unavailable now at line 1 column 9"
        ),
    ),
    "volcengine": (
        400,
        openai(
            "The parameter `response_format.type` specified in the request are not valid: invalid "
            "value: `json_schema`, supported values are: `json_object` and `text`."
        ),
    ),
    "groq": (400, openai("This model does not support response format `json_schema`.")),
}
N_REFUSED: dict[str, tuple[int, dict[str, Any]]] = {
    "openai": (
        400,
        openai(
            "Unsupported value: 'n' does not support 4 with this model. Only the default (1) "
            "value is supported.",
            param="n",
            code="unsupported_value",
        ),
    ),
    "openai, too many": (
        400,
        openai("Invalid 'n': integer above maximum value. Expected a value <= 8, but got 9"),
    ),
    "vllm, greedy": (400, vllm("n must be 1 when using greedy sampling, got 4.")),
    "vllm, extra": (
        400,
        vllm("[{'type': 'extra_forbidden', 'loc': ('body', 'n'), 'msg': 'Extra inputs are'}]"),
    ),
    "llama.cpp": (400, llama("Only one completion choice is allowed")),
    "llama.cpp, old": (500, llama("Only one completion choice is allowed", 500)),
    "llama.cpp, slots": (
        400,
        llama("n_cmpl cannot be greater than the number of slots, please increase -np"),
    ),
    "deepseek": (400, openai("Invalid n value (currently only n = 1 is supported)")),
    "groq": (400, openai("'n' : number must be at most 1")),
}


def refused(status: int, body: object, dialect: Dialect | None = None) -> Exception:
    return refusal(
        Answered(
            status=status,
            headers={},
            body=json.dumps(body).encode(),
            base_url="http://x/v1",
            key="",
            dialect=dialect or Dialect(api="chat"),
            adapt_api=True,
            now=NOW,
        )
    )


@pytest.mark.parametrize(("status", "body"), SCHEMA_REFUSED.values(), ids=SCHEMA_REFUSED)
def test_a_refused_schema_is_dropped_once(status: int, body: object) -> None:
    error = refused(status, body)
    assert isinstance(error, Adaptable), error
    assert error.change == "drop response_format"
    again = refused(status, body, Dialect(api="chat").changed(error.change))
    assert not isinstance(again, Adaptable) or again.change != error.change


@pytest.mark.parametrize(("status", "body"), N_REFUSED.values(), ids=N_REFUSED)
def test_refused_choices_are_dropped_once(status: int, body: object) -> None:
    error = refused(status, body)
    assert isinstance(error, Adaptable), error
    assert error.change == "drop n"
    again = refused(status, body, Dialect(api="chat").changed(error.change))
    assert isinstance(again, ServerFailed if status == 500 else Outcome)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, vllm("guided decoding crashed"), ServerFailed),
        (400, openai("Failed to generate JSON. Please adjust your prompt."), Outcome),
        (400, openai("Please reduce the number\nof messages"), Outcome),
        (400, openai("maximum context length is 4096; json_schema counts too"), Outcome),
    ],
)
def test_other_errors_drop_nothing(status: int, body: object, kind: type[Exception]) -> None:
    assert isinstance(refused(status, body), kind)


@pytest.mark.parametrize(
    ("status", "billed"), [(500, False), (502, False), (503, False), (504, True), (524, True)]
)
def test_what_a_gateway_waits_for_no_longer_may_be_billed(status: int, billed: bool) -> None:
    error = refused(status, openai("Gateway timeout"))
    assert isinstance(error, ServerFailed)
    assert error.billed == billed


def test_the_old_parameters_are_dropped_as_before() -> None:
    for name in ("temperature", "top_p", "stop", "seed"):
        message = f"Unsupported parameter: '{name}' is not supported with this model."
        error = refused(400, openai(message, param=name, code="unsupported_parameter"))
        assert isinstance(error, Adaptable)
        assert error.change == f"drop {name}"


def test_a_change_is_told_to_people() -> None:
    assert "JSON" in explain("drop response_format")
    assert "one" in explain("drop n")
    assert explain("drop seed") == "the model refuses seed; leaving it out"
