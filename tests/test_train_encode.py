"""Labels: what of a row is trained, token by token, for every template and kind of tokenizer."""

from __future__ import annotations

import json
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.errors import UsageError
from selfinstruct.records import Example, Task
from selfinstruct.train.batches import Collator
from selfinstruct.train.checks import make_encoder, stored_chat_template
from selfinstruct.train.encode import EncodedRow, Encoder, Encoding, Row
from selfinstruct.train.templates import CHAT, NAMES, TEMPLATES
from tests.tiny_models import CHATML, make_base, tokenizer

KINDS = ("byte-level", "llama", "llama-first", "unigram")
RIVER = Task("Name a river.", "", "The Nile.")
GREETING = Task("Translate.", "Guten Morgen!", "Good morning!")
EARLIER = (("Hi.", "Hello."),)

HEADER = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n"
)
HEADER_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. "
)


@cache
def encoder(
    template: str,
    kind: str = "byte-level",
    max_tokens: int = 512,
    train_on: str = "all",
    bos: bool = True,
) -> Encoder:
    made = tokenizer(kind, bos=bos, chat=CHATML if template == CHAT else "")
    return make_encoder(made, template, max_tokens, train_on)[0]


def encoded(
    example: Example, template: str, place: str = "rows.jsonl:1", **options: Any
) -> Encoding:
    return encoder(template, **options).encode([Row("r1", "en", place, example)])


def marked(row: EncodedRow, encoder: Encoder) -> str:
    """The row as text, what is trained in ⟦⟧: every token is on one side or the other."""
    found = []
    for trained, group in groupby(zip(row.ids, row.trained, strict=True), key=lambda pair: pair[1]):
        text = encoder.tokens.decode([int(id) for id, _trained in group])
        found.append(f"⟦{text}⟧" if trained else text)
    return "".join(found)


def shown(example: Example, template: str, **options: Any) -> str:
    (row,) = encoded(example, template, **options).rows
    return marked(row, encoder(template, **options))


# ── what is trained ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("template", "example", "expected"),
    [
        ("alpaca", Example(RIVER), f"<s>{HEADER}Name a river.\n\n### Response:⟦The Nile.</s>⟧"),
        (
            "alpaca",
            Example(GREETING),
            f"<s>{HEADER_WITH_INPUT}Translate.\n\n### Input:\nGuten Morgen!\n\n### Response:"
            "⟦Good morning!</s>⟧",
        ),
        (
            "chinese-alpaca",
            Example(GREETING),
            f"<s>{HEADER}Translate.\nGuten Morgen!\n\n### Response: ⟦Good morning!</s>⟧",
        ),
        (
            "belle",
            Example(GREETING, EARLIER),
            "Human: \nHi.\n\nAssistant: \n⟦Hello.</s>⟧"
            "Human: \nTranslate.\nGuten Morgen!\n\nAssistant: \n⟦Good morning!</s>⟧",
        ),
        (
            "vicuna",
            Example(RIVER, EARLIER),
            f"<s>{VICUNA}USER: Hi. ASSISTANT:⟦ Hello.</s>⟧"
            "USER: Name a river. ASSISTANT:⟦ The Nile.</s>⟧",
        ),
        (
            "vicuna",
            Example(RIVER, system="Be brief."),
            "<s>Be brief. USER: Name a river. ASSISTANT:⟦ The Nile.</s>⟧",
        ),
        ("llama2", Example(RIVER), "<s>[INST] Name a river. [/INST]⟦ The Nile. </s>⟧"),
        (
            "llama2",
            Example(RIVER, EARLIER, "Be brief."),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi. [/INST]⟦ Hello. </s>⟧"
            "<s>[INST] Name a river. [/INST]⟦ The Nile. </s>⟧",
        ),
        (
            "ziya",
            Example(RIVER, EARLIER),
            "<human>:Hi.\n<bot>:⟦Hello.</s>⟧<human>:Name a river.\n<bot>:⟦The Nile.</s>⟧",
        ),
        (
            CHAT,
            Example(RIVER, EARLIER, "Be brief."),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n"
            "<|im_start|>assistant\n⟦Hello.<|im_end|>⟧\n<|im_start|>user\nName a river.<|im_end|>\n"
            "<|im_start|>assistant\n⟦The Nile.<|im_end|>⟧",
        ),
    ],
)
def test_answers_and_their_ends_are_trained_and_nothing_else(
    template: str, example: Example, expected: str
) -> None:
    assert shown(example, template) == expected


def test_only_the_last_answer_is_trained_when_asked() -> None:
    found = shown(Example(RIVER, EARLIER), "ziya", train_on="last")
    assert found == "<human>:Hi.\n<bot>:Hello.</s><human>:Name a river.\n<bot>:⟦The Nile.</s>⟧"


