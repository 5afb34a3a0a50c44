"""Chinese: `ZH` in simplified script, `ZH_HANT` in traditional script, from the same seeds.

Enters: nothing. Leaves: the two languages. Knows no other language's rules; its checks are in
zh_checks.py.

Labels, marker, length limits, word list and boilerplate are those of BELLE (LianjiaTech/BELLE,
1.5M/generate_instruction.py). BELLE sets no limit where there is no input; here it is the longer of
its two. Refusals, placeholders and the checks of script, language and punctuation are ours. Other
labels (问题, 回答) are not read: at a line's start they are too often part of a text.

>>> ZH.tokenize("用Python 3算出２的10次方。")
['用', 'python', '3', '算', '出', '2', '的', '10', '次', '方']
>>> ZH.blocked.search("请描述这张图片").group()
'图片'
>>> ZH_HANT.tidy(Task("写出长江的发源地。", "", "青藏高原的唐古拉山。")).instruction
'寫出長江的發源地。'
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from selfinstruct.languages.language import Language
from selfinstruct.languages.zh_checks import (
    BLOCKED,
    HAN,
    blocked_word,
    either_script,
    mentions_gpt,
    mixed_script,
    punctuation,
    tidy_hans,
    tidy_hant,
    wrong_language,
)
from selfinstruct.languages.zh_marks import ZH_MARKS
from selfinstruct.records import Task

_TOKEN = re.compile(rf"[a-z0-9]+|[{HAN}]")
_OPEN = r"[<＜\[［(（【《〈「{\"'“‘`*]*"
_CLOSE = r"[>＞\]］)）】》〉」}\"'”’`*]*[。.]?"


def tokenize(text: str) -> list[str]:
    """NFKC, lower case; one token per ideograph, one per run of [a-z0-9].

    >>> tokenize("𠮷野家，Café")
    ['𠮷', '野', '家', 'caf']
    """
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def characters(text: str) -> int:
    """Number of characters, punctuation included, as BELLE counts.

    >>> characters("三原色是什么？")
    7
    """
    return len(text)


def limits(task: Task) -> tuple[int, int]:
    """BELLE rejects ≤ 3; with an input also ≥ 100, or ≥ 150 if the instruction gives an example.

    >>> limits(Task("改写句子。", "雨很大。", "…"))
    (4, 99)
    >>> limits(Task("仿照示例改写句子。", "雨很大。", "…"))
    (4, 149)
    """
    example = "示例" in task.instruction or "例子" in task.instruction
    return 4, 99 if task.input and not example else 149


_AI = (
    r"(?:人工智能|(?<![a-z])AI|GPT|大型?(?:语言)?模型|语言模型|聊天机器人|虚拟助手|智能助手"
    r"|虚拟助理)"
)
_KIND = r"\s?(?:大型)?(?:语言|对话|聊天)?(?:模型|助手|助理|程序|系统|机器人)?"
_SORRY = (
    r"^[“\"「]?(?:我)?(?:真的|真|很|非常|十分|实在|万分)?(?:是)?(?:抱歉|对不起|不好意思|遗憾)"
    r"[，,。.！!：:；;\s]{0,3}(?:但是|但|不过|可是)?[，,\s]{0,2}"
)
_CANNOT = r"(?:无法|不能够?|没法|没有?办法|没有能力|没有权限|不具备|不会)"

_ZH = Language(
    code="zh",
    assets="zh",
    dataset="belle",
    tasks=7,
    instruction=("指令",),
    input=("输入", "輸入"),
    output=("输出", "輸出"),
    no_input="<无输入>",
    no_input_pattern=re.compile(
        rf"{_OPEN}\s*(?:(?:[无無]|[没沒]有|不)(?:需要?|任何)?[输輸]入(?:[内內]容)?"
        rf"|[无無]需?|[没沒]有|no[ _-]?input)\s*{_CLOSE}",
        re.IGNORECASE,
    ),
    tokenize=tokenize,
    length=characters,
    unit="characters",
    limits=limits,
    blocked=BLOCKED,
    # BELLE blocks no opening.
    blocked_openings=(),
    opening=re.compile(r"[^\W_]|[-+]\d|[《〈“‘\"'「『]"),
    refusals=re.compile(
        either_script(
            # 作为一个人工智能语言模型，我…; not 作为人工智能研究员，我…
            rf"(?:作为|身为)(?:一个|一名|一款|一种)?\s?{_AI}{_KIND}[，,]?\s?(?:我|本人|{_CANNOT})"
            rf"|我(?:只|仅仅?)?是(?:一个|一名|一款)?(?:由[^，。\n]{{1,12}}的)?\s?{_AI}{_KIND}"
            r"(?:[，,。；;！!\n]|$)"
            rf"|{_SORRY}(?:我|本人|AI|GPT)(?:们)?(?:目前|现在|暂时|可能|并|还|真的|实在)?{_CANNOT}"
            # What people cannot, in a letter or a dialogue.
            r"(?!参加|出席|到场|前来|前往|赴|陪|来|去|同意|接受|答应|借|再|及时|按时|准时|继续|支付|原谅)"
            rf"|{_SORRY}(?:作为|由于|因为|根据)[^。\n]{{0,40}}(?:我|模型){_CANNOT}"
            rf"|{_SORRY}(?:该|此|这个?|这项|本)(?:任务|问题|请求|指令|输入|指示)"
            r"[^。\n]{0,40}(?:模型|涉及|需要|超出|无法|不能|不可能)"
            r"|^我(?:们)?(?:目前|现在|暂时)?(?:无法|不能|没有能力|没有权限)"
            r"(?:直接|为您|为你|帮您|帮你|给出|给您|给你)?"
            r"(?:提供|回答|完成|访问|生成|协助|执行|查看|打开|浏览|处理|创建|满足|写|画|绘制)"
            r"|^(?:无法|不能)(?:完成|回答|执行|处理)(?:此|该|这个?|您的|你的)(?:任务|问题|请求|指令)"
            # 请提供需要翻译的文本。
            r"|^请(?:您|你)?(?:先)?(?:提供|输入|给出|补充)(?:需要|要|想要|待|具体|完整|更多)[^。\n]{0,20}"
            r"(?:文本|文章|句子|段落|内容|信息|文字|材料|输入)[，,。！!]?"
            r"(?:以便我?[^。\n]{0,20}|我(?:才|就)?能[^。\n]{0,20})?[。！!]?$"
        ),
        re.IGNORECASE,
    ),
    placeholders=re.compile(
        either_script(
            # 无输出, <无输出>, [无答案], 待补充, （此处省略）, N/A, XXX, ……
            rf"{_OPEN}\s*(?:(?:无|没有|不需要|无需)(?:任何)?(?:输出|答案|回答|回复)(?:内容)?"
            r"|待(?:补充|填写|填|完善|续)|(?:此处|以下|内容|下文|后文|正文)?(?:从略|省略|略)"
            r"|(?:此处|这里)(?:填写|插入|输入)[^\n]{0,20}"
            r"|不适用|n/?a|tbd|todo|no[ _-]?(?:output|input|answer)|x{3,}|×{3,}|…+|\.{3,}|。{2,})"
            rf"\s*{_CLOSE}"
            # ［在此处插入文章］, [插入文本], （请粘贴文章）, 【附件】, [文章内容], <链接>
            r"|[<＜\[［(（【]\s*(?:"
            r"(?:请)?(?:在此处?|在这里|此处|这里)?(?:插入|填写|填入|粘贴|上传|附上|输入|添加)"
            r"[^\]］>＞)）】\n]{0,60}"
            r"|[^\]］>＞)）】\n]{0,60}(?:在此处|放在这里|见附件|已附上|此处省略|待补充)"
            r"|(?:原文|文章|文本|段落|句子|图片|图像|内容|正文|输入|输出|链接|网址|附件|故事|新闻|数据)"
            r"(?:的)?(?:内容|文本|正文|链接)?"
            r")\s*[>＞\]］)）】][。.]?"
        ),
        re.IGNORECASE,
    ),
    no_values=re.compile(
        rf"{_OPEN}(?:[无無](?:需|[内內]容)?|[没沒]有|[暂暫][无無]|空|空白|不[适適]用"
        rf"|none|null|nil|empty|blank|n/?a)?{_CLOSE}",
        re.IGNORECASE,
    ),
    tidy=tidy_hans,
    checks={
        "blocked_word": blocked_word,
        "mentions_gpt": mentions_gpt,
        "mixed_script": mixed_script,
        "wrong_language": wrong_language,
        "punctuation": punctuation,
    },
    marks=ZH_MARKS,
)

ZH = _ZH
ZH_HANT = replace(_ZH, code="zh-hant", tidy=tidy_hant)
