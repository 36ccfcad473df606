"""Secrets and personal data in texts: keys and tokens, addresses, numbers of phones, cards and accounts.

One regular expression finds what may be one, an exact pattern (and a card's or an account's check digits) what is.
"""

import re
from collections.abc import Iterator

_EDGE = r"(?:\b|(?<=\\[nrtbf]))"
"""Where a word begins, also in a text that is written as JSON, behind the letter of an escape."""
SUSPECT = (
    r"@[A-Za-z0-9-]+\.|\+[0-9(]|[0-9][ .-]?\(?[0-9]{3}\)?[ .-][0-9]{3,4}|[0-9]{4}[ -]?[0-9]{4}"
    r"|\([0-9]{3}\) ?[0-9]{3}|[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}"
    r"|PRIVATE KEY|A[KS]IA|hf_[A-Za-z]|sk-|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|AIza|eyJ[A-Za-z]"
)
PATTERNS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    "an AWS key": _EDGE + r"(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a Hugging Face token": _EDGE + r"hf_[A-Za-z0-9]{30,}\b",
    "a GitHub token": _EDGE + r"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})\b",
    "a GitLab token": _EDGE + r"glpat-[A-Za-z0-9_-]{20,}",
    "a Slack token": _EDGE + r"xox[abeprs]-[A-Za-z0-9-]{10,}",
    "a Google key": _EDGE + r"AIza[A-Za-z0-9_-]{35}\b",
    "an API key": _EDGE + r"sk-[A-Za-z0-9_-]{20,}",
    "a JSON web token": _EDGE + r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "an e-mail address": r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b",
    "an account number": _EDGE + r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "a card number": r"(?<![\d.])[3-6][0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}(?![\d.])",
    "a phone number": r"(?:(?<![\w.+])|(?<=\\[nrtbf]))(?:\+[0-9]{1,3}[ .-]?(?:\(?[0-9]{1,4}\)?[ .-]?){2,5}[0-9]{2,4}"
    r"|(?:1[ .-])?(?:\([0-9]{3}\) ?|[0-9]{3}[.-])[0-9]{3}[.-][0-9]{4})(?![\w.]*\w)",
}
_PATTERN = re.compile("|".join(f"(?P<k{i}>{pattern})" for i, pattern in enumerate(PATTERNS.values())))
_KINDS = list(PATTERNS)
_SUSPECT = re.compile(SUSPECT)
SAFE = re.compile(r"@(?:[a-z0-9-]+\.)*(?:example|test|invalid|localhost)(?:\.(?:com|org|net))?$", re.IGNORECASE)
"""Addresses that RFC 2606 keeps for examples."""


def find_secrets(text: str) -> Iterator[tuple[str, str]]:
    """Yield every secret in a text: its kind, and the secret."""
    return ((_kind(match), match[0]) for match in _PATTERN.finditer(text) if _is_secret(match))


def mask_secrets(text: str) -> str:
    """Return the text with every secret masked."""
    if not _SUSPECT.search(text):
        return text
    return _PATTERN.sub(lambda match: mask(match[0]) if _is_secret(match) else match[0], text)


def _kind(match: re.Match[str]) -> str:
    return _KINDS[int((match.lastgroup or "k0")[1:])]


def mask(secret: str) -> str:
    """Return a secret's first two characters and a mask."""
    return f"{secret[:2]}•••"


def _is_secret(match: re.Match[str]) -> bool:
    kind, text = _kind(match), match[0]
    if kind == "an e-mail address":
        return not SAFE.search(text)
    if kind == "a card number":
        return _luhn([int(digit) for digit in text if digit.isdigit()])
    if kind == "an account number":
        return _iban(text.replace(" ", ""))
    if kind == "a phone number":
        return 8 <= sum(character.isdigit() for character in text) <= 15
    return True


def _luhn(digits: list[int]) -> bool:
    """ISO/IEC 7812: from the right, every second digit doubled, the sum divides by ten."""
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(account: str) -> bool:
    """ISO 13616: the first four characters put last, letters as numbers from 10, the remainder by 97 is one."""
    return 15 <= len(account) <= 34 and int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1
