"""A second chance: an answer without the solution in it is sent back."""


def step(conversation):
    if conversation.columns["solution"] in conversation.messages[-1]["content"]:
        return None
    return [{"role": "user", "content": "That is not right. Try again."}]
