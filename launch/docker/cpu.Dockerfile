# urgentmos on CPUs; see README.md here.
FROM python:3.13-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel /source

FROM python:3.13-slim
# Extras of setup.cfg; more are [train] and [report].
ARG EXTRAS="[serve]"
RUN --mount=from=build,source=/wheel,target=/wheel \
    pip install --no-cache-dir "$(echo /wheel/*.whl)${EXTRAS}" \
    && useradd --create-home user && install -d -o user /cache /data
# Models that were downloaded, and compiled programs.
ENV XDG_CACHE_HOME=/cache HF_HOME=/cache/huggingface
VOLUME /cache
USER user
WORKDIR /data
ENTRYPOINT ["urgentmos"]
