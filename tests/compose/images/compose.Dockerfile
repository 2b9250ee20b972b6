# docker compose, version 2, from Debian's packages: a client that is given the engine's socket.
FROM debian:trixie-slim
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99host --mount=type=secret,id=ca \
    apt-get update && apt-get install -y --no-install-recommends docker-cli docker-compose && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["docker", "compose"]
