"""Examples as a list of turns, the shape of every layout for conversations.

Enters: an example, or turns as (role, text). Leaves: the other of the two. The roles in here are
system, user and assistant; layouts have names of their own for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from selfinstruct.formats.format import kind, question
from selfinstruct.records import Example, Task

# What the layouts call the three, ShareGPT's and OpenAI's names and their relatives.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
}


def turns_of(example: Example) -> Iterator[tuple[str, str]]:
    """(role, text) of every turn; the system message first, if there is one.

    >>> list(turns_of(Example(Task("And its source?", "", "Lake Victoria."), (("Hi.", "Hello!"),))))
    [('user', 'Hi.'), ('assistant', 'Hello!'), ('user', 'And its source?'),
     ('assistant', 'Lake Victoria.')]
    """
    if example.system:
        yield "system", example.system
    for asked, answered in example.history:
        yield "user", asked
        yield "assistant", answered
    yield "user", question(example.task)
    yield "assistant", example.task.output


def example_of(turns: Sequence[tuple[str, str]]) -> Example:
    """The example of (role, text) turns. Raises ValueError saying what is wrong with their order.

    >>> example_of([("user", "Name a river."), ("assistant", "The Nile.")]).task.output
    'The Nile.'
    >>> example_of([("user", "Name a river."), ("user", "Well?")])
    Traceback (most recent call last):
    ValueError: two user turns in a row
    """
    system = ""
    if turns and turns[0][0] == "system":
        system = turns[0][1]
        turns = turns[1:]
    if not turns:
        raise ValueError("no turns")
    before = "assistant"
    for role, _text in turns:
        if role == "system":
            raise ValueError("a system turn that is not the first")
        if role == before:
            at_start = before == "assistant" and turns[0][0] == "assistant"
            raise ValueError(
                "an answer comes before any question" if at_start else f"two {role} turns in a row"
            )
        before = role
    if before == "user":
        raise ValueError("no answer: the last turn is the user's")
    texts = [text for _role, text in turns]
    *history, (asked, answered) = zip(texts[::2], texts[1::2], strict=True)
    return Example(Task(asked, "", answered), tuple(history), system)


def read_turns(items: Sequence[object]) -> Example:
    """The example of turns as `{"from", "value"}` or `{"role", "content"}`. Raises ValueError.

    >>> read_turns([{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello!"}]).task
    Task(instruction='Hi.', input='', output='Hello!')
    """
    return example_of([_turn(item, number) for number, item in enumerate(items, start=1)])


def _turn(item: object, number: int) -> tuple[str, str]:
    if not isinstance(item, Mapping):
        raise ValueError(f"turn {number} is not an object but {kind(item)}")
    names = ("role", "content") if "role" in item else ("from", "value")
    for name in names:
        if name not in item:
            raise ValueError(f"turn {number} has no {name!r}")
        if not isinstance(item[name], str):
            raise ValueError(f"{name!r} of turn {number} is not text but {kind(item[name])}")
    role, text = (item[name] for name in names)
    if role not in ROLES:
        raise ValueError(
            f"turn {number} is said by {role[:40]!r}, not by one of {', '.join(ROLES)}"
        )
    return ROLES[role], text
