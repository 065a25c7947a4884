"""What operators ask of the avatars while they run."""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.latest import Latest

KEPT = 16
"""Orders that may come between two pictures; of more the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Order:
    """One wish: ``neutral`` forgets how a visitor rests, ``recalibrate`` everything learnt about visitor and sound."""

    number: int  # counts from 1
    name: str
    stream: str = ""  # every one where it is empty
    slot: int | None = None  # every one where it is None

    def concerns(self, stream: str, slot: int) -> bool:
        """Tell whether this avatar is meant."""
        return self.stream in ("", stream) and self.slot in (None, slot)


Orders = Latest[tuple[Order, ...]]
"""The shelf from the thread that hears commands to the loop: the newest few orders."""


def give(shelf: Orders, name: str, stream: str = "", slot: int | None = None) -> None:
    """Put one more order on the shelf; one thread gives orders."""
    given = shelf.get()
    number = given[-1].number + 1 if given else 1
    shelf.put((*given, Order(number, name, stream, slot))[-KEPT:])


def since(orders: Sequence[Order], number: int) -> list[Order]:
    """Return the orders that came after one."""
    return [order for order in orders if order.number > number]
