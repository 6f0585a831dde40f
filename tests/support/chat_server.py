"""A chat-completions server on this machine that misbehaves as it is told to."""

import gzip
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = "<think>fine</think><answer>\\boxed{1}</answer><advise>go on</advise>"
BAD = "<think>poor</think><answer>\\boxed{0}</answer><advise>look elsewhere</advise>"
MANNERS = (
    *("slow", "drip", "drop", "half", "429", "500", "503", "400", "401", "broken", "html"),
    *("empty", "silent", "null", "shape", "deep", "surrogate", "nonsense"),
    *("endless", "bomb", "brotli", "garbled", "away", "escape", "counts"),
)
"""Ways of answering badly; any other text is sent as a good answer's content."""


def completion(content, **changes):
    message = {"role": "assistant", "content": content}
    body = {
        "id": "1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    return {**body, **changes}


class ChatServer:
    """Answers call n as `manner(n, body)` says; `stop` closes the port, as a crash would."""

    def __init__(self, manner):
        self.num_sent = 0
        self.calls, self.keys = [], []
        self._manner, self._lock = manner, threading.Lock()
        self.released = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                owner._answer(self)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def stop(self):
        self.released.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def _answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            number = len(self.calls)
            self.calls.append(body)
            self.keys.append(handler.headers.get("Authorization", ""))
        with suppress(BrokenPipeError, ConnectionResetError):
            self._behave(handler, self._manner(number, body))

    def _behave(self, handler, manner):
        def send(data, status=200, kind="application/json", **headers):
            handler.send_response(status)
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(data)

        def send_json(data, status=200, **headers):
            send(json.dumps(data).encode(), status, **headers)

        if isinstance(manner, tuple):  # (status, data)
            send_json(manner[1], manner[0])
        elif manner == "slow":
            self.released.wait(5)
        elif manner == "drip":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 99999\r\n\r\n")
            while not self.released.wait(0.02):
                handler.wfile.write(b" ")
        elif manner == "drop":
            handler.connection.close()
        elif manner == "half":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 99999\r\n\r\n{")
        elif manner == "429":
            send_json({"error": {"message": "too many"}}, 429, Retry_After="7")
        elif manner in ("500", "503", "400"):
            send_json({"error": {"message": "no"}}, int(manner))
        elif manner == "401":
            # As some servers do, it quotes what it was sent.
            send_json({"error": {"message": f"wrong {handler.headers['Authorization']}"}}, 401)
        elif manner == "broken":
            send(b'{"choices": [{"message": ')
        elif manner == "html":
            send(b"<html>\xff gateway</html>", kind="text/html")
        elif manner == "empty":
            send_json(completion("", choices=[]))
        elif manner == "silent":
            send_json(completion("  "))
        elif manner == "null":
            send_json(completion(None))
        elif manner == "shape":
            send_json(["choices", {"message": 3}])
        elif manner == "deep":
            send(b"[" * 200_000)
        elif manner == "surrogate":
            send_json(completion("half \ud800 character"))
        elif manner == "endless":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n")
            while not self.released.is_set():
                handler.wfile.write(b" " * 65536)
                self.num_sent += 65536
        elif manner == "bomb":
            # 200 MB of blanks in 200 kB.
            send(gzip.compress(b" " * 200_000_000), Content_Encoding="gzip")
        elif manner == "brotli":
            send(b"\x0b\x02\x80{}\x03", Content_Encoding="br")
        elif manner == "garbled":
            send(b"no gzip at all", Content_Encoding="gzip")
        elif manner == "packed":
            send(gzip.compress(json.dumps(completion(GOOD)).encode()), Content_Encoding="gzip")
        elif manner == "away":
            # "localhost" is another host than 127.0.0.1, though it leads here.
            place = f"http://localhost:{self._server.server_port}/v1/chat/completions"
            send(b"", 307, Location=place)
        elif manner == "around":
            send(b"", 307, Location="/v1/chat/completions")
        elif manner == "escape":
            send_json({"error": {"message": "\x1b[2J\x9b31m\u202egone"}}, 400)
        elif manner == "counts":
            usage = {"prompt_tokens": 10**400, "completion_tokens": 10**400}
            send_json(completion("fine", usage=usage))
        elif manner == "nonsense":
            send_json(completion("blah \x00 <answer> \\boxed{7} {}"))
        elif manner == "echo":
            send_json(completion(f"you sent {handler.headers['Authorization']}"))
        else:
            send_json(completion(manner))


@contextmanager
def chat_server(manner):
    """A running server; `manner` is a function of (number, body), or one manner for all calls."""
    server = ChatServer(manner if callable(manner) else lambda number, body: manner)
    try:
        yield server
    finally:
        server.stop()
