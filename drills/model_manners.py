"""Ways in which a model answers badly: late, in drips, broken off, or with what is no answer."""

import socket
import struct
import time
from typing import Final

from drills.model_peer import Manner, ModelHandler

PATIENCE: Final = {"LLM_FIRST_TOKEN_SECONDS": "1.5", "LLM_IDLE_SECONDS": "1.5", "LLM_TIMEOUT_SECONDS": "5"}
"""Settings under which the slow ways below are slower than a worker waits."""
_SILENT_SECONDS, _DRIP_SECONDS, _DRIPS = 3.0, 0.5, 14
_RESET = struct.pack("ii", 1, 0)


def silent(_line: ModelHandler, _answer: str) -> None:
    """Not a byte, and in the end no answer."""
    time.sleep(_SILENT_SECONDS)


def speechless(line: ModelHandler, _answer: str) -> None:
    """It says that it is there, again and again, and nothing else."""
    line.begin()
    for _ in range(_DRIPS):
        line.wfile.write(b": still here\n\n")
        time.sleep(_DRIP_SECONDS / 2)


def falling_silent(line: ModelHandler, answer: str) -> None:
    """The first half, and then nothing more on a line that stays open."""
    _half(line, answer)
    time.sleep(_SILENT_SECONDS)


def dripping(line: ModelHandler, answer: str) -> None:
    """A character now and then: never silent for long, and never at an end in time."""
    line.begin()
    for character in answer[:_DRIPS]:
        line.say(character)
        time.sleep(_DRIP_SECONDS)


def closed_before(_line: ModelHandler, _answer: str) -> None:
    """The connection ends before a byte of the answer."""


def closed(line: ModelHandler, answer: str) -> None:
    """The first half, and the end of the connection as if that were all."""
    _half(line, answer)


def reset(line: ModelHandler, answer: str) -> None:
    """The first half, and the connection is torn."""
    _half(line, answer)
    line.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def torn(line: ModelHandler, answer: str) -> None:
    """The connection ends in the middle of a piece."""
    _half(line, answer)
    line.wfile.write(b'data: {"id": "drill", "choices": [{"index": 0, "del')


def no_json(line: ModelHandler, answer: str) -> None:
    """Pieces that are no JSON, after one that is."""
    line.begin()
    line.say(answer[:3])
    line.wfile.write(b"data: {{ nothing of this is JSON\n\n")
    line.done()


def web_page(line: ModelHandler, _answer: str) -> None:
    """A page for people, with the status of a success."""
    line.begin("text/html")
    line.wfile.write(b"<html><body>Please log in to this network.</body></html>")


def broken_server(line: ModelHandler, _answer: str) -> None:
    """The page of a proxy whose server is gone."""
    line.begin("text/html", 502)
    line.wfile.write(b"<html><body>Bad gateway</body></html>")


def odd_shapes(line: ModelHandler, _answer: str) -> None:
    """JSON, but nothing that an answer is made of."""
    line.begin()
    line.event({"choices": [{"delta": {"content": {"text": 7}}}]})
    line.wfile.write(b'data: [1, "two", null]\n\n')
    line.done()


def nothing(line: ModelHandler, _answer: str) -> None:
    """An end without a beginning."""
    line.begin()
    line.event({"id": "drill", "object": "chat.completion.chunk", "choices": []})
    line.done()


def unknown_tool(line: ModelHandler, _answer: str) -> None:
    """A call of a tool that nobody has, with arguments that are no JSON."""
    line.begin()
    line.ask("launch_the_rocket", '{"at": dawn')
    line.done()


def half_a_character(line: ModelHandler, answer: str) -> None:
    """Half of a surrogate pair among the words, and no end."""
    line.begin()
    line.say(f"{answer[:5]} \ud83d and then")


SLOW: Final[tuple[Manner, ...]] = (silent, speechless, falling_silent, dripping)
CUT: Final[tuple[Manner, ...]] = (closed_before, closed, reset, torn)
GARBAGE: Final[tuple[Manner, ...]] = (
    *(no_json, web_page, broken_server, odd_shapes, nothing),
    *(unknown_tool, half_a_character),
)


def _half(line: ModelHandler, answer: str) -> None:
    line.begin()
    words = answer.split(" ")
    for number, word in enumerate(words[: len(words) // 2 + 1]):
        line.say(f" {word}" if number else word)
        time.sleep(0.02)
