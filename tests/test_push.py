"""Pushing to a hub on this machine: what arrives, what is left alone, and how failures are said."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfinstruct.importing import import_files
from tests.cli import Done, bytes_under, environment, run
from tests.fake_hub import TOKEN, Hub, Repo, fake_hub
from tests.test_import import GREETING, RIVER, file_of

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with fake_hub() as server:
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    out = tmp_path / "data"
    import_files([file_of(tmp_path / "a.jsonl", [RIVER, GREETING])], out)
    return out


def table(repo: Repo, lang: str) -> str:
    """The name of a language's file, "" when there is none."""
    return next((name for name in repo.files if name.startswith(f"data/{lang}/train-")), "")


def push(hub: Hub, data: Path, *more: str, **env: str) -> Done:
    """`push` as a user runs it. Xet, the Hub's own way for large files, is left out: the fake
    speaks Git LFS, which the client then falls back to."""
    home = data.parent / "home"
    home.mkdir(exist_ok=True)
    given = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", **env}
    given |= {"HOME": str(home), "HF_HOME": str(home)}
    done = run("push", data, *more, env=environment(**{k: v for k, v in given.items() if v}))
    assert TOKEN not in done.out + done.err
    assert TOKEN.encode() not in bytes_under(data.parent), "no token on disk"
    return done


def test_a_new_private_repository(hub: Hub, data: Path) -> None:
    import polars as pl

    done = push(hub, data, "--repo", "mine", "--license", "cc-by-4.0")
    assert done.code == 0, done.err
    assert done.out.strip() == f"{hub.url}/datasets/me/mine: 2 rows (new, private)"
    repo = hub.repos["me/mine"]
    assert repo.visibility == "private"
    assert repo.commits == 1, "all files in one commit"
    assert len(repo.files) == 4
    assert {".gitattributes", "README.md", table(repo, "en"), table(repo, "zh")} == set(repo.files)
    assert b'license: "cc-by-4.0"' in repo.files["README.md"]
    rows = pl.read_parquet(io.BytesIO(repo.files[table(repo, "zh")])).to_dicts()
    assert rows == [{"id": "zh-000000-00", **GREETING}]


def test_public_only_when_asked(hub: Hub, data: Path) -> None:
    done = push(hub, data, "--repo", "org/mine", "--public", "--json")
    assert done.json["repo"] == "org/mine"
    assert done.json["made"] is True
    assert hub.repos["org/mine"].visibility == "public"


def test_an_earlier_push_is_brought_up_to_date(hub: Hub, data: Path) -> None:
    push(hub, data, "--repo", "me/mine")
    done = push(hub, data, "--repo", "me/mine", "--lang", "zh", "--public")
    assert done.out.strip().endswith("1 rows (brought up to date)")
    repo = hub.repos["me/mine"]
    assert not table(repo, "en"), "what is gone here is gone there"
    assert table(repo, "zh")
    assert repo.visibility == "private", "what is there stays as visible as it is"


def test_an_empty_repository_is_filled(hub: Hub, data: Path) -> None:
    hub.repos["me/mine"] = Repo("private", {".gitattributes": b""})
    assert push(hub, data, "--repo", "me/mine").code == 0
    assert "README.md" in hub.repos["me/mine"].files


@pytest.mark.parametrize("name", ["README.md", "data/train.csv"])
def test_other_data_is_left_alone(hub: Hub, data: Path, name: str) -> None:
    hub.repos["me/mine"] = Repo("private", {name: b"theirs"})
    done = push(hub, data, "--repo", "me/mine")
    assert done.code == 2
    assert "me/mine holds other data than a push of selfinstruct" in done.complaint
    assert hub.repos["me/mine"].files == {name: b"theirs"}


# ── failures, a line each ────────────────────────────────────────────────────────────────────


def test_no_token(hub: Hub, data: Path) -> None:
    done = push(hub, data, "--repo", "mine", HF_TOKEN="")
    assert done.code == 2
    assert "HF_TOKEN is not set" in done.complaint
    assert not hub.seen, "nothing was asked"


def test_a_token_that_nobody_knows(hub: Hub, data: Path) -> None:
    done = push(hub, data, "--repo", "mine", HF_TOKEN="hf_wrong")
    assert done.code == 3
    assert "does not know this HF_TOKEN (401)" in done.complaint
    assert "hf_wrong" not in done.err


@pytest.mark.parametrize(
    ("path", "status", "code", "said"),
    [
        ("/api/repos/create", 403, 3, "does not let this HF_TOKEN write to me/mine (403)"),
        ("/api/repos/create", 400, 2, "refuses me/mine (400)"),
        ("/api/repos/create", 500, 5, "fails (500)"),
        ("/api/datasets/me/mine/commit", 403, 3, "(403)"),
    ],
)
def test_a_server_that_refuses(
    hub: Hub, data: Path, path: str, status: int, code: int, said: str
) -> None:
    hub.faults[path] = status
    done = push(hub, data, "--repo", "me/mine")
    assert done.code == code
    assert said in done.complaint


def test_a_licence_that_the_hub_does_not_know(hub: Hub, data: Path) -> None:
    done = push(hub, data, "--repo", "me/mine", "--license", "mine")
    assert done.code == 2
    assert 'Invalid metadata in README.md. - "license" must be one of' in done.complaint
    assert hub.repos["me/mine"].commits == 0


def test_nobody_there(hub: Hub, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = push(hub, data, "--repo", "me/mine", HF_ENDPOINT=f"http://127.0.0.1:{port}")
    assert done.code == 5
    assert f"cannot reach http://127.0.0.1:{port}" in done.complaint


@pytest.mark.parametrize("endpoint", ["hub", "ftp://hub", "http://[::1", "http://me:pw@hub"])
def test_an_endpoint_that_is_none(hub: Hub, data: Path, endpoint: str) -> None:
    done = push(hub, data, "--repo", "me/mine", HF_ENDPOINT=endpoint)
    assert done.code == 2
    assert done.complaint == "selfinstruct: HF_ENDPOINT is not a web address (such as https://HOST)"


@pytest.mark.parametrize("repo", ["a/b/c", "me/mi ne", "-x-/..", ""])
def test_a_name_that_is_none(hub: Hub, data: Path, repo: str) -> None:
    done = push(hub, data, "--repo", repo)
    assert done.code == 2
    assert "is no name of a repository" in done.complaint
    assert not hub.repos


def test_nothing_to_push(hub: Hub, data: Path) -> None:
    done = push(hub, data.parent, "--repo", "mine")
    assert done.code == 2
    assert "no run here" in done.complaint
    assert not hub.seen
