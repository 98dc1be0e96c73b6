"""The names that language models have brought into answers and files, from when they were all that was measured. Pure.

Everything else in the server takes a score's name from its metric.
"""

from typing import Literal

Name = Literal["val_bpb"]
NAME: Name = "val_bpb"
UNIT = "bits per byte"
WORDS = "validation bits per byte"
