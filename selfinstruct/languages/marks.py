"""What only the cleaning of files asks of a language, beside what generation asks.

Enters: nothing. Leaves: the frozen `Marks`; the default finds nothing, so a language without marks
is cleaned by the rules that need no words. Knows no filter.

>>> Marks().declines.search("I cannot do this.") is None
True
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NEVER = re.compile(r"(?!)")


# eq=False: a language is itself alone, so caches can be keyed by its marks.
@dataclass(frozen=True, eq=False)
class Marks:
    """Word lists of the filters in `filters.CLEANING`.

    attachment: pattern of a whole input or output that is only the name of a file, a picture or a
    recording. about_links: an instruction for which an address is input enough.
    declines: pattern searched in a short output that says the task was not done.
    task_labels, answer_labels: what stands before a colon where another task begins, and where its
    answer does. about_tasks: an instruction that asks for tasks, questions or dialogues.
    dangling: pattern searched in an output's last line: no sentence ends so.
    announcing: pattern searched in an output's last line: it announces what is not there.
    about_words: an instruction whose answer is a list of words or is to be completed.
    about_repeats: an instruction or output that repeats on purpose: songs, tables, drills.
    about_markup: an instruction or input that is about HTML, code or formulas.
    about_languages: an instruction whose answer may be in another language.
    """

    attachment: re.Pattern[str] = NEVER
    about_links: re.Pattern[str] = NEVER
    declines: re.Pattern[str] = NEVER
    task_labels: tuple[str, ...] = ("Instruction", "Task")
    answer_labels: tuple[str, ...] = ("Output", "Response", "Answer")
    about_tasks: re.Pattern[str] = NEVER
    dangling: re.Pattern[str] = NEVER
    announcing: re.Pattern[str] = NEVER
    about_words: re.Pattern[str] = NEVER
    about_repeats: re.Pattern[str] = NEVER
    about_markup: re.Pattern[str] = NEVER
    about_languages: re.Pattern[str] = NEVER
