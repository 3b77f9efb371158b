"""`soma memory import`: a file of any size in pieces, each sent once in effect, and a report of every line."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from app.cli import import_pieces, memory_import
from app.domain.imports import Shape, parse
from tests.scripted_api import Asked, Reply, ScriptedApi, refusal
from tests.unit.conftest import Typist

PATH = "/v1/memory/import"


def a_gateway_that_reads(asked: Asked) -> Reply:
    """Reads with the product's own parsers, as the gateway does, and takes everything that can be read."""
    found = list(parse(Shape(asked.query["format"]), asked.body, int(asked.query["first_line"])))
    wrong = [{"line": one.line, "id": one.id, "error": one.error} for one in found if not (one.item or one.skipped)]
    return Reply({
        "lines": len(found), "accepted": sum(one.item is not None for one in found), "repeated": 0,
        "skipped": sum(one.skipped for one in found), "rejected": len(wrong), "problems": wrong[:1000],
        "format": asked.query["format"],
    })  # fmt: skip


@pytest.fixture
def reading(api: ScriptedApi) -> ScriptedApi:
    api.on("POST", PATH, a_gateway_that_reads)
    return api


def a_line(number: int, size: int = 10) -> bytes:
    payload = {"id": f"m-{number}", "type": "conversation_event", "content": "x" * size}
    return json.dumps({"event_id": f"m-{number}", "payload": payload}).encode() + b"\n"


