"""Reading the kernel's small files. One that is not there, or does not read, says nothing and is no error."""

from pathlib import Path


def text(path: Path) -> str:
    """What a file holds; empty where it is absent, forbidden, or its sensor is powered down."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """The whole number that a file holds; ``None`` where it holds none, such as ``max``."""
    word = text(path).strip()
    return int(word) if word.lstrip("-").isascii() and word.lstrip("-").isdigit() and len(word) < 20 else None


def counters(lines: str) -> dict[str, int]:
    """Numbers by name, of lines like ``name 123`` or ``name: 123 kB``; lines of another form are skipped."""
    fields = (line.split() for line in lines.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in fields if len(words) > 1 and words[1].isdigit()}
