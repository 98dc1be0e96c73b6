"""Text that `autoresearch prepare` knows by name, and where it is."""

import os
from dataclasses import dataclass

_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Preset:
    """A data set of Parquet files with one document a row, in the column `text`."""

    repository: str
    revision: str
    file: str  # with a place for the number
    files: int  # how many there are
    about: str

    def urls(self, shards: int) -> list[str]:
        """The first `shards` files. The environment's HF_ENDPOINT names a mirror."""
        hub = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
        place = f"{hub}/datasets/{self.repository}/resolve/{self.revision}"
        return [f"{place}/{self.file.format(number)}" for number in range(min(shards, self.files))]


_TINYSTORIES = "data/validation-00000-of-00001-869c898b519ad725.parquet"

PRESETS = {
    "climbmix": Preset(
        "karpathy/climbmix-400b-shuffle",
        "main",
        "shard_{:05d}.parquet",
        6543,
        "the web, filtered for pretraining; what upstream trains on",
    ),
    "fineweb-edu": Preset(
        "karpathy/fineweb-edu-100b-shuffle",
        "main",
        "shard_{:05d}.parquet",
        1823,
        "educational pages of the web",
    ),
    "tinystories": Preset(
        "karpathy/tinystories-gpt4-clean",
        "0397e27157956705a0260709da3095bb9c43d6a7",
        "tinystories_gpt4_clean.parquet",
        1,
        "stories for small children; one file of 640 MB",
    ),
    "tinystories-mini": Preset(
        "roneneldan/TinyStories",
        "main",
        _TINYSTORIES,
        1,
        "a download of 10 MB, good for a laptop",
    ),
}
