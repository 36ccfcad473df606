"""Where rows come from. Read by the stage `fetch`."""

from typing import Literal

from components.config.fields import Group, Mapping, Names, Numbers, field


class Data(Group):
    """Datasets, their mixing and their placeholders."""

    dataset: Names = field(
        [], "training data: files, folders, globs, or ids as [hf::|ms::]id[:subset][@revision]; '#500' takes 500 rows"
    )
    val_dataset: Names = field([], "validation data, written like --dataset")
    split_dataset_ratio: float = field(
        0.0, "share of the training rows held out for validation when no --val_dataset is given", ge=0.0, lt=1.0
    )
    eval_dataset: Names = field([], "question sets that models are compared on: rows with query and response")
    custom_dataset_info: Names = field([], "files like LLaMA-Factory's dataset_info.json, whose names are datasets too")
    data_seed: int = field(42, "seed for sampling, splitting, interleaving and shuffling rows", ge=0)
    dataset_shuffle: bool = field(
        True, "mix the rows of all datasets; false keeps their order, and '#500' then takes the first 500"
    )
    val_dataset_shuffle: bool = field(False, "the same for the validation data")
    interleave_prob: Numbers = field(
        [], "draw from the training datasets with these probabilities, one for each, rather than take all their rows"
    )
    stopping_strategy: Literal["first_exhausted", "all_exhausted"] = field(
        "first_exhausted", "when interleaving ends; with all_exhausted, datasets that are used up begin again"
    )
    streaming: bool = field(
        False, "read, check and tokenise rows while they are trained on, for data that fit on no disk (needs max_steps)"
    )
    shuffle_buffer_size: int = field(1000, "rows of a stream that are shuffled among each other", gt=0)
    columns: Mapping = field({}, 'rename columns before reading, as JSON: {"text1": "query", "text2": "response"}')
    model_name: Names = field([], "the name that fills {{NAME}} in a row; a second one is for Chinese rows")
    model_author: Names = field([], "the maker that fills {{AUTHOR}} in a row; a second one is for Chinese rows")
    use_hf: bool = field(False, "look hub ids up on Hugging Face rather than ModelScope")
