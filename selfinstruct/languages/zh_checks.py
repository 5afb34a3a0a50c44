"""What is done to a Chinese task, and asked of it, beside the common filters.

Enters: a Task. Leaves: the tidied Task, or a Verdict. Knows no recipe, file or other language.

Scripts are told apart by two old character sets: a character belongs to simplified script alone if
OpenCC has a traditional form of it and Big5 (code page 950) lacks it, to traditional script alone
if OpenCC has a simplified form of it and GB 2312 lacks it. 后, 里, 乾 and 於 are in both sets and
so belong to neither script. OpenCC (BYVoid/OpenCC) is loaded at the first row that needs it.

The boilerplate and the word list are BELLE's (LianjiaTech/BELLE, 1.5M/generate_instruction.py),
which looks for the words in the whole block; letters are folded here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from selfinstruct.records import Task, Verdict

# Ideographs: 〇々, extension A, the first block, compatibility forms, extensions B and later.
HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3041-\u3096\u30a1-\u30fa"

# Simplified → traditional, for the characters of the patterns below and in zh.py.
_FORMS = dict(
    zip(
        "万个为于仅从们会传体内写准则创办务协单参双号图场处备复够实对层帮并应开执拟据数无时暂机权来标没浏满点状现画码种线绘给统继续缀编缩网脚腊虚补见览访词译话询该语请谅贴转输达过还这适遗里链问闻韩页项题饼",
        "萬個爲於僅從們會傳體內寫準則創辦務協單參雙號圖場處備復夠實對層幫並應開執擬據數無時暫機權來標沒瀏滿點狀現畫碼種線繪給統繼續綴編縮網腳臘虛補見覽訪詞譯話詢該語請諒貼轉輸達過還這適遺裏鏈問聞韓頁項題餅",
        strict=True,
    )
)


def either_script(pattern: str) -> str:
    """A pattern in simplified characters, outside of sets, as one that matches both scripts.

    >>> either_script("语言模型")
    '[语語]言模型'
    """
    return "".join(f"[{char}{_FORMS[char]}]" if char in _FORMS else char for char in pattern)


BLOCKED = re.compile(
    either_script(
        "图像|图片|照片|文件|檔案|图表|图层|曲线图|折线图|直线图|柱形图|饼状图|链接|連結|http"
        "|openai|chatgpt|gpt-?[34]"
    ),
    re.IGNORECASE,
)

# ── script ───────────────────────────────────────────────────────────────────────────────────

_SURROGATES = re.compile("([\ud800-\udfff]+)")
_ABOUT_SCRIPT = re.compile(
    "[简簡][体體繁]|繁[体體简簡]|正[体體]字|[异異][体體]字|[简簡]化字|[汉漢]字.{0,4}[写寫]法"
)
_JAPANESE = re.compile(f"[{_KANA}]")


@lru_cache
def _converter(config: str) -> Callable[[str], str]:
    import opencc

    convert: Callable[[str], str] = opencc.OpenCC(config).convert

    def without_surrogates(text: str) -> str:
        # OpenCC speaks UTF-8, which has no lone surrogates.
        parts = _SURROGATES.split(text)
        return "".join(part if i % 2 else convert(part) for i, part in enumerate(parts))

    return without_surrogates


def _encodable(char: str, charset: str) -> bool:
    try:
        char.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


@lru_cache
def _scripts() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Patterns of the characters of simplified script alone and of traditional script alone."""
    chars = [chr(code) for code in (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000))]

    def only(config: str, other: str) -> set[str]:
        converted = _converter(config)("\n".join(chars)).split("\n")
        return {
            char
            for char, form in zip(chars, converted, strict=True)
            if form != char and not _encodable(char, other)
        }

    hans, hant = only("s2t", "cp950"), only("t2s", "gb2312")
    # A few variants go either way; chemists write 噁 in both scripts.
    unclear = (hans & hant) | {"噁"}
    return tuple(  # type: ignore[return-value]
        re.compile(f"[{''.join(sorted(found - unclear))}]") for found in (hans, hant)
    )


def dominant_script(text: str) -> str:
    """ "hans" or "hant", whichever has more characters of its own in the text, "" for neither.

    >>> dominant_script("天是蓝的。"), dominant_script("天是藍的。"), dominant_script("山")
    ('hans', 'hant', '')
    """
    simplified, traditional = (len(pattern.findall(text)) for pattern in _scripts())
    if simplified == traditional:
        return ""
    return "hans" if simplified > traditional else "hant"


def _fields(task: Task) -> list[str]:
    return [task.instruction, task.input, task.output]


