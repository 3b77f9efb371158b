"""Rego in this process: what came with this version allows everything, and what is broken does not start."""

import threading
from pathlib import Path

import pytest

from app.adapters.rego import RegoPolicy
from app.domain.errors import Misconfigured, PolicyUnavailable
from app.domain.policy import PolicyQuestion
from tests.conftest import ROOT

QUESTION = PolicyQuestion("t1", None, "tool.run", "echo")
OPEN = "package soma.policy\n\ndefault allow := true\n"


def written(folder: Path, source: str, name: str = "mine.rego") -> Path:
    (folder / name).write_text(source, encoding="utf-8")
    return folder


def test_the_policy_that_comes_with_this_version_allows_everything() -> None:
    policy = RegoPolicy(ROOT / "policy")

    assert policy.decide(QUESTION).allowed
    assert policy.standing().detail == "1 rule from policy/"


def test_the_stricter_policy_that_its_comment_proposes_works(tmp_path: Path) -> None:
    lines = (ROOT / "policy" / "soma.rego").read_text().splitlines()
    proposed = [line.removeprefix("#   ") for line in lines if line.startswith("#   ") and not line.startswith("#   {")]
    start = next(number for number, line in enumerate(proposed) if line.startswith("default allow := false"))
    written(tmp_path, "package soma.policy\n" + "\n".join(proposed[start:]))
    written(tmp_path, '{"soma": {"blocked_tenants": ["t9"]}}', "data.json")

    policy = RegoPolicy(tmp_path)

    assert policy.decide(PolicyQuestion("t1", None, "conversation.respond", "conversation")).allowed
    assert policy.decide(PolicyQuestion("t1", None, "tool.run", "http_fetch")).allowed
    assert not policy.decide(PolicyQuestion("t9", None, "tool.run", "http_fetch")).allowed
    assert not policy.decide(QUESTION).allowed


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("package soma.policy\n\ndefault allow := \n", "mine.rego, line 3", "Invalid assignment"),
        ("package soma.policy\n# ééé\nallow if {\n input.x == \n}\n", "mine.rego, line 4", "boolean operator"),
        ("package soma.policy\n\nallow if { input.x\n", "mine.rego, line 3", "unclosed"),
        ("nonsense\n", "mine.rego, line 1", "begins with `package soma.policy`"),
        ("package other\n\nallow := true\n", "mine.rego, line 1", "default allow := false"),
        ("package soma.policy\n\nallow if input.x\n", "mine.rego, line 1", "default allow := false"),
        ("package soma.policy\n\ndefault allow := 1\n", "mine.rego, line 1", "true or false"),
        ("package soma.policy\n\nallow if nothing_like_it(1)\n", "mine.rego, line 1", "decides nothing"),
    ],
)  # fmt: skip
def test_broken_rules_do_not_start_and_say_where(tmp_path: Path, source: str, place: str, words: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        RegoPolicy(written(tmp_path, source))

    assert place in str(refused.value)
    assert words in str(refused.value)
    assert str(tmp_path.parent) not in str(refused.value)


def test_broken_data_does_not_start_and_says_where(tmp_path: Path) -> None:
    written(written(tmp_path, OPEN), '{\n "a": nope}', "data.json")

    with pytest.raises(Misconfigured, match=r"data.json, line 2"):
        RegoPolicy(tmp_path)


def test_a_folder_without_rules_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"no \.rego file"):
        RegoPolicy(tmp_path)


def test_rules_that_contradict_each_other_allow_nothing(tmp_path: Path) -> None:
    source = 'package soma.policy\n\ndefault allow := true\n\nallow := true if input.resource == "echo"\n\n'
    policy = RegoPolicy(written(tmp_path, source + 'allow := false if input.action == "tool.run"\n'))

    with pytest.raises(PolicyUnavailable):
        policy.decide(QUESTION)


def test_many_threads_get_each_its_own_answer(tmp_path: Path) -> None:
    source = "package soma.policy\n\ndefault allow := false\n\nallow if input.tenant == input.resource\n"
    policy = RegoPolicy(written(tmp_path, source))
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(50):
            same = policy.decide(PolicyQuestion(f"t{number}", None, "tool.run", f"t{number}")).allowed
            other = policy.decide(PolicyQuestion(f"t{number}", None, "tool.run", "x")).allowed
            if (same, other) != (True, False):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
