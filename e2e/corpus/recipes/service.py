"""The program of the image python. README.md of the corpus says what it answers."""

import http.server
import json
import os
import random
import signal
import socketserver
import sqlite3
import threading
import time

# A program of any use has loaded about as much by the time that it is ready.
import argparse, concurrent.futures, dataclasses, datetime, decimal, email.message, hashlib, logging, ssl, urllib.request


class Ticker(threading.Thread):
    """Counts twenty times a second."""

    ticks = 0

    def run(self):
        while True:
            time.sleep(0.05)
            self.ticks += 1


class State:
    """Counts requests in a database in memory."""

    def __init__(self):
        self.lock = threading.Lock()
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("CREATE TABLE requests (at REAL)")

    def count(self):
        with self.lock:
            self.database.execute("INSERT INTO requests VALUES (?)", (time.time(),))
            return self.database.execute("SELECT count(*) FROM requests").fetchone()[0]


ticker = Ticker(daemon=True)
state = State()
answers = {
    "/": lambda: "hello from python",
    "/count": state.count,
    "/time": lambda: json.dumps({"monotonic_ns": time.monotonic_ns(), "wall_ms": int(time.time() * 1000)}),
    "/random": lambda: os.urandom(16).hex(),
    "/pseudo": random.random,
    "/ticks": lambda: ticker.ticks,
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answer = answers.get(self.path)
        body = f"{answer() if answer else 'not found'}\n".encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # http.server's asks the DNS for the name of the machine


def end(*_):
    raise SystemExit(0)


signal.signal(signal.SIGTERM, end)  # as process 1 it would not be ended by default
ticker.start()
with Server(("", 8080), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
