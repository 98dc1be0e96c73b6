"""Takes BYTES of memory, computes, and never comes to an end."""

BYTES = 64 << 20
memory = torch.ones(BYTES, dtype=torch.uint8, device=session.device)
square = torch.randn(4096 if GPU else 256, 4096 if GPU else 256, device=session.device)
session.start()
while True:
    square = (square @ square).softmax(0)
    if GPU:
        torch.cuda.synchronize()