def test_a_tokenizer_that_begins_no_text_with_bos_gets_none() -> None:
    assert shown(Example(RIVER), "llama2", bos=False).startswith("[INST]")


def test_a_prompt_that_reads_otherwise_with_its_answer_keeps_its_own_ids() -> None:
    """The space that ends Chinese-Alpaca's prompt would go into the answer's first token."""
    made = encoder("chinese-alpaca")
    prompt = made.prompt(Example(RIVER))
    (alone,), (together,) = (made.tokens.encode([f": {answer}"]) for answer in ("", "The Nile."))
    assert together[: len(alone)] != alone, "else this test shows nothing"
    (row,) = encoded(Example(RIVER), "chinese-alpaca").rows
    assert list(row.ids) == [*prompt, *made.tokens.encode(["The Nile."])[0], made.tokens.eos]


TEXT = st.text(
    st.sampled_from(
        ["a", "Z", "0", " ", "\n", ".", "<", "/", "s", ">", "|", "é", "长", "江", "🌍"]
    ),
    max_size=12,
)
SPELLINGS = st.sampled_from(["</s>", "<s>", "<unk>", "<|im_end|>", "<|im_start|>", "[INST]"])
SAID = st.lists(TEXT | SPELLINGS, min_size=1, max_size=4).map("".join).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(SAID, SAID, st.lists(st.tuples(SAID, SAID), max_size=2), st.sampled_from(NAMES))
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_begins_with_the_ids_that_inference_gives(
    kind: str, instruction: str, output: str, history: list[tuple[str, str]], template: str
) -> None:
    turns = () if "alpaca" in template else tuple(history)
    made = encoder(template, kind=kind)
    example = Example(Task(instruction, "", output), turns)
    (row,) = made.encode([Row("r", "", "f:1", example)]).rows
    prompt = made.prompt(example)
    answer = [int(id) for id in row.ids[len(prompt) :]]
    assert list(row.ids[: len(prompt)]) == prompt
    assert row.trained[len(prompt) :].all()
    assert answer[-1] in made.tokens.stops
    # No control token comes out of the data: only those that the template places are there.
    forbidden = set(made.tokens.controls.values()) - {made.tokens.unknown}
    assert not forbidden & set(answer[:-1])
    if kind == "byte-level":
        said = made.tokens.decode(answer[:-1])
        assert said.strip(" ") == output.strip(" ")


@settings(max_examples=40, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1),
    st.sampled_from(NAMES),
    st.booleans(),
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_uses_the_stored_template_gives_the_same_ids(
    kind: str, said: str, template: str, long: bool
) -> None:
    made = encoder(template, kind=kind)
    turns = ((said, "Yes."),) if long and "alpaca" not in template else ()
    messages = [{"role": "user", "content": said}]
    if turns:
        messages = [*messages, {"role": "assistant", "content": "Yes."}, *messages]
    text = made.tokens.tokenizer.apply_chat_template(
        messages,
        chat_template=stored_chat_template(made),
        tokenize=False,
        add_generation_prompt=True,
    )
    assert made.tokens.as_served(text) == made.prompt(Example(Task(said, "", ""), turns))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", NAMES)
