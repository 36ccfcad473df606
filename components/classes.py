"""The classes of texts: their names, how many of them a text has, and their numbers in a model.

A label of a row is a number or a name (`single_label_classification`), a list of these (`multi_label_classification`),
or a decimal number that is to be estimated (`regression`): transformers' `problem_type`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from components.config.groups.classification import Classification, ProblemType
from components.errors import ConfigError
from components.rows import number_of
from components.tokens import IGNORED

SINGLE: ProblemType = "single_label_classification"
SEVERAL: ProblemType = "multi_label_classification"
REGRESSION: ProblemType = "regression"
CLASSIFIER = "ForSequenceClassification"
"""End of the names of transformers' classifiers."""
HEAD = "score"
"""Name of the layer that decides the class of a text, in transformers' classifiers of decoders."""
Label = bool | int | float | str | list[Any]


class Classes(NamedTuple):
    """What a classifier returns.

    Attributes:
        names: of the classes, in the order of the model's logits; one name for a regression.
        problem_type: as transformers has it.
        numbered: the labels of the rows are the numbers of the classes, whose names a base has.
    """

    names: list[str]
    problem_type: ProblemType
    numbered: bool = False

    @classmethod
    def of(cls, config: Any) -> "Classes":
        """Return the classes in a transformers configuration."""
        by_count = REGRESSION if config.num_labels == 1 else SINGLE
        names = [config.id2label[number] for number in range(config.num_labels)]
        return cls(names, config.problem_type or by_count)

    def config(self) -> dict[str, Any]:
        """Return the settings of a transformers configuration."""
        numbers = dict(enumerate(self.names))
        return {
            "num_labels": len(self.names),
            "id2label": numbers,
            "label2id": {name: number for number, name in numbers.items()},
            "problem_type": self.problem_type,
        }

    def target(self, label: Label) -> int | list[float]:
        """Return what the loss compares logits [classes] with: the number of the class; for several classes a 1 for
        each that the text has, 0 for the others; for a regression the value.

        Raises:
            ValueError: the label is of another type, or is no class; says which are.
        """
        if self.problem_type == REGRESSION:
            number = number_of(label)
            if number is None:
                raise ValueError(f"the label {label!r} is no number, and this is a regression")
            if number == IGNORED:
                raise ValueError(f"the label {label!r} means no label to PyTorch; shift or scale the labels")
            return [number]
        if (self.problem_type == SEVERAL) != isinstance(label, list):
            raise ValueError(f"the label {label!r} is {'no' if not isinstance(label, list) else 'a'} list")
        numbers = [self._number(name) for name in (label if isinstance(label, list) else [label])]
        if not isinstance(label, list):
            return numbers[0]
        return [float(number in numbers) for number in range(len(self.names))]

    def _number(self, label: Any) -> int:
        name = name_of(label)
        if self.numbered and _is_number_of(label, len(self.names)):
            return label
        if name not in self.names:
            raise ValueError(f"the label {label!r} is none of the classes {shown(self.names)}")
        return self.names.index(name)

    def described(self) -> str:
        """Return what a classifier tells, for people."""
        if self.problem_type == REGRESSION:
            return "a number"
        kind = "several of " if self.problem_type == SEVERAL else ""
        return f"{kind}{len(self.names):,} classes ({shown(self.names)})"


REWARD = Classes(["reward"], REGRESSION)
"""What the head of a reward model tells."""


def name_of(label: Any) -> str:
    """Return the name of a class without white space around it: `true` and `false` as JSON has them, and a whole number
    without its point."""
    if isinstance(label, bool):
        return str(label).lower()
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()


def shown(names: list[str]) -> str:
    """Return the names of classes for people, the first few of many."""
    return ", ".join(map(printable, names[:6])) + (f" and {len(names) - 6:,} more" if len(names) > 6 else "")


def printable(name: str) -> str:
    """Return the name of a class as a terminal can show it, on one line."""
    return name if name.isprintable() else repr(name)


