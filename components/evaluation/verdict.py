"""The gate's verdict, with its forms for a terminal, Markdown, a notebook and JSON."""

import html
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True)
class SetVerdict:
    """The verdict on one question set. Scores are shares in [0, 1], differences are candidate minus baseline.

    Attributes:
        low, high: one-sided bounds of the difference, each at the gate's confidence.
        lost, gained: questions with a lower and with a higher score.
        p_value: McNemar's, adjusted by Holm.
        suffices: the approximate number of questions that would decide, or None.
    """

    name: str
    decision: Literal["pass", "fail", "not enough evidence"]
    items: int
    candidate: float
    baseline: float
    difference: float
    low: float
    high: float
    lost: int
    gained: int
    p_value: float
    suffices: int | None = None

    @property
    def reason(self) -> str:
        """One sentence without a full stop."""
        change = f"{self.name}: {self.lost} of {self.items} lost, {self.gained} gained"
        if self.decision == "pass":
            return f"{change}; at worst {points(self.low)} points"
        if self.decision == "fail":
            return f"{change} ({points(self.difference)} points, {_p(self.p_value)})"
        enough = (
            f"about {self.suffices} questions would decide" if self.suffices else "too close to the margin to decide"
        )
        return f"{change}, which could mean {points(self.low)} points; {enough}"


@dataclass(frozen=True)
class GuardVerdict:
    """The verdict on a limit that a candidate must keep, whatever its scores."""

    name: str
    passed: bool
    value: float
    limit: float

    @property
    def reason(self) -> str:
        """One sentence without a full stop."""
        return f"{self.name}: {self.value:.3g}, at most {self.limit:.3g} is allowed"


@dataclass(frozen=True)
class Verdict:
    """The decision, its reason in one line, and the figures. `names` are those of the candidate and the baseline."""

    decision: Literal["promote", "refuse", "not enough evidence"]
    reason: str
    names: tuple[str, str]
    margin: float
    confidence: float
    sets: tuple[SetVerdict, ...]
    guards: tuple[GuardVerdict, ...]

    @property
    def promote(self) -> bool:
        return self.decision == "promote"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the verdict that `to_dict` gave.

        Raises:
            KeyError, TypeError: `values` are no verdict's.
        """
        return cls(
            **{name: values[name] for name in ("decision", "reason", "margin", "confidence")},
            names=tuple(values["names"]),
            sets=tuple(SetVerdict(**of_set) for of_set in values["sets"]),
            guards=tuple(GuardVerdict(**guard) for guard in values["guards"]),
        )

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _header(self) -> str:
        margin, confidence = f"{100 * self.margin:g}", f"{100 * self.confidence:g}"
        return (
            f"{self.names[0]} against {self.names[1]}: {margin} points may be lost, {confidence} % confidence per bound"
        )

    def _table(self) -> list[list[str]]:
        head = ["set", "questions", self.names[1], self.names[0], "difference", "bounds", "lost", "gained", "verdict"]
        rows = [
            [
                s.name,
                str(s.items),
                f"{100 * s.baseline:.1f} %",
                f"{100 * s.candidate:.1f} %",
                points(s.difference),
                f"{points(s.low)} … {points(s.high)}",
                str(s.lost),
                str(s.gained),
                s.decision,
            ]
            for s in self.sets
        ]
        return [head, *rows]

    def _guard_lines(self) -> list[str]:
        return [f"guard {'holds' if guard.passed else 'FAILS'}: {guard.reason}" for guard in self.guards]

    def lines(self) -> list[str]:
        """Return lines for a terminal, in fixed-width columns."""
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        rows = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
        return [self._header(), *rows, *self._guard_lines(), f"{self.decision}: {self.reason}"]

    def markdown(self) -> str:
        """Return the verdict in Markdown."""
        head, *rows = [[cell.replace("|", "\\|") for cell in row] for row in self._table()]
        table = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
        guards = [f"- {line}" for line in self._guard_lines()]
        return "\n".join([f"**{self.decision}**: {self.reason}", "", self._header(), "", *table, "", *guards, ""])

    def _repr_html_(self) -> str:
        head, *rows = [[html.escape(cell) for cell in row] for row in self._table()]
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        header = "".join(f"<th>{cell}</th>" for cell in head)
        guards = "".join(f"<li>{html.escape(line)}</li>" for line in self._guard_lines())
        return (
            f"<p><b>{self.decision}</b>: {html.escape(self.reason)}</p><p>{html.escape(self._header())}</p>"
            f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table><ul>{guards}</ul>"
        )


def _p(value: float) -> str:
    """Return a p-value as text; one that was rounded to 0 is not 0."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def points(difference: float) -> str:
    """Return a difference of shares in points: `+2.5`, `-0.5`, `0.0`."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text