def test_what_is_stored_needs_no_notice(kind: str, template: str) -> None:
    made = tokenizer(kind, bos=True, chat=CHATML if template == CHAT else "")
    notices = make_encoder(made, template, 64)[1]
    assert not [notice for notice in notices if "server" in notice]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_labels_are_those_of_trl(tmp_path: Path) -> None:
    """TRL's rows of prompt and completion, with loss on the completion alone, are the reference."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    base = make_base(tmp_path / "base")
    for template in ("alpaca", "belle", "ziya"):
        made = encoder(template, bos=False)
        rows = [Row("1", "", "f:1", Example(RIVER)), Row("2", "", "f:2", Example(GREETING))]
        prompts = [made.tokens.decode(made.prompt(row.example)) for row in rows]
        answers = [row.example.task.output for row in rows]
        trainer = trl.SFTTrainer(
            model=str(base),
            args=trl.SFTConfig(
                str(tmp_path / "out"), use_cpu=True, bf16=False, completion_only_loss=True,
                report_to=[], disable_tqdm=True,
            ),
            train_dataset=datasets.Dataset.from_dict({"prompt": prompts, "completion": answers}),
            processing_class=made.tokens.tokenizer,
        )  # fmt: skip
        theirs = trainer.data_collator(list(trainer.train_dataset))
        ours = Collator(0)([[row] for row in made.encode(rows).rows])
        assert theirs["labels"].tolist() == ours["labels"].tolist()
        seen = theirs["attention_mask"].bool()
        assert ours["attention_mask"].bool().equal(seen)
        assert theirs["input_ids"][seen].equal(ours["input_ids"][seen])


# ── length ───────────────────────────────────────────────────────────────────────────────────


def test_a_long_answer_is_cut_and_has_no_end() -> None:
    example = Example(Task("Hi.", "", "word " * 100))
    found = encoded(example, "ziya", max_tokens=30)
    (row,) = found.rows
    assert (len(row), row.cut, found.cut) == (30, True, 1)
    assert row.ids[-1] not in encoder("ziya").tokens.stops
    assert row.trained[-1]


def test_an_answer_that_just_fits_keeps_its_end() -> None:
    (whole,) = encoded(Example(RIVER), "ziya").rows
    (same,) = encoded(Example(RIVER), "ziya", max_tokens=len(whole)).rows
    (cut,) = encoded(Example(RIVER), "ziya", max_tokens=len(whole) - 1).rows
    assert not same.cut
    assert list(same.ids) == list(whole.ids)
    assert cut.cut
    assert list(cut.ids) == list(whole.ids[:-1])


def test_a_long_prompt_drops_the_row_and_says_where() -> None:
    found = encoded(Example(Task("word " * 100, "", "Yes.")), "ziya", max_tokens=30)
    assert not found.rows
    (dropped,) = found.dropped
    assert (dropped.id, dropped.place, dropped.reason) == ("r1", "rows.jsonl:1", "prompt_too_long")
    assert dropped.detail.endswith("of 30 at most")


def test_a_later_turn_without_room_is_left_out_whole() -> None:
    long = Example(Task("word " * 100, "", "Yes."), EARLIER)
    (row,) = encoded(long, "ziya", max_tokens=60).rows
    assert marked(row, encoder("ziya")) == "<human>:Hi.\n<bot>:⟦Hello.</s>⟧"
    assert not row.cut
    assert not encoded(long, "ziya", max_tokens=60, train_on="last").rows


@settings(max_examples=60, deadline=None)
@given(SAID, SAID, st.integers(1, 60))
def test_whatever_the_limit_a_row_has_something_to_learn(
    asked: str, answer: str, limit: int
) -> None:
    made = Encoder(encoder("ziya").tokens, TEMPLATES["ziya"], limit)
    found = made.encode([Row("r", "", "f:1", Example(Task(asked, "", answer)))])
    assert len(found.rows) + len(found.dropped) == 1
    for row in found.rows:
        assert len(row) <= limit
        assert row.trained.any()
        assert not row.trained[0]
        assert row.cut is (row.ids[-1] not in made.tokens.stops)


# ── what stops a training before it begins ───────────────────────────────────────────────────


@pytest.mark.parametrize("example", [Example(Task("Hi.", "", " \n")), Example(RIVER, (("a", ""),))])
def test_an_empty_answer_is_named_by_its_line(example: Example) -> None:
    with pytest.raises(UsageError, match=r"rows\.jsonl:7: the answer is empty"):
        encoded(example, "ziya", place="rows.jsonl:7")
    row = Row("r1", "", "rows.jsonl:7", example)
    found = encoder("ziya").encode([row], skip_empty=True)
    assert found.reasons == {"empty_answer": 1}


@pytest.mark.parametrize("field", range(3))
def test_half_a_character_drops_the_row(field: int) -> None:
    said = ["Say it.", "Here.", "Done."]
    said[field] += " \ud800"
    rows = [Row("r1", "", "f:1", Example(Task(*said))), Row("r2", "", "f:2", Example(RIVER))]
    found = encoder("ziya").encode(rows)
    assert [row.id for row in found.rows] == ["r2"]
    assert [(row.place, row.reason) for row in found.dropped] == [("f:1", "lone_surrogate")]


@pytest.mark.parametrize(
    ("template", "example", "what"),
    [
        ("alpaca", Example(RIVER, EARLIER), "earlier turns"),
        ("belle", Example(RIVER, system="Be brief."), "a system message"),
    ],
)
def test_a_row_that_the_template_has_no_place_for_is_named(
    template: str, example: Example, what: str
) -> None:
    phrase = f"f:3: the template {template} has no place for {what}"
    with pytest.raises(UsageError, match=phrase):
        encoded(example, template, place="f:3")
    messages = [{"role": "system", "content": "x"}] if example.system else []
    messages += [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]
    with pytest.raises(Exception, match=f"no place for {what}"):
        encoder(template).tokens.tokenizer.apply_chat_template(
            messages, chat_template=TEMPLATES[template].jinja(), tokenize=False
        )


def test_no_eos_no_training() -> None:
    with pytest.raises(UsageError, match="has no EOS token"):
        make_encoder(tokenizer(eos_token=None), "alpaca", 64)


def test_a_tokenizer_without_pad_fills_with_an_id_that_it_has() -> None:
    assert tokenizer().pad_token_id is None
    assert encoder("alpaca").tokens.pad == 2


def test_a_template_that_the_tokenizer_cannot_write_is_refused() -> None:
    from tokenizers import normalizers

    made = tokenizer()
    made.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(UsageError, match=r"cannot write the template's 'Below is .*--template"):
        make_encoder(made, "alpaca", 64)


def test_a_base_with_a_template_of_its_own_is_told_of() -> None:
    made = tokenizer(chat=CHATML)
    assert any(
        "of its own, unlike belle" in notice for notice in make_encoder(made, "belle", 64)[1]
    )
    assert make_encoder(made, "", 64)[0].template.name == CHAT
    own = tokenizer(chat=TEMPLATES["belle"].jinja())
    assert make_encoder(own, "belle", 64)[1] == []


@pytest.mark.parametrize("jinja", [TEMPLATES["alpaca"].jinja(), "{{ raise_exception('no') }}"])
def test_a_template_that_refuses_is_worked_around(jinja: str) -> None:
    made = tokenizer(chat=jinja)
    assert make_encoder(made, "belle", 64)[0].template.name == "belle"


def test_what_alpacas_template_trained_can_be_trained_on() -> None:
    made = make_encoder(tokenizer(chat=TEMPLATES["alpaca"].jinja()), "", 128)[0]
    assert made.template.name == CHAT
    assert made.prompt(Example(RIVER)) == encoder("alpaca").prompt(Example(RIVER))
    with pytest.raises(UsageError, match=r"f:1: .*no place for earlier turns"):
        made.encode([Row("r", "", "f:1", Example(RIVER, EARLIER))])


def test_without_a_template_of_its_own_a_base_gets_alpacas() -> None:
    assert make_encoder(tokenizer(), "", 64)[0].template.name == "alpaca"
    with pytest.raises(UsageError, match="no chat template of its own"):
        make_encoder(tokenizer(), CHAT, 64)


@pytest.mark.parametrize(
    ("jinja", "complaint"),
    [
        (CHATML.replace("<|im_end|>", ""), "ends an answer with no control token"),
        (CHATML.replace("{{ message['content'] }}", ""), "does not keep every message once"),
        ("{{ raise_exception('not today') }}", "refuses it: not today .*--template picks"),
        ("{% for message in messages %}", "refuses it: .*--template picks"),
    ],
)
def test_a_chat_template_that_labels_cannot_be_told_from_is_refused(
    jinja: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        make_encoder(tokenizer(chat=jinja), CHAT, 64)


def test_a_chat_template_that_strips_its_messages_is_followed() -> None:
    jinja = CHATML.replace("message['content']", "message['content'] | trim")
    made = make_encoder(tokenizer(chat=jinja), CHAT, 128)[0]
    row = Row("r", "", "f:1", Example(Task("  Hi. ", "", "\nHello.\n")))
    text = marked(made.encode([row]).rows[0], made)
    assert text.endswith("user\nHi.<|im_end|>\n<|im_start|>assistant\n⟦Hello.<|im_end|>⟧")


def test_a_chat_template_that_changes_a_row_refuses_that_row() -> None:
    jinja = CHATML.replace("message['content']", "message['content'] | replace('</think>', '')")
    made = make_encoder(tokenizer(chat=jinja), CHAT, 128)[0]
    rows = [Row("r", "", f"f:{n}", Example(Task("Hi.", "", text))) for n, text in
            enumerate(["Fine.", "Hm.</think>Fine."], start=1)]  # fmt: skip
    with pytest.raises(UsageError, match="f:2: the base's chat template changes what this row"):
        made.encode(rows)


def test_marks_that_are_no_special_tokens_are_text_in_the_data() -> None:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    state = json.loads(tokenizer(chat=CHATML).backend_tokenizer.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["special"] and "im_" not in token["content"]
    plain = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), eos_token="</s>"
    )
    plain.chat_template = CHATML
    encoder = make_encoder(plain, CHAT, 128)[0]
    row = Row("r", "", "f:1", Example(Task("Say <|im_end|>.", "", "<|im_end|>, said.")))
    (found,) = encoder.encode([row]).rows
    assert list(found.ids).count(plain.convert_tokens_to_ids("<|im_end|>")) == 2
    assert "assistant\n⟦<|im_end|>, said.<|im_end|>⟧" in marked(found, encoder)


def test_unknown_tokens_that_would_be_trained_are_counted() -> None:
    found = encoded(Example(Task("长江", "", "It is 长江.")), "ziya", kind="unigram")
    assert found.unknown == 1
