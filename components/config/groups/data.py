"""Where rows come from. Read by the stage `fetch`."""

from components.config.fields import Group, Mapping, Names, field


class Data(Group):
    """Datasets, their mixing and their placeholders."""

    dataset: Names = field([], "training data: files, or hub ids; 'id#500' takes 500 rows, the same ones every time")
    val_dataset: Names = field([], "validation data, written like --dataset")
    split_dataset_ratio: float = field(
        0.0, "share of the training rows held out for validation when no --val_dataset is given", ge=0.0, lt=1.0
    )
    eval_dataset: Names = field([], "question sets that models are compared on: JSONL files with query and response")
    data_seed: int = field(42, "seed for sampling, splitting and shuffling rows")
    dataset_shuffle: bool = field(True, "mix the rows of all datasets; false keeps their order")
    columns: Mapping = field({}, 'rename columns before reading, as JSON: {"text1": "query", "text2": "response"}')
    model_name: Names = field([], "the name that fills {{NAME}} in a row; a second one is for Chinese rows")
    model_author: Names = field([], "the maker that fills {{AUTHOR}} in a row; a second one is for Chinese rows")
    use_hf: bool = field(False, "look hub ids up on Hugging Face rather than ModelScope")
