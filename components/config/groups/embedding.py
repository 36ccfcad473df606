"""Parameters of embeddings. Read by the stage `train`."""

from components.config.fields import Group, field


class Embedding(Group):
    """How vectors of texts are compared while they are learned (--task_type embedding)."""

    infonce_temperature: float = field(0.1, "divides the similarities that infonce compares", gt=0)
    infonce_use_batch: bool = field(True, "infonce also compares with the texts of the other rows in a batch")
    contrastive_margin: float = field(0.5, "cosine distance beyond which texts are far enough apart", gt=0)
