"""Tasks as JSON: what is asked, that all of an answer is read in any wrapping, and choices."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.assets import asset_path
from selfinstruct.config import Config
from selfinstruct.desk import Desk
from selfinstruct.languages import get_language
from selfinstruct.plan import Track
from selfinstruct.prompts import load_template
from selfinstruct.providers.dialect import Dialect
from selfinstruct.recipes import Ingredients, get_recipe, template_name
from selfinstruct.recipes.alpaca import Alpaca
from selfinstruct.recipes.structured import SCHEMA, as_json, find_tasks
from selfinstruct.recipes.translate import MARKER, Translate
from selfinstruct.records import (
    Candidate,
    Choice,
    Prompt,
    Reply,
    Seed,
    SourceRow,
    Task,
    prompt_digest,
)
from tests.scripted_text import Script, refused_param, sale

EN = get_language("en")
ZH = get_language("zh")
RIVER = Task("Name a river.", "", "Nile.")
HILL = Task("Name a hill in this list.", "K2, Oslo", "It is\nK2.")
TWO = as_json([RIVER, HILL])
SEEDS = [Seed(str(i), Task(f"Name\nriver {i}:", "x" * (i % 2), f"###\nR{i}")) for i in range(9)]


def template(recipe: str, lang: str = "en") -> Ingredients:
    name = template_name(recipe, lang, structured=True)
    content = asset_path(*name.split("/")).read_bytes()
    found = load_template(content, name, get_recipe(recipe).structured_placeholders)
    return Ingredients(
        language=get_language(lang),
        seeds=SEEDS,
        template=found,
        tasks=5,
        examples=3,
        example_chars=2000,
        source=(SourceRow("a", RIVER), SourceRow("b", HILL)),
        structured=True,
    )


def alpaca(lang: str = "en") -> Alpaca:
    return Alpaca(template("alpaca", lang))


def parse(text: str, finish_reason: str = "stop") -> list[Candidate]:
    made = alpaca()
    return made.parse(Reply(0, text, finish_reason), made.prompt(0, random.Random(0)))


def rows(text: str, finish_reason: str = "stop") -> list[Task]:
    return [found.task for found in parse(text, finish_reason) if not found.defect]


def defects(text: str, finish_reason: str = "stop") -> list[str]:
    return [found.defect for found in parse(text, finish_reason)]


# ── what is asked ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_prompt_shows_examples_as_json_after_a_constant_brief(lang: str) -> None:
    made = alpaca(lang)
    prompts = [made.prompt(0, random.Random(k)) for k in range(20)]
    brief = prompts[0].text[: prompts[0].text.index('{"tasks": [\n')]
    assert all(prompt.text.startswith(brief) for prompt in prompts)
    assert len({prompt.text for prompt in prompts}) > 10
    assert "5" in brief
    prompt = prompts[0]
    shown = prompt.text[len(brief) : prompt.text.rindex("]}") + 2]
    by_id = {seed.id: seed.task for seed in SEEDS}
    assert json.loads(shown)["tasks"] == [
        {"instruction": f"Name river {id}", "input": by_id[id].input, "output": by_id[id].output}
        for id in prompt.example_ids
    ]
    assert (prompt.stop, prompt.asked, prompt.schema) == ((), 5, SCHEMA)


def test_examples_and_seed_are_those_of_text_mode() -> None:
    ingredients = template("alpaca")
    plain = Alpaca(
        Ingredients(
            EN, SEEDS, load_template(b"$count", "x", {"count"}), tasks=5, examples=3,
            example_chars=2000,
        )
    )  # fmt: skip
    one = Alpaca(ingredients).prompt(0, random.Random(4))
    other = plain.prompt(0, random.Random(4))
    assert (one.example_ids, one.seed) == (other.example_ids, other.seed)
    assert other.schema is None


def test_a_prompt_with_a_schema_has_a_hash_and_the_digest_of_its_text() -> None:
    prompt = alpaca().prompt(0, random.Random(0))
    plain = Prompt(prompt.text, (), prompt.example_ids, prompt.first, prompt.asked, prompt.seed)
    assert {prompt: 1}[alpaca().prompt(0, random.Random(0))] == 1
    assert prompt != plain
    assert prompt_digest(prompt) == prompt_digest(plain)


def test_the_schema_keeps_the_rules_of_strict_mode() -> None:
    def check(schema: dict[str, object]) -> None:
        assert not schema.keys() & {"minItems", "maxItems", "minLength", "maxLength", "pattern"}
        if schema["type"] == "object":
            properties = schema["properties"]
            assert isinstance(properties, dict)
            assert schema["required"] == list(properties)
            assert schema["additionalProperties"] is False
            for inner in properties.values():
                check(inner)
        if schema["type"] == "array":
            assert isinstance(schema["items"], dict)
            check(schema["items"])

    assert (SCHEMA["name"], SCHEMA["strict"]) == ("tasks", True)
    check(SCHEMA["schema"])


def test_the_request_carries_the_schema_on_chat_until_it_is_refused() -> None:
    prompt = alpaca().prompt(0, random.Random(0))
    sampling = {"max_tokens": 9, "n": 4}
    chat = Dialect(api="chat")
    body = chat.parameters(prompt, sampling)
    assert body["response_format"] == {"type": "json_schema", "json_schema": SCHEMA}
    assert json.loads(json.dumps(body)) == body
    assert "stop" not in body
    assert body["n"] == 4
    without = chat.changed("drop response_format").changed("drop n").parameters(prompt, sampling)
    assert without == {k: v for k, v in body.items() if k not in ("response_format", "n")}
    assert "response_format" not in Dialect().parameters(prompt, sampling)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_translate_shows_its_source_as_json(lang: str) -> None:
    made = Translate(template("translate", lang))
    one, other = (made.prompt(k, random.Random(0)) for k in (0, 1))
    brief = one.text[: one.text.rindex('{"tasks": [\n')]
    assert other.text.startswith(brief)
    assert MARKER in brief
    shown = other.text[len(brief) : other.text.rindex("]}") + 2]
    assert json.loads(shown)["tasks"][0]["output"] == HILL.output
    assert (one.stop, one.schema, one.asked) == ((), SCHEMA, 1)


# ── the same tasks in any wrapping ───────────────────────────────────────────────────────────

OBJECTS = [json.dumps({"instruction": t.instruction, "input": t.input, "output": t.output})
           for t in (RIVER, HILL)]  # fmt: skip
LIST = f"[{', '.join(OBJECTS)}]"
SAME_ROWS = {
    "as asked": TWO,
    "one line": json.dumps(json.loads(TWO)),
    "indented": json.dumps(json.loads(TWO), indent=2),
    "indented by tabs": json.dumps(json.loads(TWO), indent="\t"),
    "escaped": json.dumps(json.loads(TWO), ensure_ascii=True),
    "bare list": LIST,
    "fence": f"```json\n{TWO}\n```",
    "fence without a name": f"```\n{LIST}\n```\n",
    "preamble": f"Sure! Here are 2 tasks [as JSON]:\n\n{TWO}",
    "preamble, fence, farewell": f"Sure:\n```json\n{TWO}\n```\nLet me know if you want more!",
    "objects in a row": " ".join(OBJECTS),
    "objects in lines": "\n".join(OBJECTS),
    "objects in fences": "\n".join(f"Task:\n```json\n{one}\n```" for one in OBJECTS),
    "another wrapper": f'{{"data": {LIST}}}',
    "count before": f'{{"count": 2, "tasks": {LIST}}}',
    "count after": f'{{"tasks": {LIST}, "count": 2}}',
    "wrapped twice": f'{{"result": {{"tasks": {LIST}}}}}',
    "two lists": f"First:\n[{OBJECTS[0]}]\nThen:\n[{OBJECTS[1]}]",
    "trailing comma": TWO.replace("\n]", ",\n]"),
    "comma in the object": TWO.replace('"}', '",}'),
    "end brackets left out": TWO.removesuffix("\n]}"),
    "last brace left out": TWO.removesuffix("}"),
    "more fields": TWO.replace("{", '{"id": 7, "tags": ["a", {"b": "}"}], ').replace(
        '{"id": 7, "tags": ["a", {"id": 7, "tags": ["a", {"b": "}"}], "b": "}"}], ', "{"
    ),
    "other case": TWO.replace("instruction", "Instruction").replace('"tasks"', '"Tasks"'),
    "null input": TWO.replace('"input": ""', '"input": null'),
    "marker": TWO.replace('"input": ""', '"input": "<noinput>"'),
    "line breaks as they are": TWO.replace("\\n", "\n"),
    "crlf": TWO.replace("\\n", "\\r\\n").replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + TWO,
    "numbered list": (
        "1. Instruction: Name a river.\n1. Input:\n<noinput>\n1. Output:\nNile.\n###\n"
        "2. Instruction: Name a hill in this list.\n2. Input:\nK2, Oslo\n2. Output:\nIt is\nK2.\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", SAME_ROWS.values(), ids=SAME_ROWS)
def test_the_same_two_rows(text: str) -> None:
    found = parse(text)
    assert [(row.position, row.task, row.defect) for row in found] == [
        (0, RIVER, ""),
        (1, HILL, ""),
    ]


@pytest.mark.parametrize(
    "output",
    [
        '{"tasks": [{"instruction": "x"}]}',
        "4. Instruction: x\n4. Output: y",
        "###\n5. Instruction: x",
        '```json\n[{"input": 1}]\n```',
        "a \\ b \\\\n c",
        'say "hi", {you}',
        "a\u2028\x85\x00 ü 🙂",
        "]}",
        "\\",
    ],
)
def test_an_answer_may_hold_anything(output: str) -> None:
    task = Task("Show me.", "", output)
    assert rows(as_json([task, HILL])) == [task, HILL]
    assert rows(f"```json\n{as_json([HILL, task])}\n```") == [HILL, task]


def test_json_in_the_answer_of_a_list_is_an_answer() -> None:
    output = json.dumps({"tasks": [{"instruction": "x", "input": "", "output": "y"}]})
    text = f"1. Instruction: Write JSON.\n1. Input:\n<noinput>\n1. Output:\n{output}\n"
    assert rows(text) == [Task("Write JSON.", "", output)]


def test_text_mode_reads_no_json() -> None:
    prompt = Prompt("", (), ("a",), 4, 17, 0)
    (found,) = alpaca().parse(Reply(0, TWO, "stop"), prompt)
    assert found.defect == "incomplete"


def test_chinese_keys() -> None:
    text = '[{"指令": "说出一条河。", "输入": "无输入", "输出": "长江。"}]'
    made = alpaca("zh")
    (found,) = made.parse(Reply(0, text, "stop", lang="zh"), made.prompt(0, random.Random(0)))
    assert (found.task, found.defect) == (Task("说出一条河。", "", "长江。"), "")


@pytest.mark.parametrize("text", ["", " \n", '{"tasks": []}', "```json\n[]\n``` ", "[]"])
def test_no_task_is_no_candidate_with_a_task(text: str) -> None:
    assert rows(text) == []
    assert len(parse(text)) <= 1


def test_an_empty_list_is_no_candidate() -> None:
    assert parse('{"tasks": []}') == []


# ── what is wrong ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["instruction", "input", "output"])
@pytest.mark.parametrize(
    "value", ["7", "true", "[]", '["a", "b"]', '{"a": "b"}', "1e999", "9" * 9000]
)
def test_a_field_that_is_not_text(name: str, value: str) -> None:
    broken = OBJECTS[1].replace(f'"{name}": "', f'"{name}": {value}, "x": "')
    found = parse(f'{{"tasks": [{broken}, {OBJECTS[0]}]}}')
    assert [row.defect for row in found] == ["incomplete", ""]
    assert found[0].detail == f"the {name} is not text"
    assert found[1].task == RIVER


@pytest.mark.parametrize("name", ["instruction", "input", "output"])
def test_a_field_that_is_missing(name: str) -> None:
    broken = OBJECTS[1].replace(f'"{name}"', '"other"')
    found = parse(f'{{"tasks": [{OBJECTS[0]}, {broken}]}}')
    assert [row.defect for row in found] == ["", "incomplete"]
    assert found[1].detail == f"no {name}"


def test_null_is_no_instruction_and_no_output() -> None:
    for name in ("instruction", "output"):
        text = json.dumps({"tasks": [{**json.loads(OBJECTS[0]), name: None}]})
        assert defects(text) == ["incomplete"]
    assert defects('{"tasks": [{"instruction": " ", "input": "", "output": "x"}]}') == [
        "incomplete"
    ]
    assert defects('{"tasks": [{}]}') == ["incomplete"]


def test_elements_that_are_no_objects() -> None:
    text = f'{{"tasks": [3, {OBJECTS[0]}, "a", null, [[{{}}]], {OBJECTS[1]}]}}'
    assert [defect or "kept" for defect in defects(text)] == [
        "incomplete", "kept", "incomplete", "incomplete", "incomplete", "kept",
    ]  # fmt: skip
    assert rows(text) == [RIVER, HILL]


def test_an_empty_output_is_a_row_for_the_filters() -> None:
    assert rows(TWO.replace("Nile.", ""))[0] == Task("Name a river.", "", "")


@pytest.mark.parametrize("finish", ["stop", "length", ""])
@pytest.mark.parametrize(
    "output", ['He said "yes" to me.', '"Quoted" first', 'last "quoted"', 'a "b", "c" d']
)
def test_a_bare_quotation_mark_costs_one_task_only(output: str, finish: str) -> None:
    text = TWO.replace("Nile.", output)
    assert defects(text, finish) == ["incomplete", ""]
    assert rows(text, finish) == [HILL]


def test_a_backslash_as_it_is() -> None:
    text = TWO.replace("Nile.", r"\(x^2\) in C:\users, 50\% \u12 \"ok\" \\")
    assert rows(text)[0].output == r"\(x^2\) in C:\users, 50\% \u12 " + '"ok" \\'


@pytest.mark.parametrize("finish", ["length", "stop", ""])
@pytest.mark.parametrize("wrapped", [TWO, f"```json\n{LIST}\n```", "\n".join(OBJECTS)])
def test_a_cut_gives_the_complete_objects_and_one_unclosed(wrapped: str, finish: str) -> None:
    """Wherever it is cut."""
    ends = [wrapped.index("}") + 1, wrapped.index("}", wrapped.index("Oslo")) + 1]
    begins = [wrapped.index('{"instruction"'), wrapped.rindex('{"instruction"')]
    for at in range(begins[0], len(wrapped) + 1):
        whole = sum(at >= end for end in ends)
        inside = any(begin < at < end for begin, end in zip(begins, ends, strict=True))
        found = parse(wrapped[:at], finish)
        if whole == 0 and at < begins[0] + len('{"instruction":'):
            continue  # Nothing says yet that this will be a task: read as a list.
        assert [row.defect for row in found] == [""] * whole + ["unclosed"] * inside
        assert [row.task for row in found][:whole] == [RIVER, HILL][:whole]
        assert all(row.detail and row.task.instruction for row in found if row.defect)


def test_evidence_stays_short() -> None:
    (found,) = parse('[{"instruction": "' + "x" * 10_000, "length")
    assert 0 < len(found.task.instruction) < 1000
    (other,) = parse('[{"instruction": "' + "x" * 10_000 + '"}]')
    assert 0 < len(other.task.instruction) < 1000


# ── for any text ─────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["tasks", "instruction", "input", "output", "x", "指令"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
PIECES = st.sampled_from(
    [
        "{", "}", "[", "]", '"', ",", ":", "\\", '\\"', "\n", " ",
        '"tasks": [', '{"instruction": ', '{"指令": ', *OBJECTS,
        '"input": ', '"output": ', "null", "7", "-",
        "```json\n", "```", "1. Instruction: ", "\n1. Output:\n", "###\n", "\\u12", "\ud800",
    ]
)  # fmt: skip
TEXTS = (
    st.text(max_size=60)
    | st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join)
    | JSON.map(json.dumps)
)
FINISHES = st.sampled_from(["stop", "length", "", "content_filter"])


@settings(max_examples=500, deadline=None)
@given(TEXTS, FINISHES, st.sampled_from(["en", "zh"]))
def test_any_text_is_read(text: str, finish_reason: str, lang: str) -> None:
    made = alpaca(lang)
    prompt = made.prompt(0, random.Random(0))
    found = made.parse(Reply(0, text, finish_reason, lang=lang), prompt)
    assert [row.position for row in found] == list(range(len(found)))
    for row in found:
        assert row.defect in ("", "unclosed", "incomplete")
        assert bool(row.detail) == bool(row.defect)
        assert row.defect or row.task.instruction
        for field in (row.task.instruction, row.task.input, row.task.output):
            assert row.defect or field == field.strip()
    translate = Translate(template("translate", lang))
    asked = translate.prompt(0, random.Random(0))
    assert len(translate.parse(Reply(0, text, finish_reason, lang=lang), asked)) == 1


FIELD = st.text(max_size=30).map(lambda text: text.replace("\r\n", "\n").strip())
TASKS = st.lists(
    st.builds(
        Task,
        FIELD.filter(bool),
        FIELD.filter(lambda text: not EN.no_input_pattern.fullmatch(text)),
        FIELD,
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(
    TASKS, st.sampled_from(["{}", "```json\n{}\n```", "Here you are:\n{}\nEnjoy!"]), st.booleans()
)
def test_what_is_written_is_read(tasks: list[Task], around: str, bare: bool) -> None:
    text = as_json(tasks)
    if bare:
        text = json.dumps(json.loads(text)["tasks"])
    assert rows(around.replace("{}", text)) == tasks


MEGABYTE = 1_000_000
LONG_TEXTS = {
    "brackets": "[" * MEGABYTE,
    "braces": "{" * MEGABYTE,
    "opened lists": '"tasks": [' * (MEGABYTE // 10),
    "opened tasks": '{"instruction": ' * (MEGABYTE // 16),
    "opened texts": '{"instruction": "' * (MEGABYTE // 17),
    "nested": '[{"instruction": [' + "[1," * (MEGABYTE // 3),
    "nested tasks": '[{"instruction": ' * (MEGABYTE // 17),
    "wide": '[{"instruction": [' * 900 + "1," * (MEGABYTE // 2),
    "blanks": '{"tasks": [' + " " * MEGABYTE,
    "spaced brackets": "[ " * (MEGABYTE // 2),
    "spaced braces": "{ \n" * (MEGABYTE // 3),
    "commas": '{"tasks": [' + "," * MEGABYTE,
    "digits": '[{"instruction": ' + "9" * MEGABYTE,
    "backslashes": '[{"instruction": "' + "\\" * MEGABYTE,
    "bad escapes": '[{"instruction": "' + "\\d" * (MEGABYTE // 2) + '"}]',
    "quotes": '[{"instruction": ' + '"' * MEGABYTE,
    "numbers": '{"tasks": [' + "1, " * (MEGABYTE // 3),
}  # fmt: skip


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_a_megabyte_is_read_in_one_pass(text: str) -> None:
    """Quadratic work would take hours here; deep nesting must not depend on the caller's stack."""
    found = find_tasks(text, EN, finish_reason="length")
    assert found is None or len(found) <= len(text)


