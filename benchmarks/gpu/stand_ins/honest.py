model = Bigram().to(session.device)
train(model, session.start().to(session.device, torch.int32))
session.submit(model)
