"""Answers the judge: an image comes in, the compiled code blurs it, it goes out. The library is the first argument."""

import base64
import ctypes
import sys

from trainer.judging import serve

blur = ctypes.CDLL(sys.argv[1]).blur
blur.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
blur.restype = None


def answer(question):
    pixels = base64.b64decode(question["pixels"])
    blurred = ctypes.create_string_buffer(len(pixels))
    blur(pixels, blurred, question["width"], question["height"], question["radius"])
    return base64.b64encode(blurred.raw).decode()


serve(answer)
