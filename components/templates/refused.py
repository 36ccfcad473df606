"""A row that is not learned from, as a value."""


class Refused(Exception):  # noqa: N818  # handed on as a value, too
    """A row that is not learned from: `reason` is the same for all rows of its kind, `detail` is about this one."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail
