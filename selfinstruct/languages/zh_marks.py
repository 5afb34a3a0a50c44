"""Chinese words for the cleaning of files, in either script. See marks.py.

Enters: nothing. Leaves: `ZH_MARKS`.

>>> ZH_MARKS.attachment.fullmatch("[声音文件]") is not None
True
>>> ZH_MARKS.attachment.fullmatch("[苹果, 香蕉]") is None
True
"""

from __future__ import annotations

import re

from selfinstruct.languages.en_marks import EN_MARKS
from selfinstruct.languages.marks import Marks

_SUFFIX = r"[^\s\[\]<>()（）：:]{1,60}\.(?:pdf|jpe?g|png|gif|bmp|svg|docx?|txt|csv|xlsx?|pptx?|mp[34]|wav|mov|zip)"
_THING = (
    r"(?:[数數][据據]集|[数數][据據]表|[电電]子表格|表格|文件|文[档檔]|[图圖]片|[图圖]像|照片|相片|[绘繪][图圖]"
    r"|[图圖]表|[图圖]形|插[图圖]|海[报報]|[标標][志誌]|徽[标標]|音[频頻]|[视視][频頻]|影片|[录錄]音|歌曲|附件"
    r"|截[图圖]|漫[画畫]|油?[画畫]作?)"
)

ZH_MARKS = Marks(
    attachment=re.compile(
        rf"[<＜\[［(（【{{]\s*(?:[^\]］>＞)）】}}\n，,。：:]{{0,30}}{_THING}|[^\]］>＞)）】}}\n]{{0,30}}附件[^\]］>＞)）】}}\n]{{0,30}}"
        rf"|{_SUFFIX})\s*[>＞\]］)）】}}][。.]?"
        # Markers are left in English.
        rf"|{EN_MARKS.attachment.pattern}"
        rf"|(?:[请請]?[参參见見查看]{{1,2}})?附件(?:中的?{_THING})?[。.]?"
        rf"|(?:(?:附件|文件|[图圖]片|照片|[视視][频頻]|音[频頻])(?:名)?\s*[:：]\s*){_SUFFIX}[。.]?",
        re.IGNORECASE,
    ),
    about_links=re.compile(
        r"文件名|檔案名|API|请求|請求|GitHub|链接|鏈接|連結|[网網]址|[网網]域|域名|URL|引用|[参參]考文[献獻]|APA|MLA|抓取|爬|下[载載]|代[码碼]|程序|程式|[脚腳]本|函[数數]|Python|HTML|正[则則]|解析|[编編][码碼]|替[换換]|重定向",
        re.IGNORECASE,
    ),
    declines=re.compile(
        r"^(?:抱歉|[对對]不起|很?[遗遺]憾)[，,。！!]?\s?(?:[该該]|此|[这這][个個项項]?|本)(?:任[务務]|[请請]求|指令|[问問][题題])"
        r"|^(?:[该該]|此|[这這][个個项項]?|本)(?:任[务務]|[请請]求|指令)(?:[无無]法|不能)(?:由|被|完成|[执執]行)"
        r"|^[无無]法(?:完成|[执執]行|[处處]理|生成|[创創]建|提供|回答)(?:此|[该該]|[这這])"
        r"|^(?:不可能|[没沒]有[办辦]法)(?:完成|[执執]行)"
        r"|^(?:[无無][输輸]出|不[适適]用)[，,。][^\n]{0,40}(?:[无無]法|不能)"
        r"|[无無]法由(?:GPT|AI|[语語]言模型|模型)(?:完成|生成|[执執]行|[创創]建)"
        r"|^<?no ?output\b[^\n]{1,3}\s?[^\n]{0,40}(?:[无無]法|不能)"
        r"|^看起[来來](?:您|你)(?:[没沒]有|[还還]?未|忘了|似乎)[^\n]{0,30}",
        re.IGNORECASE,
    ),
    task_labels=("指令", "说明", "說明", "指示", "任务", "任務", "Instruction"),
    answer_labels=("输出", "輸出", "回答", "答案", "Output", "Response"),
    about_tasks=re.compile(
        r"指令|指示|任[务務]|提示|[输輸]入|[输輸]出|例|[问問]|[题題]|[测測][验驗试試]|笑[话話]|[谜謎]|[对對][话話]|[会會][话話]|采[访訪]|採訪|聊天|[脚腳腳]本|模板|代[码碼]|程序|程式|函[数數]|算法|演算法|食[谱譜]|故事|卡|[练練][习習]|[说說]明|FAQ",
        re.IGNORECASE,
    ),
    dangling=re.compile(
        r"(?:[，、：；,（(“‘「《]|和|与|與|以及|因[为為]|[并並]且|或者|包括|例如|比如|是一[个個种種])$"
    ),
    announcing=re.compile(r"(?:如下|以下|下面|下列|包括|例如|分[别別][为為是])[^\n。]{0,20}[:：]$"),
    about_words=re.compile(
        r"[词詞字]|[标標][点點题題]|[诗詩]|歌|[续續][写寫]|[补補]全|完成|填|[开開][头頭场場]|表[单單]|[调調]查|[问問]卷|模板|代[码碼]|程序|程式|函[数數]|排序|提取|[称稱]呼|[问問]候|俳句|SQL|[邮郵]件|信",
        re.IGNORECASE,
    ),
    about_repeats=re.compile(
        r"歌|[诗詩]|曲|[说說]唱|[韵韻]|旋律|[节節]拍|[节節]奏|音[乐樂]|重[复複復]|循[环環]|表格|乘法表|矩[阵陣]|[网網]格|棋|模式|序列|代[码碼]|程序|程式|函[数數]|[脚腳]本|HTML|CSS|JSON|XML|SQL|[编編][码碼]|[压壓][缩縮]|加密|二[进進]|向量|[祷禱]|口[号號]|[绕繞]口令|[谱譜]",
        re.IGNORECASE,
    ),
    about_markup=re.compile(
        r"HTML|CSS|XML|[网網][页頁站]|[标標][记記签籤]|LaTeX|公式|方程|代[码碼]|程序|程式|[编編]程|[脚腳]本|函[数數]|正[则則]|[转轉][义義]|[编編][码碼]|JSON|YAML|SQL|查[询詢]|Python|Java|C\+\+|字符|字元|格式|[语語]法|解析|模板|[邮郵]件|[数數][学學]|[链鏈]接|[应應]用|元素|[软軟]件|[粗斜][体體]|粗|[划劃下]底?[线線]|表|[图圖]",
        re.IGNORECASE,
    ),
)
