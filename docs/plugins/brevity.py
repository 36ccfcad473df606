"""A metric: how long answers are beside those of the rows. `--eval_metric brevity --external_plugins brevity.py`"""


def metrics(answers, references):
    return {"brevity": sum(map(len, answers)) / max(sum(map(len, references)), 1)}
