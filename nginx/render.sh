#!/bin/sh
# Makes a directory in which nginx runs one of these configurations without privileges, on any port.
# Of the configuration only two values change: what it listens on and where rusgi listens.
set -eu

if [ $# -lt 4 ]; then
    echo "usage: $0 DIR CONF LISTEN BACKEND [NAME]" >&2
    echo "  DIR      made when missing; nginx keeps its pid, logs and temporary files in it" >&2
    echo "  CONF     minimal.conf, unix-socket.conf, tcp.conf, unbuffered.conf, or a path" >&2
    echo "  LISTEN   for example 127.0.0.1:8080" >&2
    echo "  BACKEND  for example unix:/tmp/app.sock or 127.0.0.1:3031" >&2
    echo "  NAME     of the site within DIR, when it holds several (default: rusgi)" >&2
    exit 64
fi

dir=$1 conf=$2 listen=$3 backend=$4 name=${5:-rusgi}
here=$(dirname "$0")
[ -e "$conf" ] || conf=$here/$conf

PATH=$PATH:/usr/local/sbin:/usr/sbin
if ! version=$(nginx -V 2>&1); then
    echo "nginx: not found: install it (apt-get install nginx-light)" >&2
    exit 69
fi
conf_path=$(echo "$version" | sed -n 's|.*--conf-path=\([^ ]*\).*|\1|p')
params=$(dirname "${conf_path:-/usr/local/nginx/conf/nginx.conf}")/uwsgi_params
if [ ! -r "$params" ]; then
    echo "$params: not there: it belongs to nginx, install that again" >&2
    exit 69
fi

literally() { printf '%s' "$1" | sed 's/[&|\\]/\\&/g'; }
to=$(literally "$backend")

mkdir -p "$dir/sites"
cp "$params" "$dir/uwsgi_params"
sed -e "s|^\( *listen \)80;|\1$(literally "$listen");|" \
    -e "s|unix:/run/rusgi/app.sock\([ ;]\)|$to\1|" \
    -e "s|127\.0\.0\.1:3031\([ ;]\)|$to\1|" \
    -e "s|\(upstream \)rusgi |\1$name |" \
    -e "s|\(uwsgi_pass \)rusgi;|\1$name;|" \
    "$conf" >"$dir/sites/$name.conf"
for value in "listen $listen;" "$backend"; do
    if ! grep -qF "$value" "$dir/sites/$name.conf"; then
        echo "$conf: has no place for '$value': it needs 'listen 80;' and rusgi's address as in minimal.conf" >&2
        exit 65
    fi
done

# started by root, nginx would serve as another user, who may not enter this directory
user=
[ "$(id -u)" -ne 0 ] || user="user $(id -un) $(id -gn);"

cat >"$dir/nginx.conf" <<MAIN
$user
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events {
    worker_connections 1024;
}
http {
    access_log off;
    client_body_temp_path body;
    uwsgi_temp_path uwsgi;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    include sites/*.conf;
}
MAIN
