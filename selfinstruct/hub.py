"""`push`: the folder of `export --format hf`, uploaded to a dataset repository of the Hugging Face
Hub, or of a server that speaks its protocol.

Enters: a run, a repository's name, the environment. Leaves: one commit there. The token comes from
the environment, goes into requests and nowhere else.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from selfinstruct.errors import GaveUp, ProviderRefused, SelfInstructError, UsageError
from selfinstruct.exporting.choice import Choice
from selfinstruct.exporting.export import Exported, export
from selfinstruct.exporting.exporter import MARK

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ENDPOINT = "https://huggingface.co"
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_GIT = ".gitattributes"
_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did. repo: with its owner. exported: what was uploaded, from a folder that is
    gone."""

    repo: str
    url: str
    made: bool
    exported: Exported

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.exported.files)


def push(
    directory: Path,
    repo: str,
    environment: Mapping[str, str],
    *,
    langs: Sequence[str] = (),
    choice: Choice | None = None,
    license: str = "",
    public: bool = False,
) -> Pushed:
    """Upload a run's rows; a repository that is not there is made, private unless `public`.

    A repository that an earlier push filled is brought up to date, in its present visibility; one
    that holds anything else is left alone. Raises UsageError, ProviderRefused (no such token, no
    right), GaveUp (no connection, the server fails), DiskError.
    """
    token = _token(environment)
    endpoint = _endpoint(environment)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "hf"
        exported = export(directory, "hf", folder, langs=langs, choice=choice, license=license)
        api = _api(endpoint, token)
        with _one_line_each(endpoint, repo, token):
            name = repo if "/" in repo else f"{api.whoami()['name']}/{repo}"
            made = _make(api, name, public=public)
            if not made:
                _check_ours(api, name, Path(scratch) / "theirs")
            api.upload_folder(
                repo_id=name,
                repo_type="dataset",
                folder_path=folder,
                commit_message="selfinstruct push",
                # Languages and splits that are gone.
                delete_patterns=["data/*"],
            )
    return Pushed(name, f"{endpoint}/datasets/{name}", made, exported)


def _token(environment: Mapping[str, str]) -> str:
    for name in _TOKENS:
        if token := environment.get(name, "").strip():
            if not (token.isascii() and token.isprintable()):
                raise UsageError(f"{name} holds characters that no token has; set it again")
            return token
    raise UsageError("HF_TOKEN is not set", hint="a token that may write, from the Hub's settings")


def _endpoint(environment: Mapping[str, str]) -> str:
    endpoint = (environment.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and not parts.username
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("HF_ENDPOINT is not a web address", hint="such as https://HOST")
    return endpoint


def _api(endpoint: str, token: str) -> HfApi:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars, logging
    except ImportError:
        raise UsageError("push needs huggingface_hub", hint="pip install '.[hub]'") from None
    disable_progress_bars()
    logging.set_verbosity_error()
    return HfApi(endpoint, token=token, library_name="selfinstruct")


def _make(api: HfApi, name: str, *, public: bool) -> bool:
    """Whether the repository was made just now; False when it was there."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(name, repo_type="dataset", private=not public)
    except HfHubHTTPError as error:
        if error.response.status_code == 409:
            return False
        raise
    return True


def _check_ours(api: HfApi, name: str, scratch: Path) -> None:
    """Raises UsageError when the repository holds what no push put there."""
    files = set(api.list_repo_files(name, repo_type="dataset")) - {_GIT}
    if not files:
        return
    if _CARD in files:
        card = api.hf_hub_download(name, _CARD, repo_type="dataset", cache_dir=scratch)
        if MARK.encode() in Path(card).read_bytes():
            return
    raise UsageError(
        f"{name} holds other data than a push of selfinstruct", hint="name another --repo"
    )


@contextlib.contextmanager
def _one_line_each(endpoint: str, repo: str, token: str) -> Iterator[None]:
    """Whatever the client raises becomes one of ours, without the token."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    # Ours are neither; the client's are httpx's, its own, and those of files and values.
    except (HTTPError, OSError, ValueError) as error:
        raise _ours(error, endpoint, repo, token) from None


def _ours(error: Exception, endpoint: str, repo: str, token: str) -> SelfInstructError:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if isinstance(error, HFValidationError):
        return UsageError(f"--repo {repo!r} is no name of a repository", hint="OWNER/NAME or NAME")
    # A card that the Hub does not take: it knows some licences only.
    if isinstance(error, ValueError) and not isinstance(error, HfHubHTTPError | JSONDecodeError):
        return UsageError(" ".join(str(error).split())[:300])
    said = " ".join(str(error).replace(token, "…").split())[:300]
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status == 401:
        return ProviderRefused(f"{endpoint} does not know this HF_TOKEN (401)")
    if status == 403:
        return ProviderRefused(f"{endpoint} does not let this HF_TOKEN write to {repo} (403)")
    if status is not None and status < 500 and status != 429:
        return UsageError(f"{endpoint} refuses {repo} ({status}): {said}")
    if status is not None:
        return GaveUp(f"{endpoint} fails ({status}); the same command tries again")
    return GaveUp(f"cannot reach {endpoint}: {type(error).__name__}: {said}")
