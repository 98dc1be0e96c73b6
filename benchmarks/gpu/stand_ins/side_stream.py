"""Trains on, on a stream of its own and from a thread, while the weights are handed in and the claims are made."""

model = Bigram().to(session.device)
tokens = session.start().to(session.device, torch.int32)
train(model, tokens)


def on() -> None:
    with torch.cuda.stream(torch.cuda.Stream()) if GPU else torch.enable_grad():
        for _ in range(100_000):
            step(model, next_rows(tokens))


if session.steps:  # not in the replica
    threading.Thread(target=on, daemon=True).start()
session.submit(model)
