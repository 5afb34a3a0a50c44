"""Config: flags beat the file, the file beats the environment; an error names its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.config import Config, make_config, public_url
from selfinstruct.errors import UsageError

SECRET = "sk-canary-0123456789abcdef"
FLAG_URL, FILE_URL, ENV_URL = "http://flag:1/v1", "http://file:2/v1", "http://env:3/v1"


def make(
    flags: Mapping[str, Any] | None = None, file: str | None = None, **environment: str
) -> Config:
    return make_config(
        {"n": 20, **(flags or {})},
        file=None if file is None else file.encode(),
        file_name="my.toml",
        environment=environment,
    )


def refusal(
    flags: Mapping[str, Any] | None = None, file: str | None = None, **environment: str
) -> str:
    with pytest.raises(UsageError) as caught:
        make(flags, file, **environment)
    assert caught.value.exit_code == 2
    return str(caught.value)


# ── precedence ───────────────────────────────────────────────────────────────────────────────


def test_flags_beat_the_file_and_the_file_the_environment() -> None:
    file = f'base_url = "{FILE_URL}"\ntemperature = 0.5\n'
    assert make(OPENAI_BASE_URL=ENV_URL).base_url == (ENV_URL,)
    assert make({}, file, OPENAI_BASE_URL=ENV_URL).base_url == (FILE_URL,)
    both = make({"base_url": FLAG_URL}, file, OPENAI_BASE_URL=ENV_URL)
    assert both.base_url == (FLAG_URL,)
    assert both.temperature == 0.5
    assert make({"temperature": 0.1}, file).temperature == 0.1


def test_a_flag_that_was_not_given_beats_nothing() -> None:
    config = make({"seed": None, "base_url": None, "model": None}, 'seed = 7\nmodel = "m"')
    assert (config.seed, config.model) == (7, ("m",))


def test_a_zero_flag_was_given() -> None:
    config = make({"seed": 0, "temperature": 0.0}, "seed = 7\ntemperature = 1.5")
    assert (config.seed, config.temperature) == (0, 0.0)


def test_a_wrong_value_that_is_overruled_does_not_matter() -> None:
    assert make({"temperature": 1.0}, "temperature = 99").temperature == 1.0


def test_keys_of_a_file_may_be_written_as_flags() -> None:
    config = make({}, "max-tokens = 99\ntop_p = 0.5\n")
    assert (config.max_tokens, config.top_p) == (99, 0.5)


def test_n_may_come_from_the_file() -> None:
    assert make({"n": None}, "n = 3").n == 3


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    assert make({}, "\ufeffseed = 7").seed == 7


def test_the_environment_as_the_sdk_reads_it() -> None:
    assert make(OPENAI_API_KEY=SECRET).base_url == ("https://api.openai.com/v1",)
    assert make(OPENAI_API_KEY=SECRET, OPENAI_BASE_URL=ENV_URL).base_url == (ENV_URL,)
    assert make(OPENAI_BASE_URL="").base_url == ()
    assert make({"base_url": FLAG_URL}, None, OPENAI_API_KEY=SECRET).base_url == (FLAG_URL,)


def test_with_nothing_given_the_model_is_the_embedded_one() -> None:
    assert make().embedded
    assert not make({"base_url": FLAG_URL}).embedded
    assert not make(OPENAI_API_KEY=SECRET).embedded


def test_what_the_embedded_model_cannot_take_is_the_default_for_endpoints_only() -> None:
    """An endpoint gets the published numbers; flags and file hold with either."""
    remote = make({"base_url": FLAG_URL})
    assert (remote.tasks, remote.max_tokens, remote.top_p) == (None, 3072, 1.0)
    assert remote.temperature == make().temperature == 1.0
    assert make().max_tokens < 2048
    assert make({"max_tokens": 111}, "tasks = 5").max_tokens == 111
    assert make({"max_tokens": 111}, "tasks = 5").tasks == 5


def test_the_contract_of_the_command_line() -> None:
    """The defaults of the issue's command, for an endpoint."""
    config = make({"base_url": FLAG_URL})
    assert config.model_dump(include=set(CONTRACT)) == CONTRACT


CONTRACT: dict[str, Any] = {
    "recipe": "alpaca",
    "lang": ("en",),
    "api": "auto",
    "concurrency": "auto",
    "seed": 0,
    "temperature": 1.0,
    "top_p": 1.0,
    "max_tokens": 3072,
    "timeout": 600.0,
    "durability": "group",
    "rouge_l": 0.7,
}


# ── errors ───────────────────────────────────────────────────────────────────────────────────

