# Stands in for nginx:1.30 where no registry is reachable: Debian's, with the ids, paths and signals of nginx's own image.
FROM debian:trixie-slim
RUN groupadd --system --gid 101 nginx && \
    useradd --system --uid 101 --gid nginx --no-create-home --home-dir /nonexistent --shell /bin/false nginx
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99host --mount=type=secret,id=ca \
    sed 's/trixie/forky/' /etc/apt/sources.list > /etc/apt/sources.list.d/forky.list && apt-get update && \
    apt-get install -y --no-install-recommends -t forky nginx-light && rm -rf /var/lib/apt/lists/* && \
    ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
COPY nginx.conf /etc/nginx/nginx.conf
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
