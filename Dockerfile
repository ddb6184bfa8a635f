# mfuscope with everything that a run needs. docs/offline.md says how to build it, what to mount, and
# what of it was run.
ARG BASE=nvidia/cuda:13.0.3-base-ubuntu24.04
FROM ${BASE}

# git tells which commit measured, where a checkout is mounted; tini reaps what workers leave to it.
# Ubuntu keeps one version of each package: a pinned one could not be had again.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git python3 python3-venv tini \
    && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# What changes least and weighs most comes first. The wheels bring CUDA's libraries along.
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu130
RUN python3 -m venv /opt/venv \
    && pip install --index-url "${TORCH_INDEX}" "torch==${TORCH}"

WORKDIR /work
COPY requirements.txt ./
RUN pip install -r requirements.txt

# Editable, so that a checkout mounted at /work is the one that runs.
COPY . ./
RUN pip install --no-deps -e .

# A number that no user of a host has; `--user` may name any other. So the home has to be anybody's,
# and a user without a name is given one, as torch asks for it. git otherwise tells nothing of a
# checkout that is another user's.
RUN useradd --uid 10001 --no-create-home --home-dir /home/mfuscope mfuscope \
    && install -d -m 1777 /home/mfuscope /hub \
    && install -d -o mfuscope -g mfuscope results logs .snakemake \
    && git config --system --add safe.directory /work
ENV HOME=/home/mfuscope \
    USER=mfuscope \
    HF_HOME=/hub
USER 10001:10001

ENTRYPOINT ["tini", "-s", "--", "snakemake"]