def _found(pattern: re.Pattern[str], task: Task) -> str:
    """The first character of one script in a field that is not Japanese, or ""."""
    for text in _fields(task):
        match = pattern.search(text)
        if match and not _JAPANESE.search(text):
            return match.group()
    return ""


def _about_script(task: Task) -> bool:
    return any(_ABOUT_SCRIPT.search(text) for text in _fields(task))


def _converted(task: Task, config: str) -> Task:
    convert = _converter(config)
    return Task(
        *(text if _JAPANESE.search(text) else convert(text) for text in _fields(task)),
    )


def tidy_hans(task: Task) -> Task:
    """Drops boilerplate; writes a row that is wholly in traditional script in simplified script.

    >>> tidy_hans(Task("請GPT模型寫出長江的發源地。", "", "唐古拉山。")).instruction
    '写出长江的发源地。'
    """
    task = without_boilerplate(task)
    simplified, traditional = _scripts()
    if _found(traditional, task) and not _found(simplified, task) and not _about_script(task):
        return _converted(task, "t2s")
    return task


def tidy_hant(task: Task) -> Task:
    """Drops boilerplate; writes a row with nothing traditional in it in traditional script.

    >>> tidy_hant(Task("以后怎样保护头发？", "", "少烫少染。")).instruction
    '以後怎樣保護頭髮？'
    """
    task = without_boilerplate(task)
    _, traditional = _scripts()
    if not _found(traditional, task) and not _about_script(task):
        return _converted(task, "s2t")
    return task


def mixed_script(task: Task) -> Verdict | None:
    """Rejects a row with characters of both scripts, unless it is about them.

    >>> mixed_script(Task("三原色是什么？", "", "紅、黄、藍。")).evidence
    "'黄' beside '紅'"
    """
    simplified, traditional = _scripts()
    one, other = _found(simplified, task), _found(traditional, task)
    if one and other and not _about_script(task):
        return Verdict("mixed_script", f"{one!r} beside {other!r}")
    return None


# ── BELLE's words ────────────────────────────────────────────────────────────────────────────

# BELLE cuts it out anywhere, which makes 列出使用GPT模型的优点 into 列出的优点: here only at the
# beginning of a clause that goes on with what is to be done. What stays is rejected below.
_BOILERPLATE = re.compile(
    r"(?:^|(?<=[，,。；;：:]))\s*(?:"
    r"(?:以便|使得|要求|请求|请向|请让|希望|需要|训练|使用|[請请讓让使由])\s?GPT\s?+(?:模型)?+\s?+"
    r"(?:能[够夠]|[应應](?!用)[该該]?|需要|回答)?+"
    r"|GPT\s?+(?:模型)?+\s?+(?:[应應](?!用)[该該]?+|需要)"
    r")(?![-的时時来來是\d]|语言|語言|助手)"
)


def without_boilerplate(task: Task) -> Task:
    """The task without 要求GPT模型能够 and the like in its instruction.

    >>> without_boilerplate(Task("要求GPT模型能够写一首诗。", "", "…")).instruction
    '写一首诗。'
    """
    instruction, count = _BOILERPLATE.subn("", task.instruction)
    if not count:
        return task
    return Task(instruction.lstrip(" ，,：:"), task.input, task.output)


def blocked_word(task: Task) -> Verdict | None:
    """Rejects a blocked word in the input or output; the common filter reads the instruction.

    >>> blocked_word(Task("写一条通知。", "", "请各位查收文件。")).evidence
    "output has '文件'"
    """
    for name in ("input", "output"):
        match = BLOCKED.search(getattr(task, name))
        if match:
            return Verdict("blocked_word", f"{name} has {match.group()!r}")
    return None


def mentions_gpt(task: Task) -> Verdict | None:
    """Rejects what is left of GPT in the instruction or input.

    >>> mentions_gpt(Task("GPT 是什么的缩写？", "", "…")).evidence
    'instruction'
    """
    for name in ("instruction", "input"):
        if "gpt" in getattr(task, name).lower():
            return Verdict("mentions_gpt", name)
    return None


# ── language ─────────────────────────────────────────────────────────────────────────────────

