"""How a drill tells running processes what it wants of them: in a file that they look at."""

from pathlib import Path


def lay(path: Path, text: str) -> None:
    """Wish this from now on; nobody ever sees a half-written wish."""
    fresh = path.with_suffix(".part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
