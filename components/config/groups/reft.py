"""Parameters of ReFT. Read by the stage `train`."""

from typing import Annotated

from pydantic import BeforeValidator

from components.config.fields import Group, field

Blocks = Annotated[list[int], BeforeValidator(lambda value: [value] if isinstance(value, (int, str)) else value)]


class Reft(Group):
    """ReFT: low-rank interventions on the hidden states behind blocks (--tuner_type reft)."""

    reft_rank: int = field(4, "dimensions of the subspace", gt=0)
    reft_layers: Blocks = field([], "numbers of the blocks, from 0; by default all")
    reft_intervention_type: str = field(
        "LoreftIntervention",
        "the change of a hidden state, by pyreft's name: LoreftIntervention, NoreftIntervention, ConsreftIntervention, "
        "LobireftIntervention, DireftIntervention or NodireftIntervention",
    )
