"""`.env.example` repeats every setting with its meaning and its default, and says nothing that is not true."""

from app.settings import listing, read
from tests.architecture.source import ROOT

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
HEADING = "# ---- every setting"
AGAIN = f"write it again: sed -i '/^{HEADING}/q' .env.example && .venv/bin/python -m app.settings >> .env.example"


def test_the_example_repeats_every_setting() -> None:
    _, _, settings = EXAMPLE.partition(HEADING)
    _, _, repeated = settings.partition("\n")

    assert repeated.strip() == listing().strip(), AGAIN


def test_an_untouched_copy_of_the_example_sets_nothing() -> None:
    lines = [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")]

    assert lines == []


def test_the_defaults_in_the_example_are_accepted() -> None:
    pairs = (line[1:].partition("=") for line in EXAMPLE.splitlines() if line.startswith("#") and "= " not in line)
    values = {name: value for name, found, value in pairs if found and name.isupper()}

    assert read(values) == read({})
