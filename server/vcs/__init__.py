"""Git: the branch and worktree of a study, and a ref for each attempt."""
