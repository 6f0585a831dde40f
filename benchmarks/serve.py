"""Requests and tokens per second that a running `declutch serve` answers.

    declutch serve runs/smollm2 threads=1 --port 8000
    python benchmarks/serve.py http://127.0.0.1:8000/v1 --at-once 8

It asks short questions of which as many are under way at once as --at-once says. One question
before them warms the server up and is not counted.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

QUESTION = "Is it good to look for mug {} in a drawer? Answer in one sentence."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="address of the server, up to and with /v1")
    parser.add_argument("--requests", type=int, default=32, help="questions in all")
    parser.add_argument("--at-once", type=int, default=8, help="questions under way at once")
    parser.add_argument("--max-tokens", type=int, default=32, help="tokens of an answer")
    args = parser.parse_args()
    client = OpenAI(base_url=args.url, api_key="none", max_retries=0)
    model = client.models.list().data[0].id

    def ask(number: int) -> tuple[int, int]:
        message = {"role": "user", "content": QUESTION.format(number)}
        reply = client.chat.completions.create(
            model=model,
            messages=[message],
            max_tokens=args.max_tokens,
            temperature=0.7,
            seed=number,
        )
        return reply.usage.prompt_tokens, reply.usage.completion_tokens

    ask(0)
    began = time.perf_counter()
    with ThreadPoolExecutor(args.at_once) as pool:
        prompts, answers = zip(*pool.map(ask, range(args.requests)), strict=True)
    seconds = time.perf_counter() - began
    print(
        f"{args.requests} requests, {args.at_once} at once, in {seconds:.1f} s: "
        f"{args.requests / seconds:.2f} requests/s, {sum(answers) / seconds:.1f} tokens/s "
        f"({sum(prompts) / args.requests:.0f} prompt tokens, {sum(answers) / args.requests:.0f} "
        "sampled each)"
    )


if __name__ == "__main__":
    main()
