# docker build -t brainage_bids .
# docker run --rm -v /data/study:/bids:ro -v /data/out:/out brainage_bids /bids /out participant
FROM python:3.11-slim-bookworm AS build

# A further package index, such as one with torch's CPU builds (a smaller image): --build-arg TORCH_INDEX=URL
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_EXTRA_INDEX_URL=${TORCH_INDEX}

WORKDIR /src
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
# The dependencies first, on an empty package: this layer stays while only our own code changes.
RUN mkdir brainage_bids \
    && echo '__version__ = "0"' > brainage_bids/__init__.py \
    && python -m venv /opt/brainage \
    && /opt/brainage/bin/pip install --constraint constraints.txt .
COPY brainage_bids brainage_bids
RUN rm -rf build brainage_bids.egg-info \
    && /opt/brainage/bin/pip install --no-deps --force-reinstall .

FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="brainage_bids" \
      org.opencontainers.image.description="Brain age from raw BIDS" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/brainage /opt/brainage
RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin brainage
ENV PATH=/opt/brainage/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NIPYPE_NO_ET=1 \
    BRAINAGE_CONTAINER_TYPE=docker \
    BRAINAGE_CONTAINER_TAG=brainage_bids
USER 1000
WORKDIR /tmp
ENTRYPOINT ["brainage"]
