"""Text from a record made harmless, wherever it is shown: it may have been written by anyone."""

import unicodedata

MOST_TEXT = 60  # characters of a name or value that a table shows


def clean(text: object, most: int = MOST_TEXT) -> str:
    """Text without control characters, and not longer than ``most``."""
    shown = "".join("?" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in str(text))
    return shown if len(shown) <= most else shown[: most - 1] + "…"
