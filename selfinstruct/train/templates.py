"""Prompt templates: an Example → pieces of text and control tokens, each trained or not.

Knows no tokenizer. A template's fields also give its Jinja form, which is stored beside the trained
model, so that what serves it writes the same prompt. A model's own chat template is
`chat_template.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from selfinstruct.errors import UsageError
from selfinstruct.formats.format import question
from selfinstruct.records import Example, Task

TrainOn = Literal["all", "last"]
BOS, EOS = "bos", "eos"


class Piece(NamedTuple):
    """Text, or a control token: one id of the vocabulary that no text spells.

    text is always encoded as characters, whatever it spells. control: "bos", "eos", or the token
    itself ("<|im_end|>"); then text is "". trained: whether the model learns to write it.
    """

    text: str = ""
    trained: bool = False
    control: str = ""


class Template(Protocol):
    """What the encoder asks of a template."""

    @property
    def name(self) -> str:
        """What `--template` calls it."""

    def render(
        self, example: Example, train_on: TrainOn = "all", *, answered: bool = True
    ) -> list[Piece]:
        """The pieces of an example; without the last answer when not `answered`, as at inference.

        Raises ValueError with a phrase for an example that the template has no place for.
        """


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A template of constant texts around what is said.

    A turn is `before` + question + `between` + (`lead` + answer + `tail` + EOS); the part in
    brackets is trained. source: where the template is defined.
    with_input: `before` and what stands between instruction and input, for a task that has one; ""
    where the input simply follows the instruction on a new line.
    system: a pattern in which %s is the system message, "" for no place for one. It opens the text,
    or follows the first `before` where `system_inside`. default_system: what it says when the
    example is silent; with "" the pattern is left out.
    bos: at the start, in every turn, or never.
    """

    name: str
    source: str
    before: str
    between: str
    lead: str = ""
    tail: str = ""
    with_input: tuple[str, str] | None = None
    system: str = ""
    system_inside: bool = False
    default_system: str = ""
    bos: Literal["start", "turn", ""] = "start"
    many_turns: bool = True

    def render(
        self, example: Example, train_on: TrainOn = "all", *, answered: bool = True
    ) -> list[Piece]:
        """See Template."""
        self._check(example)
        system = example.system or self.default_system
        opening = self.system.replace("%s", system, 1) if system else ""
        pieces = [Piece(control=BOS)] if self.bos == "start" else []
        if opening and not self.system_inside:
            pieces.append(Piece(opening))
        for number, (user, assistant) in enumerate(example.history):
            pieces += self._asked(self.before, user, opening if number == 0 else "")
            pieces += self._answered(assistant, trained=train_on == "all")
        pieces += self._question(example.task, "" if example.history else opening)
        if answered:
            pieces += self._answered(example.task.output, trained=True)
        return pieces

    def _check(self, example: Example) -> None:
        if example.history and not self.many_turns:
            raise ValueError(f"the template {self.name} has no place for earlier turns")
        if example.system and not self.system:
            raise ValueError(f"the template {self.name} has no place for a system message")

    def _question(self, task: Task, opening: str) -> list[Piece]:
        if task.input and self.with_input:
            before, middle = self.with_input
            return self._asked(before, task.instruction + middle + task.input, opening)
        return self._asked(self.before, question(task), opening)

    def _asked(self, before: str, user: str, opening: str) -> list[Piece]:
        inside = opening if self.system_inside else ""
        bos = [Piece(control=BOS)] if self.bos == "turn" else []
        return [*bos, Piece(before + inside), Piece(user), Piece(self.between)]

    def _answered(self, answer: str, *, trained: bool) -> list[Piece]:
        text = self.lead + answer + self.tail
        return [Piece(text, trained), Piece(control=EOS, trained=trained)]

    def jinja(self) -> str:
        """The same template for `tokenizer.apply_chat_template`, and so for vLLM and its like.

        A user's message is a question without a separate input; what the template has no place for
        is refused, as in training. `{{ bos_token }}` is left in: strip it with `without_bos` for a
        tokenizer that begins no text with one.
        """
        parts = {
            "bos_start": "{{- bos_token -}}" if self.bos == "start" else "",
            "bos_turn": "{{- bos_token -}}" if self.bos == "turn" else "",
            "default": json.dumps(self.default_system, ensure_ascii=False),
            "outside": "" if self.system_inside else "{{- opening -}}",
            "inside": "ns.opening" if self.system_inside else '""',
            "before": json.dumps(self.before, ensure_ascii=False),
            "between": json.dumps(self.between, ensure_ascii=False),
            "lead": json.dumps(self.lead, ensure_ascii=False),
            "tail": json.dumps(self.tail, ensure_ascii=False),
        }
        head, _, end = self.system.partition("%s")
        parts["head"] = json.dumps(head, ensure_ascii=False)
        parts["end"] = json.dumps(end, ensure_ascii=False)
        parts["no_system"] = "" if self.system else _refusal(self.name, "a system message")
        no_turns = _refusal(self.name, "earlier turns")
        no_turns = "{%- if ns.turns|length > 2 -%}" + no_turns + "{%- endif -%}"
        parts["no_turns"] = "" if self.many_turns else no_turns
        text = _JINJA.replace("\n", "")
        for name, value in parts.items():
            text = text.replace(f"@{name}@", value)
        return text


