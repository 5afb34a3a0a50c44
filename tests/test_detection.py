"""Which language a text is in, offline and always the same; whose rules judge a row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import selfinstruct
from selfinstruct.detection import detect, row_language
from selfinstruct.languages import LANGUAGES, judging_language
from selfinstruct.records import Task

SENTENCES = {
    "en": [
        "Name three rivers that flow into the North Sea.",
        "Summarize the story in two sentences.",
        "Describe a lighthouse.",
        "Why is the sky blue?",
        "Rewrite the sentence so that it is polite.",
    ],
    "zh": ["三条流入北海的河流叫什么？", "用两句话总结这个故事。", "写一封信，感谢 Anna 的礼物。", "山高水深。"],
    "zh-hant": ["請用兩句話總結這個故事。", "寫一封信，感謝 Anna 的禮物。", "為什麼天空是藍色的？"],
    "ja": ["北海に流れ込む川を三つ挙げてください。", "空はなぜ青いのですか。"],
    "ko": ["북해로 흐르는 강 세 개를 말해 보세요.", "하늘은 왜 파란가요?"],
    "fr": ["Cite trois fleuves qui se jettent dans la mer du Nord.", "Pourquoi le ciel est-il bleu ?"],
    "de": ["Nenne drei Flüsse, die in die Nordsee münden.", "Warum ist der Himmel blau?"],
    "es": ["Nombra tres ríos que desembocan en el mar del Norte.", "¿Por qué el cielo es azul hoy?"],
    "pt": ["Cite três rios que desaguam no mar do Norte.", "Por que o céu é azul durante o dia?"],
    "it": ["Elenca tre fiumi che sfociano nel mare del Nord.", "Perché il cielo è azzurro?"],
    "nl": ["Noem drie rivieren die in de Noordzee uitmonden.", "Waarom is de lucht zo blauw vandaag?"],
    "pl": ["Wymień trzy rzeki wpadające do Morza Północnego.", "Dlaczego niebo jest niebieskie?"],
    "tr": ["Kuzey Denizi'ne dökülen üç nehir söyleyin.", "Gökyüzü neden mavi görünüyor?"],
    "id": ["Sebutkan tiga sungai yang bermuara di Laut Utara.", "Mengapa langit berwarna biru?"],
    "vi": ["Hãy kể tên ba con sông chảy ra Biển Bắc.", "Tại sao bầu trời có màu xanh?"],
    "ru": ["Назови три реки, впадающие в Северное море.", "Почему небо голубое?"],
    "uk": ["Назви три річки, що впадають у Північне море.", "Чому вдень небо блакитне, а вночі чорне?"],
    "ar": ["اذكر ثلاثة أنهار تصب في بحر الشمال.", "لماذا السماء زرقاء؟"],
    "he": ["ציין שלושה נהרות שנשפכים לים הצפוני.", "למה השמיים כחולים?"],
    "hi": ["उत्तरी सागर में गिरने वाली तीन नदियों के नाम बताइए।", "दिन में आसमान नीला और रात में काला क्यों होता है?"],
    "th": ["บอกชื่อแม่น้ำสามสายที่ไหลลงทะเลเหนือ", "ทำไมท้องฟ้าจึงเป็นสีฟ้า"],
    "el": ["Ανάφερε τρία ποτάμια που εκβάλλουν στη Βόρεια Θάλασσα.", "Γιατί ο ουρανός είναι γαλάζιος;"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text"), [(code, text) for code, texts in SENTENCES.items() for text in texts]
)
def test_a_sentence_is_in_its_language(code: str, text: str) -> None:
    assert detect(text) == code


@pytest.mark.parametrize(
    "text",
    ["", " ", "42", "x = 3 + 4", "!!!", "🌊🌊", "https://www.example.com/the/tides/of/the/sea", "```\nthe and of\n```", "a b c d"],
)  # fmt: skip
def test_too_little_to_tell(text: str) -> None:
    assert detect(text) == ""


def test_script_words_and_what_is_quoted() -> None:
    assert detect("使用 Excel 和 Python 画图") == "zh"
    assert detect("The Chinese word for river is 河, for sea 海.") == "en"
    assert detect("東京の天気は？") == "ja"
    assert detect("a" * 100_000 + " the and of") in ("", "en")


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (Task("Translate: “今天天气真好，我们去海边吧。”", "", "Nice weather."), "en"),
        (
            Task("把“The tides come from the moon and the sun”译成中文。", "", "潮汐来自月亮。"),
            "zh",
        ),
        (Task("3 × 4 = ?", "Nenne das Ergebnis der Rechnung.", "12"), "de"),
        (Task("3 × 4 = ?", "", "Das Ergebnis der Rechnung ist zwölf."), "de"),
        (Task("3 × 4 = ?", "", "12"), ""),
        (Task("“海上生明月，天涯共此时。”", "", "出自张九龄。"), "zh"),
    ],
)
def test_whose_rules_judge_a_row(task: Task, code: str) -> None:
    assert row_language(task) == code


def test_the_neutral_language_is_not_offered() -> None:
    neutral = judging_language("fr")
    assert neutral is judging_language("") is judging_language("und")
    assert neutral.code == "und"
    assert "und" not in LANGUAGES
    assert {code: judging_language(code).code for code in LANGUAGES} == {
        code: code for code in LANGUAGES
    }


def test_neutral_tokens() -> None:
    tokenize = judging_language("fr").tokenize
    assert tokenize("L'été, ÉTÉ!") == ["l", "été", "été"]
    assert tokenize("Ｆｕｌｌ 北海 ทะเล") == ["full", "北", "海", *"ทะเล"]
    assert tokenize("2026年") == ["2026", "年"]
    assert tokenize("") == []


@given(st.text(st.characters(), max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_has_one_answer(text: str) -> None:
    first = detect(text)
    assert first == detect(text)
    assert first == "" or first == "zh-hant" or (len(first) == 2 and first.isalpha())
    tokens = judging_language("und").tokenize(text)
    assert all(token and not token.isspace() for token in tokens)


def test_no_network_no_shared_state_and_a_light_door() -> None:
    """In a process without sockets the answer is the same, whatever was asked before."""
    program = """
import sys
import selfinstruct, selfinstruct.detection as detection
assert "py3langid" not in sys.modules and "numpy" not in sys.modules
import socket
def refuse(*args, **kwargs): raise AssertionError("network")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
texts = ["Warum ist der Himmel blau?", "Pourquoi le ciel est-il bleu ?", "Чому вдень небо блакитне, а вночі чорне?"]
print([detection.detect(text) for text in texts], [detection.detect(text) for text in texts[::-1]])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(selfinstruct.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['de', 'fr', 'uk'] ['uk', 'fr', 'de']"
