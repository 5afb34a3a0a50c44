"""Each cleaning filter rejects the defect it is for and keeps the good rows that look like it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.filters import CLEANING, FILTERS
from selfinstruct.languages import Language, get_language, judging_language
from selfinstruct.records import Task

EN, ZH, UND = get_language("en"), get_language("zh"), judging_language("fr")
NEW = [name for name in CLEANING if name not in FILTERS]


def answer(text: str, instruction: str = "Tell me about the tides.", given: str = "") -> Task:
    return Task(instruction, given, text)


def shown(text: str, instruction: str = "Say what you see in two sentences.") -> Task:
    return Task(instruction, text, "A harbour at dusk, with two boats.")


DEFECTS: list[tuple[str, Language, Task]] = [
    ("attachment", EN, shown("[attached file]")),
    ("attachment", EN, shown("See the attached document.")),
    ("attachment", EN, shown("Attachment: report.pdf")),
    ("attachment", EN, shown("(Attach a photo)")),
    ("attachment", EN, shown("[harbour.jpg]")),
    ("attachment", EN, shown("<Audio of two sailors talking>")),
    ("attachment", EN, answer("[Picture of a boat with red sails]", "Sketch a boat.")),
    ("attachment", EN, answer("<infographic showing the tides>", "Show how tides work.")),
    ("attachment", ZH, Task("说出画面里有什么。", "[港口的照片]", "两条船。")),
    ("attachment", ZH, Task("说出画面里有什么。", "附件：港口.jpg", "两条船。")),
    ("linked_input", EN, shown("![harbour](https://a.example/harbour.png)")),
    ("linked_input", EN, shown("<img src='https://a.example/h.png' width='9'>")),
    ("linked_input", EN, shown("Photo 1: https://a.example/1\nPhoto 2: https://a.example/2")),
    ("linked_input", EN, shown("Photo:\n\n![x][1]\n\n[1]: https://a.example/1.jpg")),
    ("linked_input", EN, shown("https://a.example/the-old- harbour-at-dusk-b7")),
    ("linked_input", ZH, Task("说出图里有什么。", "![图]（https://a.example/1.png）", "两条船。")),
    ("declined", EN, answer("Sorry, this task needs a picture that cannot be made here.")),
    ("declined", EN, answer("Unable to perform the task without sound.")),
    ("declined", EN, answer("This task cannot be completed in text.")),
    ("declined", EN, answer("No output, the model cannot draw.")),
    ("declined", EN, answer("Please provide the text that you want me to shorten.")),
    ("declined", EN, answer("It looks like you did not attach the file.")),
    ("declined", EN, answer("A drawing cannot be created by a language model.")),
    ("declined", ZH, Task("画一条船。", "", "抱歉，该任务需要绘图。")),
    ("declined", ZH, Task("画一条船。", "", "此任务无法完成，因为没有画布。")),
    ("repeated_task", EN, answer("Name the highest tide. It is at Fundy.", "Name the highest tide.")),
    ("repeated_task", EN, Task("Name the highest tide.", "name the highest tide.", "Fundy.")),
    ("merged_task", EN, answer("The moon.\nInstruction: Name a hill.\nOutput: Ben Nevis")),
    ("merged_task", EN, answer("The moon.\n\n### Instruction:\nName a hill.")),
    ("merged_task", EN, answer("The moon.\n##\n20. Instruction: Name a hill.")),
    ("merged_task", EN, answer("The moon.\n4. Task: Name a hill.\n4. Answer: Ben Nevis")),
    ("merged_task", EN, answer("The moon.\nQ: And the sun?\nA: A little.")),
    ("merged_task", EN, answer("The moon.\nHuman: And the sun?\nAssistant: A little.")),
    ("merged_task", EN, answer("The moon.<|im_end|>")),
    ("merged_task", EN, answer("The moon. [INST] And the sun? [/INST] A little.")),
    ("merged_task", EN, answer("The moon.</s>")),
    ("merged_task", ZH, Task("潮汐从哪里来？", "", "来自月球。\n指令：写出一座山。\n输出：泰山")),
    ("merged_task", ZH, Task("潮汐从哪里来？", "", "来自月球。\n6. 说明：写出一座山。\n6. 输出：泰山")),
    ("truncated", EN, answer("The tide at Fundy rises by more than sixteen metres because of the")),
    ("truncated", EN, answer("The height of a spring tide is equal to")),
    ("truncated", EN, answer("Three things move the sea. They are the following:")),
    ("truncated", EN, answer("Run this:\n```python\nprint(1)")),
    ("truncated", EN, answer("The moon pulls at the sea, and the sea follows.\n2.")),
    ("truncated", ZH, Task("潮汐从哪里来？", "", "潮汐主要来自月球的引力，太阳的引力较小，此外还有地形以及")),
    ("repetition", EN, answer("It is blue. " + "It is very deep. " * 9)),
    ("repetition", EN, answer("The sea is wide and " + "deep and " * 30)),
    ("repetition", EN, answer("The sea.\n" + "The waves come in.\n" * 12 + "Then it is over at last.")),
    ("repetition", ZH, Task("描述大海。", "", "大海很蓝。" + "海水非常非常深。" * 9)),
    ("repetition", UND, Task("Décris la mer.", "", "Elle est bleue. " + "Elle est profonde. " * 9)),
    ("markup_debris", EN, answer("The moon&nbsp;pulls at the sea.")),
    ("markup_debris", EN, answer("The moon pulls.<br>The sea follows.")),
    ("markup_debris", EN, answer("It&#39;s the moon.")),
    ("markup_debris", EN, answer(r"The moon pulls.\n\nThe sea follows.")),
    ("markup_debris", EN, Task(r"Explain the word \"tide\" to a child.", "", "The sea moves.")),
    ("markup_debris", ZH, Task("潮汐从哪里来？", "", "来自月球。<br>也来自太阳。")),
    ("control_characters", EN, answer("The moon\x03 pulls.")),
    ("control_characters", EN, answer("The moon\ufffd pulls.")),
    ("control_characters", EN, answer("The\u200b moon pulls.")),
    ("control_characters", EN, answer("The moon\u202e pulls.")),
    ("control_characters", EN, answer("The moon\u200e pulls.")),
    ("control_characters", EN, answer("The moon\udc80 pulls.")),
    ("control_characters", EN, answer("The moon" + "\u0326" * 40)),
    ("mojibake", EN, answer("The cafÃ© by the sea.")),
    ("mojibake", EN, answer("The moonâ€™s pull.")),
    ("mojibake", EN, answer("About 20Â°C.")),
    ("mojibake", EN, answer("A wave ðŸŒŠ.")),
    ("mojibake", ZH, Task("潮汐从哪里来？", "", "来自锟斤拷月球。")),
    (
        "wrong_language",
        EN,
        answer("La marée vient de la lune, qui attire la mer deux fois par jour."),
    ),
    ("wrong_language", EN, answer("潮汐主要来自月球的引力，太阳的引力较小。" * 4)),
    (
        "wrong_language",
        UND,
        answer(
            "The moon goes round the earth once a month and draws the sea after it.",
            "Raconte comment la lune fait monter et descendre la mer.",
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "language", "task"),
    DEFECTS,
    ids=[f"{i}-{name}" for i, (name, _, _) in enumerate(DEFECTS)],
)
def test_a_planted_defect_is_rejected(name: str, language: Language, task: Task) -> None:
    verdict = CLEANING[name](task, language)
    assert verdict is not None
    assert verdict.reason == name
    assert verdict.evidence


def test_every_new_filter_has_a_planted_defect() -> None:
    assert {name for name, _, _ in DEFECTS} == set(NEW)


def test_cleaning_asks_what_generation_asks_first() -> None:
    assert list(CLEANING)[: len(FILTERS)] == list(FILTERS)
    assert all(CLEANING[name] is FILTERS[name] for name in FILTERS)


# ── good neighbours ──────────────────────────────────────────────────────────────────────────

GOOD: list[tuple[str, Language, Task]] = [
    ("a list in brackets", EN, shown("[apple, banana, cherry]", "Sort these.")),
    ("a file name that is asked for", EN, answer("tides.docx", "Suggest a file name for a text.")),
    ("data to be read", EN, Task("Write a script that reads it.", "tides.csv", "import csv")),
    ("an attachment in a text", EN, shown("She was very attached to her boat.")),
    ("a link among words", EN, shown("Visit https://a.example if you like old harbours.")),
    ("a link to be cited", EN, shown("https://a.example/tides", "Cite this website in APA style.")),
    ("a link to be fetched", EN, shown("https://a.example/api", "Write a function that calls it.")),
    ("an apology that is asked for", EN, answer("Sorry for being late to your party, Ann.")),
    ("a question for more", EN, answer("Please provide first aid until the doctor comes.")),
    ("a long answer that says cannot", EN, answer("This task cannot be put off. " + " ".join(map(str, range(200))))),
    ("an answer in the question's words", EN, answer("Name the highest tide? Fundy has it.",
                                                      "Name the highest tide?")),
    ("a sentence that goes on", EN, answer("Plan a trip to the sea in May.", "Plan a trip to the sea")),
    ("a quiz", EN, answer("Q: Who pulls?\nA: The moon.\nQ: When?\nA: Always.", "Write a quiz.")),
    ("a FAQ after a heading", EN, answer("Tides\nQ: Who?\nA: The moon.", "Write two questions.")),
    ("a recipe", EN, answer("Soup\nIngredients: peas\nInstructions:\n1. Boil.", "Write a recipe.")),
    ("code with a comment", EN, answer("print(1)\n# Output: 1", "Write Python.")),
    ("an example task", EN, answer("Here:\nInstruction: Name a hill.\nOutput: K2",
                                   "Write an example instruction with its output.")),
    ("markdown headings", EN, answer("### Input from the moon\nIt pulls.\n### Answer\nIt is strong.")),
    ("a verb with its preposition", EN, answer("The moon is what all tides are made by and waited for")),
    ("a title", EN, answer("The Moon and the Sea")),
    ("a list without stops", EN, answer("- the moon\n- the sun\n- the shape of the bay")),
    ("closed code", EN, answer("Run this:\n```python\nprint(1)\n```")),
    ("two fences in one", EN, answer("````md\n```\nx\n```\n````\n```\ny\n```")),
    ("a number for an answer", EN, answer("12.", "What is 3 times 4?")),
    ("a list of words", EN, answer("quick, brown, over, lazy, dog, the", "Pick six words.")),
    ("a form", EN, answer("Name:\nAge:\nAddress:", "Make a form.")),
    ("a code line", EN, answer("if the_tide_is_high and the_moon_is_full:", "Fix this code.")),
    ("yes in Chinese", ZH, Task("月球引起潮汐吗？", "", "是的")),
    ("an adjective in Chinese", ZH, Task("这个说法对吗？请用一个词说明理由。", "", "完全正确而且有根据的")),
    ("a chorus", EN, answer("Row the boat ashore, my friend.\n" * 6, "Write a song.")),
    ("a table", EN, answer("| a | b |\n|---|---|\n" + "| low | high |\n" * 9, "Show the tides.")),
    ("rows of code", EN, answer("x = wave(1)\n" * 3 + "print(x)\n", "Write code.")),
    ("laughter", EN, answer("Ha ha ha ha ha!")),
    ("a ruled line", EN, answer("Tides\n" + "-" * 60)),
    ("three steps alike", EN, answer("Step 1: Wait for the tide.\nStep 2: Wait.\nStep 3: Go.")),
    ("an entity that is asked for", EN, answer("Write &amp;.", "Escape & for HTML.")),
    ("tags that are explained", EN, answer("<br> breaks a line.", "Explain this HTML tag.")),
    ("a regex", EN, answer(r"\d+\.\n", "Write a regular expression.")),
    ("a path", EN, answer(r"It lies in C:\new\tides.", "Where is it?")),
    ("LaTeX", EN, answer(r"$\nu = \frac{1}{T}$", "What is the frequency?")),
    ("less and more", EN, answer("It is so for 3 < x and x > 1.")),
    ("a company", EN, answer("Marks & Spencer; Barnes & Noble")),
    ("tabs and returns", EN, answer("moon\tsun\r\nhigh\tlow")),
    ("an emoji family", EN, answer("A family: 👨‍👩‍👧 at sea.")),
    ("Persian joiners", UND, answer("می‌خواهم به دریا بروم.")),
    ("Hebrew with marks", UND, answer("הירח\u200f מושך את הים.")),
    ("Vietnamese in pieces", UND, answer("Thu\u0309y triê\u0300u")),
    ("accents", EN, answer("Ångström, naïve café, Übermut, São Tomé, ÅÄÖ.")),
    ("German quotes", UND, answer("Er sagte »Spaß« und ging.")),
    ("French quotes", UND, answer("Il a dit «Ã bientôt»?".replace("Ã", "À"))),
    ("French that is asked for", EN, answer("La marée vient de la lune, qui attire la mer.",
                                           "Translate: the tide comes from the moon.")),
    ("names of foreign things", EN, answer(
        "Tacos al pastor, Enchiladas verdes, Chiles en nogada, Mole poblano, Pozole rojo.",
        "Name dishes of Mexico.")),
    ("an answer in the input's language", EN, Task(
        "Correct the mistakes.", "La marée viens de la lune et attire le mer deux fois par jour.",
        "La marée vient de la lune et attire la mer deux fois par jour.")),
    ("French throughout", UND, answer(
        "La marée vient de la lune, qui attire la mer deux fois par jour.",
        "Raconte comment la lune fait monter et descendre la mer.")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("language", "task"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD]
)
def test_a_good_neighbour_is_kept(language: Language, task: Task) -> None:
    objections = {name: CLEANING[name](task, language) for name in NEW}
    assert {name: said for name, said in objections.items() if said} == {}


def test_the_thresholds_of_repetition() -> None:
    from selfinstruct.filters.repetition import repetition

    task = answer("It is blue. " + "It is very deep indeed. " * 4)
    assert repetition(task, EN, times=4) is not None
    assert repetition(task, EN, times=5) is None
    spread = answer(
        "".join(f"Wave {i}. The sea is deep. " for i in range(6)) + "That is all of it."
    )
    assert repetition(spread, EN, share=0.4) is not None
    assert repetition(spread, EN, share=0.9) is None


# ── any text ─────────────────────────────────────────────────────────────────────────────────

PIECES = st.sampled_from(
    ["", "\n", "```", "Q: ", "A: ", "Instruction:", "输出：", "<br>", "&amp;", "\\n", "http://a.b", "![",
     "](", "Ã©", "â€", "\ud800", "\u200b", "the", "以及", "1.", "[image of ", "]", " ", "a"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(st.characters(), max_size=60),
    st.lists(PIECES, max_size=30).map("".join),
)
TASKS = st.builds(Task, TEXTS, TEXTS, TEXTS)


@given(TASKS)
@settings(max_examples=150, deadline=None)
def test_no_filter_raises(task: Task) -> None:
    for language in (EN, ZH, UND):
        for name in NEW:
            verdict = CLEANING[name](task, language)
            assert verdict is None or (verdict.reason == name and verdict.evidence)


FILLS: dict[str, Callable[[int], str]] = {
    "one letter": lambda n: "a" * n,
    "words": lambda n: "word " * (n // 5),
    "blanks": lambda n: " " * n,
    "lines": lambda n: "\n" * n,
    "labels": lambda n: "\n1. Instruction" * (n // 15),
    "questions": lambda n: "\nQ: x" * (n // 5),
    "brackets": lambda n: "![[(" * (n // 4),
    "links": lambda n: "https://a.b " * (n // 12),
    "tags": lambda n: "<p " * (n // 3),
    "fences": lambda n: "```\n" * (n // 4),
    "mojibake": lambda n: "Ãx" * (n // 2),
    "ideographs": lambda n: "海" * n,
    "quotes": lambda n: '\\"a' * (n // 3),
}


@pytest.mark.parametrize("fill", FILLS)
def test_a_huge_field_is_judged(fill: str) -> None:
    """Of a filter whose work grows with the square of the text, nobody sees the end here."""
    text = FILLS[fill](300_000)
    for language in (EN, ZH):
        for name in NEW:
            verdict = CLEANING[name](Task(text, text, text), language)
            assert verdict is None or len(verdict.evidence) < 400
