"""The endpoint that verifiers' trainer samples from, as vLLM has it: token ids in and out."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch


class GenerateServer:
    """Samples `length` tokens from a model, with the log-probability of each."""

    def __init__(self, model, length=4):
        owner = self
        self._model, self._length, self._lock = model, length, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self._send({"data": []})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._send(owner.sample(body["token_ids"]))

            def _send(self, found):
                data = json.dumps(found).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @torch.no_grad()
    def sample(self, prompt):
        ids, logprobs = list(prompt), []
        with self._lock:
            for _ in range(self._length):
                scores = self._model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
                ids.append(int(torch.multinomial(scores.exp(), 1)))
                logprobs.append(float(scores[ids[-1]]))
        new = ids[len(prompt) :]
        content = [
            {"token": f"token_id:{each}", "logprob": logprob}
            for each, logprob in zip(new, logprobs, strict=True)
        ]
        choice = {"token_ids": new, "logprobs": {"content": content}, "finish_reason": "length"}
        return {"request_id": "1", "choices": [choice]}
