"""What pip installs for the extra `ray`: `python -m tests.ray.wanted`."""

import tomllib
from pathlib import Path


def wanted() -> str:
    """The requirement, as pyproject.toml has it."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    (told,) = project["project"]["optional-dependencies"]["ray"]
    return str(told)


if __name__ == "__main__":
    print(wanted())  # noqa: T201
