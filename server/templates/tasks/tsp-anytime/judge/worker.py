"""Answers the judge: towns and CPU seconds come in, the order of the towns goes out."""

import sys

from trainer.judging import serve

sys.path.insert(0, "src")
from tour import tour

serve(lambda question: tour(question["towns"], question["cpu_seconds"]))
