"""What the scripted server says: the script, the reply texts, the JSON bodies and the faults.

In: a `Script`, a prompt, a request body. Out: texts, bytes, shares turned into decisions.
All of it is pure. Knows nothing of sockets, clocks or the order in which requests arrive.
"""

from __future__ import annotations

import json
import pkgutil
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any, Literal, NamedTuple, cast

OK = "ok"
CREATED = 1_700_000_000  # fixed, so that the same request gets the same bytes
REFUSAL = "I'm sorry, but I can't assist with that request."
HTML = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Sign in</body></html>\n"


class Failure(NamedTuple):
    """One error answer, as OpenAI words it. `{model}` and `{prompt_tokens}` are filled in."""

    status: int
    message: str
    type: str | None
    param: str | None = None
    code: str | int | None = None

    def body(self, **facts: object) -> bytes:
        message = self.message
        for name, value in facts.items():
            message = message.replace("{" + name + "}", str(value))
        error = {"message": message, "type": self.type, "param": self.param, "code": self.code}
        return dump({"error": error})


INVALID = "invalid_request_error"

ERRORS: dict[str, Failure] = {
    "401": Failure(
        401,
        "Incorrect API key provided: {key}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        INVALID,
        code="invalid_api_key",
    ),
    "403": Failure(
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        code="unsupported_country_region_territory",
    ),
    "model_404": Failure(
        404,
        "The model `{model}` does not exist or you do not have access to it.",
        INVALID,
        code="model_not_found",
    ),
    "route_404": Failure(404, "Invalid URL ({method} {path})", INVALID),
    "408": Failure(408, "Request timed out.", "timeout"),
    "429": Failure(
        429,
        "Rate limit reached for {model} in organization org-scripted on requests per min (RPM): "
        "Limit {limit}, Used {limit}, Requested 1. Please try again in {wait}s. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
        "requests",
        code="rate_limit_exceeded",
    ),
    "insufficient_quota": Failure(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more "
        "information on this error, read the docs: "
        "https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
        code="insufficient_quota",
    ),
    "500": Failure(
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
    ),
    "502": Failure(502, "Bad gateway.", "cf_bad_gateway", code=502),
    "503": Failure(
        503, "The engine is currently overloaded, please try again later", "server_error"
    ),
    "529": Failure(529, "Overloaded", "overloaded_error"),
    "context_400": Failure(
        400,
        "This model's maximum context length is 4096 tokens. However, your messages resulted in "
        "{prompt_tokens} tokens. Please reduce the length of the messages.",
        INVALID,
        param="messages",
        code="context_length_exceeded",
    ),
    "context_400_vllm": Failure(
        400,
        "This model's maximum context length is 4096 tokens. However, you requested 5120 tokens "
        "({prompt_tokens} in the messages, 3072 in the completion). Please reduce the length of "
        "the messages or completion.",
        "BadRequestError",
        code=400,
    ),
    "content_filter_400": Failure(
        400,
        "The response was filtered due to the prompt triggering Azure OpenAI's content management "
        "policy. Please modify your prompt and retry. To learn more about our content filtering "
        "policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
        None,
        param="prompt",
        code="content_filter",
    ),
}

NO_KEY = Failure(
    401,
    "You didn't provide an API key. You need to provide your API key in an Authorization header "
    "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
    "https://platform.openai.com/account/api-keys.",
    INVALID,
)
BAD_JSON = Failure(
    400,
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
    "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was "
    "not valid JSON.)",
    INVALID,
)
CHAT_ONLY = Failure(
    404,
    "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use "
    "v1/chat/completions?",
    INVALID,
    param="model",
)
COMPLETIONS_ONLY = Failure(
    404,
    "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you "
    "mean to use v1/completions?",
    INVALID,
    param="model",
)

# Made after slot and latency, and sold: the model did its work.
BODY_FAULTS = (
    "truncated_json",
    "invalid_utf8",
    "html_200",
    "null_body",
    "empty_choices",
    "no_choices",
    "refusal",
    "content_filter",
    "length",
    "empty_text",
)
SOLD_WIRE_FAULTS = ("slow_loris", "reset", "short_body")
# Told at once, without a slot.
QUICK_WIRE_FAULTS = ("hang", "reset_before", "redirect")
FAULTS = frozenset((*ERRORS, *BODY_FAULTS, *SOLD_WIRE_FAULTS, *QUICK_WIRE_FAULTS))


