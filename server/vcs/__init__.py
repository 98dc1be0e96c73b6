"""Git: the branch and worktree of a study, and a ref for each attempt."""

import os

# GitPython runs git while it is imported, and its import fails with it, as over a line of ~/.gitconfig that git cannot
# read. It is imported without a git instead: the first call says in a sentence what is wrong.
_NAMED = os.environ.get("GIT_PYTHON_GIT_EXECUTABLE")
os.environ["GIT_PYTHON_GIT_EXECUTABLE"] = os.devnull
try:
    from git import Git
finally:
    del os.environ["GIT_PYTHON_GIT_EXECUTABLE"]
if _NAMED is not None:
    os.environ["GIT_PYTHON_GIT_EXECUTABLE"] = Git.GIT_PYTHON_GIT_EXECUTABLE = _NAMED
