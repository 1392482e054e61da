# The suite in an image of its own, on a CPU or, with a base that has CUDA, on a GPU:
#
#   docker build -t anomaly-benchmark .
#   docker build -t anomaly-benchmark --build-arg BASE=pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime .
#   docker run --rm -v "$PWD/data:/data:ro" -v "$PWD/runs:/bench/runs" anomaly-benchmark run --methods dicnet,msp
#
# A base is any image with Python 3.11 or newer; one that brings torch keeps its own. On the plain one, pip takes torch
# with CUDA unless --build-arg PIP_EXTRA_INDEX_URL=... names an index of wheels for CPUs alone.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

ARG EXTRAS=pretrained
ARG PIP_EXTRA_INDEX_URL=
ARG UID=10001

# In an image there is nothing that packages of the system could break.
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_BREAK_SYSTEM_PACKAGES=1 \
    ANOMALY_DATA=/data

WORKDIR /bench
COPY pyproject.toml setup.py README.md LICENSE ./
COPY benchmark benchmark
COPY methods methods
COPY datasets datasets
COPY results results

# The versions of what is installed stand in every record; pyproject.toml bounds them.
# hadolint ignore=DL3013
RUN pip install -e ".[${EXTRAS}]" \
    && useradd --create-home --uid "${UID}" bench \
    && install -d -o bench -g bench /bench/runs

USER ${UID}
ENTRYPOINT ["anomaly-benchmark"]
CMD ["--help"]