@dataclass(frozen=True, slots=True)
class Script:
    """How the server behaves. All shares are 0–1, all times are seconds.

    faults: {kind: share}, drawn by (prompt, its occurrence); `fault_attempts` limits them to the
        first so many occurrences of each prompt.
    fault_plan: kinds (or "ok") for the first requests in arrival order; fault_every: {kind: n}
        gives the n-th, 2n-th, … request that kind. Both count only requests that nothing else
        (key, path, parameters, rpm) has refused. The plan comes first, then every, then shares.
    refuse_params: {name: other name} "use that instead"; {name: number} only that value is
        accepted; {name: None} not supported at all.
    slots: how many are served at once, the others queue in order of arrival; None: no limit.
        So {"response_format": None} and {"n": 1} are servers without JSON schemas or choices.
    plain_answers: "json" answers with JSON in a fence to requests without a response_format too.
    cached_share: of the prompt's tokens, 0–1, that the usage calls cached.
    reply_hook: "module:function", called as (prompt, rng) -> text in the server's process.
    """

    model: str = "scripted-model"
    api: Literal["both", "completions", "chat"] = "both"
    missing_api: Literal["openai", "vllm"] = "openai"
    api_key: str | None = None
    check_model: bool = False
    refuse_params: Mapping[str, str | float | None] = field(default_factory=dict)

    tasks_per_reply: int | tuple[int, int] = 4
    duplicate_share: float = 0.0
    bad_share: float = 0.0
    usage: bool = True
    cached_tokens: int | None = None
    cached_share: float = 0.0
    plain_answers: Literal["list", "json"] = "list"
    reply_hook: str | None = None

    latency: float = 0.0
    jitter: float = 0.0
    tail_share: float = 0.0
    tail_factor: float = 10.0
    slots: int | None = None

    faults: Mapping[str, float] = field(default_factory=dict)
    fault_plan: tuple[str, ...] = ()
    fault_every: Mapping[str, int] = field(default_factory=dict)
    fault_attempts: int | None = None
    retry_after: float | None = 1.0
    retry_after_date: bool = False
    ratelimit_headers: bool = False
    rpm: float | None = None
    rpm_burst: int = 1

    def __post_init__(self) -> None:
        named = {*self.faults, *self.fault_plan, *self.fault_every} - {OK}
        if unknown := sorted(named - FAULTS):
            raise ValueError(f"unknown fault kinds: {', '.join(unknown)}")
        if sum(self.faults.values()) > 1 + 1e-9:
            raise ValueError("the shares in faults add up to more than 1")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Script:
        frozen: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        return cls(**frozen)


def dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def prompt_hash(prompt: str) -> str:
    """The ledger's name for a prompt."""
    return sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def words_in(text: str) -> int:
    return len(text.split())


