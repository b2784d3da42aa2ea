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
