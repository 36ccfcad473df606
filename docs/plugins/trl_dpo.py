"""A training method: DPO by TRL's trainer, on pairs from our own tokens. `--method trl_dpo`

The reference model is the base below the adapter, so no second copy is loaded.
"""

from components.training.arguments import training_arguments
from components.training.trainer import JobTrainer

SHAPE = "preference"
BETA = 0.1


def trainer(job):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class OurDPOTrainer(JobTrainer, DPOTrainer):
        def _prepare_dataset(self, dataset, *args):  # TRL 1.16 has no way to say that rows are tokens already
            return dataset

    def pairs(rows):
        columns = ("prompt_ids", "chosen_ids", "rejected_ids")
        return rows and Dataset.from_dict({n: [rows[i][n].tolist() for i in range(len(rows))] for n in columns})

    arguments = DPOConfig(**training_arguments(job), beta=BETA, max_length=None)
    return OurDPOTrainer(
        job,
        args=arguments,
        train_dataset=pairs(job.rows),
        eval_dataset=pairs(job.val_rows),
        processing_class=job.tokenizer,
    )
