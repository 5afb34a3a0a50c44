"""English words for the cleaning of files. See marks.py.

Enters: nothing. Leaves: `EN_MARKS`. Written from the defects of the 52,002 published Alpaca rows
and from what later models are known to write.

>>> EN_MARKS.attachment.fullmatch("Attachment: report.pdf") is not None
True
>>> EN_MARKS.attachment.fullmatch("[apple, banana]") is None
True
"""

from __future__ import annotations

import re

from selfinstruct.languages.marks import Marks

_SUFFIX = (
    r"[\w()+-]{1,60}\.(?:pdf|jpe?g|png|gif|bmp|svg|docx?|txt|csv|xlsx?|pptx?|mp[34]|wav|mov|zip)"
)
# A name alone: of what is looked at or listened to.
_SEEN = r"[\w()+-]{1,60}\.(?:pdf|jpe?g|png|gif|bmp|mp[34]|wav|mov)"
_THING = (
    r"(?:(?:data ?set|data ?sheet|spread ?sheet|excel ?sheet|excel(?: file)?|file|document|image"
    r"|picture|photo(?:graph)?|pic|drawing|painting|sketch|logo|audio|video|recording|clip"
    r"|sound(?: file| clip)?|song|diagram|chart|graph|infographic|screenshot|article|essay|report"
    r"|poster|illustration|animation|meme)s?)"
)
_OF = r"(?:\s+(?:of|showing|with|about|containing|depicting|from|for|to|in)\b[^\])>}\n]{0,200})?"
_ADJECTIVES = r"(?:an?\s+|the\s+|your\s+|some\s+)?(?:[\w-]+\s+){0,3}?"

