# rusgi in Debian's own python, without compilers. Targets:
#   rusgi     to build upon: docs/docker.md
#   example   that with examples/flask: what docker-compose.yml runs
# Each secret is optional and stays out of the image: ca (a CA bundle), apt, pip, cargo (their settings), settings (exported variables).
ARG DEBIAN=trixie

FROM rust:1-slim-${DEBIAN} AS build
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99host --mount=type=secret,id=ca \
    apt-get update && apt-get install -y --no-install-recommends python3-dev python3-venv && rm -rf /var/lib/apt/lists/*
# the environment that is shipped needs no pip
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
WORKDIR /src
COPY . .
ENV CARGO_TARGET_DIR=/target CARGO_PROFILE_RELEASE_STRIP=debuginfo MATURIN_PEP517_ARGS=--locked
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    --mount=type=secret,id=cargo,target=/usr/local/cargo/config.toml --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca --mount=type=secret,id=settings \
    if [ -r /run/secrets/settings ]; then . /run/secrets/settings; fi && \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir .

FROM build AS example-packages
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca --mount=type=secret,id=settings \
    if [ -r /run/secrets/settings ]; then . /run/secrets/settings; fi && \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --constraint tests/requirements.txt Flask

FROM debian:${DEBIAN}-slim AS rusgi
# the group that nginx's own images run as: it may open the socket, and nobody else
ARG NGINX_GID=101
RUN groupadd --system --gid ${NGINX_GID} nginx && groupadd --gid 10001 rusgi && \
    useradd --uid 10001 --gid rusgi --groups nginx --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin rusgi && \
    install -d -o rusgi -g nginx -m 750 /run/rusgi
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99host --mount=type=secret,id=ca \
    apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
# stopping fits into the ten seconds that Docker gives; the root filesystem may be read-only
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    RUSGI_ADMIN_SOCKET=/run/rusgi/admin.sock RUSGI_SOCKET_OWNER=:nginx RUSGI_STOP_TIMEOUT=8
# a number, for those who check that it is not 0
USER 10001
WORKDIR /app
# asks the supervisor, which answers while every worker is busy
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["rusgi", "ping"]
# rusgi is process 1: it hands on signals and reaps orphans itself
ENTRYPOINT ["rusgi"]
CMD ["serve", "--help"]

FROM rusgi AS example
COPY --from=example-packages /opt/venv /opt/venv
COPY examples/flask /app
CMD ["serve", "app:app"]
