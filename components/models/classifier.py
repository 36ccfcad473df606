"""Classifiers and reward models on models that see or hear, for which transformers has no class of its own."""

from functools import cache
from typing import Any


@cache
def multimodal_classifier(model_type: str) -> Any:
    """Return a class with transformers' generic classifier's head on the multimodal model of a type, or None where
    transformers has no such model.

    Its forward pass takes what the model takes; the head reads the state of the last token that is no padding.
    """
    import transformers
    from transformers import conversion_mapping
    from transformers.modeling_layers import GenericForSequenceClassification
    from transformers.models.auto import modeling_auto

    tables: Any = modeling_auto
    name = tables.MODEL_MAPPING_NAMES.get(model_type)
    writer = tables.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.get(model_type)
    if not isinstance(name, str) or writer is None:
        return None
    model = getattr(transformers, name)
    pretrained = next(parent for parent in model.__mro__ if parent.__name__.endswith("PreTrainedModel"))
    classifier = f"{name.removesuffix('Model')}ForSequenceClassification"
    renamings: Any = conversion_mapping.get_checkpoint_conversion_mapping(writer)
    if renamings:
        conversion_mapping.register_checkpoint_conversion_mapping(classifier, renamings, overwrite=True)
    return type(classifier, (GenericForSequenceClassification, pretrained), {"config_class": model.config_class})
