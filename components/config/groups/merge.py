"""How an adapter becomes a model of its own. Read by the stage `merge`."""

from components.config.fields import Group, field


class Merge(Group):
    """Merging, proved by comparing logits."""

    merge_tolerance: float = field(
        1e-2, "largest difference allowed between the logits of the merged model and of adapter on base", gt=0
    )
    max_shard_size: str = field("5GB", "weights are split into files of at most this size")
