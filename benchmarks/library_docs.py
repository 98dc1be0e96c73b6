"""Pages of documentation with known text: Markdown written here, built by the real Sphinx, MkDocs and nbconvert.

`python benchmarks/library_docs.py FOLDER` writes NAME.html and NAME.md for each page and each builder that is
installed: sphinx and myst-parser (with furo, sphinx-rtd-theme, pydata-sphinx-theme), mkdocs (with mkdocs-material and
pymdown-extensions), nbconvert. benchmarks/library_extraction.py --docs FOLDER measures on them.
"""

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_ADAMW = r"""# Decoupled weight decay

AdamW keeps two moments of the gradient $g_t$ and shrinks the weights apart from the step. This page gives the update, a
reference implementation, and the settings that were tried.

## The update

The first moment is $m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t$, and the second moment uses the square:

$$
v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2
$$

With the corrections $\hat{m}_t$ and $\hat{v}_t$ the step is

$$
\theta_t = \theta_{t-1} - \eta \left( \frac{\hat{m}_t}{\sqrt{\hat{v}_t} + \epsilon} + \lambda \theta_{t-1} \right)
$$

### An implementation

```python
def step(p, g, m, v, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, decay=0.1):
    m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    m_hat = m / (1 - betas[0] ** t)

    if decay:
        p.mul_(1 - lr * decay)  # apart from the gradient
    p.addcdiv_(m_hat, (v / (1 - betas[1] ** t)).sqrt() + eps, value=-lr)
```

Run it with:

```bash
python train.py \
    --optimizer adamw \
    --lr 3e-4 | tee log.txt
```

## Settings

| setting | default | tried | best |
| --- | --- | --- | --- |
| `lr` | 1e-3 | 1e-4, 3e-4, 1e-3 | 3e-4 |
| `betas` | (0.9, 0.999) | (0.9, 0.95) | (0.9, 0.95) |
| `decay` | 0.01 | 0.0, 0.1 | 0.1 |

What mattered, in this order:

1. The learning rate, which has to fall to a tenth at the end.
2. The second beta:
    - 0.95 for large batches,
    - 0.99 for small ones.
3. Decay on matrices **only**, never on *gains* or biases.

> Warm up for at least a hundred steps, or the second moment is wrong.

See the [paper](https://arxiv.org/abs/1711.05101) for proofs and `torch.optim.AdamW` for a fast version.
"""

_LOADER = r"""# Streaming data

The loader reads shards of tokens from disk, and hands out batches of equal size. Nothing is shuffled in memory.

## Format of a shard

A shard is a file of `uint16` with a header of 256 `int32`:

```c
struct header {
    int32_t magic;    /* 20240520 */
    int32_t version;
    int32_t tokens;
    int32_t rest[253];
};
```

| field | bytes | meaning |
| --- | --- | --- |
| magic | 4 | marks the file |
| version | 4 | 1 |
| tokens | 4 | how many follow |

### Reading it

```python
import numpy as np

def tokens(path):
    with open(path, "rb") as file:
        header = np.frombuffer(file.read(1024), dtype=np.int32)
        assert header[0] == 20240520, "no shard"
        return np.frombuffer(file.read(), dtype=np.uint16)
```

## Configuration

The file `data.yaml` names what is read:

```yaml
train:
  - path: shards/train_*.bin
    weight: 1.0
validation:
  path: shards/val.bin
```

- Paths may hold `*` and `?`.
- Weights are relative:
    - they need not sum to one,
    - a weight of zero leaves a source out.
- Everything else is ignored.

Throughput is $n_{\text{tokens}} / t$, which was 2.1 million tokens a second on one disk. More is in
[the notes](https://example.org/notes) and in the source.
"""

SOURCES = {"adamw": _ADAMW, "loader": _LOADER}


def _run(*command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)


