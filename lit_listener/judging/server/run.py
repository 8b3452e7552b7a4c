"""``python -m lit_listener serve``: load a judge and serve it over HTTP.

The server's packages are an extra, so that they are imported here, where they are needed.
"""

import importlib.util
import ipaddress
import os
import sys
from pathlib import Path

_PACKAGES = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
_TOKEN = "LIT_LISTENER_TOKEN"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def serve(  # noqa: PLR0913  # one option each
    *,
    model: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    adapter: str | None = None,
    load_in_4bit: bool = False,
    listener: str | None = None,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    max_pixels: int | None = None,
    batch_size: int | None = None,
    trust_remote_code: bool = False,
    batch_wait_ms: float = 5.0,
    max_body_mib: int = 64,
    max_image_pixels: int = 16_777_216,
    max_images: int = 64,
    max_prompt_chars: int = 8192,
    max_rollouts: int = 16,
    max_queue: int = 256,
    max_held_mib: int = 4096,
    timeout_s: float = 120.0,
    openai: bool = False,
) -> None:
    """Serve a judge over HTTP, with a web page at / and the addresses' documentation at /docs.

    SIGTERM or Ctrl-C: it accepts nothing more, answers what it accepted, and ends; at a second one it ends at once.

    Args:
        model: shapes (the bundled judge), a Hugging Face folder or hub id, an exported folder, a checkpoint, or the
            folder of a training run.
        host: address to serve at. Others than this machine can reach it only if it is not a loopback address; use a
            token then, and a proxy that speaks TLS.
        port: port to serve at; 0 for any that is free.
        token_file: file that holds the bearer token which judging and figures ask for; without one the environment's
            LIT_LISTENER_TOKEN, and without that none.
        device: auto (CUDA, else MPS, else CPU), or a device's name, such as cuda:1.
        dtype: number format of the weights: auto (bfloat16 on a GPU, float32 on a CPU), float32, bfloat16, float16.
        adapter: folder or hub id of a LoRA adapter on the model.
        load_in_4bit: read the language model's linear layers into 4 bits (NF4).
        listener: a model that listens where that is asked for; by default the one that listened in training.
        max_new_tokens: longest trace in tokens; by default as in training, and else 512.
        temperature: of sampling, above 0; by default as in training, and else 1.
        max_pixels: images of more pixels are scaled down to so many.
        batch_size: completions sampled at once, at least 1; changes no result. By default 32, and 128 of a model with
            less than a hundred million parameters.
        trust_remote_code: run code that a hub repository brings along.
        batch_wait_ms: milliseconds, at least 0, that a batch which is not full waits for requests being read.
        max_body_mib: size of a request's body in MiB.
        max_image_pixels: images of more pixels are refused.
        max_images: images of one request.
        max_prompt_chars: characters of a prompt.
        max_rollouts: traces of a pair in each display order.
        max_queue: requests held at once: being read, waiting or being judged; more are refused (429).
        max_held_mib: MiB of bodies and decoded images of all requests held at once; more are refused (429).
        timeout_s: seconds from a request's first byte to its answer, or else a refusal (504).
        openai: let the model itself be asked too, through an interface of OpenAI's shape: /v1/chat/completions with
            images as data URLs, max_tokens, temperature, seed, logprobs and vLLM's continue_final_message; so that it
            can listen to a training (model.listener RemoteListener). Any bundled model or hub id can be served so.

    Raises:
        FileNotFoundError: there is no such model or token file.
        ImportError: the server's packages are not there.
        OSError: the address is taken, or not this machine's.
        ValueError: it is no model that can judge, or an option is out of its range.
    """
    _check_packages()
    from lit_listener.judging.judge import Judge
    from lit_listener.judging.server.app import create_app
    from lit_listener.judging.server.limits import Limits
    from lit_listener.judging.server.process import bind, log_to_stderr, serve_app

    limits = Limits(
        max_body_mib=max_body_mib,
        max_image_pixels=max_image_pixels,
        max_images=max_images,
        max_prompt_chars=max_prompt_chars,
        max_rollouts=max_rollouts,
        max_queue=max_queue,
        max_held_mib=max_held_mib,
        timeout_s=timeout_s,
    )
    token = _token(token_file)
    listening = bind(host, port)  # before the model is loaded, which may take minutes
    loopback = _is_loopback(host)
    if not loopback and token is None:
        print(
            f"warning: {host} is no loopback address, and without --token_file or {_TOKEN} everybody who reaches it "
            "may use this server",
            file=sys.stderr,
        )
    judge = Judge.load(
        model,
        device=device,
        dtype=dtype,
        adapter=adapter,
        load_in_4bit=load_in_4bit,
        listener=listener,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        max_pixels=max_pixels,
        batch_size=batch_size,
        trust_remote_code=trust_remote_code,
    )
    judge.preload_listener()
    hosts = {*_LOOPBACK, host} if loopback else None
    app = create_app(judge, limits=limits, token=token, hosts=hosts, batch_wait_ms=batch_wait_ms, openai=openai)
    log_to_stderr()
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}"
    serve_app(app, listening, ready=lambda: print(f"Serving {model} at {address}", flush=True))


def _check_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"serve needs {', '.join(missing)}: pip install 'lit-listener[serve]'")


def _token(file: str | Path | None) -> str | None:
    """The token, and where it is empty an error: nobody means an open server by an empty file."""
    if file is not None:
        where, token = str(file), Path(file).read_text()
    elif _TOKEN in os.environ:
        where, token = _TOKEN, os.environ[_TOKEN]
    else:
        return None
    if not token.strip():
        raise ValueError(f"{where}: expected a token, got nothing")
    return token.strip()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