_CODE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]{1,300}`|\$\$.{1,500}?\$\$|\$[^$\n]{1,200}\$"
    r"|(?:https?://|www\.)[\x21-\x7e]+|[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{1,64}",
    re.DOTALL,
)
# One of these is in all that the pattern matches.
_CODE_SIGNS = ("`", "$", "@", "://", "www.")
_HAN = re.compile(f"[{HAN}]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
# What a sentence has and a list of names or titles has not: English, Spanish, French, German.
_LITTLE = re.compile(
    r"\b(?:the|of|and|is|are|was|were|to|in|that|it|for|with|you|your|be|as|on|can|this|by"
    r"|el|los|las|que|en|es|un|una|por|le|les|des|et|est|une|du|der|die|das|und|ist|ein|eine)\b"
)
_ASKS_FOREIGN = re.compile(
    either_script(
        "译|翻成|双语|外语|语言|语种|(?:英|日|法|德|俄|韩|意|西|葡|泰|越|拉)(?:文|语)|意大利|阿拉伯"
        "|拉丁|希腊|单词|拼音|缩写|音标|字母|大写|小写|词根|前缀|后缀|介词|冠词|元音|字符|密码|密文|域名"
        "|代码|代碼|程序|编程|脚本|函数|查询|语句|正则|表达式|公式|方程|命令|算法|网页|数据框|反转"
        "|Python|SQL|Java|HTML|CSS|JSON|XML|LaTeX|English"
    ),
    re.IGNORECASE,
)
_CODE_LIKE = re.compile(
    r"[{}<>=;\\]|^[^\S\n]*(?:def|import|from|for|SELECT|class) |\w\(", re.MULTILINE
)
# Fewer words are a name.
_WORDS = 4


def _without_code(text: str) -> str:
    """The text with blanks for its code, formulas and addresses."""
    return _CODE.sub(" ", text) if any(sign in text for sign in _CODE_SIGNS) else text


def _foreign(text: str) -> str:
    """Evidence that a text is mostly sentences of another language, or ""."""
    text = _without_code(text)
    han = len(_HAN.findall(text))
    # A word is two letters and what ends it: there are too few for more than two an ideograph.
    if 6 * han > len(text) and not _JAPANESE.search(text):
        return ""
    found = _WORD.findall(_HAN.sub(" ", text))
    other = sum(not _LATIN.match(word) for word in found)
    # Japanese has ideographs and few blanks: its kana are counted.
    words = len(found) + 2 * len(_JAPANESE.findall(text))
    little = len({match.group() for match in _LITTLE.finditer(text)})
    # A sentence has more ideographs than its translation has words.
    if words > 2 * han and words >= _WORDS and (little >= 2 or 2 * other > len(found)):
        return f"{han} ideographs, {words} other words"
    return ""


def wrong_language(task: Task) -> Verdict | None:
    """Rejects an instruction or output that is mostly not Chinese, code and formulas left aside.

    An output may be if the instruction speaks of a language, of letters or of code, or if the
    input is not Chinese either. Lists of foreign names and titles are left alone.

    >>> wrong_language(Task("三原色是什么？", "", "They are red, yellow and blue.")).evidence
    'output: 0 ideographs, 6 other words'
    """
    if evidence := _foreign(task.instruction):
        return Verdict("wrong_language", f"instruction: {evidence}")
    if _ASKS_FOREIGN.search(task.instruction) or _CODE_LIKE.search(task.output):
        return None
    if (evidence := _foreign(task.output)) and not _foreign(task.input):
        return Verdict("wrong_language", f"output: {evidence}")
    return None


# ── punctuation ──────────────────────────────────────────────────────────────────────────────

_HALF_WIDTH = re.compile(f"(?<=[{HAN}])[,;?!:.](?= ?[{HAN}])")
_FULL_WIDTH = re.compile("[０-９Ａ-Ｚａ-ｚ]+")
# Three full stops are an ellipsis, if not a good one.
_DOUBLED = re.compile("(?<!。)。。(?!。)|[，、；]{2}|[，、；]。|。[，、；]")
_ABOUT_PUNCTUATION = re.compile(
    either_script("标点|全角|半角|全形|半形|逗号|句号|省略号|分号|冒号|CSV|csv|逗點")
)
# One may be a slip of a good answer.
_STRAY = 1


def punctuation(task: Task) -> Verdict | None:
    """Rejects 中文,中文 more than once in a field, full-width letters or digits, and 。， or ，，.

    Inputs are not judged: what people write is to be corrected. Nor is code.

    >>> punctuation(Task("三原色是什么？", "", "红,黄,蓝。")).evidence
    "output has ',' between ideographs 2 times"
    """
    if _ABOUT_PUNCTUATION.search(task.instruction):
        return None
    for name in ("instruction", "output"):
        text = _without_code(getattr(task, name))
        half = _HALF_WIDTH.findall(text)
        if len(half) > _STRAY and not _CODE_LIKE.search(text.replace(";", "")):
            evidence = f"{name} has {half[0]!r} between ideographs {len(half)} times"
            return Verdict("punctuation", evidence)
        match = _FULL_WIDTH.search(text) or _DOUBLED.search(text)
        if match:
            return Verdict("punctuation", f"{name} has {match.group()!r}")
    return None