# ── choices ──────────────────────────────────────────────────────────────────────────────────


def test_positions_count_on_over_the_choices() -> None:
    made = alpaca()
    prompt = made.prompt(0, random.Random(0))
    cut = TWO[: TWO.index("Oslo")]
    rest = (Choice("", "stop", "refusal"), Choice(cut, "length"), Choice(LIST, "stop"))
    found = made.parse(Reply(6, TWO, "stop", "m", rest=rest), prompt)
    assert [row.position for row in found] == list(range(6))
    assert [row.defect for row in found] == ["", "", "", "unclosed", "", ""]
    assert {row.request for row in found} == {6}
    assert [row.task for row in found if not row.defect] == [RIVER, HILL, RIVER, RIVER, HILL]


def test_a_desk_gives_every_task_of_every_choice_an_id() -> None:
    config = Config(n=9, base_url=("http://x/v1",), model=("m",))
    seeds = asset_path("seeds", "en.jsonl").read_bytes()
    track = Track(config, "en", seeds, asset_path("prompts", "alpaca", "en.txt").read_bytes())
    text = " {} a river.\n4. Input:\n<noinput>\n4. Output:\nNile.\n###\n5. Instruction: Z"
    reply = Reply(
        3,
        text.format("Name"),
        "length",
        rest=tuple(Choice(text.format(w)) for w in ("Sing", "Eat")),
    )
    desk = Desk(track)
    assert desk.look(reply) == 3
    records = desk.decide(reply)
    assert [record.id for record in records] == [f"en-000003-{i:02d}" for i in range(6)]


