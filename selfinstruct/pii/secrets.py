"""Keys and tokens with a prefix or frame of their own.

Enters: a text. Leaves: where they are. Knows no other kind; nor does it guess by entropy, which
takes hashes, ids and base64 for secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Each begins only where no token goes on, and its body is one run: linear.
_SECRET = re.compile(
    r"(?<![\w-])(?:"
    r"sk-(?:proj-|svcacct-|admin-|ant-\w{2,8}-|or-v1-)?[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic, …
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{24,}"  # Stripe
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"  # GitHub, GitLab
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)|LTAI[A-Za-z0-9]{12,26}(?!\w)|AKID[A-Za-z0-9]{32}(?!\w)"
    r"|AIza[\w-]{35}(?![\w-])|GOCSPX-[\w-]{28}|ya29\.[\w-]{20,}"  # Google
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{20,}"  # Slack
    r"|hf_[A-Za-z]{34}(?!\w)|npm_[A-Za-z0-9]{36}(?!\w)|pypi-AgEI[\w-]{50,}"
    r"|SG\.[\w-]{22}\.[\w-]{43}|dop_v1_[0-9a-f]{64}|AGE-SECRET-KEY-1[0-9A-Z]{58}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"  # JSON web tokens
    r")"
    # A private key: header, body, and the footer where it is there. The body ends at two hyphens.
    r"|-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[\w+/=\s\\:,.()]|-(?!-))++"
    r"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
    re.ASCII,
)
_NOBODYS = re.compile(
    r"example|your|xxxx|placeholder|insert|dummy|sample|12345678|abcdefgh|\.\.\.", re.IGNORECASE
)
# The body of the shortest private key, Ed25519, has 64 characters of base64.
_SHORTEST_KEY = 60
_FEWEST_LETTERS = 8


def secrets(text: str) -> Iterator[tuple[int, int]]:
    """Spans of keys; those that say that they are examples or have hardly any letters left out.

    >>> list(secrets("key=sk-proj-Zk3vQ8mN1pLx7RtYw2Bd, AKIAIOSFODNN7EXAMPLE, ghp_" + "x" * 36))
    [(4, 32)]
    """
    for match in _SECRET.finditer(text):
        key = match.group()
        if _NOBODYS.search(key) or len(set(key)) < _FEWEST_LETTERS:
            continue
        if not key.startswith("-----") or len(key.partition("KEY")[2]) >= _SHORTEST_KEY:
            yield match.span()
