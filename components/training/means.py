"""Means of a method's figures over forward passes and processes."""

from typing import TYPE_CHECKING

from components.training import ranks

if TYPE_CHECKING:
    from torch import Tensor


class Means:
    """Sums of figures by name; each process adds the same names in the same order."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[Tensor, int]] = {}

    def add(self, name: str, values: "Tensor") -> None:
        """Add values [items] to those of a figure."""
        before, count = self.sums.get(name, (0.0, 0))
        self.sums[name] = before + values.detach().double().sum(), count + values.numel()

    def take(self, prefix: str = "") -> dict[str, float]:
        """Return the mean of each figure that has values, over all processes, and begin anew."""
        numbers = ranks.total([float(number) for pair in self.sums.values() for number in pair])
        means = zip(self.sums, numbers[::2], numbers[1::2], strict=True)
        self.sums = {}
        return {f"{prefix}{name}": value / count for name, value, count in means if count}
