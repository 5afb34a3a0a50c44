"""Chinese: the seeds, the tokens, every rule with its close calls, the Alpaca recipe's parser."""

# An ideograph counts as two columns.

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import LCSseq

from selfinstruct.assets import asset_path
from selfinstruct.dedup import NoveltyPool
from selfinstruct.filters import apply_filters
from selfinstruct.languages import LANGUAGES, get_language
from selfinstruct.recipes.blocks import Block, escape, split_blocks
from selfinstruct.records import Seed, Task
from selfinstruct.seeds import load_seeds

ZH = get_language("zh")
ZH_HANT = get_language("zh-hant")
CONTENT = asset_path("seeds", "zh.jsonl").read_bytes()
SEEDS = load_seeds(CONTENT, "seeds/zh.jsonl")
ROWS = [json.loads(line) for line in CONTENT.decode().split("\n") if line]
CATEGORIES = {
    "brainstorming", "open_qa", "closed_qa", "rewrite", "extract", "generation", "classification",
    "chat", "summarization",
}  # fmt: skip


def reason(task: Task) -> str:
    """Why a tidied task is rejected, or ""."""
    verdict = apply_filters(ZH.tidy(task), ZH)
    return verdict.reason if verdict else ""


# ── seeds/zh.jsonl ───────────────────────────────────────────────────────────────────────────


def test_there_are_enough_seeds_of_every_category() -> None:
    assert len(SEEDS) >= 175
    counts = Counter(row["category"] for row in ROWS)
    assert set(counts) == CATEGORIES
    assert min(counts.values()) >= 12
    assert sum(seed.is_classification for seed in SEEDS) >= 26


def test_seed_ids_and_names_are_unique_and_lengths_hold() -> None:
    assert [seed.id for seed in SEEDS] == [f"zh_{i:03d}" for i in range(len(SEEDS))]
    assert len({seed.name for seed in SEEDS}) == len(SEEDS)
    for seed in SEEDS:
        assert 5 <= len(seed.task.instruction) <= 148, seed.id
        assert seed.task.output.strip(), seed.id


def test_no_two_seeds_are_alike() -> None:
    tokens = [ZH.tokenize(seed.task.instruction) for seed in SEEDS]
    for (i, a), (j, b) in combinations(enumerate(tokens), 2):
        f = 2 * LCSseq.similarity(a, b) / (len(a) + len(b))
        assert f <= 0.5, (SEEDS[i].id, SEEDS[j].id, f)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.id)
def test_no_seed_is_changed_or_rejected(seed: Seed) -> None:
    task = seed.task
    assert ZH.tidy(task) == task
    assert apply_filters(task, ZH) is None
    assert apply_filters(ZH_HANT.tidy(task), ZH_HANT) is None


def test_the_prompt_asks_for_a_count_and_names_the_categories() -> None:
    text = asset_path("prompts", "alpaca", "zh.txt").read_text("utf-8")
    assert text.count("$") == text.count("$count") >= 1
    assert text.endswith("：\n\n")
    for name in [
        "头脑风暴",
        "开放问答",
        "封闭问答",
        "改写",
        "抽取",
        "生成",
        "分类",
        "聊天",
        "摘要",
        "<无输入>",
    ]:
        assert name in text


# ── tokens and lengths ───────────────────────────────────────────────────────────────────────