def test_translate_takes_one_choice() -> None:
    made = Translate(template("translate", "zh"))
    prompt = made.prompt(0, random.Random(0))
    good = as_json([Task("说出一条河。", "", "尼罗河。"), RIVER])
    same = as_json([RIVER])

    def read(*texts: str, outcome: str = "") -> Candidate:
        first, *rest = (Choice(text) for text in texts)
        reply = Reply(0, first.text, "stop", outcome=outcome, lang="zh", rest=tuple(rest))
        (candidate,) = made.parse(reply, prompt)
        return candidate

    assert read(good, same).task.output == "尼罗河。"
    assert read(same, good).defect == ""
    assert read(same, same, "").defect == "untranslated"
    assert read("", "", outcome="refusal").defect == "refusal"
    marked = as_json([Task(f"{MARKER} 押韵", "", "")])
    assert (read(marked).defect, read(marked).detail) == ("untranslatable", "押韵")
    cut = read(good[: good.index("尼罗河")])
    assert (cut.defect, cut.source_id) == ("unclosed", "a")


# ── the scripted server's part ───────────────────────────────────────────────────────────────


ASKED = {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}


def sold(script: Script, body: Mapping[str, object], kind: str = "ok") -> dict[str, object]:
    answer: dict[str, object] = json.loads(sale(script, kind, True, "a b c d", body).content)
    return answer


