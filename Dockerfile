# The server and its trainer, for a CPU or an NVIDIA GPU. torch for a GPU includes the CUDA libraries, so that
# `docker run --gpus all` is enough.
#   docker build --build-arg TORCH=cpu -t autoresearch:cpu .
#   docker build --build-arg TORCH=gpu -t autoresearch:gpu .
#   docker run --rm -p 127.0.0.1:8765:8765 -v "$PWD/my-night:/work" -e AUTORESEARCH_TOKEN autoresearch:cpu
FROM python:3.12-slim

ARG TORCH=gpu

# torch.compile compiles while it runs: with g++ on a CPU, with gcc (Triton) on a GPU, against Python.h, which this base
# image has and Ubuntu's python3 has not: there add python3-dev.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ gcc git libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/autoresearch
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY autoresearch_command.py ./
COPY server server
COPY trainer trainer
COPY program.md train.py ./
RUN if [ "$TORCH" = cpu ]; then \
        pip install --no-cache-dir --constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu torch; \
    fi \
    && pip install --no-cache-dir --constraint constraints.txt . \
    && useradd --create-home --uid 1000 researcher
USER 1000
WORKDIR /work
EXPOSE 8765
ENTRYPOINT ["autoresearch"]
# Only docker publishes the port, and the server asks for the token.
CMD ["serve", "--http", "0.0.0.0:8765"]
