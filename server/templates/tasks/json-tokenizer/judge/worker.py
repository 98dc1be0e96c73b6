"""Answers the judge: a text comes in, its tokens go out."""

import sys

from trainer.judging import serve

sys.path.insert(0, "src")
from tokenizer import tokens

serve(tokens)
