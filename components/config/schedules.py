"""The schedules of the learning rate that transformers has, and the parameters that each takes beside the warm-up."""

from typing import Any, Literal

from pydantic import ValidationError

from components.config.fields import Group, field

Schedule = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "polynomial", "cosine_with_restarts", "cosine_with_min_lr",
    "cosine_warmup_with_min_lr", "inverse_sqrt", "warmup_stable_decay",
]  # fmt: skip
Shape = Literal["linear", "cosine", "1-sqrt"]


class Waves(Group):
    num_cycles: float = field(0.5, "waves of the cosine", gt=0)


class Restarts(Group):
    num_cycles: int = field(1, "times that the rate falls from its peak", gt=0)


class Polynomial(Group):
    lr_end: float = field(1e-7, "rate at the end", ge=0)
    power: float = field(1.0, "exponent of the fall", gt=0)


class Floor(Waves):
    min_lr: float | None = field(None, "rate at the end", ge=0)
    min_lr_rate: float | None = field(None, "rate at the end, as a share of the peak", ge=0, le=1)


class WarmFloor(Floor):
    warmup_lr_rate: float | None = field(None, "first rate of the warm-up, as a share of the peak", ge=0, le=1)


class InverseSqrt(Group):
    timescale: int | None = field(None, "steps in which the rate falls by a factor of about 1.4", gt=0)


class StableDecay(Waves):
    num_decay_steps: int = field(..., "steps of the fall at the end", gt=0)
    num_stable_steps: int | None = field(None, "steps at the peak", ge=0)
    warmup_type: Shape = field("linear", "shape of the rise")
    decay_type: Shape = field("cosine", "shape of the fall")
    min_lr_ratio: float = field(0.0, "rate at both ends, as a share of the peak", ge=0, le=1)


KWARGS: dict[str, type[Group]] = {
    "cosine": Waves,
    "linear": Group,
    "constant": Group,
    "constant_with_warmup": Group,
    "polynomial": Polynomial,
    "cosine_with_restarts": Restarts,
    "cosine_with_min_lr": Floor,
    "cosine_warmup_with_min_lr": WarmFloor,
    "inverse_sqrt": InverseSqrt,
    "warmup_stable_decay": StableDecay,
}


def kwargs_problem(schedule: str, kwargs: dict[str, Any]) -> str | None:
    """Return what is wrong with the parameters of a schedule, as the end of a sentence, or None."""
    takes = KWARGS.get(schedule, Group)
    try:
        takes.model_validate(kwargs)
    except ValidationError as error:
        details = error.errors()[0]
        name, names = str(details["loc"][0]), ", ".join(takes.model_fields) or "none"
        if details["type"] == "extra_forbidden":
            return f"has {name!r}, which {schedule} does not take; its parameters: {names}"
        if details["type"] == "missing":
            return f"lacks {name}, which {schedule} needs: '{{\"{name}\": 100}}'"
        return f"has {name} = {kwargs[name]!r}: {details['msg'].removeprefix('Input ')}"
    if issubclass(takes, Floor) and len(kwargs.keys() & {"min_lr", "min_lr_rate"}) != 1:
        return f"has to hold one of min_lr and min_lr_rate for {schedule}: '{{\"min_lr_rate\": 0.1}}'"
    return None
