# Stands in for rust:1-slim-trixie where no registry is reachable: the host's own toolchain is the build context.
FROM debian:trixie-slim
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99host --mount=type=secret,id=ca \
    apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev && rm -rf /var/lib/apt/lists/*
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH
ARG TRIPLE
COPY bin/rustc bin/cargo /usr/local/cargo/bin/
COPY lib/*.so* /usr/local/cargo/lib/
COPY lib/rustlib/${TRIPLE} /usr/local/cargo/lib/rustlib/${TRIPLE}