def classes_of(labels: Iterable[Label], settings: Classification, base: Classes | None = None) -> Classes:
    """Return the classes of training rows with these labels: those of a `base` that tells them already, in its order,
    or else new ones.

    Raises:
        ConfigError: the labels are not all of one kind, there are fewer than two classes, another number of classes
            than `num_labels`, or others than the base tells.
    """
    labels = list(labels)
    problem_type = settings.problem_type or _problem_type(labels)
    single = [one for label in labels for one in (label if isinstance(label, list) else [label])]
    if base and not settings.ignore_mismatched_sizes and (known := _known(single, problem_type, settings, base)):
        return known
    new = _new_classes(single, problem_type, settings, len(labels))
    if not base:
        return new
    if not settings.ignore_mismatched_sizes:
        raise ConfigError(
            f"model: its head tells {base.described()}, and the rows have {new.described()}; label the rows as the "
            "head does, or begin with a new head: --ignore_mismatched_sizes true"
        )
    is_as_large = len(new.names) == len(base.names)
    return (_known(single, problem_type, settings, base) if is_as_large else None) or new


def _known(single: list[Any], problem_type: ProblemType, settings: Classification, base: Classes) -> Classes | None:
    """Return the classes of a base if all labels are names of classes there, or all are their numbers; or None."""
    if base.problem_type != problem_type or settings.num_labels not in (None, len(base.names)):
        return None
    if problem_type == REGRESSION or {name_of(one) for one in single} <= {*base.names}:
        return base
    return base._replace(numbered=True) if all(_is_number_of(one, len(base.names)) for one in single) else None


def _is_number_of(label: Any, count: int) -> bool:
    """Return whether a label is the number of one of `count` classes."""
    return isinstance(label, int) and not isinstance(label, bool) and 0 <= label < count


def _new_classes(single: list[Any], problem_type: ProblemType, settings: Classification, rows: int) -> Classes:
    """Return the classes of training rows. Numbers are classes from 0 up to the largest, or up to `num_labels`; names
    are classes in the order of the alphabet.

    Args:
        single: the labels, and each of those that are lists.
        rows: how many rows there are.

    Raises:
        ConfigError: as `classes_of`.
    """
    if problem_type == REGRESSION:
        if settings.num_labels not in (None, 1):
            raise ConfigError(f"num_labels: a regression estimates one number, not {settings.num_labels}")
        return Classes(["value"], problem_type)
    if not single:
        raise ConfigError("label: no training row has a class; every list is empty")
    names = {name_of(one) for one in single}
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in single):
        return Classes(_numbered(names, settings.num_labels, rows), problem_type)
    if not settings.problem_type and all(number_of(name) is not None for name in names) and "." in "".join(names):
        raise ConfigError(
            f"label: every label is a decimal number in a text, such as '{min(names)}'; estimate them with "
            f"--problem_type {REGRESSION}, or take them for names with --problem_type {SINGLE}"
        )
    if settings.num_labels not in (None, len(names)):
        raise ConfigError(
            f"num_labels: the training rows have {len(names)} classes ({shown(sorted(names))}), not "
            f"{settings.num_labels}; leave it out"
        )
    return Classes(_two_or_more(sorted(names)), problem_type)


def _problem_type(labels: list[Label]) -> ProblemType:
    """Return how many classes a text has, by the look of the labels.

    Raises:
        ConfigError: some labels are lists and some are not.
    """
    lists = sum(isinstance(label, list) for label in labels)
    if 0 < lists < len(labels):
        raise ConfigError(f"label: {lists} of {len(labels)} rows have a list of classes, the others one class")
    if lists:
        return SEVERAL
    return REGRESSION if any(isinstance(label, float) for label in labels) else SINGLE


def _numbered(names: set[str], count: int | None, rows: int) -> list[str]:
    """Return the classes of numbers.

    Raises:
        ConfigError: a number is not that of a class, or would make more classes than there are rows.
    """
    wrong = sorted(name for name in names if not name.isdigit() or (count and int(name) >= count))
    if wrong:
        to = f"to {count - 1}, as --num_labels {count} says" if count else "up"
        raise ConfigError(
            f"label: classes are numbered from 0 {to}, and a row has {wrong[0]}; leave such rows out, or write the "
            "labels as texts, which are names"
        )
    if count is None:
        _two_or_more(sorted(names))
        largest = max(map(int, names))
        if largest > rows:
            raise ConfigError(
                f"label: a row has {largest}, and {rows} rows cannot show so many classes; give --num_labels, or names"
            )
        count = largest + 1
    return _two_or_more([str(number) for number in range(count)])


def _two_or_more(names: list[str]) -> list[str]:
    if len(names) < 2:
        raise ConfigError(f"label: every training row is of one class ({names[0]}), so there is nothing to tell apart")
    return names
