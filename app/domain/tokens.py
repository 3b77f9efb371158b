"""How many tokens a text will be: estimated without any model's vocabulary, corrected by what models reported."""

import re
from math import ceil

_WIDE = re.compile("[\u2e80-\u9fff\ua000-\ud7ff\uf900-\ufaff\uff00-\uffef]")
"""Signs of East Asian scripts: about one token each."""
_WIDE_BYTES = 3
_BYTES_EACH = 3.5
ENOUGH_TOKENS = 2_000
"""Estimates below this say nothing about a model's habits."""
_LEAST, _MOST = 0.5, 3.0


def estimate_tokens(text: str) -> int:
    """Tokens of this text: for prose a little too many rather than too few, for other scripts about right."""
    wide = len(_WIDE.findall(text))
    return wide + ceil((len(text.encode(errors="replace")) - wide * _WIDE_BYTES) / _BYTES_EACH)


def correction(estimated: int, reported: int) -> float:
    """By what to multiply estimates after these sums; 1 while they say too little, and never absurd."""
    if estimated < ENOUGH_TOKENS:
        return 1.0
    return min(max(reported / estimated, _LEAST), _MOST)