# ---------------------------------------------------------------- decisions


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts` alone."""
    digest = sha256("\0".join(map(str, parts)).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def pick_fault(script: Script, order: int, prompt: str, occurrence: int) -> str:
    """The fault kind (or "ok") for the `order`-th request, the `occurrence`-th of this prompt."""
    if order < len(script.fault_plan):
        return script.fault_plan[order]
    for kind, every in script.fault_every.items():
        if (order + 1) % every == 0:
            return kind
    if script.fault_attempts is not None and occurrence >= script.fault_attempts:
        return OK
    if script.faults:
        left = chance("fault", prompt, occurrence)
        for kind, share in script.faults.items():
            if left < share:
                return kind
            left -= share
    return OK


def latency_of(script: Script, prompt: str, occurrence: int) -> float:
    """Seconds that this occurrence of the prompt takes."""
    if not script.latency:
        return 0.0
    seconds = script.latency
    if script.jitter:
        seconds *= 1 + script.jitter * (2 * chance("jitter", prompt, occurrence) - 1)
    if script.tail_share and chance("tail", prompt, occurrence) < script.tail_share:
        seconds *= script.tail_factor
    return seconds


def refused_param(script: Script, body: Mapping[str, Any]) -> Failure | None:
    """The 400 for the first parameter in the body that this model does not take."""
    for name, instead in script.refuse_params.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(instead, (int, float)):
            if value == instead:
                continue
            message = (
                f"Unsupported value: '{name}' does not support {value} with this model. "
                f"Only the default ({instead:g}) value is supported."
            )
            return Failure(400, message, INVALID, param=name, code="unsupported_value")
        message = f"Unsupported parameter: '{name}' is not supported with this model."
        if instead is not None:
            message += f" Use '{instead}' instead."
        return Failure(400, message, INVALID, param=name, code="unsupported_parameter")
    return None


def masked(key: str) -> str:
    """A key as OpenAI echoes it: the start, stars, the last four."""
    return key if len(key) <= 12 else f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}"


# ---------------------------------------------------------------- texts


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VERBS = _words("""
Describe Explain Compare Summarize Outline Suggest Rewrite Classify Estimate Propose Translate
Recommend Justify Identify Design Plan Predict Evaluate Criticize Simplify Organize Rank Invent
Calculate Convert Discuss Define Analyze Draft Edit Imagine Interpret List Name Paraphrase
Prepare Prove Question Revise Schedule Select Sketch Solve Sort Teach Trace Verify Advise Argue
Compose Contrast Debate Expand Illustrate Narrate Negotiate Refute Shorten Narrow Reconcile
""")
ADJECTIVES = _words("""
modest ancient brittle careful distant eager fragile gentle hollow idle jagged keen lively
mellow narrow obscure patient quiet rapid silent tender urgent vivid weary young zealous bitter
calm dense elegant faint golden humble icy joyful kind loyal muddy noble odd polite rare sharp
tidy uneven vague warm seasonal weekly rural urban coastal medical legal financial municipal
historic portable seventh reliable temporary seaside wooden digital affordable nervous crowded
generous stubborn curious hungry forgotten practical formal casual remote annual broken spare
""")
NOUNS = _words("""
farmer budget harvest winter engine garden teacher library recipe bridge contract village
kitchen letter market museum neighbor orchard passenger quarrel railway sailor tailor uniform
vaccine window workshop yogurt airport bakery candle dentist election factory glacier hospital
island jacket kettle lantern mountain notebook ocean pharmacy refund shelter telescope umbrella
volcano wallet apartment battery climate deadline eclipse ferry gossip hotel insurance journey
keyboard landlord mortgage nurse opinion pension quota receipt salary ticket union visitor
warranty algorithm beehive compass database essay festival grammar hammer inventory juice
knitting lemon molecule needle oxygen parliament quilt river spreadsheet theatre utensil valley
wheat apprentice bicycle cathedral dialogue emperor forecast guitar horizon interview jury
laboratory meadow novel orchestra poem reservoir sculpture tournament vineyard waiter
""")
LINKS = _words("""
with without before after near under beyond despite against for from inside unlike versus during
concerning through around about toward behind including beside replacing following
""")
ADVERBS = _words("""
briefly clearly politely today together afterwards honestly step-by-step quickly cheaply
""")
PLAIN = ADJECTIVES + NOUNS + LINKS  # what outputs are made of
DUPLICATES = (
    "Explain how a patient gardener prepares heavy soil before planting tomatoes in early spring.",
    "Rewrite the following complaint about a late train so that it sounds polite and brief.",
    "Suggest three affordable weekend trips for a family that lives near a cold northern coast.",
    "Classify each of these kitchen tools by the material from which it is usually made.",
    "Compare renting a small apartment with buying an old house for a young working couple.",
    "Summarize the main duties of a night nurse in a busy city hospital ward.",
)
DEFECTS = ("blacklisted", "empty_output", "too_short", "placeholder", "input_is_output")
PLACEHOLDER = "[insert text here]"

_MARKER = re.compile(r"(\d+)\. Instruction:\s*\Z")
_OUTPUT = "Output:\n"
_JSON_OUTPUT = '"output": "'


def sentence(rng: random.Random) -> str:
    """8 to 20 words, whose ROUGE-L with another such sentence is nearly always below 0.5."""
    groups = 3 + int(rng.random() * 4)
    words = rng.choices(VERBS)
    for triple in zip(
        rng.choices(ADJECTIVES, k=groups),
        rng.choices(NOUNS, k=groups),
        rng.choices(LINKS, k=groups),
        strict=True,
    ):
        words += triple
    words.pop()
    ending = rng.random()
    if ending < 0.3:
        del words[1]
    if ending > 0.5:
        words += rng.sample(ADVERBS, 1 if ending < 0.75 else 2)
    return " ".join(words) + "."


def answer_text(rng: random.Random) -> str:
    """10 to 50 words in one or two lines; flat, because making it is the server's main cost."""
    words = rng.choices(PLAIN, k=10 + int(rng.random() * 41))
    text = " ".join(words).capitalize() + "."
    return text if len(words) < 30 else text.replace(" with ", ".\nWith ", 1)


def duplicate(rng: random.Random) -> str:
    """One of the few fixed instructions, half the time with one word changed."""
    text = rng.choice(DUPLICATES)
    if rng.random() < 0.5:
        return text
    words = text.split()
    words[rng.randrange(1, len(words) - 1)] = rng.choice(ADJECTIVES)
    return " ".join(words)


def with_defect(rng: random.Random, task: tuple[str, str, str]) -> tuple[str, str, str]:
    """The task, spoilt in one of the ways that filters must catch."""
    instruction, given, output = task
    defect = rng.choice(DEFECTS)
    if defect == "blacklisted":
        return instruction[:-1] + " using the attached image.", given, output
    if defect == "empty_output":
        return instruction, given, ""
    if defect == "too_short":
        return " ".join(instruction.split()[:2]) + ".", given, output
    if defect == "placeholder":
        return instruction, PLACEHOLDER, output
    return instruction, output, output


def one_task(rng: random.Random, script: Script) -> tuple[str, str, str]:
    """Instruction, input, output."""
    repeated = rng.random() < script.duplicate_share
    instruction = duplicate(rng) if repeated else sentence(rng)
    given = sentence(rng) if rng.random() < 0.4 else "<noinput>"
    task = (instruction, given, answer_text(rng))
    return with_defect(rng, task) if rng.random() < script.bad_share else task


def task_count(rng: random.Random, script: Script) -> int:
    span = script.tasks_per_reply
    return span if isinstance(span, int) else rng.randint(*span)


def json_object(rng: random.Random, script: Script) -> str:
    """What a model says that is held to our schema."""
    tasks = []
    for _ in range(task_count(rng, script)):
        instruction, given, output = one_task(rng, script)
        given = "" if given == "<noinput>" else given
        tasks.append({"instruction": instruction, "input": given, "output": output})
    return json.dumps({"tasks": tasks})


def numbered_list(prompt: str, rng: random.Random, script: Script) -> str:
    """Continue the prompt's list; begin one at 1 where the prompt does not end in a number."""
    marker = _MARKER.search(prompt[-64:])
    first = int(marker[1]) if marker else 1
    blocks = []
    for i in range(first, first + task_count(rng, script)):
        instruction, given, output = one_task(rng, script)
        blocks.append(
            f"{i}. Instruction: {instruction}\n{i}. Input:\n{given}\n{i}. {_OUTPUT}{output}\n###\n"
        )
    text = "".join(blocks)
    return text[len(f"{first}. Instruction:") :] if marker else text


@cache
def _hook(name: str) -> Callable[[str, random.Random], str]:
    return cast(Callable[[str, random.Random], str], pkgutil.resolve_name(name))


def reply_text(
    script: Script, prompt: str, seed: int | None = None, *, choice: int = 0, schema: bool = False
) -> str:
    """The model's text: a pure function of the prompt, the seed and the choice's number.

    schema: it is held to one.
    """
    key = f"{prompt}\0{'' if seed is None else seed}" + (f"\0{choice}" if choice else "")
    rng = random.Random(int(prompt_hash(key), 16))
    if script.reply_hook:
        return _hook(script.reply_hook)(prompt, rng)
    if schema:
        return json_object(rng, script)
    if script.plain_answers == "json":
        return f"Here you are:\n\n```json\n{json_object(rng, script)}\n```\n"
    return numbered_list(prompt, rng, script)


def cut_mid_output(text: str) -> str:
    """The text as the token limit would leave it: inside the last output."""
    label = _OUTPUT if _OUTPUT in text else _JSON_OUTPUT
    at = text.rfind(label)
    start = at + len(label) if at >= 0 else 0
    return text[: start + len(text[start:].removesuffix("\n###\n")) // 2]


def bounded(text: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """The text after `stop` and `max_tokens`, and its finish_reason."""
    stop = body.get("stop") or ()
    stops = (stop,) if isinstance(stop, str) else stop
    found = [at for at in (text.find(s) for s in stops) if at >= 0]
    if found:
        text = text[: min(found)]
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    if isinstance(limit, int) and words_in(text) > limit:
        ends = [m.end() for m in re.finditer(r"\S+", text)]
        return text[: ends[limit - 1]], "length"
    return text, "stop"


# ---------------------------------------------------------------- bodies


def prompt_of(body: Mapping[str, Any]) -> str:
    """The canonical prompt: `prompt`, or the content of the last user message."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt:
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "user":
            content = message.get("content") or ""
            if isinstance(content, str):
                return content
            return "".join(part.get("text", "") for part in content)
    return ""


def choice_of(
    chat: bool, text: str, finish: str, refusal: str | None, index: int
) -> dict[str, Any]:
    if not chat:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    content = None if refusal else text
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def usage_of(script: Script, prompt: str, texts: Sequence[str]) -> dict[str, Any]:
    """The prompt counts once, whatever number of choices there are."""
    prompt_tokens, completion_tokens = words_in(prompt), sum(map(words_in, texts))
    usage: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if script.cached_tokens is not None:
        cached = min(script.cached_tokens, prompt_tokens)
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    elif script.cached_share:
        cached = int(prompt_tokens * script.cached_share)
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return usage


class Sale(NamedTuple):
    """A 200's body, and what is charged for it."""

    content: bytes
    tokens: int
    type: str = "application/json"


def sale(script: Script, kind: str, chat: bool, prompt: str, body: Mapping[str, Any]) -> Sale:
    """The 200 answer to a request, as fault `kind` leaves it."""
    texts, choices = [], []
    schema = chat and body.get("response_format") is not None
    for index in range(body.get("n") or 1):
        said = reply_text(script, prompt, body.get("seed"), choice=index, schema=schema)
        text, finish = bounded(said, body)
        refusal = None
        if kind == "length" or kind == "content_filter":
            text, finish = cut_mid_output(text), kind
        elif kind == "empty_text":
            text = ""
        elif kind == "refusal":
            text = REFUSAL
            refusal = REFUSAL if chat else None
        texts.append(text)
        choices.append(choice_of(chat, text, finish, refusal, index))
    usage = usage_of(script, prompt, texts)
    answer: dict[str, Any] = {
        "id": ("chatcmpl-" if chat else "cmpl-") + prompt_hash(prompt)[:24],
        "object": "chat.completion" if chat else "text_completion",
        "created": CREATED,
        "model": script.model,
        "choices": [] if kind == "empty_choices" else choices,
    }
    if kind == "no_choices":
        del answer["choices"]
    if script.usage:
        answer["usage"] = usage
    return spoil(kind, Sale(dump(answer), usage["total_tokens"]))


def spoil(kind: str, good: Sale) -> Sale:
    """The faults that are in the bytes."""
    content = good.content
    if kind == "truncated_json":
        return good._replace(content=content[: len(content) // 2])
    if kind == "invalid_utf8":
        # The JSON has no white space of its own: a blank is inside the text, the id has a dash.
        victim = b" " if b" " in content else b"-"
        return good._replace(content=content.replace(victim, b"\xff", 1))
    if kind == "html_200":
        return good._replace(content=HTML, type="text/html; charset=utf-8")
    if kind == "null_body":
        return good._replace(content=b"null")
    return good


def models_body(script: Script) -> bytes:
    model = {"id": script.model, "object": "model", "created": CREATED, "owned_by": "scripted"}
    return dump({"object": "list", "data": [model]})