def a_file(folder: Path, raw: bytes | list[Any]) -> Path:
    path = folder / "memories"
    path.write_bytes(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
    return path


def sent(api: ScriptedApi) -> list[tuple[str, int, str]]:
    return [(asked.query["first_line"], asked.body.count(b"\n"), asked.headers["content-type"]) for asked in api.asked]


def test_lines_go_500_at_a_time_with_their_numbers(reading: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    raw = b"".join(a_line(number) for number in range(1, 1202))
    printed = typist.types("memory", "import", str(a_file(tmp_path, raw)), "--tenant", "t1", "--table")

    assert (printed.status, printed.out) == (
        0, "1201 lines (soma): 1201 accepted, 0 repeated, 0 skipped, 0 rejected.\n"
    )  # fmt: skip
    assert sent(reading) == [
        ("1", 500, import_pieces.LINES),
        ("501", 500, import_pieces.LINES),
        ("1001", 201, import_pieces.LINES),
    ]
    assert {asked.query["tenant"] for asked in reading.asked} == {"t1"}
    assert b"".join(asked.body for asked in reading.asked) == raw


def test_one_line_is_told_as_one(reading: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    printed = typist.types("memory", "import", str(a_file(tmp_path, a_line(1))), "--table")

    assert printed.out == "1 line (soma): 1 accepted, 0 repeated, 0 skipped, 0 rejected.\n"


def test_large_lines_go_half_a_mebibyte_at_a_time(reading: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    raw = b"".join(a_line(number, 200_000) for number in range(1, 6))
    assert typist.types("memory", "import", str(a_file(tmp_path, raw))).status == 0

    assert [first for first, _, _ in sent(reading)] == ["1", "3", "5"]
    assert max(len(asked.body) for asked in reading.asked) <= import_pieces.MOST_BYTES


def test_every_wrong_line_is_reported_with_its_number_in_the_file(
    reading: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    lines = [a_line(number) for number in range(1, 1001)]
    for number in (3, 700, *range(800, 830)):
        lines[number - 1] = b"not json\n"
    report = tmp_path / "problems"
    file = a_file(tmp_path, b"".join(lines) + a_line(1001)[:30])

    printed = typist.types("memory", "import", str(file), "--report", str(report), "--table")

    problems = [json.loads(line) for line in report.read_text().splitlines()]
    assert printed.status == 1
    assert printed.out.startswith("1001 lines (soma): 968 accepted, 0 repeated, 0 skipped, 33 rejected.")
    assert printed.out.endswith("... and 13 more.\n")
    assert [problem["line"] for problem in problems] == [3, 700, *range(800, 830), 1001]


@pytest.mark.parametrize("separator", [b"\n", b","], ids=["lines", "a document"])
def test_a_file_of_any_size_needs_the_memory_of_a_few_pieces(tmp_path: Path, separator: bytes) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"" if separator == b"\n" else b"[")
        for number in range(4_000):
            file.write((separator if number else b"") + a_line(number, 3_500).strip())
        file.write(b"" if separator == b"\n" else b"]")

    tracemalloc.start()
    with path.open("rb") as file:
        shape, parts = import_pieces.pieces(file, None)
        sent_lines = sum(part.lines for part in parts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (shape, sent_lines) == (Shape.SOMA, 4_000)
    assert path.stat().st_size > 14_000_000
    assert peak < 8 * 1024 * 1024


def test_a_line_that_nobody_takes_is_told_and_the_others_go_on(
    reading: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    raw = a_line(1) + a_line(2, 3 * 1024 * 1024) + a_line(3)
    printed = typist.types("memory", "import", str(a_file(tmp_path, raw)), "--format", "soma", "--table")

    assert printed.status == 1
    assert printed.out.splitlines()[-1].split(maxsplit=1) == ["2", "the line is longer than 1 MiB"]
    assert [first for first, _, _ in sent(reading)] == ["1", "3"]


def test_a_line_that_this_gateway_finds_too_large_is_told_too(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    api.on("POST", PATH, refusal(413, "The request is larger than this server takes."))

    printed = typist.types("memory", "import", str(a_file(tmp_path, a_line(1))), "--table")

    assert printed.status == 1
    assert "The request is larger than this server takes." in printed.out


CHATS: list[Any] = [
    {"id": f"c-{number}", "chat": {"title": "t", "messages": [{"id": "m", "role": "user", "content": "x" * 9000}]}}
    for number in range(200)
]


def test_a_small_document_goes_whole(reading: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    assert typist.types("memory", "import", str(a_file(tmp_path, CHATS[:3]))).status == 0

    assert sent(reading) == [("1", 0, import_pieces.DOCUMENT)]
    assert reading.asked[0].query["format"] == "openwebui"


@pytest.mark.parametrize("wrap", [lambda chats: chats, lambda chats: {"chats": chats}])
def test_a_large_document_goes_as_the_lines_of_its_elements_with_the_same_ids(
    reading: ScriptedApi, typist: Typist, tmp_path: Path, wrap: Any
) -> None:
    document = wrap(CHATS)
    printed = typist.types("memory", "import", str(a_file(tmp_path, document)), "--format", "openwebui", "--table")

    assert printed.out == "200 lines (openwebui): 200 accepted, 0 repeated, 0 skipped, 0 rejected.\n"
    lines = b"".join(asked.body for asked in reading.asked).splitlines()
    whole = parse(Shape.OPENWEBUI, json.dumps(document).encode())
    assert [one.item for one in parse(Shape.OPENWEBUI, lines)] == [one.item for one in whole]


def test_a_large_agent_file_gives_what_it_gives_whole(reading: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    passages = [{"id": f"passage-{number}", "text": "y" * 9000} for number in range(150)]
    agent = {"id": "agent-0", "name": "Sam", "agent_type": "a", "messages": [{"role": "user", "content": "hi"}]}
    document: Any = {"agents": [agent], "blocks": [{"label": "l", "value": "v"}], "passages": passages}

    printed = typist.types("memory", "import", str(a_file(tmp_path, document)), "--format", "letta", "--table")

    assert "152 accepted" in printed.out
    lines = b"".join(asked.body for asked in reading.asked).splitlines()
    whole = parse(Shape.LETTA, json.dumps(document).encode())
    assert [one.item for one in parse(Shape.LETTA, lines)] == [one.item for one in whole]


def test_a_large_document_that_was_cut_is_imported_up_to_the_cut(
    reading: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    raw = json.dumps(CHATS).encode()[:-5000]
    printed = typist.types("memory", "import", str(a_file(tmp_path, raw)), "--format", "openwebui", "--table")

    assert printed.status == 1
    assert "199 accepted" in printed.out
    assert "the document is cut or broken from here on" in printed.out


def test_an_element_that_cannot_be_sent_is_told_and_the_others_go_on(
    reading: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    deep = json.dumps(CHATS[0])[:-1] + ', "deep": ' + "[" * 2000 + "]" * 2000 + "}"
    raw = f"[{deep}, {json.dumps({'x': 'y' * 2**20})}, {json.dumps(CHATS)[1:]}"
    file = a_file(tmp_path, raw.encode())

    printed = typist.types("memory", "import", str(file), "--format", "openwebui", "--table")

    assert printed.status == 1
    assert "200 accepted" in printed.out
    assert "1         the JSON is nested too deep" in printed.out
    assert "2         the line is longer than 1 MiB" in printed.out


def test_a_large_document_of_no_known_shape_is_refused(typist: Typist, tmp_path: Path) -> None:
    raw = json.dumps([{"hello": "x" * 1000}] * 2000).encode()

    assert "say it with --format" in typist.types("memory", "import", str(a_file(tmp_path, raw))).err


def test_what_nobody_recognises_is_left_to_the_gateway(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    api.on("POST", PATH, refusal(422, "Nobody knows this shape."))

    printed = typist.types("memory", "import", str(a_file(tmp_path, b"hello")))

    assert api.asked[0].query["format"] == "auto"
    assert printed.err == "soma: Nobody knows this shape.\n"


def test_a_piece_is_sent_again_with_its_key_until_it_is_taken(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    api.on("POST", PATH, Reply(breaks=True), refusal(503, "Postgres is away."), a_gateway_that_reads)
    raw = b"".join(a_line(number) for number in range(1, 502))

    assert typist.types("memory", "import", str(a_file(tmp_path, raw))).status == 0

    keys = [asked.headers["idempotency-key"] for asked in api.asked]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


def test_a_gateway_that_stays_away_ends_it_with_how_far_it_came(
    api: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    api.on("POST", PATH, a_gateway_that_reads, refusal(503, "Postgres is away."))
    raw = b"".join(a_line(number) for number in range(1, 502))

    printed = typist.types("memory", "import", str(a_file(tmp_path, raw)))

    assert printed.status == 1
    assert "after 500 lines: Postgres is away.; run it again: what was taken is not taken twice" in printed.err


def test_stopping_says_how_far_it_came(
    api: ScriptedApi, typist: Typist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = memory_import._send

    def once(*arguments: Any) -> None:
        monkeypatch.setattr(memory_import, "_send", _interrupted)
        send(*arguments)

    api.on("POST", PATH, a_gateway_that_reads)
    monkeypatch.setattr(memory_import, "_send", once)
    raw = b"".join(a_line(number) for number in range(1, 502))

    printed = typist.types("memory", "import", str(a_file(tmp_path, raw)))

    assert printed.status == 130
    assert "stopped after 500 lines" in printed.err


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_file_that_is_not_there_is_one_sentence(typist: Typist, tmp_path: Path) -> None:
    printed = typist.types("memory", "import", str(tmp_path / "nothing"))

    assert (printed.status, printed.err.count("\n")) == (1, 1)
    assert "cannot be opened" in printed.err


def test_a_report_that_cannot_be_written_ends_it_before_anything_is_sent(
    reading: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    file = a_file(tmp_path, a_line(1))

    assert typist.types("memory", "import", str(file), "--report", str(tmp_path / "no" / "x")).status == 1
    assert not reading.asked


def test_an_empty_file_is_nothing(reading: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    printed = typist.types("memory", "import", str(a_file(tmp_path, b"\n")), "--table")

    assert (printed.status, printed.out[:7]) == (0, "0 lines")
