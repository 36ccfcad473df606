"""Parameters of the datasets. Read by the stage `fetch`."""

from typing import Literal

from components.config.fields import Group, Mapping, Names, Numbers, field


class Data(Group):
    """Datasets, their mixing and their placeholders."""

    dataset: Names = field(
        [],
        "training data: files, folders, globs, plugins (NAME[:subset]), or ids as [hf::|ms::]id[:subset][@revision]; "
        "'#500' takes 500 rows",
    )
    val_dataset: Names = field([], "validation data, written like --dataset; in infer, the questions to answer")
    split_dataset_ratio: float = field(
        0.0, "share of the training rows held out for validation when no --val_dataset is given", ge=0.0, lt=1.0
    )
    eval_dataset: Names = field([], "question sets for the evaluation: rows with query and response")
    custom_dataset_info: Names = field([], "files like LLaMA-Factory's dataset_info.json, which name more datasets")
    data_seed: int = field(42, "seed for sampling, splitting, interleaving and shuffling rows", ge=0)
    dataset_shuffle: bool = field(
        True, "mix the rows of all datasets; false keeps their order, and '#500' then takes the first 500"
    )
    val_dataset_shuffle: bool = field(False, "mix the rows of all validation datasets")
    interleave_prob: Numbers = field(
        [], "probabilities with which rows are drawn from the training datasets, one for each; by default all rows"
    )
    stopping_strategy: Literal["first_exhausted", "all_exhausted"] = field(
        "first_exhausted", "end of the interleaving: the first or the last dataset ends; shorter ones then repeat"
    )
    streaming: bool = field(
        False, "read, check and tokenise rows during the training, for data larger than the disk (needs max_steps)"
    )
    shuffle_buffer_size: int = field(1000, "rows of a stream among which the next row is drawn", gt=0)
    columns: Mapping = field({}, 'new names of columns, as JSON: {"text1": "query", "text2": "response"}')
    model_name: Names = field([], "name that replaces {{NAME}} in rows; a second name is for Chinese rows")
    model_author: Names = field([], "maker that replaces {{AUTHOR}} in rows; a second maker is for Chinese rows")
    root_image_dir: str | None = field(
        None, "folder in which relative paths of media are looked up first, before that of the dataset's file"
    )
    download_media: bool = field(False, "download media that rows name by http:// or https:// URLs")
    use_hf: bool = field(False, "resolve hub ids on Hugging Face, not on ModelScope")