# Line breaks are for the reader of this file and taken out; @name@ is a part of the template.
_JINJA = """\
{%- set ns = namespace(system=@default@, turns=messages, opening="") -%}
{%- if messages[0]["role"] == "system" -%}
{%- set ns.system = messages[0]["content"] -%}
{%- set ns.turns = messages[1:] -%}
@no_system@
{%- endif -%}
@no_turns@
{%- if ns.system -%}{%- set ns.opening = @head@ ~ ns.system ~ @end@ -%}{%- endif -%}
{%- set opening = ns.opening -%}
@bos_start@@outside@
{%- for message in ns.turns -%}
{%- if message["role"] != ("user" if loop.index0 % 2 == 0 else "assistant") -%}
{{- raise_exception("user and assistant must take turns, the user first") -}}
{%- elif message["role"] == "user" -%}
@bos_turn@
{{- @before@ ~ @inside@ ~ message["content"] ~ @between@ -}}
{%- set ns.opening = "" -%}
{%- else -%}
{{- @lead@ ~ message["content"] ~ @tail@ ~ eos_token -}}
{%- endif -%}
{%- endfor -%}
"""


def _refusal(name: str, what: str) -> str:
    return '{{- raise_exception("the template ' + name + " has no place for " + what + '") -}}'


def without_bos(jinja: str) -> str:
    """A template's Jinja form for a tokenizer that begins no text with BOS."""
    return jinja.replace("{{- bos_token -}}", "")


_ALPACA = "Write a response that appropriately completes the request.\n\n### Instruction:\n"

TEMPLATES: dict[str, TextTemplate] = {
    template.name: template
    for template in (
        TextTemplate(
            name="alpaca",
            source="tatsu-lab/stanford_alpaca, train.py, PROMPT_DICT",
            before="Below is an instruction that describes a task. " + _ALPACA,
            between="\n\n### Response:",
            with_input=(
                "Below is an instruction that describes a task, paired with an input that "
                "provides further context. " + _ALPACA,
                "\n\n### Input:\n",
            ),
            many_turns=False,
        ),
        TextTemplate(
            name="chinese-alpaca",
            source="ymcui/Chinese-LLaMA-Alpaca, scripts/training/build_dataset.py",
            before="Below is an instruction that describes a task. " + _ALPACA,
            # The space is theirs; an answer follows it as ids of its own.
            between="\n\n### Response: ",
            many_turns=False,
        ),
        TextTemplate(
            name="belle",
            source="LianjiaTech/BELLE, train/src/sample_generator.py (no BOS)",
            before="Human: \n",
            between="\n\nAssistant: \n",
            bos="",
        ),
        TextTemplate(
            name="vicuna",
            source="lm-sys/FastChat, fastchat/conversation.py, vicuna_v1.1",
            before="USER: ",
            between=" ASSISTANT:",
            lead=" ",
            system="%s ",
            default_system="A chat between a curious user and an artificial intelligence "
            "assistant. The assistant gives helpful, detailed, and polite answers to the user's "
            "questions.",
        ),
        TextTemplate(
            name="llama2",
            source="facebookresearch/llama, llama/generation.py, chat_completion",
            before="[INST] ",
            between=" [/INST]",
            lead=" ",
            tail=" ",
            system="<<SYS>>\n%s\n<</SYS>>\n\n",
            system_inside=True,
            bos="turn",
        ),
        TextTemplate(
            name="ziya",
            source="IDEA-CCNL/Fengshenbang-LM, fengshen/examples/ziya_llama (no BOS)",
            before="<human>:",
            between="\n<bot>:",
            bos="",
        ),
    )
}
# The base model's own, which only its tokenizer knows.
CHAT = "chat"
NAMES: Sequence[str] = (*TEMPLATES, CHAT)


def get_template(name: str) -> TextTemplate:
    """The template called `name`. Raises UsageError naming the known ones."""
    try:
        return TEMPLATES[name]
    except KeyError:
        raise UsageError(f"unknown template {name!r}; known: {', '.join(NAMES)}") from None