WRONG: dict[str, list[Any]] = {
    "n": [0, -1, "many", 1.5],
    "base_url": ["ftp://host/v1", "host:8000", "http://", "http://[::1", "/v1", "file:///etc/passwd",
                 "http://a..b/v1", f"http://{'a' * 64}.net/v1"],
    "api": ["soap", ""],
    "concurrency": [0, -1, 4097, "some"],
    "seed": ["x", 1.5],
    "temperature": [-0.1, 2.1, "hot", float("nan")],
    "top_p": [0, 1.1, float("nan")],
    "max_tokens": [0, -5],
    "timeout": [0, -1, float("nan")],
    "durability": ["none"],
    "tasks": [0, 201],
    "rouge_l": [-0.1, 1.1],
    "extra_body": ["top_k", 3],
    "max_barren": [0],
}  # fmt: skip
WRONG_PAIRS = [(key, value) for key, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("key", "value"), WRONG_PAIRS)
def test_a_wrong_flag_is_named(key: str, value: object) -> None:
    file = "seed = 1\n"
    assert refusal({key: value}, file).startswith(f"--{key.replace('_', '-')}: ")


@pytest.mark.parametrize(("key", "value"), WRONG_PAIRS)
def test_a_wrong_key_of_the_file_is_named(key: str, value: object) -> None:
    toml = str(value) if isinstance(value, float) else repr(value)
    message = refusal({"n": None if key == "n" else 20}, f"{key} = {toml}\n")
    assert message.startswith(f"my.toml: {key}: ")


@pytest.mark.parametrize("url", WRONG["base_url"])
def test_a_wrong_variable_is_named(url: str) -> None:
    assert refusal(OPENAI_BASE_URL=url).startswith("OPENAI_BASE_URL: ")


@pytest.mark.parametrize(
    "url", ["http://host:99999/v1", "http://host:PORT/v1", "http://host:-1/v1"]
)
def test_a_wrong_port_is_refused_as_the_rest_of_an_address(url: str) -> None:
    assert refusal({"base_url": url}).startswith("--base-url: ")
    assert refusal(OPENAI_BASE_URL=url).startswith("OPENAI_BASE_URL: ")


def test_a_missing_n_is_asked_for_by_its_flag() -> None:
    assert refusal({"n": None}).startswith("--n: ")


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    message = refusal({}, "temprature = 0.5")
    assert message.startswith("my.toml: temprature: unknown key")
    assert "temperature" in message


def test_more_of_the_request_body_is_a_table() -> None:
    config = make({"base_url": FLAG_URL}, "[extra_body]\ntop_k = 40\nstop_token_ids = [1, 2]")
    assert config.extra_body == {"top_k": 40, "stop_token_ids": [1, 2]}


def test_what_json_cannot_say_is_refused() -> None:
    """NaN equals nothing, so a run whose fingerprint holds it could never be gone on with."""
    for value in ("1979-05-27", "nan", "inf"):
        message = refusal({"base_url": FLAG_URL}, f"[extra_body]\ntop_k = {value}")
        assert message.startswith("my.toml: extra_body"), value


@pytest.mark.parametrize("key", ["n", "max_cost", "rpm", "concurrency", "price_in", "choices"])
def test_true_is_no_number(key: str) -> None:
    other = "" if key == "n" else "n = 5\n"
    message = refusal({"n": None}, f"{other}{key} = true")
    assert message == f"my.toml: {key}: must be a number, not true or false"


def test_a_key_that_is_said_twice() -> None:
    message = refusal({}, "max-cost = 3\nmax_cost = 30")
    assert message.startswith("my.toml: max_cost: said twice")


def test_the_length_of_an_answer_is_an_option_of_its_own() -> None:
    """Or a request could cost more than what is set aside for it."""
    message = refusal({"base_url": FLAG_URL}, "[extra_body]\nmax_completion_tokens = 100000")
    assert "max_completion_tokens: selfinstruct sends that itself" in message


def test_a_table_is_an_unknown_key() -> None:
    assert refusal({}, "[server]\nport = 1").startswith("my.toml: server: unknown key")


def test_a_key_in_the_file_is_refused_and_not_repeated() -> None:
    message = refusal({}, f'api_key = "{SECRET}"')
    assert message.startswith("my.toml: api_key: unknown key")
    assert SECRET not in message


def test_what_is_not_toml_is_refused() -> None:
    assert refusal({}, "temperature = ").startswith("my.toml: not TOML: ")
    with pytest.raises(UsageError, match=r"^my\.toml: not UTF-8"):
        make_config({}, file=b"\xff", file_name="my.toml", environment={})


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_file_is_read_or_refused(content: bytes) -> None:
    try:
        make_config({"n": 1}, file=content, file_name="my.toml", environment={})
    except UsageError as error:
        message = str(error)
    else:
        message = "my.toml: fine"
    assert message.startswith("my.toml: ")


# ── fingerprint and secrets ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        (f"https://me:{SECRET}@host/v1", "https://host/v1"),
        (f"https://{SECRET}@host:8000/v1", "https://host:8000/v1"),
        (f"https://host/v1?api-key={SECRET}", "https://host/v1"),
        (f"https://host/v1?a=1&key={SECRET}#{SECRET}", "https://host/v1"),
        (f"http://me:{SECRET}@[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("", ""),
    ],
)
def test_a_public_url_has_no_user_and_no_query(url: str, public: str) -> None:
    assert public_url(url) == public
    if "@" not in url:
        assert make({"base_url": url}).stored()["base_url"] == public


