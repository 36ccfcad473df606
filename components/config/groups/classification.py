"""Parameters of classification. Read by the stage `train`."""

from typing import Literal

from components.config.fields import Group, field

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]


class Classification(Group):
    """The classes that a text may have (--task_type seq_cls)."""

    num_labels: int | None = field(None, "number of classes, by default as the training rows have them", gt=0)
    problem_type: ProblemType | None = field(
        None,
        "single_label_classification, multi_label_classification (a label is a list) or regression (a decimal number); "
        "by default as the labels look",
    )
    ignore_mismatched_sizes: bool = field(
        False, "begin with a new head where the base is a classifier of other classes than the rows have"
    )
