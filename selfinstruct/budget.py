"""Caps on what a run may spend: reserve the worst case before sending, settle after.

Enters: reservations and bills. Leaves: yes or no. What is spent and held together never passes a
cap, in whatever order requests begin and end, as long as no bill is above its reservation. Pure,
whole numbers. Knows no price and no request.
"""

from __future__ import annotations

from typing import NamedTuple

# Tokens that a chat template puts around one message: roles, separators, a default system line.
FRAME = 64


class Bill(NamedTuple):
    """cost: picodollars. tokens: prompt and completion together."""

    cost: int
    tokens: int


NOTHING = Bill(0, 0)


class Budget:
    """cost, tokens: the caps, None for none. spent: by earlier processes of the run, too."""

    def __init__(
        self, *, cost: int | None = None, tokens: int | None = None, spent: Bill = NOTHING
    ) -> None:
        self.cost = cost
        self.tokens = tokens
        self.spent = spent
        self.held = NOTHING

    def room_for(self, worst: Bill) -> bool:
        """Would this fit if nothing were held? If not, no answer that is still to come can help."""
        return self._fits(self.spent, worst)

    def hold(self, worst: Bill) -> bool:
        """Reserve `worst`; False, with nothing changed, when that could pass a cap."""
        taken = Bill(self.spent.cost + self.held.cost, self.spent.tokens + self.held.tokens)
        if not self._fits(taken, worst):
            return False
        self.held = Bill(self.held.cost + worst.cost, self.held.tokens + worst.tokens)
        return True

    def settle(self, worst: Bill, bill: Bill) -> None:
        """Give a reservation back, once, and spend what it came to; NOTHING is a refund.

        A bill above its reservation counts in full, and nothing more is held until it fits.
        """
        self.held = Bill(self.held.cost - worst.cost, self.held.tokens - worst.tokens)
        self.spent = Bill(self.spent.cost + bill.cost, self.spent.tokens + bill.tokens)

    def _fits(self, taken: Bill, worst: Bill) -> bool:
        return (self.cost is None or taken.cost + worst.cost <= self.cost) and (
            self.tokens is None or taken.tokens + worst.tokens <= self.tokens
        )


def most_prompt_tokens(text_bytes: int) -> int:
    """The most tokens that a prompt of so many UTF-8 bytes can be.

    A token of a byte-level BPE, or of SentencePiece with byte fallback, covers at least one byte;
    FRAME is added for the chat template. It does not hold for tokenizers that expand characters
    first (NFKC makes 18 characters, 33 bytes, of the 3 bytes of U+FDFA), nor for servers that put
    a long system prompt of their own before ours.
    """
    return text_bytes + FRAME
