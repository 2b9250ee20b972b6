#!/usr/bin/env python3
"""Captures what a real nginx sends behind uwsgi_pass: one file per request, next to this script.

Run it to make the files anew: python3 proto/tests/captures/capture.py
Only REMOTE_PORT and SERVER_PORT differ from one run to the next. Needs nginx with its stock uwsgi_params.
"""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT = 10.0
HEADER_LEN = 4
MAX_DATASIZE = 65535
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

CONFIG = """
daemon off;
user {user};
pid {root}/pid;
error_log {root}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    large_client_header_buffers 16 16k;
    server {{
        listen 127.0.0.1:{port};
        server_name shop.example;
        root /srv/www;
        location / {{ include {params}; uwsgi_pass unix:{root}/backend; }}
        location /app/ {{
            include {params};
            uwsgi_param SCRIPT_NAME /app;
            uwsgi_modifier1 30;
            uwsgi_pass unix:{root}/backend;
        }}
        location /bare {{ uwsgi_pass unix:{root}/backend; }}
        location /string {{ uwsgi_param KEY value; uwsgi_string tail; uwsgi_pass unix:{root}/backend; }}
        location /long_name {{ uwsgi_param {long_name} value; uwsgi_pass unix:{root}/backend; }}
    }}
}}
"""

BROWSER = (
    b"Host: shop.example\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-GB,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Connection: keep-alive\r\n"
    b"Referer: http://shop.example/\r\n"
    b"Cookie: sessionid=38afes7a8; csrftoken=u32t4o3tb3gg43\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"Cache-Control: max-age=0\r\n"
    b"X-Forwarded-For: 192.0.2.7\r\n"
    b"\r\n"
)

MINIMAL = b"Host: shop.example\r\n\r\n"
COOKIES = "; ".join(f"cookie{n}=value{n}" for n in range(40)).encode()

REQUESTS = {
    "get": b"GET /items/7?sort=name&page=2 HTTP/1.1\r\n" + BROWSER,
    "form": (
        b"POST /login HTTP/1.1\r\nHost: shop.example\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 27\r\n\r\n"
        b"name=ada&word=a%20b&again=1"
    ),
    "chunked": (
        b"PUT /upload HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nfirst\r\n7\r\n second\r\n0\r\n\r\n"
    ),
    "long_headers": b"GET /long HTTP/1.1\r\nX-Long: %b\r\nX-Longer: %b\r\n" % (b"a" * 255, b"b" * 8000) + MINIMAL,
    "duplicates": (
        b"GET /twice HTTP/1.1\r\nX-Note: one\r\nCookie: a=1\r\nX-Note: two\r\nCookie: b=2\r\n"
        b"Accept: text/html\r\nAccept: text/plain\r\n" + MINIMAL
    ),
    "unicode": b"GET /caf%C3%A9/\xe2\x82\xac/%0d%0a?q=%C3%BC HTTP/1.1\r\nX-Name: Zo\xc3\xab\r\n" + MINIMAL,
    "cookies": b"GET /cookies HTTP/1.1\r\nCookie: " + COOKIES + b"\r\n" + MINIMAL,
    "manage_path_info": b"GET /app/page HTTP/1.1\r\n" + MINIMAL,
    "empty": b"GET /bare HTTP/1.0\r\n\r\n",
    "refused/uwsgi_string": b"GET /string HTTP/1.0\r\n\r\n",
    "refused/long_name": b"GET /long_name HTTP/1.0\r\n\r\n",
}


class Nginx:
    """An nginx of our own, its port already bound and its backend's socket held by us."""

    def __init__(self, binary, params, root):
        self.front = socket.create_server(("127.0.0.1", 0))
        self.back = socket.socket(socket.AF_UNIX)
        self.back.bind(f"{root}/backend")
        self.back.listen()
        self.back.settimeout(TIMEOUT)
        config = pathlib.Path(root, "nginx.conf")
        port = self.front.getsockname()[1]
        user = pwd.getpwuid(os.getuid()).pw_name
        config.write_text(CONFIG.format(user=user, root=root, port=port, params=params, long_name="N" * 300))
        os.set_inheritable(self.front.fileno(), True)
        # nginx takes over a listening socket named in this variable, so nobody has to wait for it.
        env = {**os.environ, "NGINX": f"{self.front.fileno()};"}
        arguments = [binary, "-e", f"{root}/error.log", "-p", root, "-c", str(config)]
        self.process = subprocess.Popen(arguments, env=env, pass_fds=[self.front.fileno()])

    def connect(self):
        client = socket.create_connection(self.front.getsockname(), TIMEOUT)
        client.settimeout(TIMEOUT)
        return client

    def capture(self, client, request):
        """What reaches the backend when `client` sends `request`."""
        client.sendall(request)
        backend, _ = self.back.accept()
        with backend:
            backend.settimeout(TIMEOUT)
            packet = read_packet(backend)
            backend.sendall(ANSWER)
        read_answer(client)
        return packet

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)


def read_packet(backend):
    """Header, vars and, as nginx never ends its side, as many body bytes as CONTENT_LENGTH says."""
    header = read_exactly(backend, HEADER_LEN)
    block = read_exactly(backend, int.from_bytes(header[1:3], "little"))
    return header + block + read_exactly(backend, content_length(block))


def content_length(block):
    key = b"\x0e\x00CONTENT_LENGTH"
    at = block.find(key)
    if at < 0:
        return 0
    at += len(key)
    length = int.from_bytes(block[at : at + 2], "little")
    return int(block[at + 2 : at + 2 + length] or b"0")


def read_exactly(peer, length):
    received = b""
    while len(received) < length:
        more = peer.recv(length - len(received))
        if not more:
            raise EOFError(f"{len(received)} bytes of {length}")
        received += more
    return received


def read_answer(client):
    received = b""
    while not received.endswith(b"\r\n\r\nok"):
        more = client.recv(4096)
        if not more:
            raise EOFError(f"answer cut short: {received!r}")
        received += more
    if b" 200 OK\r\n" not in received:
        raise ValueError(f"not our answer: {received!r}")


def ceiling(nginx):
    """A vars block of exactly 65535 bytes: measured first, on the same connection, then filled up."""
    request = b"GET /ceiling HTTP/1.1\r\n" + b"".join(b"X-Fill-%d: %b\r\n" % (n, b"f" * 9000) for n in range(7))
    with nginx.connect() as client:
        measured = nginx.capture(client, request + b"X-Last: l\r\n" + MINIMAL)
        missing = HEADER_LEN + MAX_DATASIZE - len(measured)
        return nginx.capture(client, request + b"X-Last: " + b"l" * (1 + missing) + b"\r\n" + MINIMAL)


def main():
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    params = "/etc/nginx/uwsgi_params"
    if not binary or not os.path.exists(params):
        sys.exit("nginx and /etc/nginx/uwsgi_params are needed; install nginx")
    with tempfile.TemporaryDirectory() as root:
        nginx = Nginx(binary, params, root)
        try:
            packets = {"ceiling": ceiling(nginx)}
            for name, request in REQUESTS.items():
                with nginx.connect() as client:
                    packets[name] = nginx.capture(client, request)
        except (OSError, EOFError, ValueError):
            sys.stderr.write(pathlib.Path(root, "error.log").read_text())
            raise
        finally:
            nginx.stop()
    for name, packet in packets.items():
        file = HERE / f"{name}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(packet)
        print(f"{name}.bin: {len(packet)} bytes")


if __name__ == "__main__":
    main()
