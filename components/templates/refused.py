"""The reason why a row is not learned from."""


class Refused(ValueError):  # noqa: N818  # a value in reports as well
    """A row is not learned from: `reason` is the same for all rows of its kind, `detail` is about this row."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
