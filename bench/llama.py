"""Runs a llama.cpp server with the small model of `moa:local` on given cores. Prints its base URL."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress

import xllamacpp

from moa.models.llamacpp.weights import SMOLLM2, fetch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", default="0", help="cores to use, such as 0 or 0,1")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--context", type=int, default=8192, help="tokens, for all slots together")
    options = parser.parse_args()
    cores = {int(core) for core in options.cores.split(",")}
    os.sched_setaffinity(0, cores)
    params = xllamacpp.CommonParams()
    params.model.path = str(fetch(SMOLLM2, lambda done, total: None))
    params.n_ctx = options.context
    params.n_parallel = options.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(cores)
    params.kv_unified = True
    params.verbosity = -1
    server = xllamacpp.Server(params)
    server.handle_chat_completions({"messages": [{"role": "user", "content": "a"}], "max_tokens": 1})
    print(f"{server.listening_address}/v1", flush=True)
    with suppress(KeyboardInterrupt):
        sys.stdin.read()  # ends when the parent process does
    os._exit(0)


main()
