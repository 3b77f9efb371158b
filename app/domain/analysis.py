"""What a message is about, by light rules: good enough to file it and to choose who answers, never to answer by. Pure.

Words are matched whole and in English; a message in another language is a statement without tags unless its signs say
more (a question mark in any script, code, an address).
"""

import re
from dataclasses import dataclass

_QUESTION_SIGNS = frozenset("?？؟;՞")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GREETINGS = _words("hello hi hey greetings morning evening howdy welcome")
_THANKS = _words("thanks thank thx cheers")
_COMMANDS = _words(
    "add build calculate change check compare create delete describe draw draft explain find fix give implement list"
    " make open please plan read remind remove rewrite run search send show summarize tell translate turn write"
)
_QUESTIONS = _words(
    "who what when where why which whose how is are am was were do does did can could will would should may"
)
_GOOD = _words("good great love like happy nice excellent perfect wonderful thanks thank awesome glad")
_BAD = _words("bad wrong hate broken angry sad terrible awful useless fail failed fails error annoying worse")
_NOT = _words("not no never don't isn't doesn't can't won't didn't wasn't")
_TAGS = {
    "code": _words("code function python javascript bug compile class api sql stack exception script"),
    "money": _words("price cost pay payment invoice money bank salary tax loan invest budget"),
    "health": _words("doctor medicine pain symptom symptoms dose disease pregnant therapy medical"),
    "law": _words("contract law legal lawyer court sue liability licence license"),
    "time": _words("today tomorrow yesterday deadline schedule calendar meeting appointment remind"),
    "math": _words("calculate equation integral probability prove proof sum theorem"),
}
_CODE = re.compile(r"```|[{};]\s*$|\b(?:def|class|import|SELECT|function)\b", re.MULTILINE)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Analysis:
    """`intent` is greeting, thanks, question, command or statement; `sentiment` positive, neutral or negative."""

    intent: str
    sentiment: str
    tags: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """As a session's row keeps it."""
        return {"intent": self.intent, "sentiment": self.sentiment, "tags": list(self.tags)}


def analyse(text: str) -> Analysis:
    """The rules, applied to at most the first 4,000 characters."""
    said = text[:4000]
    words = [word.lower() for word in _WORD.findall(said)]
    return Analysis(_intent(said, words), _sentiment(words), _tags(said, frozenset(words)))


def _intent(said: str, words: list[str]) -> str:
    first = words[0] if words else ""
    if _QUESTION_SIGNS & frozenset(said) or first in _QUESTIONS:
        return "question"
    if first in _COMMANDS:
        return "command"
    if first in _GREETINGS and len(words) <= 6:
        return "greeting"
    return "thanks" if first in _THANKS else "statement"


def _sentiment(words: list[str]) -> str:
    score = 0
    for number, word in enumerate(words):
        turned = -1 if _NOT & frozenset(words[max(0, number - 2) : number]) else 1
        score += turned * ((word in _GOOD) - (word in _BAD))
    return "positive" if score > 0 else "negative" if score < 0 else "neutral"


def _tags(said: str, words: frozenset[str]) -> tuple[str, ...]:
    found = {tag for tag, signs in _TAGS.items() if signs & words}
    found |= {"code"} if _CODE.search(said) else set()
    found |= {"link"} if _ADDRESS.search(said) else set()
    return tuple(sorted(found))
