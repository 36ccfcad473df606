"""Accuracy: the share of answers that are the reference, blanks at both ends aside."""


def metrics(answers: list[str], references: list[str]) -> dict[str, float]:
    """Return `acc`, from 0 to 1."""
    pairs = zip(answers, references, strict=True)
    return {"acc": sum(answer.strip() == reference.strip() for answer, reference in pairs) / max(len(answers), 1)}
