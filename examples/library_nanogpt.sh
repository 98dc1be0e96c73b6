#!/bin/sh
# A library for training small GPTs: call it in the workspace, beside program.md. It fetches some 30 MB.
# Look at the licences (`autoresearch library list`) before you push what it has added.
set -u
failed=0
add() { autoresearch library add "$@" || failed=1; }

# Optimizers
add https://kellerjordan.github.io/posts/muon/ --tag optimizer
add https://jeremybernste.in/writing/deriving-muon --tag optimizer
add arXiv:2502.16982 --tag optimizer # Muon is scalable for LLM training
add arXiv:2409.11321 --tag optimizer # SOAP
add arXiv:2405.15682 --tag optimizer # Schedule-free
add arXiv:1711.05101 --tag optimizer # AdamW
add arXiv:2407.07972 --tag optimizer # Deconstructing what makes a good optimizer

# Schedules and scaling
add arXiv:2203.15556 --tag scaling # Chinchilla
add arXiv:2405.18392 --tag schedule # Constant learning rate with cooldown
add arXiv:2203.03466 --tag scaling # muP
add arXiv:2502.15938 --tag schedule # Straight to zero

# Architecture
add arXiv:2002.05202 --tag architecture # GLU variants
add arXiv:2104.09864 --tag architecture # RoPE
add arXiv:2109.08668 --tag architecture # Primer: squared ReLU
add arXiv:2302.05442 --tag architecture # QK normalisation
add arXiv:2410.17897 --tag architecture # Value residual
add arXiv:2408.00118 --tag architecture # Gemma 2: soft caps of logits

# Repositories: what others have tried, with their records
add https://github.com/KellerJordan/modded-nanogpt --include 'train_gpt*.py' --tag speedrun
add https://github.com/karpathy/nanoGPT --include '*.py' --tag speedrun
add https://github.com/karpathy/nanochat --include 'nanochat/*.py' --tag speedrun
add https://github.com/google-research/tuning_playbook --tag tuning

autoresearch library list
exit $failed
