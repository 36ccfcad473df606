"""Parameters of the direct commands: folders and adapters."""

from components.config.fields import Group, Names, field


class Run(Group):
    """Folders of a direct command such as `martlet sft`, and the checkpoint or adapter that the command starts from."""

    output_dir: str = field("output", "folder of all runs; in export, the new folder")
    add_version: bool = field(True, "write into a new sub-folder vN-DATE-TIME of --output_dir")
    dataset_num_proc: int | None = field(
        None, "processes that check and tokenise rows; by default one for each core", ge=1
    )
    resume_from_checkpoint: str | None = field(
        None,
        "checkpoint folder from which the training continues; auto: the newest whole one of the run in --output_dir, "
        "or a new run where there is none",
    )
    resume_only_model: bool = field(
        False, "begin a new run with the weights of that checkpoint, and a new optimizer, schedule and order of rows"
    )
    adapters: Names = field([], "adapter or checkpoint folder; model and system prompt are those of its training")
    merge_lora: bool = field(False, "merge the adapter into the model first")
    images: Names = field([], "pictures of a first question, for as many <image> in it, or before it")
    videos: Names = field([], "videos of a first question, for as many <video> in it, or before it")
    audios: Names = field([], "sounds of a first question, for as many <audio> in it, or before it")
    eval_output_dir: str = field("eval_output", "folder of the results of `martlet eval` and `martlet compare`")
    eval_url: str | None = field(None, "OpenAI-compatible server to evaluate, such as http://127.0.0.1:8000/v1")
    result_path: str | None = field(None, "JSONL file for the answers to --val_dataset; by default result.jsonl")
