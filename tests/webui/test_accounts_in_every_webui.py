"""Our routes in Forge, reForge and SD.Next that were started with accounts, as `test_api_in_webui` in
AUTOMATIC1111."""

from __future__ import annotations

import pytest

from testbed.webui import MODEL, make_data_folder, running

from .conftest import AND_SDNEXT
from .forge_families import write_forge_families
from .test_api_in_webui import ROUTES, V1, Caller
from .test_in_every_webui import settings

ACCOUNTS = ("me:secret", "you:other")


@pytest.fixture(scope="module", params=AND_SDNEXT[1:])
def guarded(request, tmp_path_factory):
    kind = request.param
    if kind.missing:
        pytest.skip(kind.missing)
    data = tmp_path_factory.mktemp(f"{kind.marker}-accounts")
    make_data_folder(data, kind)
    if kind.marker == "forge":
        write_forge_families(data, MODEL)
    flag = "--auth" if kind.marker == "sdnext" else "--api-auth"
    with running(data, "--api", flag, ",".join(ACCOUNTS), kind=kind) as webui:
        yield webui


@pytest.mark.parametrize("account", ["", "me:other", "you:secret", ":"])
def test_every_route_is_refused_without_an_account(guarded, account):
    before = sorted(guarded.embeddings.iterdir())
    stranger = Caller(guarded, account, Cookie="access-token=x; access-token-unsecure=x")
    assert stranger.statuses() == dict.fromkeys(ROUTES, 401)
    assert sorted(guarded.embeddings.iterdir()) == before


@pytest.mark.parametrize("account", ACCOUNTS)
def test_every_account_may_train_and_delete(guarded, account):
    me, name = Caller(guarded, account), account.replace(":", "")
    few = settings(guarded, name=name, steps=2, template="a [name]")
    assert me.train(name, settings=few)["status"] == "done"
    assert [each["name"] for each in me.get(f"{V1}/concepts")["concepts"]] == [name]
    me.delete(f"{V1}/concepts/{name}")
    assert me.get(f"{V1}/concepts")["concepts"] == []
