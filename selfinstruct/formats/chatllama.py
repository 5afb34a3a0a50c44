"""ChatLLaMA's actor: what the user says and what is answered (nebuly-ai/nebullvm, chatllama)."""

from __future__ import annotations

from selfinstruct.formats.format import Fields, Format, only_task, question, text
from selfinstruct.records import Example, Task


def chatllama_row(_id: str, example: Example) -> dict[str, str]:
    """
    >>> chatllama_row("en-000003-01", Example(Task("Add.", "1 + 1", "2")))
    {'user_input': 'Add.\\n1 + 1', 'completion': '2'}
    """
    task = only_task(example, "chatllama")
    return {"user_input": question(task), "completion": task.output}


def read_chatllama(fields: Fields) -> Example:
    """
    >>> read_chatllama({"user_input": "Name a river.", "completion": "The Nile."}).task
    Task(instruction='Name a river.', input='', output='The Nile.')
    """
    return Example(Task(text(fields, "user_input"), "", text(fields, "completion")))


CHATLLAMA = Format(
    "chatllama",
    chatllama_row,
    read_chatllama,
    lambda fields: "user_input" in fields and "completion" in fields,
)
