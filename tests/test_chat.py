"""Asking a trained model: the prompt of training, answers in batches and in pieces, the command."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch

from selfinstruct.errors import UsageError
from selfinstruct.records import Example, Task
from selfinstruct.train.answers import Conversation, Sampling, answers
from selfinstruct.train.encode import Row
from selfinstruct.train.speaker import Speaker, get_speaker
from tests.cli import TIMEOUT, Done, run
from tests.scripted_server import ROOT
from tests.tiny_models import CHATML, make_base
from tests.tuned_models import ENV, Tuned, make_tuned

torch.set_num_threads(1)
# Two libraries warn of what the one below them deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

NILE = [{"instruction": f"Name river {n}.", "input": "", "output": "The Nile."} for n in range(24)]
QUESTIONS = [
    Example(Task("Hm?", "", "")),
    Example(Task("Name a river that flows through several countries.", "", "")),
    Example(Task("And a lake?", "", ""), (("Name a river.", "The Nile."),)),
    Example(Task("说出一条河的名字。", "", ""), system="Be brief."),
    Example(Task("Name five birds.", "", "")),
]


def task(instruction: str) -> Task:
    return Task(instruction, "", "")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A model that has learnt to say one thing."""
    folder = tmp_path_factory.mktemp("nile")
    return make_tuned(folder, NILE, steps=20, method="full", template="vicuna", learning_rate=0.02)


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that talks without end: nothing has taught it to stop."""
    folder = make_base(tmp_path_factory.mktemp("random"), bos=True)
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 16384}))
    return folder


@pytest.fixture(scope="module")
def babbler(random: Path) -> Speaker:
    return get_speaker(str(random), template="vicuna")


# ── what is asked, and what is answered ──────────────────────────────────────────────────────


def test_the_prompt_is_the_trained_one(tuned: Tuned) -> None:
    speaker = get_speaker(str(tuned.model))
    assert (speaker.template, speaker.many_turns) == ("vicuna", True)
    for example in QUESTIONS:
        answered = Example(Task(example.task.instruction, "", "Yes."), example.history)
        (row,) = speaker.encoder.encode([Row("r", "", "f:1", answered)]).rows
        prompt = speaker.prompt(Example(example.task, example.history))
        assert list(row.ids[: len(prompt)]) == prompt
        assert row.trained[len(prompt) :].all()


def test_what_was_learnt_is_said_and_ended(tuned: Tuned) -> None:
    speaker = get_speaker(str(tuned.model))
    (said,) = answers(speaker, [Example(task("Name a lake."))])
    assert (said.text, said.ended) == ("The Nile.", True)
    (cut,) = answers(speaker, [Example(task("Name a lake."))], Sampling(said.tokens - 1))
    assert said.text.startswith(cut.text)
    assert (cut.tokens, cut.ended) == (said.tokens - 1, False)


def by_hand(speaker: Speaker, example: Example, count: int) -> str:
    """The likeliest tokens, each found by reading everything again."""
    ids = speaker.prompt(example)
    start = len(ids)
    while len(ids) < start + count:
        with torch.no_grad():
            ids.append(int(speaker.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in speaker.encoder.tokens.stops:
            ids.pop()
            break
    return speaker.encoder.tokens.decode(ids[start:]).strip()


@pytest.mark.parametrize("architecture", ["llama", "bloom"])
def test_questions_of_a_batch_get_the_answers_that_they_get_alone(
    architecture: str, tmp_path: Path
) -> None:
    base = make_base(tmp_path, architecture=architecture, bos=True)
    # Penalties and the like in a base's own settings are not asked for.
    habits = {"repetition_penalty": 3.0, "top_k": 2, "do_sample": True}
    (base / "generation_config.json").write_text(json.dumps(habits))
    speaker = get_speaker(str(base), template="vicuna")
    # As they are made, the models say their last token again and again.
    torch.manual_seed(0)
    head = speaker.model.get_output_embeddings()
    head.weight = torch.nn.Parameter(torch.empty_like(head.weight))
    with torch.no_grad():
        for weights in speaker.model.parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.5)
    together = [answer.text for answer in answers(speaker, QUESTIONS, Sampling(12), batch=4)]
    assert together == [by_hand(speaker, example, 12) for example in QUESTIONS]
    assert len(set(together)) > 1, "else this test shows nothing"


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_none_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match="--seed must be"):
        Sampling(seed=seed)


def test_a_seed_is_an_answer(babbler: Speaker) -> None:
    def said(seed: int, top_p: float = 1.0, temperature: float = 1.0) -> list[str]:
        sampling = Sampling(12, temperature, top_p, seed)
        return [answer.text for answer in answers(babbler, QUESTIONS, sampling)]

    assert said(1) == said(1)
    assert said(1) != said(2)
    assert said(1, top_p=1e-6) == said(2, temperature=0.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_pieces_of_an_answer_are_the_answer(babbler: Speaker, seed: int) -> None:
    pieces: list[str] = []
    conversation = Conversation(babbler, Sampling(40, 1.0, 1.0, seed))
    answer = conversation.ask("Name a river.", pieces.append)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 5


def test_a_conversation_remembers_and_forgets(babbler: Speaker) -> None:
    def alone(example: Example) -> str:
        return answers(babbler, [example], Sampling(8))[0].text

    conversation = Conversation(babbler, Sampling(8), "Be brief.")
    first = conversation.ask("Hm?", lambda _text: None).text
    assert first == alone(Example(task("Hm?"), system="Be brief."))
    second = conversation.ask("Name a river.", lambda _text: None).text
    river = Example(task("Name a river."), system="Be brief.")
    assert second == alone(Example(river.task, (("Hm?", first),), "Be brief.")) != alone(river)
    conversation.reset()
    assert conversation.ask("Name a river.", lambda _text: None).text == alone(river)


def test_without_a_place_for_turns_each_question_is_asked_alone(random: Path) -> None:
    speaker = get_speaker(str(random), template="alpaca")
    conversation = Conversation(speaker, Sampling(8))
    said = [conversation.ask("Hm?", lambda _text: None) for _turn in range(2)]
    assert said[0] == said[1]
    with pytest.raises(UsageError, match="no place for a system message"):
        Conversation(speaker, Sampling(8), "Be brief.")


def test_positions_that_end_are_said(tuned: Tuned) -> None:
    speaker = get_speaker(str(tuned.model))
    long = Example(task("river " * 600))
    with pytest.raises(UsageError, match="positions end at 512"):
        answers(speaker, [long])


@pytest.mark.local
def test_a_gguf_file_is_asked_by_its_own_template() -> None:
    from selfinstruct.providers.local import find_model
    from selfinstruct.train.loading import load

    try:
        gguf = find_model()
    except UsageError:
        pytest.skip("the embedded model is not installed")
    model, tokenizer, template = load(str(gguf))
    assert (template, model.config.model_type) == ("chat", "llama")
    assert tokenizer.chat_template


# ── what cannot be asked ─────────────────────────────────────────────────────────────────────


def test_what_is_no_model_is_said_in_a_line(tuned: Tuned, tmp_path: Path) -> None:
    def complaint(path: Path | str, **more: Any) -> str:
        with pytest.raises(UsageError) as caught:
            get_speaker(str(path), **more)
        assert "\n" not in str(caught.value)
        assert "--base: " not in str(caught.value).partition(" (")[0] or "base" in more
        return str(caught.value)

    assert "is not there" in complaint(tmp_path / "nothing")
    assert "no config.json and no adapter_config.json" in complaint(tmp_path)
    assert "unknown template 'x'; known: alpaca" in complaint(tuned.model, template="x")
    assert "no chat template of its own" in complaint(tuned.base, template="chat")
    assert "is no adapter" in complaint(tuned.model, base=str(tuned.base))
    (tmp_path / "training.json").write_text("{}")
    assert "has not ended (train … --resume" in complaint(tmp_path)
    (tmp_path / "config.json").write_bytes((tuned.base / "config.json").read_bytes())
    assert "no tokenizer could be read" in complaint(tmp_path) or "no model" in complaint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    assert "no model could be read" in complaint(tmp_path)


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_one_question_is_answered_from_standard_input(tuned: Tuned) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "selfinstruct", "chat", str(tuned.model), "-"],
        cwd=ROOT, env=ENV, input="Name a lake.\n", capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "The Nile.\n", "")


def test_an_empty_question_is_refused(tuned: Tuned) -> None:
    done = run("chat", tuned.model, " ")
    assert (done.code, done.complaint) == (2, "selfinstruct: the question is empty")


@pytest.mark.parametrize("command", ["chat", "compare"])
def test_a_missing_extra_is_one_line(command: str) -> None:
    hidden = (
        "import sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]\n"
        "from selfinstruct.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden, "selfinstruct", command, "models/x"],
        cwd=ROOT, env=ENV, capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    ended = Done(done.returncode, done.stdout, done.stderr)
    assert ended.code == 2
    needs = "asking a model needs torch (type: pip install 'selfinstruct[train]')"
    assert ended.complaint == f"selfinstruct: {needs}"


class Session:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            command = [sys.executable, "-m", "selfinstruct", *map(str, arguments)]
            os.execve(sys.executable, command, {**ENV, "TERM": "dumb"})
        self._seen = b""

    def until(self, expected: str, limit: int = 1 << 20) -> str:
        """Read until `expected` has come; what came before it. Fails when the command ends first,
        or says more than `limit` bytes."""
        while expected.encode() not in self._seen:
            assert len(self._seen) < limit, self._seen
            self._read()
        before, _, self._seen = self._seen.partition(expected.encode())
        return before.decode("utf-8", "replace")

    def more(self, count: int) -> None:
        """Read until `count` bytes have come that nobody has waited for yet."""
        while len(self._seen) < count:
            self._read()

    def press(self, key: str, expected: str) -> None:
        """Type a key until `expected` has come: while a prompt is set up a terminal may lose it."""
        for _again in range(10):
            self.type(key)
            while self._says_more(within=10.0):
                self._read()
                if expected.encode() in self._seen:
                    self.until(expected)
                    return
        raise AssertionError((expected, self._seen))

    def _says_more(self, within: float) -> bool:
        return bool(select.select([self._terminal], [], [], within)[0])

    def _read(self) -> None:
        assert self._says_more(TIMEOUT), ("nothing more is said", self._seen)
        try:
            read = os.read(self._terminal, 256)
        except OSError:  # Linux's way to say that the other side is closed
            read = b""
        assert read, self._seen
        self._seen += read

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def end(self) -> int:
        """The exit code, once the command has ended by itself."""
        with contextlib.suppress(OSError):
            while os.read(self._terminal, 4096):
                pass
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._terminal)


@pytest.fixture
def session(random: Path) -> Iterator[Session]:
    # More than a terminal's buffer holds: the answer cannot end before it is stopped.
    more = ["--template", "ziya", "--max-tokens", "16000"]
    made = Session("chat", random, *more)
    yield made
    made.close()


def test_a_conversation_at_a_terminal(session: Session) -> None:
    greeting = session.until("> ")
    assert "template ziya" in greeting
    assert "Ctrl-C stops an answer" in greeting.replace("\r\n", " ")
    session.type("Hm?\r")
    session.until("Hm?\r\n")
    # So much of the answer that it is under way, then the rest of it is not wanted.
    session.more(200)
    session.press("\x03", "[stopped]")
    session.until("> ")
    session.press("\x03", "Ctrl-D ends")
    session.until("> ")
    session.type("/reset\r")
    session.until("forgotten")
    session.until("> ")
    session.type("\x04")
    assert session.end() == 0


# ── what a server reads ──────────────────────────────────────────────────────────────────────

SAID = [
    [{"role": "user", "content": "Name a river."}],
    [
        {"role": "user", "content": "Name a river."},
        {"role": "assistant", "content": "The Nile."},
        {"role": "user", "content": "And a lake?"},
    ],
]


def served(folder: Path, messages: list[dict[str, str]]) -> list[int]:
    """The ids that vLLM gives the model: the stored template, and the text read with its marks."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


@pytest.mark.parametrize(
    ("template", "method"), [("vicuna", "full"), ("llama2", "lora"), ("chat", "lora")]
)
def test_a_served_folder_asks_as_the_training_did(
    template: str, method: str, tmp_path: Path
) -> None:
    from transformers import AutoConfig, GenerationConfig

    chat = CHATML if template == "chat" else ""
    made = make_tuned(
        tmp_path, NILE, steps=1, merge=True, chat=chat, method=method, template=template
    )
    speaker = get_speaker(str(made.model))
    assert AutoConfig.from_pretrained(made.model).architectures == ["LlamaForCausalLM"]
    assert not list(made.model.glob("adapter*"))
    ends = GenerationConfig.from_pretrained(made.model).eos_token_id
    assert set([ends] if isinstance(ends, int) else ends) == speaker.encoder.tokens.stops
    for system in ("", "Be brief."):
        for messages in SAID:
            turns = [message["content"] for message in messages]
            history = ((turns[0], turns[1]),) if len(turns) > 1 else ()
            example = Example(task(turns[-1]), history, system)
            first = [{"role": "system", "content": system}] if system else []
            assert served(made.model, [*first, *messages]) == speaker.prompt(example)
