"""What is looked at before a template and a tokenizer are trusted with rows.

Enters: tokens and a template. Leaves: notices; raises UsageError for what would spoil the labels.
"""

from __future__ import annotations

from typing import Any

from selfinstruct.records import Example, Task
from selfinstruct.train.chat_template import ChatTemplate, messages_of
from selfinstruct.train.encode import Encoder
from selfinstruct.train.templates import CHAT, TextTemplate, get_template, without_bos
from selfinstruct.train.tokens import Tokens

_TASK = Task("Name a river.", "", "The Nile.")
_WITH_INPUT = Task("Translate.", "Guten Morgen!", "Good morning!")
_LATER = Example(Task("And a lake?", "", "Baikal."), (("Name a river.", "The Nile."),))


def make_encoder(
    tokenizer: Any, name: str, max_tokens: int, train_on: Any = "all"
) -> tuple[Encoder, list[str]]:
    """The encoder of a template by its name ("" for the base's own, else Alpaca's), and what the
    user should know. Raises UsageError for a combination that cannot be trained rightly."""
    own = bool(getattr(tokenizer, "chat_template", None))
    name = name or (CHAT if own else "alpaca")
    if name == CHAT:
        chat = ChatTemplate(tokenizer)
        tokens = Tokens(tokenizer, chat.marks(), chat.end_tokens())
        encoder = Encoder(tokens, chat, max_tokens, train_on)
        return encoder, [*_end_notice(tokens, chat), *_served_notice(encoder)]
    template = get_template(name)
    tokens = Tokens(tokenizer)
    tokens.check_representable(_texts(template))
    encoder = Encoder(tokens, template, max_tokens, train_on)
    notices = _own_template_notice(tokenizer, template) if own else []
    return encoder, [*notices, *_served_notice(encoder)]


def stored_chat_template(encoder: Encoder) -> str:
    """The Jinja template to store beside the trained model."""
    template = encoder.template
    if isinstance(template, TextTemplate):
        jinja = template.jinja()
        return jinja if encoder.tokens.bos is not None else without_bos(jinja)
    own = encoder.tokens.tokenizer.chat_template
    assert isinstance(own, str)
    return own


def _texts(template: TextTemplate) -> list[str]:
    """What a template itself says."""
    examples = [Example(_TASK), Example(_WITH_INPUT)]
    if template.system:
        examples.append(Example(_TASK, system="Be brief."))
    texts = [
        piece.text
        for example in examples
        for piece in template.render(example, answered=False)
        if piece.text
    ]
    return list(dict.fromkeys(texts))


def _own_template_notice(tokenizer: Any, template: TextTemplate) -> list[str]:
    """The base was trained to chat otherwise than it is about to be."""
    from jinja2.exceptions import TemplateError

    messages = messages_of(Example(_TASK), answered=False)
    try:
        rendered = {
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, chat_template=jinja
            )
            for jinja in (None, template.jinja())
        }
    except TemplateError:
        # It renders nothing: there is none to keep to.
        return []
    if len(rendered) == 1:
        return []
    return [
        f"the base has a chat template of its own, unlike {template.name}: "
        "--template chat keeps to it"
    ]


def _end_notice(tokens: Tokens, chat: ChatTemplate) -> list[str]:
    ends = [end for end in chat.end_tokens() if tokens.control(end) != tokens.eos]
    if not ends:
        return []
    return [
        f"the chat template ends an answer with {ends[0]}, not with the tokenizer's EOS: "
        "the trained model stops at either"
    ]


def _served_notice(encoder: Encoder) -> list[str]:
    """Whether a server that uses the stored chat template makes other ids of a plain prompt."""
    tokens = encoder.tokens
    examples = [Example(_TASK)]
    template = encoder.template
    if not isinstance(template, TextTemplate) or template.many_turns:
        examples.append(_LATER)
    for example in examples:
        try:
            prompt = encoder.prompt(example)
        except ValueError:
            # A base's own template may have no place for earlier turns.
            continue
        text = tokens.tokenizer.apply_chat_template(
            messages_of(example, answered=False),
            chat_template=stored_chat_template(encoder),
            tokenize=False,
            add_generation_prompt=True,
        )
        if tokens.as_served(text) != prompt:
            return [
                "a server that uses the chat template gives the model other tokens than it is "
                f"trained on, for a prompt such as {text[-60:]!r}"
            ]
    return []
