"""A load that does not wait for answers: requests leave at a fixed rate, whatever becomes of the ones before."""

import asyncio
import hashlib
import http.client
import json
import threading
import time
import urllib.parse

PATIENCE = 20


def ask(base, path, method="GET", body=None, headers={}):
    """One request through nginx: the status and the body."""
    address = urllib.parse.urlsplit(base).netloc
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def upload(base, content):
    """What the example says of a file posted to it as a form."""
    boundary = "-" * 20 + "boundary"
    head = 'Content-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: application/octet-stream'
    body = b"--%b\r\n%b\r\n\r\n%b\r\n--%b--\r\n" % (boundary.encode(), head.encode(), content, boundary.encode())
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, answer = ask(base, "/upload", "POST", body, kind)
    if status != 200:
        raise AssertionError(f"upload: {status} {answer!r}")
    return json.loads(answer)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def await_answer(base, path="/", patience=60):
    """Waits for a first 200; what came instead is in the error."""
    deadline, last = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        try:
            last = ask(base, path)[0]
            if last == 200:
                return
        except OSError as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{base}{path}: no 200 within {patience} s, at last {last}")


class Stream:
    """A response that has begun and is read to its end later."""

    def __init__(self, base, path):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(base).netloc, timeout=PATIENCE)
        self.connection.request("GET", path)

    def await_beginning(self, size=16):
        self.response = self.connection.getresponse()
        self.response.read(size)

    def rest(self):
        """What is left of the body; a response that was cut raises."""
        try:
            return self.response.read()
        finally:
            self.connection.close()


class Load:
    """GETs at `rate` a second while the `with` block runs; then `failures` must be empty."""

    def __init__(self, base, path="/hello/load", rate=100):
        self.address, self.path, self.rate = urllib.parse.urlsplit(base), path, rate
        self.sent, self.slowest, self.failures = 0, 0.0, []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ending.set()
        self.thread.join()
        if kind is None and self.failures:
            raise AssertionError(f"{len(self.failures)} of {self.sent} requests failed: {self.failures[:5]}")

    def goes_on(self, requests=300):
        """Waits until that many more have left: what a change leaves behind shows up after it, too."""
        until = self.sent + requests
        while self.sent < until and self.thread.is_alive():
            time.sleep(0.05)

    def __str__(self):
        return f"{self.sent} requests, slowest {self.slowest:.2f} s"

    async def run(self):
        started, requests = time.monotonic(), set()
        while not self.ending.is_set():
            await asyncio.sleep(started + self.sent / self.rate - time.monotonic())
            self.sent += 1
            task = asyncio.create_task(self.request())
            requests.add(task)
            task.add_done_callback(requests.discard)
        await asyncio.gather(*requests)

    async def request(self):
        started = time.monotonic()
        try:
            problem = await asyncio.wait_for(self.exchange(), PATIENCE)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            problem = repr(error)
        self.slowest = max(self.slowest, time.monotonic() - started)
        if problem:
            self.failures.append(f"at {time.strftime('%T')}: {problem}")

    async def exchange(self):
        """What was wrong with the answer, or nothing: it must be a 200, and whole."""
        reader, writer = await asyncio.open_connection(self.address.hostname, self.address.port)
        try:
            fields = f"Host: {self.address.netloc}\r\nConnection: close\r\n"
            writer.write(f"GET {self.path} HTTP/1.1\r\n{fields}\r\n".encode())
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        if not head.startswith(b"HTTP/1.1 200 "):
            return head.partition(b"\r\n")[0].decode() or "nothing"
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or -1)
        return None if len(body) == length else f"{len(body)} of {length} bytes"
