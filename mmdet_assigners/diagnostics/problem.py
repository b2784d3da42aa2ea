"""What a check finds."""

from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        what: The fact, one line.
        fix: The command or option that fixes it.
        minor: Worth a note; training works without the fix.
    """

    what: str
    fix: str
    minor: bool = False

    def __str__(self) -> str:
        return f'{self.what}; {self.fix}'


def one_line(error: BaseException) -> str:
    """Type of an exception and the first line of its text."""
    first, *_ = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {first}'
