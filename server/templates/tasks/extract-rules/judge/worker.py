"""Answers the judge: log lines come in, what the rules find in them goes out."""

import sys

from trainer.judging import serve

sys.path.insert(0, ".")
from extract import extract, read_rules

rules = read_rules("rules.txt")
serve(lambda lines: [extract(rules, line) for line in lines])
