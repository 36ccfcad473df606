"""What only the direct commands have: folders and adapters."""

from components.config.fields import Group, Names, field


class Run(Group):
    """Where a direct command such as `martlet sft` writes, and what it continues from."""

    output_dir: str = field("output", "folder for runs")
    add_version: bool = field(True, "write into a new sub-folder vN-DATE-TIME of --output_dir")
    dataset_num_proc: int | None = field(None, "processes that tokenise; by default one per core", ge=1)
    resume_from_checkpoint: str | None = field(None, "checkpoint folder to continue from")
    adapters: Names = field([], "adapter or checkpoint folder; its saved arguments bring model and system prompt")
    merge_lora: bool = field(False, "merge the adapter into the model first")
    result_path: str | None = field(None, "JSONL file for the answers to --val_dataset")
