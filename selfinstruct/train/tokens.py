"""A tokenizer as training needs it: text is encoded as text, and what it cannot do is said at once.

Enters: a transformers tokenizer. Leaves: ids. Knows no template but for the texts that it is asked
to check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from selfinstruct.errors import UsageError
from selfinstruct.train.chat_template import special_tokens

# Texts before which a piece can be encoded as if it stood inside a longer one.
_ANCHORS = ("\n", "\n\n", ".", ":")
_PROBES = ("Name a river.", " Name", "\nName", "[INST] x", "说出一条河的名字。", "1")


class Tokens:
    """Encodes text so that no control token can come out of it.

    bos: the id that the tokenizer puts before a text by itself, None where it puts none. eos: the
    id that ends an answer. stops: eos and what else may end one. pad: an id to fill rows with; it
    is masked and never trained, so any will do where the tokenizer has no pad token. unknown: <unk>
    or None. controls: spelling → id of all control tokens.
    """

    def __init__(self, tokenizer: Any, marks: Iterable[str] = (), ends: Iterable[str] = ()) -> None:
        """marks: added tokens that a chat template frames messages with; they count as control
        tokens whatever the vocabulary says. ends: those that end an answer. Raises UsageError for a
        tokenizer without EOS, or one that cannot be kept from reading control tokens in text."""
        self.tokenizer = tokenizer
        if tokenizer.eos_token_id is None:
            raise UsageError(
                "the base's tokenizer has no EOS token: an answer could not end",
                hint='name one in its tokenizer_config.json: "eos_token": "</s>"',
            )
        self.eos: int = tokenizer.eos_token_id
        self.pad: int = self.eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.unknown: int | None = tokenizer.unk_token_id
        if self.unknown in (self.eos, self.pad):
            self.unknown = None
        spellings = special_tokens(tokenizer) | set(marks)
        self.controls = {
            spelling: int(tokenizer.convert_tokens_to_ids(spelling)) for spelling in spellings
        }
        # <unk> is what text without a token gives: that is counted, not refused.
        self._forbidden = frozenset(self.controls.values()) - {self.unknown}
        self._inside = _inside_of(self.controls)
        self.stops = frozenset({self.eos, *(self.controls[end] for end in ends)})
        self.bos = self._own_bos()
        self._anchor = ""
        self._anchor = self._find_anchor()
        self._check_controls()

    def __len__(self) -> int:
        return len(self.tokenizer)

    def control(self, spelling: str) -> int:
        """The id of a control token."""
        return self.controls[spelling]

    def encode(self, texts: Sequence[str], *, goes_on: bool = False) -> list[list[int]]:
        """The ids of each text. goes_on: it comes after a control token of the same row, so that a
        tokenizer that marks the beginning of a text does not mark it there."""
        anchor = self._anchor if goes_on else ""
        encoded = self._plain([anchor + text for text in texts])
        skipped = len(self._plain([anchor])[0]) if anchor else 0
        found = [ids[skipped:] for ids in encoded]
        for number, ids in enumerate(found):
            if not self._forbidden.isdisjoint(ids):
                found[number] = self._in_parts(texts[number])
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens included."""
        text = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def as_served(self, text: str) -> list[int]:
        """The ids that a server makes of a rendered chat: control tokens are read from the text."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
        )
        return [list(ids) for ids in found.input_ids]

    def _in_parts(self, text: str) -> list[int]:
        """A text whose encoding holds control tokens, cut inside of each spelling of one.

        Needed where the vocabulary itself has "</s>" as a piece of text (Unigram), and for marks
        that are no special tokens. Raises UsageError when that does not help either.
        """
        first, *others = (part for part in self._inside.split(text) if part)
        ids = self._plain([first])[0]
        for part in others:
            ids += self._inner(part)
        if not self._forbidden.isdisjoint(ids):
            bad = next(id for id in ids if id in self._forbidden)
            raise UsageError(
                f"the base's tokenizer reads its control token {self.decode([bad])!r} out of plain "
                f"text: {text[:40]!r}",
                hint="remove the rows that spell it, or use another base",
            )
        return ids

    def _inner(self, text: str) -> list[int]:
        """The ids of a text that others of the same word come before: no mark of a beginning."""
        for anchor in _ANCHORS:
            before, both = self._plain([anchor, anchor + text])
            if both[: len(before)] == before:
                return both[len(before) :]
        return self._plain([text])[0]

    def _own_bos(self) -> int | None:
        bos = self.tokenizer.bos_token_id
        ids = self.tokenizer(_PROBES[0]).input_ids
        return bos if bos is not None and ids[:1] == [bos] else None

    def _find_anchor(self) -> str:
        """The text after which pieces are encoded as after a control token; "" where that makes
        no difference, or where no anchor is found (`served_differently` then tells)."""
        eos = self.tokenizer.eos_token
        after = [self.as_served(eos + probe)[1:] for probe in _PROBES]
        for anchor in ("", *_ANCHORS):
            skipped = self._plain([anchor])[0] if anchor else []
            encoded = self._plain([anchor + probe for probe in _PROBES])
            if encoded == [skipped + ids for ids in after]:
                return anchor
        return ""

    def _check_controls(self) -> None:
        """Every control token's spelling must come out as text; raises UsageError."""
        self.encode([f"a {spelling} b{spelling}" for spelling in self.controls])

    def check_representable(self, texts: Sequence[str]) -> None:
        """A template's own texts must survive: raises UsageError naming the one that does not."""
        for text, ids in zip(texts, self.encode(texts), strict=True):
            back = self.decode(ids)
            lost = self.unknown is not None and self.unknown in ids
            # Some tokenizers begin a text with a space of their own.
            if lost or back.lstrip(" ") != text.lstrip(" "):
                raise UsageError(
                    f"the base's tokenizer cannot write the template's {text!r}: "
                    f"it comes back as {back!r}",
                    hint="--template picks another template",
                )


def _inside_of(spellings: Iterable[str]) -> re.Pattern[str]:
    """Matches the place after the first character of any of the spellings: "<" and "/s>"."""
    places = [
        f"(?<={re.escape(spelling[0])})(?={re.escape(spelling[1:])})"
        for spelling in spellings
        if len(spelling) > 1
    ]
    return re.compile("|".join(places) or "(?!)")
