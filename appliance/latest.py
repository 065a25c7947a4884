"""The one kind of hand-off between threads."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """A one-place shelf between threads. Putting replaces; getting never waits."""

    def __init__(self, value: T) -> None:
        self._value = value

    def put(self, value: T) -> None:
        """Replace what lies on the shelf."""
        self._value = value

    def get(self) -> T:
        """Return what lies on the shelf; it stays there."""
        return self._value
