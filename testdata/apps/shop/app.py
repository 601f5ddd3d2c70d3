"""A shop window: one page that says which release and instance served it.

Only the standard library. PORT is where to listen; SIGTERM lets requests in flight end first.
"""

import html
import json
import os
import signal
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE / "page.html").read_text()
STYLE = (HERE / "style.css").read_bytes()
GOODS = json.loads((HERE / "goods.json").read_text())
SELF = {
    "app": os.environ.get("MICRO_APP", "shop"),
    "release": os.environ.get("MICRO_RELEASE", "local"),
    "instance": os.environ.get("MICRO_INSTANCE", "0"),
}


def page(host):
    cards = "\n".join(
        '<li><span class="sign">{sign}</span><h2>{name}</h2><p>{text}</p><b>{price}</b></li>'.format(
            **{key: html.escape(value) for key, value in good.items()}
        )
        for good in GOODS
    )
    facts = {key: html.escape(value) for key, value in SELF.items()}
    text = PAGE.replace("{cards}", cards).replace("{host}", html.escape(host))
    for key, value in facts.items():
        text = text.replace("{%s}" % key, value)
    return text.encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "shop"
    timeout = 75  # of an idle connection
    wbufsize = 64 * 1024  # head and body leave in one write

    def do_GET(self):
        with self.server.request():
            self.serve(self.path.partition("?")[0])
            self.wfile.flush()

    do_HEAD = do_GET

    def serve(self, path):
        if path == "/":
            self.answer(HTTPStatus.OK, "text/html; charset=utf-8", page(self.headers.get("Host", "")))
        elif path == "/style.css":
            self.answer(HTTPStatus.OK, "text/css; charset=utf-8", STYLE)
        elif path == "/api/goods":
            self.answer(HTTPStatus.OK, "application/json", json.dumps({**SELF, "goods": GOODS}).encode())
        elif path == "/healthz":
            self.answer(HTTPStatus.OK, "text/plain", b"ok\n")
        else:
            self.answer(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format, *args):
        print("%s %s" % (self.address_string(), format % args), flush=True)

    def address_string(self):
        # The peer is the router: the client is who it says that it speaks for.
        return self.headers.get("X-Forwarded-For", self.client_address[0]) if self.headers else "-"


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, *args):
        super().__init__(*args)
        self.running = 0
        self.changed = threading.Condition()

    @contextmanager
    def request(self):
        with self.changed:
            self.running += 1
        try:
            yield
        finally:
            with self.changed:
                self.running -= 1
                self.changed.notify_all()

    def drain(self, seconds):
        """Wait for the requests in flight; idle connections need no waiting for."""
        with self.changed:
            self.changed.wait_for(lambda: self.running == 0, seconds)


def main():
    port = int(os.environ.get("PORT", "8080"))
    server = Server(("", port), Handler)

    def stop(*_):
        print("shop: stopping", flush=True)
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print("shop: listening on port %d, release %s" % (port, SELF["release"]), flush=True)
    server.serve_forever(poll_interval=0.1)
    server.drain(8)
    print("shop: bye", flush=True)


if __name__ == "__main__":
    main()
