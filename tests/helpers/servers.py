"""Servers on loopback: files with ranges that break off, and a hub of datasets."""

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves {path: content} with ranges, and notes (path, Range) of each request.

    Attributes:
        cut: {path: bytes after which the connection ends}, once each.
        slow: Paths that are sent in small pieces.
        ranges: Whether Range is known.
        status: {path: what is answered instead}.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.cut: dict[str, int] = {}
        self.slow: set[str] = set()
        self.ranges = True
        self.status: dict[str, int] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, asked = request.path, request.headers.get("Range")
        self.requests.append((path, asked))
        request.close_connection = True
        content = self.files.get(path)
        if content is None or path in self.status:
            request.send_error(self.status.get(path, 404))
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start = 0
        if asked and self.ranges and request.headers.get("If-Range") == etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start >= len(content) > 0:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        content = content[start : self.cut.pop(path, None)]
        try:
            for place in range(0, len(content), 1 << 16):
                request.wfile.write(content[place : place + (1 << 16)])
                if path in self.slow:
                    time.sleep(0.05)
        except OSError:
            pass


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    gated = False

    def do_HEAD(self):
        self.respond(with_body=False)

    def do_GET(self):
        self.respond(with_body=True)

    def respond(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        headers, content = {"X-Repo-Commit": COMMIT}, b""
        if path.startswith("/api/datasets/org/data"):
            if "/tree/" in path:
                found = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in self.files.items()]
                content = json.dumps(found).encode()
            else:
                siblings = [{"rfilename": name, "size": len(c)} for name, c in self.files.items()]
                content = json.dumps({"id": "org/data", "sha": COMMIT, "siblings": siblings}).encode()
            status = 200
        elif self.gated:
            status, headers["X-Error-Code"], headers["X-Error-Message"] = 403, "GatedRepo", "Access is restricted"
        else:
            content = self.files[path.rpartition("/")[2]]
            headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            status = 200
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass
