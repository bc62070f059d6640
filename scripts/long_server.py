#!/usr/bin/env python3
"""Eight clients ask llama-server at once for minutes; every answer has to be the one that the same question gets alone.

    scripts/long_server.py SERVER MODEL.gguf [--minutes N] [--clients N] [--tokens N] [--threads N]

SERVER is llama-server. Answers are greedy. Columns that are multiplied together are rounded as one alone by our kernels, but ggml
promises that for none of its own operations (attention over keys of several lengths, sums by threads), so that two tokens that
are nearly as likely may change places: an answer may differ from there on, if the two were closer than MARGIN. The slots keep no
prompts, so that each answer is computed from its start. Peak and present memory of the server are read every minute.
"""
import argparse, itertools, json, socket, subprocess, threading, time, urllib.request

# Nats between the two likeliest tokens where an answer may turn.
MARGIN = 0.02
# Kilobytes that the server may grow by after the first minute, in which it meets every length of prompt.
GROWTH = 64 << 10
QUESTIONS = [f"{begin} {thing}{end}" for begin, thing, end in itertools.product(
    ["Tell me about", "Write one sentence about", "What is the use of", "List three facts about"],
    ["the moon", "a lighthouse", "bread", "rivers in spring", "old clocks", "the number seven"],
    [".", ", please. Keep it short and plain, for a child who has never heard of such a thing before."])]


def ask(port, question, tokens):
    """The answer's tokens, each with the nats between it and the one that was next likely."""
    body = {"prompt": question, "n_predict": tokens, "temperature": 0, "top_k": 1, "n_probs": 2, "cache_prompt": False,
            "ignore_eos": True}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        found = json.load(answer)["completion_probabilities"]
    return [(t["id"], t["top_logprobs"][0]["logprob"] - t["top_logprobs"][1]["logprob"]) for t in found]


def memory(pid):
    """Kilobytes now and at most."""
    with open(f"/proc/{pid}/status") as f:
        said = dict(line.split(":", 1) for line in f)
    return int(said["VmRSS"].split()[0]), int(said["VmHWM"].split()[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", default="2")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [options.server, "-m", options.model, "--host", "127.0.0.1", "--port", str(port), "-np", str(options.clients), "-c",
         str(512 * options.clients), "-t", options.threads, "--no-warmup"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                if server.poll() is not None:
                    raise SystemExit(f"{options.server} ended with {server.returncode}")
                time.sleep(0.5)
        return measure(options, port, server.pid)
    finally:
        server.terminate()
        server.wait()


def measure(options, port, pid):
    alone = {question: ask(port, question, options.tokens) for question in QUESTIONS}
    again = sum(ask(port, question, options.tokens) == alone[question] for question in QUESTIONS[:8])
    print(f"{len(alone)} questions alone; {again} of 8 the same a second time", flush=True)
    end, lock = time.monotonic() + 60 * options.minutes, threading.Lock()
    counts, wrong, gaps = {"equal": 0, "turned": 0}, [], []

    def client(number):
        for question in itertools.islice(itertools.cycle(QUESTIONS), number * 5, None):
            if time.monotonic() > end:
                return
            try:
                found = ask(port, question, options.tokens)
            except OSError as e:
                wrong.append(f"{question!r}: {e}")
                return
            expected = alone[question]
            turn = next((i for i, (a, b) in enumerate(zip(found, expected)) if a[0] != b[0]), None)
            with lock:
                counts["equal" if turn is None and len(found) == len(expected) else "turned"] += 1
                if turn is not None:
                    gaps.append(expected[turn][1])
                    if gaps[-1] > MARGIN:
                        wrong.append(f"{question!r}: token {turn} differs, though its next was {gaps[-1]:.3f} nats off")

    threads = [threading.Thread(target=client, args=(n,)) for n in range(options.clients)]
    for thread in threads:
        thread.start()
    kilobytes = []
    while any(thread.is_alive() for thread in threads):
        kilobytes.append(memory(pid)[0])
        for thread in threads:
            thread.join(min(60, 6 * options.minutes) / len(threads))
    _, peak = memory(pid)
    print(f"{options.clients} clients for {options.minutes:g} minutes: {counts['equal']} answers of {options.tokens} tokens equal, "
          f"{counts['turned']} turned where two tokens were {max(gaps, default=0):.4f} nats apart or less")
    print(f"memory of the server, kB: {kilobytes}, at most {peak}")
    if len(kilobytes) > 2 and kilobytes[-1] - kilobytes[1] > GROWTH:
        wrong.append("the server grows")
    if counts["equal"] == 0:
        wrong.append("no answer is equal")
    return "\n".join(wrong[:20]) or 0


raise SystemExit(main())
