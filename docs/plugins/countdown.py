"""A callback: says every tenth step how many are left. `--callbacks countdown --external_plugins countdown.py`"""

from transformers import TrainerCallback


def callback(job):
    return Countdown(job)


class Countdown(TrainerCallback):
    def __init__(self, job):
        self.job = job

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % 10 == 0:
            self.job.report({"message": f"{state.max_steps - state.global_step} steps left"})
