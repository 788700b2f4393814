"""A small service over HTTP: vectors of texts, and sums, with faults that a test chooses."""

import argparse
import hashlib
import json
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SIZE = 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounding", choices=["none", "coarse"], default="none")
    parser.add_argument("--model", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--mark", default="")
    return parser.parse_args()


def vector(text: str, size: int, rounding: str) -> list[float]:
    """Numbers from -1 to 1 that depend on the text; coarse ones are rounded to a half."""
    digest = hashlib.sha256(text.encode()).digest()
    numbers = [byte / 127.5 - 1 for byte in digest[:size]]
    return [round(2 * one) / 2 for one in numbers] if rounding == "coarse" else numbers


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    given: argparse.Namespace

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/sum":
            numbers = [int(one) for one in parse_qs(parts.query)["number"]]
            self.respond(200, {"sum": sum(numbers), "header": self.headers.get("X-Row")})
        else:
            self.respond(200, {"workers": self.given.workers})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.given.key and self.headers["Authorization"] != f"Bearer {self.given.key}":
            self.respond(401, {"detail": "a wrong key"})
            return
        time.sleep(self.given.delay_s)
        text = body["input"]
        if text == "busy":
            self.respond(503, {"detail": "no worker is free"})
        elif text == "broken":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif text == "page":
            self.respond(200, "<html>")
        elif text == "created":
            self.respond(201, {"data": [{"embedding": [1.0]}]})
        elif text == "other":
            self.respond(200, {"data": [{"index": 0, "vector": [1.0]}]})
        elif text == "slow":
            time.sleep(60.0)
        else:
            found = vector(text, body.get("dimensions", SIZE), self.given.rounding)
            self.respond(200, {"data": [{"embedding": found}], "text": text.upper()})

    def respond(self, status: int, value: object) -> None:
        content = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    Handler.given = arguments()
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", Handler.given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
