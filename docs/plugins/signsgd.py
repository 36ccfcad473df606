"""An optimizer: steps of equal size along the gradient's signs. `--optimizer signsgd --external_plugins signsgd.py`"""

import torch


def build(model, params):
    return SignSGD([weight for weight in model.parameters() if weight.requires_grad], params.train.learning_rate)


class SignSGD(torch.optim.Optimizer):
    def __init__(self, weights, lr):
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.sub_(group["lr"] * weight.grad.sign())
