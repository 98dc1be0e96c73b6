"""Draws grey images, and compares every pixel of the blurred ones."""

import base64
import random
from collections.abc import Iterator
from itertools import accumulate

from trainer.judging import WrongAnswer

CASES = 60  # images in one pass
WORK = 6_000_000  # pixels that a plain blur of one image adds up, about


def cases(seed: int) -> Iterator[tuple[dict, tuple]]:
    """Images of many shapes, with noise, edges and even places; the wider the blur, the smaller the image."""
    draw = random.Random(seed)
    for _ in range(CASES):
        radius, width = draw.randint(2, 14), draw.randint(17, 200)
        height = max(3, WORK // (width * (2 * radius + 1) ** 2))
        height = min(height, 40_000 // width)
        pixels = _image(draw, width, height)
        image = base64.b64encode(pixels).decode()
        yield {"width": width, "height": height, "radius": radius, "pixels": image}, (pixels, width, radius)


def score(answer: object, truth: tuple) -> None:
    """Every pixel must be right. The number of this task is the CPU time, which the referee reads."""
    pixels, width, radius = truth
    try:
        told = base64.b64decode(answer, validate=True)
    except (TypeError, ValueError):
        raise WrongAnswer("the answer is no base64") from None
    right = _blurred(pixels, width, radius)
    if len(told) != len(right):
        raise WrongAnswer(f"the answer has {len(told)} pixels, and the image {len(right)}")
    wrong = [place for place, pair in enumerate(zip(told, right, strict=True)) if pair[0] != pair[1]]
    if wrong:
        y, x = divmod(wrong[0], width)
        raise WrongAnswer(
            f"{len(wrong)} pixels are wrong: at ({x}, {y}) {told[wrong[0]]}, and {right[wrong[0]]} is right"
        )


def _image(draw: random.Random, width: int, height: int) -> bytes:
    noise, ramp = draw.choice((1, 16, 256)), draw.choice((0, 1, 3))
    pixels = [(ramp * place + draw.randrange(noise)) & 255 for place in range(width * height)]
    for _ in range(draw.randint(0, 6)):  # squares of one grey
        x, y, side, grey = draw.randrange(width), draw.randrange(height), draw.randint(1, 40), draw.randrange(256)
        for row in range(y, min(y + side, height)):
            pixels[row * width + x : row * width + min(x + side, width)] = [grey] * (min(x + side, width) - x)
    return bytes(pixels)


def _blurred(pixels: bytes, width: int, radius: int) -> bytes:
    """The mean of the square around each pixel, as far as it lies in the image, rounded down; by sums of prefixes."""
    height = len(pixels) // width
    sums = [[0] * (width + 1)]
    for row in range(height):
        along = accumulate(pixels[row * width : (row + 1) * width], initial=0)
        sums.append([above + here for above, here in zip(sums[-1], along, strict=True)])
    spans = [(max(0, x - radius), min(width, x + radius + 1)) for x in range(width)]
    blurred = bytearray()
    for y in range(height):
        first, last = max(0, y - radius), min(height, y + radius + 1)
        top, end, rows = sums[first], sums[last], last - first
        blurred += bytes((end[b] - end[a] - top[b] + top[a]) // ((b - a) * rows) for a, b in spans)
    return bytes(blurred)
