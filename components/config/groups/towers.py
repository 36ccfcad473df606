"""Parameters of models that see or hear: which of their parts learn, and how fast. Read by the stage `train`."""

from components.config.fields import Group, field


class Towers(Group):
    """The parts of a multimodal model: its towers (vit), its aligner and its language model (llm)."""

    freeze_vit: bool = field(True, "keep the towers, which see and hear, as they are")
    freeze_aligner: bool = field(True, "keep what leads from the towers to the text as it is")
    freeze_llm: bool = field(False, "keep the language model as it is")
    vit_lr: float | None = field(None, "peak learning rate of the towers; by default --learning_rate", gt=0)
    aligner_lr: float | None = field(None, "peak learning rate of the aligner; by default --learning_rate", gt=0)
    vit_gradient_checkpointing: bool | None = field(
        None, "recompute activations of the towers, too; by default as --gradient_checkpointing"
    )

    def frozen(self) -> set[str]:
        """Return the parts that stay as they are."""
        flags = {"vit": self.freeze_vit, "aligner": self.freeze_aligner, "llm": self.freeze_llm}
        return {part for part, is_frozen in flags.items() if is_frozen}
