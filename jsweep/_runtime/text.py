"""Text from a record, made safe to show: anyone may have written it."""

import unicodedata

MOST_TEXT = 60  # characters of a name or value that a table shows


def clean(text: object, most: int = MOST_TEXT) -> str:
    """The text without control characters, cut to at most ``most`` characters."""
    whole = str(text)
    cut = whole if len(whole) <= most else whole[: most - 1] + "…"
    return "".join("?" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in cut)
