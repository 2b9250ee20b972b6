"""Applications that do not come to an end, each in its own way."""

import ctypes
import json
import os
import threading
import time

import gate
import rusgi

PLAIN = [("Content-Type", "text/plain")]
CLOSED = []


def application(environ, start_response):
    if environ["QUERY_STRING"] == "gate":
        gate.reach(threading.current_thread() is threading.main_thread())
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def facts(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    main = threading.current_thread() is threading.main_thread()
    return [json.dumps({"pid": os.getpid(), "main": main, "closed": len(CLOSED)}).encode()]


def sleep(environ, start_response):
    time.sleep(1000)


def loop(environ, start_response):
    while True:
        pass


def lock(environ, start_response):
    held = threading.Lock()
    held.acquire()
    held.acquire()


def keeps_the_gil(environ, start_response):
    # unlike sleep(3), nothing interrupts a wait for a mutex
    mutex = ctypes.create_string_buffer(64)
    library = ctypes.PyDLL(None)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def swallows_everything(environ, start_response):
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass


def swallows_exceptions(environ, start_response):
    try:
        time.sleep(1000)
    except Exception:
        start_response("200 OK", PLAIN)
        return [b"swallowed"]


def tidies_up(environ, start_response):
    try:
        time.sleep(1000)
    finally:
        CLOSED.append("once")


def stream(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"the first half"
    time.sleep(1000)


def stuck_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"the first half"
    swallows_everything(environ, start_response)


def longer(environ, start_response):
    rusgi.request_timeout(60)
    gate.reach("longer")
    return facts(environ, start_response)


def unlimited(environ, start_response):
    rusgi.request_timeout(None)
    gate.reach("unlimited")
    return facts(environ, start_response)


def shorter(environ, start_response):
    rusgi.request_timeout(0.1)
    time.sleep(1000)


def answers_for_itself(environ, start_response):
    try:
        time.sleep(1000)
    except rusgi.RequestTimeout:
        start_response("503 Service Unavailable", PLAIN)
        return [b"in its own words"]


def elsewhere(environ, start_response):
    raised = []

    def ask():
        try:
            rusgi.request_timeout(1)
        except RuntimeError as error:
            raised.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    for wrong in (-1, float("nan"), 1e30):
        try:
            rusgi.request_timeout(wrong)
        except ValueError as error:
            raised.append(str(error))
    start_response("200 OK", PLAIN)
    return ["\n".join(raised).encode()]


ROUTES = {
    "/facts": facts,
    "/sleep": sleep,
    "/loop": loop,
    "/lock": lock,
    "/keeps-the-gil": keeps_the_gil,
    "/swallows-everything": swallows_everything,
    "/swallows-exceptions": swallows_exceptions,
    "/tidies-up": tidies_up,
    "/stream": stream,
    "/stuck-stream": stuck_stream,
    "/longer": longer,
    "/unlimited": unlimited,
    "/shorter": shorter,
    "/answers-for-itself": answers_for_itself,
    "/elsewhere": elsewhere,
}
