"""E-mail addresses that may be somebody's.

Enters: a text. Leaves: where they are. Knows no other kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Bounded, and begun only where a run begins, so a long run without @ costs its length once.
_EMAIL = re.compile(
    r"(?<![\w.%+/@-])([A-Za-z0-9][\w.%+-]{0,63})@"
    r"((?:[A-Za-z0-9-]{1,63}\.){1,8}([A-Za-z]{2,24}))(?![\w(@-])",
    re.ASCII,
)
_NOBODYS_DOMAIN = re.compile(
    # Of RFC 2606 and 6761; then what people write for some domain.
    r"(?:.*\.)?(?:example\.[a-z.]+|[a-z0-9-]+\.(?:example|test|invalid|localhost|local)"
    r"|(?:your-?[a-z-]*|(?:my|some)-?(?:business|company|domain|e?mail|name|shop|site|store|website)?"
    r"|e?mail|domain|company|website|site|server|host|test|abc|xyz|foo|bar|sample)\.[a-z.]+"
    r"|[a-z0-9]\.[a-z]{2,3})",
    re.IGNORECASE,
)
# Then those that write for a company: no person is at alerts@ or support@.
_NOBODYS_NAME = re.compile(
    r"(?:example|test|user|username|(?:your|my)[._-]?\w*(?:mail|name|address)\w*|you|name|e?-?mail"
    r"|someone|somebody|foo|bar|abc|xyz|git|x+|admin|alerts?|contact|customer[._-]?\w*|feedback|hello"
    r"|help|hr|info|jobs|mailer-daemon|marketing|newsletter|(?:do-?not|no)-?reply|notifications?"
    r"|offers?|postmaster|press|promotions?|sales|services?|support|webmaster)\d{0,4}",
    re.IGNORECASE,
)
# icon@2x.png
_FILE = frozenset({"css", "gif", "html", "jpeg", "jpg", "js", "json", "png", "py", "svg", "webp"})


def emails(text: str) -> Iterator[tuple[int, int]]:
    """Spans of addresses, those at example.com and of other names that are nobody's left out.

    >>> list(emails("wang.li@163.com, jane@example.com, you@your-company.com, git@github.com"))
    [(0, 15)]
    """
    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        name, domain, ending = match.groups()
        if ending.lower() in _FILE or name.endswith("."):
            continue
        if not _NOBODYS_DOMAIN.fullmatch(domain) and not _NOBODYS_NAME.fullmatch(name):
            yield match.span()