def test_identical_strings_score_one() -> None:
    pool = NoveltyPool(ZH.tokenize)
    pool.add("a", "请列举三种清明节的习俗。")
    found = pool.nearest("请列举三种清明节的习俗。")
    assert found is not None
    assert found.rouge_l == 1.0
    assert pool.is_duplicate(found.rouge_l)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("ＡＢＣ１２３", ["abc123"]),
        ("用Python3算２＋２", ["用", "python3", "算", "2", "2"]),
        ("㐀𠀀豈〇々", ["㐀", "𠀀", "豈", "〇", "々"]),
        ("，。！？ \n", []),
        ("", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert ZH.tokenize(text) == tokens


def test_limits_are_those_of_belle() -> None:
    assert ZH.limits(Task("改写下面的话。", "下雨了", "…")) == (4, 99)
    assert ZH.limits(Task("仿照例子改写下面的话。", "下雨了", "…")) == (4, 149)
    assert ZH.limits(Task("写一首诗。", "", "…")) == (4, 149)
    assert ZH.unit == "characters"
    assert ZH.length("三原色是什么？") == 7


# ── planted defects ──────────────────────────────────────────────────────────────────────────


def asked(text: str) -> Task:
    return Task(text, "", "这是一个回答。")


def given_input(text: str) -> Task:
    return Task("用一句话概括下面的内容。", text, "这是一个回答。")


def answer(text: str, given: str = "") -> Task:
    return Task("回答这位顾客的问题。", given, text)


DEFECTS = [
    ("instruction_length", asked("填空。")),
    ("instruction_length", asked("写" * 150)),
    ("instruction_length", Task("写" * 100, "有输入", "好。")),
    ("instruction_length", Task("示例" + "写" * 148, "有输入", "好。")),
    ("opening", asked("，请写一首诗。")),
    ("opening", asked("- 写一首关于春天的诗")),
    ("opening", asked("<mask> 填上合适的词")),
    *(
        ("blocked_word", asked(f"请描述这个{word}的内容。"))
        for word in [
            "图像",
            "图片",
            "照片",
            "文件",
            "图表",
            "图层",
            "曲线图",
            "折线图",
            "直线图",
            "柱形图",
            "饼状图",
            "链接",
        ]
    ),
    *(("blocked_word", given_input(f"其中提到了{word}的内容")) for word in ["照片", "链接"]),
    *(
        ("blocked_word", answer(f"可以去看看{word}的介绍。"))
        for word in [
            "文件",
            "http://a.example",
            "OpenAI",
            "chatgpt",
            "ChatGPT",
            "gpt-3",
            "GPT-3.5",
            "GPT-4",
        ]
    ),
    ("mentions_gpt", asked("GPT 是哪几个词的缩写？")),
    ("mentions_gpt", given_input("GPT模型是一种神经网络")),
    ("empty_output", answer(" \n　")),
    *(
        ("placeholder", given_input(text))
        for text in [
            "［在此处插入文章］",
            "[插入文本]",
            "（请粘贴文章）",
            "[文章内容]",
            "<链接文本>",
            "没有",
            "暂无",
            "空",
            "N/A",
            "“”",
            "<none>",
            "[图]" * 0 + "（此处省略）",
        ]
        if text != "<链接文本>"
    ),
    *(
        ("placeholder", answer(text))
        for text in [
            "无输出",
            "<无输出>",
            "待补充",
            "（此处省略）",
            "XXX",
            "……",
            "［在此处插入回答］",
            "[无答案]",
            "略",
        ]
    ),
    ("url_input", given_input("www.a.example")),
    ("echo", answer("今天下雨。", "今天下雨。")),
    *(
        ("refusal", answer(text))
        for text in [
            "作为一个人工智能语言模型，我没有感情。",
            "作为AI语言模型，我无法预测股价。",
            "作为人工智能助手，我不能提供医疗建议。",
            "我是一个AI，没有味觉。",
            "我只是一个由研究团队训练的人工智能助手，不能出门。",
            "抱歉，我无法回答这个问题。",
            "对不起，我不能提供这类信息。",
            "很抱歉，我无法访问网页。",
            "非常抱歉，但作为语言模型，我无法做到。",
            "抱歉，该任务涉及视觉内容，模型无法完成。",
            "我无法提供实时天气。",
            "请提供需要翻译的文本。",
        ]
    ),
    ("label_debris", answer("长江。\n7. 输入：无")),
    ("label_debris", answer("答案里有<无输入>。")),
    ("mixed_script", answer("这個問題很简单。")),
    ("mixed_script", Task("三原色是什么颜色？", "", "紅、黄、藍。")),
    ("wrong_language", asked("Write a short story about the moon and the sea for children.")),
    ("wrong_language", answer("The answer is that you should call the shop and ask for it.")),
    ("wrong_language", answer("彼女はとてもやさしいひとです。")),
    ("wrong_language", answer("Я не знаю, где находится эта книга.")),
    ("wrong_language", answer("저는 그 책이 어디에 있는지 모르겠습니다.")),
    ("punctuation", answer("今天天气很好,我们去公园,然后回家。")),
    ("punctuation", answer("天气好;心情好;身体好。")),
    ("punctuation", asked("请写一首诗,要押韵,不要太长。")),
    ("punctuation", answer("一共有１２３个人。")),
    ("punctuation", answer("选Ｂ。")),
    ("punctuation", answer("今天下雨。。我没带伞。")),
    ("punctuation", answer("苹果，，香蕉和梨。")),
    ("punctuation", answer("苹果、。")),
]


@pytest.mark.parametrize(
    ("expected", "task"), DEFECTS, ids=[f"{i}-{name}" for i, (name, _) in enumerate(DEFECTS)]
)
def test_a_planted_defect_names_its_reason(expected: str, task: Task) -> None:
    verdict = apply_filters(ZH.tidy(task), ZH)
    assert verdict is not None
    assert verdict.reason == expected
    assert verdict.evidence


def test_every_check_has_a_planted_defect() -> None:
    assert set(ZH.checks) <= {name for name, _ in DEFECTS}


@pytest.mark.parametrize(
    ("expected", "task"),
    [(name, task) for name, task in DEFECTS if name in {"refusal", "placeholder", "blocked_word"}],
)
def test_the_traditional_rules_are_the_same(expected: str, task: Task) -> None:
    converted = ZH_HANT.tidy(task)
    verdict = apply_filters(converted, ZH_HANT)
    assert verdict is not None, converted
    assert verdict.reason == expected


# ── close calls ──────────────────────────────────────────────────────────────────────────────

CLOSE_CALLS = {
    "four characters": asked("写一首诗"),
    "149 characters": asked("写" * 149),
    "an example": Task("示例" + "写" * 147, "有输入", "好。"),
    "quoted": asked("“差强人意”是什么意思？"),
    "title": asked("《红楼梦》的作者是谁？"),
    "digit first": asked("2的10次方是多少？"),
    "negative": asked("-625是什么类型的数字？"),
    "latin first": asked("Python里的列表和元组有什么区别？"),
    "code": Task("用Python写一个求和函数。", "", "def add(a, b):\n    return a + b"),
    "fenced": Task("怎样求两数之和？", "", "```python\nprint(a,b)\nfor i in x: y(i)\n```"),
    "sql": Task(
        "写一条查询语句。", "", "SELECT name FROM users WHERE age > 18 AND city IS NOT NULL;"
    ),
    "poem": Task("默写《静夜思》。", "", "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"),
    "to english": Task(
        "翻译成英文。", "我要回家。", "I want to go home and that is the end of it."
    ),
    "to japanese": Task("译成日语。", "今天是漫长的一天。", "今日は長い一日だった。"),
    "english letter": Task(
        "用英语写一张请假条。", "", "Dear teacher, I am ill and can not come to school."
    ),
    "of english": Task(
        "改正下面的句子。",
        "He go to the school and is of late.",
        "He goes to the school and is late.",
    ),
    "names": answer("Netflix、Hulu、Disney+、Amazon Prime Video、Apple TV"),
    "titles": answer("Adele的“Someone Like You”，Gary Jules的“Mad World”"),
    "numbers": answer("3.14159，1,000,000，15:30"),
    "a letter": answer("B"),
    "no": answer("没有"),
    "none": answer("无"),
    "ellipsis": answer("他想说什么，却又……算了。"),
    "three stops": answer("他想说什么。。。算了。"),
    "dash": answer("这就是家——我的家！！"),
    "one stray": answer("天气好,我们去公园。"),
    "ratio": answer("比分是3:2，时间是12:30。"),
    "csv": Task("把名单写成CSV。", "", "姓名,年龄,城市\n张三,20,北京"),
    "about punctuation": Task("给下面的话加上标点。", "你好", "你好,我,好。。"),
    "about script": Task("把这句话转换成繁体字。", "头发很长", "頭髮很長"),
    "about script 2": Task("“後”的简体字怎么写？", "", "写作“后”。"),
    "sloppy input": given_input("今天,我去了,公园。。很好"),
    "sorry letter": answer("很抱歉让您久等了，我们马上为您补发。"),
    "sorry we": answer("对不起，我不能参加您的婚礼了，祝你们幸福。"),
    "researcher": answer("作为人工智能研究员，我每天都读论文。"),
    "robot": answer("我是一个爱吃甜食的人。"),
    "a GPT table": Task("列出三种分区格式。", "", "MBR、GPT和APM。"),
    "about AI": answer("语言模型是一种计算词语概率的方法。"),
    "cannot later": answer("夜里下起大雨，我无法入睡。"),
    "my cannot": answer("我无法忘记那个夏天。"),
    "dialogue": answer("甲：这不能怪我。\n乙：对不起，我不能原谅你。"),
    "a zero": answer("0"),
    "book of input": answer("《输入法简史》"),
    "bracketed": answer("（一）准备材料；（二）清洗。"),
    "chemistry": answer("三唑仑、噁唑和咪唑。"),
    "shared characters": answer("乾隆皇后在里屋，于是等在后面。"),
    "label words": answer("输入：3\n输出：9"),
}


@pytest.mark.parametrize("task", CLOSE_CALLS.values(), ids=CLOSE_CALLS)
def test_a_close_call_passes(task: Task) -> None:
    assert reason(task) == ""


# ── tidying ──────────────────────────────────────────────────────────────────────────────────


def test_a_traditional_row_becomes_simplified() -> None:
    task = Task("請寫出長江的發源地。", "沒有時間", "青藏高原的唐古拉山。")
    assert ZH.tidy(task) == Task("请写出长江的发源地。", "没有时间", "青藏高原的唐古拉山。")


def test_a_simplified_row_becomes_traditional() -> None:
    task = Task("以后怎样保护头发？", "干净的毛巾", "皇后也会少烫头发。")
    assert ZH_HANT.tidy(task) == Task("以後怎樣保護頭髮？", "乾淨的毛巾", "皇后也會少燙頭髮。")


def test_what_is_already_right_or_mixed_or_about_script_is_left_alone() -> None:
    for task in (
        Task("请写一首诗。", "", "好的。"),
        Task("這個問題很简单。", "", "对。"),
        Task("將「頭髮」寫成簡體字。", "", "头发"),
    ):
        assert ZH.tidy(task) == task
    traditional = Task("請寫一首詩。", "", "好的，皇后。")
    assert ZH_HANT.tidy(traditional) == traditional


@pytest.mark.parametrize(
    "text",
    ["要求GPT模型能够写一首诗。", "请GPT写一首诗。", "让GPT模型写一首诗。", "请让GPT模型写一首诗。",
     "希望GPT能够，写一首诗。", "GPT应该写一首诗。", "训练GPT模型写一首诗。"],
)  # fmt: skip
def test_boilerplate_is_dropped(text: str) -> None:
    assert ZH.tidy(asked(text)).instruction == "写一首诗。"


@pytest.mark.parametrize(
    "text",
    [
        "说说GPT应用的前景。",
        "列出使用GPT模型的优点。",
        "使用GPT模型时要注意什么？",
        "让GPT-3写一首诗。",
    ],
)
def test_what_an_instruction_is_about_is_no_boilerplate(text: str) -> None:
    assert ZH.tidy(asked(text)) == asked(text)
    assert reason(asked(text)) in {"mentions_gpt", "blocked_word"}


def test_opencc_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, selfinstruct.languages; sys.exit('opencc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ── the parser ───────────────────────────────────────────────────────────────────────────────


def read(text: str) -> list[Block]:
    return split_blocks(text, ZH, finish_reason="stop")


ONE, TWO = Task("写一首诗。", "", "好诗。"), Task("概括大意。", "一段话。", "大意。")
REPLIES = {
    "half-width": " 写一首诗。\n4. 输入:\n<无输入>\n4. 输出:\n好诗。\n###\n5. 指令: 概括大意。\n5. 输入:\n一段话。\n5. 输出:\n大意。",
    "full-width": "写一首诗。\n4. 输入：\n<无输入>\n4. 输出：好诗。\n###\n5. 指令：概括大意。\n5. 输入：一段话。\n5. 输出：\n大意。\n###",
    "no separator": "写一首诗。\n4. 输入：无输入\n4. 输出：好诗。\n\n5. 指令：概括大意。\n5. 输入：一段话。\n5. 输出：大意。",
    "numbering slips": "写一首诗。\n4. 输入：<无输入>\n5. 输出：好诗。\n###\n5. 指令：概括大意。\n6. 输入：一段话。\n5. 输出：大意。",
    "full-width digits": "写一首诗。\n４、输入：（无输入）\n４、输出：好诗。\n###\n５、指令：概括大意。\n５、输入：一段话。\n５、输出：大意。",
    "enumeration": "写一首诗。\n4、输入：《无输入》\n4、输出：好诗。\n###\n5、指令：概括大意。\n5、输入：一段话。\n5、输出：大意。",
    "traditional labels": "写一首诗。\n4. 輸入：<無輸入>\n4. 輸出：好诗。\n###\n5. 指令：概括大意。\n5. 輸入：一段话。\n5. 輸出：大意。",
    "bare labels": "写一首诗。\n输入：无\n输出：好诗。\n###\n指令：概括大意。\n输入：一段话。\n输出：大意。",
    "own first label": "好的，以下是任务：\n4. 指令：写一首诗。\n4. 输入：<noinput>\n4. 输出：好诗。\n###\n5. 指令：概括大意。\n5. 输入：一段话。\n5. 输出：大意。",
}


@pytest.mark.parametrize("text", REPLIES.values(), ids=REPLIES)
def test_a_chinese_reply_is_read(text: str) -> None:
    assert read(text) == [Block(ONE), Block(TWO)]


@pytest.mark.parametrize(
    "marker",
    ["<无输入>", "无输入", "（无输入）", "《无输入》", "【无输入】", "<noinput>", "无", "无需输入", "没有输入", "不需要输入",
     "＜无输入＞", "无输入。", "<無輸入>", "[无]", "无需"],
)  # fmt: skip
def test_the_marker_is_read_as_models_write_it(marker: str) -> None:
    assert ZH.no_input_pattern.fullmatch(marker)


@pytest.mark.parametrize(
    "text", ["无锡", "输入", "《输入》", "没有人来", "无输入法", "空山不见人", "不"]
)
def test_a_text_is_no_marker(text: str) -> None:
    assert not ZH.no_input_pattern.fullmatch(text)


# ── for any text ─────────────────────────────────────────────────────────────────────────────

PIECES = st.lists(
    st.sampled_from(
        [*"這这后里干，。,;［］[]（）《》「」…—Ａ１\u3000\n\u2028\u200b\u0301\ud800あ한я🀄", "无输入", "输出：",
         "4. 指令：", "4、输入:", "###", "GPT", "抱歉，", "我无法", "http", "the ", "is ", "```", "$", "繁体"]
    ),
    max_size=12,
).map("".join)  # fmt: skip
TEXTS = st.text(st.characters(), max_size=30) | PIECES


@settings(deadline=None)
@given(TEXTS, TEXTS, TEXTS)
@example("\ud800這", "\udfff", "𠀀\ud83d")
def test_tidy_and_filters_answer_for_any_text(first: str, second: str, third: str) -> None:
    for language in (ZH, ZH_HANT):
        task = language.tidy(Task(first, second, third))
        verdict = apply_filters(task, language)
        assert verdict is None or (verdict.reason and verdict.evidence)
        language.tokenize(first)


@settings(deadline=None)
@given(st.lists(st.tuples(PIECES, PIECES), min_size=1, max_size=4))
def test_a_row_goes_through_the_prompt_and_back(fields: list[tuple[str, str]]) -> None:
    """What escape wrote is read as it was written: no field is cut and none begins a block."""
    tasks = []
    for given_text, output in fields:
        shown = escape(given_text.strip(), ZH).strip()
        if ZH.no_input_pattern.fullmatch(shown):
            shown = ""
        tasks.append(Task("写一首诗。", shown, escape(f"答{output.strip()}完", ZH)))
    text = "\n###\n".join(
        f"{i}. 指令：{t.instruction}\n{i}. 输入：\n{t.input or ZH.no_input}\n{i}. 输出：\n{t.output}"
        for i, t in enumerate(tasks, start=4)
    )
    assert read(f"{text}\n###") == [Block(task) for task in tasks]


ENDLESS = ["抱歉，" * 20_000, "（" * 50_000, "[插入" * 20_000, "请提供" * 20_000, "中,文" * 20_000, "我是" * 30_000,
           "```" * 20_000 + "`", "$" * 50_000 + "x", "a@" * 30_000, "我是一个由" * 10_000, "無" * 50_000]  # fmt: skip
JUDGE = """
import sys
from selfinstruct.filters import apply_filters
from selfinstruct.languages import get_language
from selfinstruct.records import Seed, Task
zh, text = get_language("zh"), sys.stdin.read()
for task in (Task(text, "b", "c"), Task("写一首诗", text, "c"), Task("写一首诗", "b", text)):
    apply_filters(zh.tidy(task), zh, {"instruction_length"})
    zh.no_input_pattern.fullmatch(text)
"""


@pytest.mark.parametrize("text", ENDLESS, ids=range(len(ENDLESS)))
def test_no_rule_is_held_up_by_a_repetitive_text(text: str) -> None:
    subprocess.run([sys.executable, "-c", JUDGE], input=text, text=True, check=True, timeout=20)


def test_both_languages_are_entered() -> None:
    assert LANGUAGES["zh"] is ZH
    assert LANGUAGES["zh-hant"] is ZH_HANT
    assert ZH.assets == ZH_HANT.assets == "zh"