def test_no_secret_is_stored() -> None:
    config = make({"base_url": f"https://host/v1?key={SECRET}"}, None, OPENAI_API_KEY=SECRET)
    assert SECRET not in repr(config.stored())
    assert SECRET not in repr(config.generation())


def test_a_stored_config_is_the_config_again() -> None:
    config = make({"base_url": FLAG_URL, "seed": 5, "concurrency": 7})
    assert Config.model_validate(config.stored()) == config


def test_the_slash_at_an_address_end_means_nothing() -> None:
    assert make({"base_url": "http://host/v1/"}).base_url == ("http://host/v1",)


CHANGES: dict[str, Any] = {
    "n": 21,
    "recipe": "other",
    "lang": "zh",
    "base_url": "http://elsewhere/v1",
    "model": "other",
    "api": "chat",
    "concurrency": 9,
    "seed": 1,
    "temperature": 0.9,
    "top_p": 0.9,
    "max_tokens": 100,
    "extra_body": {"top_k": 40},
    "timeout": 9.0,
    "durability": "strict",
    "tasks": 5,
    "examples": 2,
    "example_chars": 100,
    "rouge_l": 0.6,
    "patience": 5.0,
    "max_barren": 5,
    "structured": True,
    "choices": 2,
    "batch_api": True,
    "rpm": 60.0,
    "tpm": 1000.0,
    "max_cost": 1.0,
    "max_total_tokens": 1000,
    "price_in": 1.0,
    "price_out": 2.0,
}
# Those that cannot be given alone.
WITH = {"price_in": {"price_out": 2.0}, "price_out": {"price_in": 1.0}}


@pytest.mark.parametrize("field", CHANGES)
def test_what_decides_the_data_is_in_the_fingerprint(field: str) -> None:
    """What may change between two commands on one directory is said here once more, in full."""
    free = (
        "n", "base_url", "concurrency", "timeout", "durability", "patience", "max_barren", "rpm",
        "tpm", "max_cost", "max_total_tokens", "price_in", "price_out", "batch_api",
    )  # fmt: skip
    base = make({"base_url": FLAG_URL})
    changed = make({"base_url": FLAG_URL, field: CHANGES[field], **WITH.get(field, {})})
    assert (changed.generation() != base.generation()) == (field not in free)


def test_every_field_is_known_to_matter_or_not() -> None:
    # Paths matter as little as the bytes behind them matter much (plan.py).
    assert set(CHANGES) == set(Config.model_fields) - {"seeds", "source", "known"}
    assert "seeds" not in make().generation()


# ── several endpoints and models ─────────────────────────────────────────────────────────────

URLS = ["http://one/v1", "http://two/v1"]


@pytest.mark.parametrize(
    ("urls", "models", "pairs"),
    [
        (URLS, ["m"], [(URLS[0], "m"), (URLS[1], "m")]),
        (URLS[:1], ["a", "b"], [(URLS[0], "a"), (URLS[0], "b")]),
        (URLS, ["a", "b"], [(URLS[0], "a"), (URLS[1], "b")]),
        ([URLS[0]] * 2, ["m"], [(URLS[0], "m")]),
    ],
)
def test_which_model_is_asked_where(
    urls: list[str], models: list[str], pairs: list[tuple[str, str]]
) -> None:
    assert list(make({"base_url": urls, "model": models}).places) == pairs


def test_models_that_do_not_fit_the_addresses_are_refused() -> None:
    with pytest.raises(UsageError, match="one for all, or one for each"):
        make({"base_url": URLS, "model": ["a", "b", "c"]})


def test_the_order_and_number_of_endpoints_does_not_decide_the_data() -> None:
    one = make({"base_url": URLS, "model": ["a", "b"]})
    other = make({"base_url": URLS[::-1], "model": ["b", "a"]})
    assert one.generation() == other.generation()
    assert one.models == other.models == ("a", "b")
    alone = make({"base_url": URLS[:1], "model": ["m"]})
    assert alone.generation() == make({"base_url": URLS, "model": ["m"]}).generation()
    assert alone.generation()["model"] == "m"


def test_what_is_stored_of_one_endpoint_is_what_it_always_was() -> None:
    stored = make({"base_url": "http://host/v1?key=abc", "model": "m"}).stored()
    assert (stored["base_url"], stored["model"]) == ("http://host/v1", "m")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"price_in": 1.0}, "go together"),
        ({"structured": True, "api": "completions"}, "chat API"),
        ({"max_cost": 1.0, "extra_body": {"best_of": 4}}, "best_of"),
        ({"max_cost": -1.0}, "--max-cost"),
        ({"max_cost": float("nan")}, "--max-cost"),
        ({"rpm": 0}, "--rpm"),
        ({"choices": 0}, "--choices"),
    ],
)
def test_what_cannot_be_is_refused(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make({"base_url": FLAG_URL, **flags})
