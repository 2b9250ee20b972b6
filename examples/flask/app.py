"""A small Flask application that uses what real ones use; its routes are listed in ../README.md."""

import hashlib
import os
import sys
import threading
import time
from itertools import cycle, islice

from flask import (
    Flask,
    Response,
    abort,
    jsonify,
    redirect,
    render_template,
    request,
    send_from_directory,
    session,
    url_for,
)

app = Flask(__name__)
app.secret_key = os.environ.get("EXAMPLE_SECRET", "good only for trying")

READ = 64 * 1024


@app.get("/")
def index():
    return render_template("index.html")


@app.get("/form")
def form():
    return render_template("form.html")


@app.post("/form")
def submit():
    name = request.form.get("name", "").strip()
    if not name:
        return render_template("form.html", complaint="a name is needed"), 400
    return redirect(url_for("hello", name=name), code=303)


@app.get("/hello/<name>")
def hello(name):
    return render_template("hello.html", name=name)


@app.post("/upload")
def upload():
    if "file" not in request.files:
        abort(400, "the multipart field 'file' is missing")
    file = request.files["file"]
    size, digest = measure(file.stream)
    return jsonify(name=file.filename, size=size, sha256=digest, type=file.mimetype, note=request.form.get("note"))


@app.put("/raw")
def raw():
    size, digest = measure(request.stream)
    return jsonify(size=size, sha256=digest, type=request.content_type)


def measure(stream):
    """Reads to the end in pieces: a large upload never lies in memory whole."""
    size, digest = 0, hashlib.sha256()
    while piece := stream.read(READ):
        size += len(piece)
        digest.update(piece)
    return size, digest.hexdigest()


@app.post("/json")
def json_echo():
    return jsonify(request.get_json())


@app.get("/cookies/set")
def set_cookies():
    response = redirect(url_for("cookies"))
    for name, value in request.args.items():
        response.set_cookie(name, value, httponly=True, samesite="Lax")
    return response


@app.get("/cookies")
def cookies():
    return jsonify(request.cookies)


@app.get("/visits")
def visits():
    session["visits"] = session.get("visits", 0) + 1
    return jsonify(visits=session["visits"])


@app.post("/login")
def login():
    session["user"] = request.form["user"]
    return redirect(url_for("me"))


@app.get("/me")
def me():
    if "user" not in session:
        abort(401)
    return jsonify(user=session["user"])


@app.post("/logout")
def logout():
    session.clear()
    return redirect(url_for("me"))


@app.get("/redirect")
def elsewhere():
    return redirect(url_for("hello", name="redirected"))


@app.get("/stream")
def stream():
    chunks = request.args.get("chunks", 5, type=int)
    size = request.args.get("size", 16, type=int)
    pause = request.args.get("pause", 0, type=float)

    def lines():
        for number in range(chunks):
            if number:
                time.sleep(pause)
            yield f"{number:.<{size - 1}}\n"

    # without this header nginx would hold chunks back until its buffers fill
    return Response(lines(), mimetype="text/plain", headers={"X-Accel-Buffering": "no"})


@app.get("/events")
def events():
    body = (f"data: {number}\n\n" for number in (1, 2, 3))
    return Response(body, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


@app.get("/download")
def download():
    return send_from_directory(app.static_folder, "logo.svg", as_attachment=True, conditional=True)


@app.get("/large")
def large():
    size = request.args.get("size", 1024 * 1024, type=int)
    return Response(bytes(islice(cycle(b"0123456789"), size)), mimetype="application/octet-stream")


@app.get("/environ")
def environ():
    said = {key: value for key, value in request.environ.items() if isinstance(value, (str, bool))}
    return jsonify(said | {"pid": os.getpid(), "thread": threading.current_thread().name, "executable": sys.executable})


@app.get("/status/<int:code>")
def status(code):
    return Response(f"status {code}", status=code, mimetype="text/plain")


@app.get("/error")
def error():
    raise RuntimeError("asked for")
