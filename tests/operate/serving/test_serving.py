"""What is served is what is stored; what cannot be answered is one sentence."""

import json
import os
import socket
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec, MissingTable, UnreadableSource
from sojourn.lifetime import Lifetime
from sojourn.operate import PublishSpec, ServeSpec, make_app, publish
from sojourn.operate.publishing.documents import read_document
from sojourn.operate.serving.app import _listening
from sojourn.operate.serving.door import is_token
from sojourn.warehouse import Warehouse
from tests.operate.serving.worlds import served

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def address(root):
    with served(root, "--models", "models") as found:
        yield found


@pytest.fixture(scope="module")
def guarded(root):
    (root / "guarded.toml").write_text('[serve]\ntoken_env = "APP_TOKEN"\nmax_bytes = 5000\nmodels = "models"\n')
    with served(root, "--config", "guarded.toml", env={**os.environ, "APP_TOKEN": TOKEN}) as found:
        yield found


def asked(url, body=None, *, token=None, method=None):
    """Status, headers and JSON of an answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = body if isinstance(body, bytes | None) else json.dumps(body, default=str).encode()
    try:
        with urlopen(Request(url, data=data, headers=headers, method=method)) as answer:
            return answer.status, answer.headers, json.load(answer)
    except HTTPError as fault:
        with fault:
            return fault.code, fault.headers, json.load(fault)


def rows_of(app, table):
    [place] = app.places(table)[-1:]
    frame = app.frame(table, only=[place])
    return frame, app.engine.columns(f"SELECT * FROM {app.relation(table, only=[place])}")


def test_a_user_s_rows_are_those_of_the_tables(app, address):
    for table in ("features", "predictions"):
        frame, kinds = rows_of(app, table)
        for row in frame.head(5).iter_rows(named=True):
            status, _, found = asked(f"{address}/users/{row['user_id']}")
            assert status == 200
            assert found.pop("user_id") == row["user_id"]
            read = read_document(json.dumps(found), columns={each: rows_of(app, each)[1] for each in found})
            assert read[table] == {name: cell for name, cell in row.items() if name != "user_id"}
            assert set(read[table]) == set(kinds) - {"user_id"}


def test_rows_scored_over_http_are_scored_as_in_memory(app, root, address):
    frame, _ = rows_of(app, "features")
    rows = frame.head(20)
    status, _, found = asked(f"{address}/score", {"rows": rows.to_dicts()})
    assert status == 200
    expected = Lifetime.load(root / "models").predict(rows)
    assert found == json.loads(json.dumps(expected.to_dicts(), default=str))


def test_it_says_whether_it_is_well_and_what_it_serves(app, root, address):
    assert asked(f"{address}/health")[2] == {"status": "ok"}
    as_of = app.places("features")[-1]
    model = Lifetime.load(root / "models").fingerprint_
    assert asked(f"{address}/ready")[2] == {"tables": {"features": as_of, "predictions": as_of}, "models": model}


def test_what_cannot_be_answered_is_one_sentence(app, address):
    row = rows_of(app, "features")[0].row(0, named=True)
    without = {name: cell for name, cell in row.items() if name != "tenure_days"}
    faults = {
        "no such user": asked(f"{address}/users/nobody"),
        "no such address": asked(f"{address}/nothing"),
        "no such method": asked(f"{address}/score", method="GET"),
        "not JSON": asked(f"{address}/score", b"{"),
        "no row": asked(f"{address}/score", {"rows": []}),
        "not UTF-8": asked(f"{address}/score", b'{"\xff"'),
        "a feature is missing": asked(f"{address}/score", {"rows": [without]}),
        "a feature too many": asked(f"{address}/score", {"rows": [{**row, "shoe_size": 43}]}),
        "a word for a number": asked(f"{address}/score", {"rows": [{**row, "tenure_days": "many"}]}),
        "too many rows": asked(f"{address}/score", {"rows": [row] * 1_001}),
    }
    told = {what: (status, body["error"]) for what, (status, _, body) in faults.items()}
    assert told["no such user"] == (404, "No table that is served has a user 'nobody'.")
    assert told["no such address"][0] == 404
    assert told["no such method"][0] == 405
    assert told["not JSON"] == (422, "The body is not JSON in UTF-8.")
    assert told["a feature is missing"] == (422, "The request is wrong at rows.0.tenure_days: field required.")
    assert told["not UTF-8"] == (422, "The body is not JSON in UTF-8.")
    assert told["a feature too many"][1] == "The request is wrong at rows.0.shoe_size: extra inputs are not permitted."
    assert told["a word for a number"][1].startswith("The request is wrong at rows.0.tenure_days: input should be")
    assert told["too many rows"][0] == 413
    assert all(set(body) == {"error"} and body["error"].endswith(".") for _, _, body in faults.values())


def test_a_request_that_is_too_large_is_refused_whether_it_says_so_or_not(guarded):
    large = b'{"rows": [' + b" " * 6_000 + b"]}"
    for body in (large, b" " * 19_999, b" " * 5_001):
        status, _, told = asked(f"{guarded}/score", body, token=TOKEN)
        assert (status, told["error"]) == (413, "The request is larger than 5,000 bytes. Send fewer rows at a time.")
    assert asked(f"{guarded}/score", b" " * 5_000, token=TOKEN)[0] == 422
    import http.client

    connection = http.client.HTTPConnection(guarded.removeprefix("http://"))
    connection.request("POST", "/score", body=iter([large]), headers={"Authorization": f"Bearer {TOKEN}"})
    with connection.getresponse() as answer:
        assert answer.status == 413
    connection.close()


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "é" * 5])
def test_without_the_token_nothing_but_its_state_is_told(app, guarded, token):
    user = rows_of(app, "features")[0]["user_id"][0]
    if token == "é" * 5:  # no header holds it as it is
        assert not is_token(token, TOKEN)
        return
    status, headers, body = asked(f"{guarded}/users/{user}", token=token)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer TOKEN" in body["error"]
    assert asked(f"{guarded}/score", {"rows": []}, token=token)[0] == 401
    assert asked(f"{guarded}/ready")[0] == 200
    assert asked(f"{guarded}/users/{user}", token=TOKEN)[0] == 200


def test_from_redis_it_serves_what_is_published_and_says_when_nothing_is(app, root, cache):
    spec = PublishSpec(name="cache", to="redis", url=f"redis://127.0.0.1:{cache}/0", space="served")
    text = f'[publish.cache]\nto = "redis"\nurl = "{spec.url}"\nspace = "served"\n[serve]\nsource = "cache"\n'
    (root / "cache.toml").write_text(text)
    user = rows_of(app, "features")[0]["user_id"][0]
    with served(root, "--config", "cache.toml") as address, served(root) as plain:
        for path in ("ready", f"users/{user}"):
            status, _, body = asked(f"{address}/{path}")
            assert status == 503
            assert body["error"].endswith("Publish it: sojourn publish --only cache")
        publish(app, spec=spec)
        assert asked(f"{address}/users/{user}")[2] == asked(f"{plain}/users/{user}")[2]
        assert asked(f"{address}/users/nobody")[0] == 404
        with app.writing("predictions") as writer:
            place = app.places("predictions")[-1]
            writer.put(
                place, pl.DataFrame({"user_id": [user], "ltv_14": [1.5]}), order_by=["user_id"], fingerprint="x.1"
            )
        publish(app, spec=spec)
        assert asked(f"{address}/users/{user}")[2]["predictions"]["ltv_14"] == 1.5


@pytest.mark.parametrize(
    ("fields", "mistake", "words"),
    [
        ({"source": "cache"}, BadSpec, r"\[publish.cache\], which is not declared"),
        ({"source": "files"}, BadSpec, r"\[publish.files\], which is parquet"),
        ({"token_env": "NO_SUCH_TOKEN"}, BadSpec, "has 0 characters; 16 are the least"),
        ({"models": "nowhere"}, UnreadableSource, "nowhere holds no saved model"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(app, fields, mistake, words):
    files = PublishSpec(name="files", to="parquet", url="p")
    with pytest.raises(mistake, match=words):
        make_app(app, spec=ServeSpec(**fields), published={"files": files})


def test_models_need_a_table_that_says_what_they_read(warehouse, app, root):
    spec = ServeSpec(models=str(root / "models"))
    with pytest.raises(MissingTable, match="has no table 'features' yet"):
        make_app(warehouse, spec=spec)
    rows = pl.DataFrame({"user_id": ["a"], "shoe_size": [43]})
    with warehouse.writing("features") as writer:
        writer.put({"as_of": "2025-05-08"}, rows, order_by=["user_id"], fingerprint="1")
    with pytest.raises((BadInput, LookupError), match="needs column"):
        make_app(warehouse, spec=spec)


def ended(root, *flags):
    """The status and the words of a server that does not come up."""
    words = [sys.executable, "-c", "from sojourn.cli import main; main()", "serve", "--warehouse", str(root / "app")]
    done = subprocess.run([*words, *flags], cwd=root, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


def test_a_port_that_is_taken_or_is_not_ours_is_told(root):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, told = ended(root, "--port", str(port))
    assert status == 2
    assert told.startswith(f"sojourn: sojourn serve cannot listen at 127.0.0.1:{port}: ")
    assert "Traceback" not in told
    status, told = ended(root, "--host", "192.0.2.1", "--port", "0")
    assert (status, "cannot listen at 192.0.2.1:0" in told) == (2, True)


def test_a_redis_that_does_not_answer_is_told_at_the_start_and_by_its_health(root):
    (root / "dead.toml").write_text(
        '[publish.cache]\nto = "redis"\nurl = "redis://127.0.0.1:1/0"\n[serve]\nsource = "cache"\n'
    )
    with served(root, "--config", "dead.toml") as address:
        status, _, health = asked(f"{address}/health")
        assert (status, health["status"]) == (200, "degraded")
        assert health["error"].startswith("Redis at redis://127.0.0.1:1/0 did not answer: ")
        assert asked(f"{address}/users/ann")[0] == 503
    place = PublishSpec(name="cache", to="redis", url="redis://127.0.0.1:1/0")

    async def start(app):
        async with app.router.lifespan_context(app):
            pass

    import asyncio
    import contextlib
    import io

    words = io.StringIO()
    with contextlib.redirect_stderr(words):
        app = make_app(Warehouse.open(root / "app"), spec=ServeSpec(source="cache"), published={"cache": place})
        asyncio.run(start(app))
    assert "did not answer" in words.getvalue()


def test_health_is_ok_where_users_can_be_served(address):
    assert asked(f"{address}/health")[2] == {"status": "ok"}


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_beginning():
    with (
        _listening("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as answering,
    ):
        assert answering.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
