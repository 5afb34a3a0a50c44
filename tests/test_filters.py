"""Each filter rejects the defect it is for and lets its close calls pass; its example is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import selfinstruct
from selfinstruct.filters import FILTERS, apply_filters
from selfinstruct.languages import LANGUAGES, get_language
from selfinstruct.records import Task, Verdict

EN = get_language("en")
DOCUMENTED = ("filters", "recipes", "languages", "formats")
GOOD = Task("Name the longest river in Africa.", "", "The Nile.")


# ── doctests ─────────────────────────────────────────────────────────────────────────────────


def documented_modules() -> list[str]:
    names = ["selfinstruct.display", "selfinstruct.providers.answers"]
    for package in DOCUMENTED:
        name = f"{selfinstruct.__name__}.{package}"
        names.append(name)
        inside: ModuleType = importlib.import_module(name)
        names += [info.name for info in pkgutil.walk_packages(inside.__path__, f"{name}.")]
    return names


@pytest.mark.parametrize("name", documented_modules())
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in documented_modules()
        if name.count(".") == 2 and not name.endswith((".language", ".recipe"))
    ],
)
def test_every_filter_recipe_language_and_format_has_an_example(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).attempted > 0


# ── planted defects ──────────────────────────────────────────────────────────────────────────


def instruction(text: str) -> Task:
    return Task(text, "", "An answer.")


def given_input(text: str) -> Task:
    return Task("Sum this up in one sentence.", text, "An answer.")


def answer(text: str, given: str = "") -> Task:
    return Task("Answer the question of this customer.", given, text)


DEFECTS = [
    ("instruction_length", instruction("Name a river.")),
    ("instruction_length", instruction("")),
    ("instruction_length", instruction(" ")),
    ("instruction_length", instruction("Name " * 151)),
    ("opening", instruction("- name three long rivers")),
    ("opening", instruction("“Quote” a long sentence here")),
    ("opening", instruction("写一个关于河流的 short story please")),
    ("opening", instruction("Écrire une petite histoire drôle")),
    ("opening", instruction("Write a program that adds numbers.")),
    ("opening", instruction("write A PROGRAM to sort a list")),
    ("blocked_word", instruction("Describe the image in two sentences.")),
    ("blocked_word", instruction("Draw a cat in two lines.")),
    ("blocked_word", instruction("Summarize the following FILES for me.")),
    ("blocked_word", instruction("Go to the shop and tell me.")),
    ("blocked_word", instruction("Suggest some music, please, for a party.")),
    ("empty_output", answer("")),
    ("empty_output", answer(" \n\t")),
    ("placeholder", given_input("[Link to article]")),
    ("placeholder", given_input("<insert paragraph here>")),
    ("placeholder", given_input("(Insert text here)")),
    ("placeholder", given_input("[Article about the war attached]")),
    ("placeholder", given_input("N/A")),
    ("placeholder", given_input("None")),
    ("placeholder", given_input("[empty].")),
    ("placeholder", given_input("<Image of a corgi>")),
    ("placeholder", answer("<no output>")),
    ("placeholder", answer("No output required.")),
    ("placeholder", answer("N/A")),
    ("placeholder", answer("TODO")),
    ("placeholder", answer("[Insert answer here]")),
    ("url_input", given_input("https://www.example.com/article?id=3")),
    ("url_input", given_input("www.example.com")),
    ("url_input", given_input("Article: https://a.example/x")),
    ("url_input", given_input("https://a.example/x, https://b.example/y\nhttps://c.example")),
    ("url_input", given_input("<https://a.example/x>")),
    ("echo", answer("The train is late.", "The train is late.")),
    ("echo", answer(" The train is late.\n", "The train is late.")),
    ("echo", Task("Name the longest river.", "", "name the longest river.")),
    ("refusal", answer("As an AI language model, I cannot travel.")),
    ("refusal", answer("I'm sorry, but I can't help with that.")),
    ("refusal", answer("Sorry, I cannot open the link.")),
    ("refusal", answer("I am unable to access the article.")),
    ("refusal", answer("Well, I'm an AI and have no body.")),
    ("label_debris", answer("The Nile.\n7. Input: x")),
    ("label_debris", answer("The Nile.\n### 8. Instruction: Name a hill.")),
    ("label_debris", answer("It says <noinput> there.")),
    ("label_debris", given_input("Some text\n4. Output:\nmore")),
    ("label_debris", Task("Name a long river.\n5. Output: Nile", "", "The Nile.")),
]


@pytest.mark.parametrize(
    ("reason", "task"), DEFECTS, ids=[f"{i}-{reason}" for i, (reason, _) in enumerate(DEFECTS)]
)
def test_a_planted_defect_is_rejected_by_its_filter(reason: str, task: Task) -> None:
    verdict = apply_filters(task, EN)
    assert verdict is not None
    assert verdict.reason == reason
    assert verdict.evidence
    assert not verdict.kept
    assert verdict == FILTERS[reason](task, EN)


def test_every_filter_has_a_planted_defect_and_its_own_name() -> None:
    assert {reason for reason, _ in DEFECTS} == set(FILTERS)


def test_a_good_row_passes() -> None:
    assert apply_filters(GOOD, EN) is None


# ── close calls ──────────────────────────────────────────────────────────────────────────────

CLOSE_CALLS = {
    "four words": instruction("Name a long river."),
    "150 words": instruction("Name " + "a " * 149),
    "a digit first": instruction("3 rivers in Africa, please"),
    "programme": instruction("Write a short programme for a school fair."),
    "program later": instruction("Please write a program that adds."),
    "imagery": instruction("Explain the imagery of this poem."),
    "mapping": instruction("Explain the mapping between two sets."),
    "profile": instruction("Write a profile of a baker."),
    "paragraph": instruction("Write a paragraph about bread."),
    "drawing": instruction("List three drawbacks of drawing lots."),
    "musical": instruction("Name a musical instrument with strings."),
    "going to": instruction("Complete: I am going to the market."),
    "html tag": answer('<input type="text" name="email">'),
    "html page": answer("<html><body><p>Text goes here</p></body></html>"),
    "html link": answer('<link rel="stylesheet" href="a.css">'),
    "json": answer('{"input": "x", "output": ["a", null]}'),
    "json array": answer('["image", "text", "attached"]'),
    "python list": answer("[1, 2, 3]"),
    "morse": answer("... --- ..."),
    "None": answer("None"),
    "none at all": answer("none"),
    "null": answer("null"),
    "empty": answer("Empty"),
    "zero": answer("0"),
    "a dot": answer("."),
    "20.": answer("20."),
    "numbered list": answer("1. Bread\n2. Milk\n20. Salt"),
    "numbered headings": answer("1. Inputs: flour\n2. Outputs and waste: none"),
    "labels without number": answer("Input: 3\nOutput: 9"),
    "label later in a line": answer("See step 4. Input: the number."),
    "heading": answer("### Ingredients\nFlour"),
    "separator": answer("Above\n###\nBelow"),
    "link": answer("[our page](https://a.example/x)"),
    "no": answer("No"),
    "no input from": answer("No input from the user is needed here, since the list is fixed."),
    "here": answer("[A note to the reader: dinner is here at seven, bring bread] Thanks!"),
    "attached": given_input("Dear Ann, the invoice is attached. Yours, Bo (bo@b.example)"),
    "bracketed text": given_input("[Anna] Where were you? [Bo] At home."),
    "url and prose": given_input("See https://a.example/x for the rules, then decide."),
    "prose and url": given_input("The rules are at https://a.example/x"),
    "url in answer": answer("https://www.python.org"),
    "html input": given_input('<a href="https://a.example">text about insertion</a>'),
    "case kept": Task("Write this in capital letters.", "abc", "ABC"),
    "nearly an echo": answer("The train is late", "The train is late."),
    "sorry later": answer("Tell them: sorry, I cannot come."),
    "sorry about": answer("Sorry to hear that! Here is what I would do."),
    "unfortunately": answer("Unfortunately, the shop had closed when she came."),
    "as an aide": answer("As an aide I worked there for years."),
    "AI as a subject": answer("An AI is a program; as an AI researcher you test it."),
    "i cannot": answer("I cannot thank you enough for the flowers!"),
    "noinput": answer("The parameter is called noinput."),
}


@pytest.mark.parametrize("task", CLOSE_CALLS.values(), ids=CLOSE_CALLS)
def test_a_close_call_passes(task: Task) -> None:
    assert apply_filters(task, EN) is None


# ── for any text ─────────────────────────────────────────────────────────────────────────────

TEXTS = st.text(max_size=40) | st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "<",
            ">",
            "(",
            "insert",
            "N/A",
            "www.",
            "http://",
            "a",
            " ",
            "\n",
            "1.",
            "Input:",
        ]
    ),
    max_size=8,
).map("".join)


@settings(deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_a_filter_answers_for_any_text(first: str, second: str, third: str) -> None:
    """Each one speaks under its own name, with evidence, and the first to object is believed."""
    task = Task(first, second, third)
    objections = {name: check(task, EN) for name, check in FILTERS.items()}
    for name, verdict in objections.items():
        assert verdict is None or (verdict.reason == name and verdict.evidence)
    first_objection = next((v for v in objections.values() if v is not None), None)
    assert apply_filters(task, EN) == first_objection


def test_filters_exist_for_every_language() -> None:
    for language in LANGUAGES.values():
        for check in FILTERS.values():
            found = check(GOOD, language)
            assert found is None or isinstance(found, Verdict)


# What a model that repeats itself writes. A filter that tries every way to part such a text does
# not come back, so these run in a process of their own that can be ended.
ENDLESS = {
    "urls": '"http://a.example/," * 200 + "and so on"',
    "www": '"www." * 500 + " and so on"',
    "links": '"<https://a.example>;" * 200 + " x"',
    "bracket": '"[" + " " * 100_000 + "x"',
    "brackets": '"[" * 100_000 + "x"',
    "quotes": '"\'" * 100_000 + "x"',
    "backticks": '"`" * 100_000 + "x"',
    "newlines": '"1." + "\\n" * 100_000 + "x"',
    "digits": '"7" * 100_000',
    "hashes": '"# " * 100_000',
    "noinput": '"<no" * 50_000',
    "not an attribute": '"<a" + "=" * 100_000',
    "sorry": '"i\'m sorry " * 20_000',
    "as an": '"as an " * 30_000',
    "words": '"Title " * 20_000 + ":"',
}
JUDGE = """
import sys
from selfinstruct.filters import FILTERS
from selfinstruct.languages import get_language
from selfinstruct.records import Task
text = {text}
for field in ("instruction", "input", "output"):
    task = Task(**{{"instruction": "a", "input": "b", "output": "c", field: text}})
    for name, check in FILTERS.items():
        print(name, field, flush=True)
        check(task, get_language("en"))
print("done")
"""


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_no_filter_is_held_up_by_a_repetitive_text(text: str) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", JUDGE.format(text=text)],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except subprocess.TimeoutExpired as expired:
        last = (expired.stdout or b"").split(b"\n")[-2:]
        pytest.fail(f"still busy with (filter, field): {last}")
    assert done.stdout.endswith("done\n")
