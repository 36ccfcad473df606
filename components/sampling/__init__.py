"""Rejection sampling: of many answers to a prompt, those that are worth learning from (Yuan et al. 2023, "Scaling
Relationship on Learning Mathematical Reasoning"; Dong et al. 2023, "RAFT").

    firsts = distinct(drawn)                                     # equal answers count once
    candidates = [Candidate(drawn[n], n, times, score, rewards) for n, times in firsts.items()]
    choice = choose(prompt, candidates, params.sample, {"model": "models/base"})
    choice.rows                                                  # conversations, or a preference
    tally.add(choice)                                            # what came of all prompts: tally.figures()
"""

from components.sampling.choose import Candidate, Choice, Drawn, Prompt, choose, distinct
from components.sampling.tally import Tally

__all__ = ["Candidate", "Choice", "Drawn", "Prompt", "Tally", "choose", "distinct"]
