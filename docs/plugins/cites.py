"""A reward: the share of the row's sources that the answer names in brackets. `--reward_funcs cites`"""

COLUMNS = ("sources",)


def rewards(samples, params):
    return [_share(sample.completion, sample.columns.get("sources")) for sample in samples]


def _share(answer, sources):
    return sum(f"[{source}]" in answer for source in sources) / len(sources) if sources else None
