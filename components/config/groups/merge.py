"""Parameters of the merge of an adapter into its base. Read by the stage `merge`."""

from components.config.fields import Group, field


class Merge(Group):
    """The merge, checked by comparing logits."""

    merge_tolerance: float = field(
        1e-2, "largest difference allowed between the logits of the merged model and of adapter on base", gt=0
    )
    max_shard_size: str = field("5GB", "largest file of weights")