def texts(answer: dict[str, object]) -> list[str]:
    choices = answer["choices"]
    assert isinstance(choices, list)
    return [choice["message"]["content"] for choice in choices]


def test_the_scripted_server_answers_with_json() -> None:
    (said,) = texts(sold(Script(), ASKED))
    assert len(json.loads(said)["tasks"]) == len(rows(said)) == 4
    (plain,) = texts(sold(Script(), {}))
    assert plain.startswith("1. Instruction:")
    assert len(rows(plain)) == 4
    (fenced,) = texts(sold(Script(plain_answers="json"), {}))
    assert "```json" in fenced
    assert len(rows(fenced)) == 4
    (cut,) = texts(sold(Script(), ASKED, "length"))
    assert defects(cut, "length") == ["", "", "", "unclosed"]


def test_the_scripted_server_sells_choices_and_a_cached_prompt() -> None:
    answer = sold(Script(cached_share=0.5), {"n": 3})
    said = texts(answer)
    assert len(set(said)) == 3
    assert said[:1] == texts(sold(Script(), {}))
    usage = answer["usage"]
    assert isinstance(usage, dict)
    assert usage["prompt_tokens"] == 4
    assert usage["completion_tokens"] == sum(len(text.split()) for text in said)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 2}


def test_the_scripted_server_refuses_schemas_and_choices() -> None:
    script = Script(refuse_params={"response_format": None, "n": 1})
    schema = refused_param(script, {"response_format": {"type": "json_schema"}, "n": 4})
    choices = refused_param(script, {"n": 4})
    assert schema is not None
    assert schema.param == "response_format"
    assert choices is not None
    assert choices.param == "n"
    assert refused_param(script, {"n": 1}) is None


def test_every_shipped_template_can_be_named() -> None:
    assert template_name("alpaca", "en", structured=False) == "prompts/alpaca/en.txt"
    assert Path(template_name("alpaca", "en", structured=True)).name == "en.json.txt"