def _sphinx(theme: str, work: Path) -> dict[str, Path]:
    source, out = work / "source", work / "out"
    source.mkdir()
    for name, text in SOURCES.items():
        text = re.sub(r"^    - ", "   - ", text, flags=re.M)
        (source / f"{name}.md").write_text(text, "utf-8")
    (source / "index.md").write_text("# Index\n\n```{toctree}\n" + "\n".join(SOURCES) + "\n```\n", "utf-8")
    settings = ["extensions = ['myst_parser', 'sphinx.ext.mathjax']", "myst_enable_extensions = ['dollarmath']"]
    (source / "conf.py").write_text("\n".join([*settings, f"html_theme = {theme!r}", "project = 'Training'"]), "utf-8")
    _run("sphinx", "-q", "-b", "html", str(source), str(out))
    return {name: out / f"{name}.html" for name in SOURCES}


def _mkdocs(theme: str, work: Path) -> dict[str, Path]:
    (work / "docs").mkdir()
    for name, text in SOURCES.items():
        (work / "docs" / f"{name}.md").write_text(text, "utf-8")
    (work / "docs" / "index.md").write_text("# Index\n", "utf-8")
    extensions = ["tables", "fenced_code", {"pymdownx.arithmatex": {"generic": True}}, "pymdownx.highlight"]
    settings = {
        "site_name": "Training",
        "theme": {"name": theme},
        "markdown_extensions": [*extensions, "pymdownx.superfences"],
    }
    (work / "mkdocs.yml").write_text(json.dumps(settings), "utf-8")
    _run("mkdocs", "build", "-q", "-f", str(work / "mkdocs.yml"), "-d", str(work / "site"))
    return {name: work / "site" / name / "index.html" for name in SOURCES}


def _notebook(template: str, work: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, text in SOURCES.items():
        cells: list[dict[str, object]] = []
        for part in re.split(r"(^```python\n.*?^```$)", text, flags=re.S | re.M):
            code = part.startswith("```python")
            lines = part.split("\n")[1:-1] if code else part.strip().split("\n")
            cell = {
                "cell_type": "code" if code else "markdown",
                "metadata": {},
                "source": "\n".join(lines),
                "id": f"c{len(cells)}",
            }
            cells.append(cell | ({"outputs": [], "execution_count": None} if code else {}))
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        language = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
        told = {"cells": cells, "metadata": kernel | language, "nbformat": 4, "nbformat_minor": 5}
        (work / f"{name}.ipynb").write_text(json.dumps(told), "utf-8")
        _run("nbconvert", "--to", "html", "--template", template, str(work / f"{name}.ipynb"))
        found[name] = work / f"{name}.html"
    return found


_BUILDERS = (
    ("sphinx", "furo", _sphinx),
    ("sphinx", "sphinx_rtd_theme", _sphinx),
    ("sphinx", "pydata_sphinx_theme", _sphinx),
    ("sphinx", "alabaster", _sphinx),
    ("mkdocs", "material", _mkdocs),
    ("mkdocs", "readthedocs", _mkdocs),
    ("mkdocs", "mkdocs", _mkdocs),
    ("nbconvert", "lab", _notebook),
    ("nbconvert", "classic", _notebook),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for builder, theme, build in _BUILDERS:
        if importlib.util.find_spec(builder) is None:
            print(f"{builder} is not installed: left out")
            continue
        with tempfile.TemporaryDirectory() as work:
            try:
                pages = build(theme, Path(work))
            except subprocess.CalledProcessError as error:
                print(f"{builder} with {theme}: {error.stderr.decode(errors='replace').strip()[-300:]}")
                continue
            for name, page in pages.items():
                shutil.copy(page, folder / f"{builder}-{theme}-{name}.html")
                (folder / f"{builder}-{theme}-{name}.md").write_text(SOURCES[name], "utf-8")
            print(f"{builder} with {theme}: {len(pages)} pages")


if __name__ == "__main__":
    main()
