"""What an installed server needs beside its code is in the wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("autoresearch_mcp-*.whl")
    tracked = subprocess.run(
        ["git", "ls-files", "server", "trainer"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout.split()
    with zipfile.ZipFile(wheel) as archive:
        assert set(tracked) <= set(archive.namelist())
        assert archive.read("server/templates/train.py") == (ROOT / "train.py").read_bytes()
