"""The classes of texts: their names, how many of them a text has, and their numbers in a model.

A label of a row is a number or a name (`single_label_classification`), a list of these (`multi_label_classification`),
or a decimal number that is to be estimated (`regression`): transformers' `problem_type`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from components.config.groups.classification import Classification, ProblemType
from components.errors import ConfigError
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
    """

    names: list[str]
    problem_type: ProblemType

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
            if not isinstance(label, int | float):
                raise ValueError(f"the label {label!r} is no number, and this is a regression")
            if label == IGNORED:
                raise ValueError(f"the label {label!r} means no label to PyTorch; shift or scale the labels")
            return [float(label)]
        if (self.problem_type == SEVERAL) != isinstance(label, list):
            raise ValueError(f"the label {label!r} is {'no' if not isinstance(label, list) else 'a'} list")
        numbers = [self._number(name) for name in (label if isinstance(label, list) else [label])]
        if not isinstance(label, list):
            return numbers[0]
        return [float(number in numbers) for number in range(len(self.names))]

    def _number(self, label: Any) -> int:
        name = name_of(label)
        if name not in self.names:
            raise ValueError(f"the label {label!r} is none of the classes {shown(self.names)}")
        return self.names.index(name)


def name_of(label: Any) -> str:
    """Return the name of a class: `true` and `false` as JSON has them, and a whole number without its point."""
    if isinstance(label, bool):
        return str(label).lower()
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def shown(names: list[str]) -> str:
    """Return the names of classes for people, the first few of many."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def classes_of(labels: Iterable[Label], settings: Classification) -> Classes:
    """Return the classes of training rows with these labels. Numbers are classes from 0 up to the largest, or up to
    `num_labels`; names are classes in the order of the alphabet.

    Raises:
        ConfigError: the labels are not all of one kind, there are fewer than two classes, or another number of classes
            than `num_labels`.
    """
    labels = list(labels)
    problem_type = settings.problem_type or _problem_type(labels)
    if problem_type == REGRESSION:
        if settings.num_labels not in (None, 1):
            raise ConfigError(f"num_labels: a regression estimates one number, not {settings.num_labels}")
        return Classes(["value"], problem_type)
    single = [one for label in labels for one in (label if isinstance(label, list) else [label])]
    if not single:
        raise ConfigError("label: no training row has a class; every list is empty")
    names = {name_of(one) for one in single}
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in single):
        return Classes(_numbered(names, settings.num_labels, len(labels)), problem_type)
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
        raise ConfigError(f"label: classes are numbered from 0 {to}, and a row has {wrong[0]}")
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