EN_MARKS = Marks(
    attachment=re.compile(
        # "[attached file]", "(Attach a photo)", "<Audio of two people>", "[flag.jpg]"
        rf"[\[(<{{]\s*(?:(?:please\s+)?(?:see\s+)?attach(?:ed|ment)?s?\b[^\])>}}\n]{{0,80}}"
        rf"|{_ADJECTIVES}{_THING}{_OF}|{_SUFFIX})\s*[\])>}}]\.?"
        # "Attached photo", "See the attached file.", "Attachment: report.pdf", "report.pdf"
        r"|(?:please\s+)?(?:see|refer to|find|check)?\s*(?:the\s+)?attach(?:ed|ment)\b"
        r"[^\n.]{0,40}\.?"
        rf"|(?:(?:see\s+)?(?:the\s+)?(?:attach(?:ed|ment)|file|image|photo|picture|audio|video|document)"
        rf"s?(?:\s+(?:file|name))?\s*:\s*)\"?{_SUFFIX}\"?\.?|{_SEEN}",
        re.IGNORECASE,
    ),
    about_links=re.compile(
        r"\b(?:urls?|uri|apis?|github|links?|hyper ?links?|domains?|web ?address(?:es)?"
        r"|cit(?:e|es|ation|ing)|reference|bibliograph\w+|apa|mla|scrap\w+|crawl\w*|download\w*|fetch\w*|regex\w*"
        r"|regular expression|code|program|script|function|html|css|python|java\w*|curl|http\w*"
        r"|parse|notebook|file ?names?|redirect\w*|shorten\w*|replace|validate|encode|decode)\b",
        re.IGNORECASE,
    ),
    declines=re.compile(
        r"^(?:sorry|unfortunately|i apologi[sz]e|i['’]m sorry|i am sorry"
        r"|apologies)\b[^\n]{0,60}?\b(?:this|the) (?:task|request|instruction|question)\b"
        r"|^(?:this|the) (?:task|instruction|request) (?:cannot|can['’]t|can not|is not able to"
        r"|is (?:im|not )possible|is beyond|is outside|is not suitable)|^(?:unable|not able"
        r"|not possible) to (?:perform|complete|generate|create|answer|provide|fulfil+|process)\b"
        r"|^(?:no output|none|n/a)\b[^\n]{1,60}\b(?:cannot|can['’]t|unable|not able|requires)\b"
        r"|^[^\n]{0,60}\b(?:cannot|can['’]t|can not) be (?:generated|completed|performed|created"
        r"|done|executed|answered) by (?:the|a|an|this) (?:gpt|ai|language|model)|^i(?:['’]m"
        r"| am)? (?:can ?not|can['’]t|unable to|not able to|do not have the ability to"
        r"|don['’]t have (?:the ability|access)|do not have access) ?(?:to )?(?:set (?:up )?an? "
        r"|turn |order |buy |purchase |send |call |book |schedule |make a (?:call|reservation)"
        r"|execute |perform this|draw |process (?:the|this)|determine|identify the (?:image"
        r"|picture|photo)|see (?:any|the)|find the (?:file|attachment|link))|^(?:please"
        r"|could you(?: please)?|can you(?: please)?) (?:provide|share|paste|upload|attach"
        r"|specify|give)(?: me)?(?: with)? (?:the|an?|your|more|some)\b[^\n]{0,60}\b(?:text|input"
        r"|article|sentence|paragraph|passage|context|information|details|file|image|data"
        r"|document|code|list)\b[^\n]{0,80}$|^(?:it (?:looks|seems) like"
        r"|it appears(?: that)?) (?:you|your|the|there)\b[^\n]{0,60}\b(?:didn['’]t|did not"
        r"|haven['’]t|have not|missing|no (?:text|input|file|image|attachment)"
        r"|incomplete|cut off)\b",
        re.IGNORECASE,
    ),
    about_tasks=re.compile(
        r"\b(?:instructions?|tasks?|prompts?|inputs?|outputs?|examples?|questions?|quiz|quizz\w+"
        r"|faqs?|q ?& ?a|q and a|jokes?|riddles?|trivia|dialog(?:ue)?s?|conversations?"
        r"|interviews?|chat\w*|scripts?|scenes?|tests?|exams?|worksheets?|exercises?|templates?"
        r"|transcripts?|riddle|play"
        r"|recipes?|data ?sets?|test cases?|code|programs?|functions?|algorithms?|story"
        r"|flash ?cards?)\b",
        re.IGNORECASE,
    ),
    dangling=re.compile(
        r"\b(?:the|an|and|or|number of|amount of|of the|of an?|equal to|from \d+ to|because|its"
        r"|their|our|your|whose|whether|although|than|such as|as well as|due to|in order to"
        r"|according to|is a|are a|was a|be a|as a|of a|in a|with a|for a|to a|by a|include"
        r"|includes|including)$"
    ),
    announcing=re.compile(
        r"(?:\b(?:following|as follows|below|such as|including|includes?|namely|here (?:is|are)\b"
        r"[^.:]{0,60}|these (?:are|steps|include)[^.:]{0,40}))\s*:$",
        re.IGNORECASE,
    ),
    about_words=re.compile(
        r"\b(?:words?|letters?|articles?|prepositions?|conjunctions?|pronouns?|alphabet\w*"
        r"|tokens?|rhym\w+|haikus?|poems?|lyrics|songs?|finish|begin\w*|start\w*|opening"
        r"|prefix\w*|stem|complete|completion|continue|fill|blank|prompt|sentences? starter"
        r"|part[- ]of[- ]speech|pseudo ?code|code|program|function|script|sort|arrange|extract"
        r"|parse|list the|template"
        r"|form|survey|header|label|heading|title|anagram|cryptic|unscramble)\b",
        re.IGNORECASE,
    ),
    about_repeats=re.compile(
        r"\b(?:songs?|lyrics?|chorus|verses?|poems?|poetry|rap|raps|rhymes?|hymns?|chants?|jingles?"
        r"|carols?|ballads?|anthems?|melod\w+|tunes?|beats?|rhythms?|music\w*|tabs?|chords?|refrain"
        r"|mantras?|prayers?|nursery|limericks?|repeat\w*|repetit\w+|loops?|tables?|matri(?:x|ces)"
        r"|grids?|boards?|ascii|patterns?|sequences?|multiplication|code|programs?|functions?"
        r"|scripts?|html|css|json|xml|sql|csv|encod\w+|compress\w*|encrypt\w*|binary|vectors?"
        r"|tongue twisters?|maze|onomatopoe\w+|alliteration|anaphora|echo|drills?|laughter)\b",
        re.IGNORECASE,
    ),
    about_markup=re.compile(
        r"\b(?:x?html5?|css|xml|web ?(?:page|site)s?|web ?app\w*|home ?pages?|landing pages?"
        r"|mark(?:up|down)|tags?|elements?|latex|tex|formulas?|equations?|code|codes|coding"
        r"|programs?|programming|scripts?|functions?|regex\w*|regular expressions?|escape\w*"
        r"|encod\w+|decod\w+|json|yaml|csv|sql|query|python|java\w*|php|ruby|bash|shell|c\+\+|c#"
        r"|perl|r|strings?|characters?|entit(?:y|ies)|format\w*|syntax|parse\w*|parser|templates?"
        r"|newsletters?|svg|math\w*|bold\w*|underlin\w*|highlight\w*|italic\w*|hyperlinks?|links?"
        r"|urls?|browser|react|vue|angular|bootstrap|markdown|dom|table"
        r"|forms?|buttons?|superscript|subscript|typograph\w*|compil\w*|debug\w*|software|app|ui)\b",
        re.IGNORECASE,
    ),
    about_languages=re.compile(
        r"\b(?:translat\w+|languages?|bilingual|multilingual|english|french|spanish|german"
        r"|italian|latin|portuguese|russian|chinese|mandarin|cantonese|japanese|korean|arabic"
        r"|hindi|urdu|bengali|dutch|swedish|norwegian|danish|finnish|polish|czech|greek|turkish"
        r"|hebrew|thai|vietnamese|indonesian|malay|swahili|tagalog|filipino|irish|welsh|ukrainian"
        r"|romanian|hungarian|persian|esperanto|foreign|dialect|accent|vocabulary|words?|spell\w*"
        r"|pronounc\w+|names?|lyrics|song|titles?|code|programs?|scripts?|function|sql|html|css"
        r"|python|java\w*|query|encod\w+|encrypt\w*|cipher|decod\w+|decrypt\w*|anagram|reverse"
        r"|gibberish|nonsense|placeholder|lorem|morse|binary|hash"
        r"|passwords?|usernames?|regex|formula|equation|acronym|scientific|species|ascii)\b",
        re.IGNORECASE,
    ),
)
