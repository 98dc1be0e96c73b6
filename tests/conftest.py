"""What several rooms' tests stand on."""

from pathlib import Path

import pytest

STAND_INS = Path(__file__).parent / "stand_ins"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tokenised data, built once for all runs."""
    return tmp_path_factory.mktemp("data")
