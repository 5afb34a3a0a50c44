"""Prompt templates: `string.Template` with exactly the names that the recipe fills."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.assets import asset_path
from selfinstruct.errors import UsageError
from selfinstruct.languages import LANGUAGES
from selfinstruct.prompts import load_template
from selfinstruct.recipes import RECIPES, template_name

SHIPPED = sorted({(name, lang.assets) for name in RECIPES for lang in LANGUAGES.values()})


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(("recipe", "lang"), SHIPPED)
def test_every_recipe_has_both_prompts_in_every_language(
    recipe: str, lang: str, structured: bool
) -> None:
    found = RECIPES[recipe]
    placeholders = found.structured_placeholders if structured else found.placeholders
    name = template_name(recipe, lang, structured=structured)
    content = asset_path(*name.split("/")).read_bytes()
    template = load_template(content, lang, placeholders)
    text = template.substitute(dict.fromkeys(placeholders, "<filled>"))
    assert "$" not in text
    assert "<filled>" in text
    assert b"\r" not in content


def test_the_alpaca_brief_ends_where_a_block_begins() -> None:
    content = asset_path("prompts", "alpaca", "en.txt").read_bytes()
    assert content.endswith(b"\n")
    assert b"<noinput>" in content
    # The parser's scaffolding belongs to the recipe, not to the text around it.
    assert b"###" not in content


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_brief_for_json_names_the_fields_and_ends_with_what_to_do(lang: str) -> None:
    for recipe, data in (("alpaca", "$examples"), ("translate", "$task")):
        name = template_name(recipe, lang, structured=True)
        text = asset_path(*name.split("/")).read_text(encoding="utf-8")
        brief, _, end = text.partition(data)
        assert all(word in brief for word in ("JSON", '"tasks"', "instruction", "input", "output"))
        # All but a last line of it is the same in every request.
        assert "JSON" in end
        assert len(end) < 100
        assert "###" not in text


def test_names_are_filled() -> None:
    template = load_template(b"Write $count of ${kind}s for $$5.", "p", {"count", "kind"})
    assert template.substitute(count=20, kind="task") == "Write 20 of tasks for $5."


def test_filled_text_is_never_a_template() -> None:
    template = load_template(b"a $x b", "p", {"x"})
    assert template.substitute(x="$y ${x} $$ $") == "a $y ${x} $$ $ b"


def test_a_byte_order_mark_is_not_sent() -> None:
    assert load_template(b"\xef\xbb\xbf$x", "p", {"x"}).substitute(x="1") == "1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Write tasks.", r"^p\.txt: the placeholder \$count is missing"),
        (b"", r"^p\.txt: the placeholder \$count is missing"),
        (b"$$count", r"^p\.txt: the placeholder \$count is missing"),
        (b"$counts", r"^p\.txt: .*\$count is missing"),
        (b"$count for $price", r"^p\.txt: unknown placeholder \$price; write '\$\$'"),
        (b"$count at 5 $", r"^p\.txt: a '\$' stands alone"),
        (b"$count for $5", r"^p\.txt: a '\$' stands alone"),
        (b"${count", r"^p\.txt: a '\$' stands alone"),
        ("$count $ü".encode(), r"^p\.txt: a '\$' stands alone"),
        (b"$count \xff", r"^p\.txt: not UTF-8"),
    ],
)
def test_a_broken_template_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_template(content, "p.txt", {"count"})


@settings(deadline=None)
@given(st.binary(max_size=30) | st.text("$ {}count5\n", max_size=20).map(str.encode))
def test_any_bytes_are_a_template_or_refused(content: bytes) -> None:
    try:
        template = load_template(content, "p.txt", {"count"})
    except UsageError as error:
        message = str(error)
    else:
        message = "p.txt: fine"
        assert "\0" in template.substitute(count="\0")
    assert message.startswith("p.txt: ")
