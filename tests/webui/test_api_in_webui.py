"""The API in a real WebUI, started with its several kinds of accounts; and what else of ours survives "Reload UI"."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from testbed.webui import PATIENCE, WEBUI, make_data_folder, pixels, running, wait_until_up

pytestmark = pytest.mark.webui

V1 = "/dreamartist/v1"
PICTURE = Path(__file__).parents[2] / "dreamartist_ext" / "assets" / "samples" / "pineapple.png"
SETTINGS = {
    "initialization_text": "emoji",
    "template": "a [name]|an emoji of a [name]",
    "steps": 3,
    "save_every": 1,
    "check_every": 1,
}
ROUTES = [
    ("POST", f"{V1}/train"),
    ("GET", f"{V1}/status"),
    ("POST", f"{V1}/cancel"),
    ("POST", f"{V1}/continue"),
    ("GET", f"{V1}/concepts"),
    ("DELETE", f"{V1}/concepts/zyx"),
    ("POST", f"{V1}/concepts/zyx/restore"),
    ("POST", f"{V1}/compare"),
    ("GET", f"{V1}/compare"),
    ("POST", f"{V1}/compare/cancel"),
    ("POST", f"{V1}/evaluate"),
    ("GET", f"{V1}/evaluate"),
    ("GET", f"{V1}/evaluate/report"),
    ("POST", f"{V1}/evaluate/cancel"),
]
AXES = ["Negative strength", "Pair or positive only", "Concept step"]
STATUS_OF_THE_WEBUI = "/sdapi/v1/progress?skip_current_image=true"


class Caller:
    """Requests with an account, a login's cookie, or neither."""

    def __init__(self, webui, account="", **headers):
        self.webui = webui
        self.headers = {"Content-Type": "application/json", **headers}
        if account:
            self.headers["Authorization"] = "Basic " + base64.b64encode(account.encode()).decode()

    def answer(self, method, path, content=None):
        """(status, JSON or headers)"""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.webui.url + path, body, self.headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=300 * PATIENCE) as response:
                return response.status, json.loads(response.read() or "null")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def get(self, path):
        return self._content("GET", path)

    def post(self, path, content=None):
        return self._content("POST", path, content)

    def delete(self, path):
        return self._content("DELETE", path)

    def _content(self, *request):
        status, content = self.answer(*request)
        assert status == 200, content
        return content

    def statuses(self):
        return {
            (method, path): self.answer(method, path, {} if method == "POST" else None)[0] for method, path in ROUTES
        }

    def pictures(self, prompt, **more):
        values = {"prompt": prompt, "seed": 7, "steps": 4, "width": 64, "height": 64, "sampler_name": "Euler a"}
        return [pixels(image) for image in self.post("/sdapi/v1/txt2img", values | more)["images"]]

    def train(self, name="zyx", **more):
        picture = base64.b64encode(PICTURE.read_bytes()).decode()
        wish = {"name": name, "pictures": [picture], "settings": SETTINGS, "previews": False, "wait": True}
        return self.post(f"{V1}/train", wish | more)


def login(webui, user, password):
    """The cookie of a login on the page, or the status of a refusal."""
    form = urllib.parse.urlencode({"username": user, "password": password}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(webui.url + "/login", form), timeout=30) as response:
            return response.headers.get_all("Set-Cookie")[-1].partition(";")[0]
    except urllib.error.HTTPError as error:
        return error.code


def fresh(data):
    if not (WEBUI / "launch.py").is_file():
        pytest.skip(f"no WebUI at {WEBUI}; set WEBUI_DIR to the folder of AUTOMATIC1111 v1.10.1")
    make_data_folder(data)
    return data


@pytest.fixture(scope="class")
def webui(tmp_path_factory, request):
    """With the flags of the class."""
    data = fresh(tmp_path_factory.mktemp("webui-api"))
    (data / "accounts").write_text("her:word, him:pass\n")
    with running(data, "--api", *(flag.format(data=data) for flag in request.cls.flags)) as webui:
        yield webui


@pytest.fixture
def me(webui):
    return Caller(webui, "me:secret")


@pytest.fixture
def learned(webui, me):
    """The folder of embeddings with zyx in it, of the three steps of SETTINGS."""
    if not (webui.embeddings / "zyx.pt").exists():
        assert me.train()["status"] == "done"
    return webui.embeddings


class TestAccountsOfTheApi:
    flags = ("--api-auth", "me:secret,you:other")

    @pytest.mark.parametrize("account", ["", "me:other", "me:", "you:secret", ":"])
    def test_every_route_is_refused_without_an_account(self, webui, account):
        before = sorted(webui.embeddings.iterdir())
        stranger = Caller(webui, account, Cookie="access-token=x; access-token-unsecure=x")
        assert set(stranger.statuses().values()) == {401}
        assert stranger.answer("GET", STATUS_OF_THE_WEBUI)[0] == 401, "as the WebUI's own"
        assert sorted(webui.embeddings.iterdir()) == before

    def test_every_account_may(self, webui):
        for account in ("me:secret", "you:other"):
            assert Caller(webui, account).get(f"{V1}/status")["unfinished"] == []

    def test_the_tab_gives_the_bytes_of_the_api_and_pictures_stay_as_they_are(self, webui, me):
        """Of the kind that is chosen in the tab from the start."""

        def made():
            return {path.name: path.read_bytes() for path in webui.embeddings.glob("bytab*")}

        before = me.pictures("a noto emoji of a lion")
        state = me.train("bytab", kind="thing")
        assert (state["status"], state["step"], len(state["checks"])) == ("done", 3, 3), state
        assert me.pictures("a noto emoji of a lion") == before
        by_api = made()
        assert set(by_api) == {"bytab.pt", "bytab-neg.pt"}

        me.delete(f"{V1}/concepts/bytab")
        click_train(webui, SETTINGS | {"name": "bytab"})
        while (state := me.get(f"{V1}/status")["job"])["status"] in ("waiting", "running"):
            time.sleep(0.2)
        assert state["status"] == "done", state
        assert made() == by_api
        assert me.pictures("a noto emoji of a lion") == before
        me.delete(f"{V1}/concepts/bytab")

    def test_a_deleted_word_is_forgotten_and_comes_back(self, webui, me, learned):
        files = {path.name: path.read_bytes() for path in learned.iterdir()}
        [concept] = me.get(f"{V1}/concepts")["concepts"]
        assert (concept["name"], concept["step"], concept["model"]) == ("zyx", 3, "embedded")
        vectors, picture = webui.probe("vectors", name="zyx"), me.pictures("zyx")
        me.delete(f"{V1}/concepts/zyx")
        assert webui.probe("vectors", name="zyx") is None
        assert webui.probe("vectors", name="zyx-neg") is None
        assert me.pictures("zyx") != picture
        me.post(f"{V1}/concepts/zyx/restore")
        assert webui.probe("vectors", name="zyx") == vectors
        assert {path.name: path.read_bytes() for path in webui.embeddings.iterdir()} == files
        assert me.pictures("zyx") == picture

    @pytest.mark.usefixtures("learned")
    def test_axes_of_strength_and_of_halves(self, me):
        plain = me.pictures("zyx")
        off = {"alwayson_scripts": {"DreamArtist": {"args": [False, 1]}}}
        alone, half = me.pictures("zyx", **off), me.pictures("zyx", negative_prompt="(zyx-neg:0.5)", **off)
        made = cells(me, "zyx", ("Negative strength", "0.5, 1"), ("Pair or positive only", "pair, positive only"))
        assert made == [*half, *plain, *alone, *alone]
        assert len({*half, *plain, *alone}) == 3

    def test_an_axis_of_steps(self, webui, me, learned):
        before = webui.probe("state")
        picture = me.pictures("zyx")[0]
        first, last = cells(me, "zyx", ("Concept step", "zyx 1, 3"))
        assert last == picture
        assert first != picture
        after = webui.probe("state")
        assert {key for key in before if before[key] != after[key]} <= {"random"}
        assert me.pictures("zyx")[0] == picture

        last_step = {path: path.read_bytes() for path in learned.iterdir()}
        for half in ("zyx", "zyx-neg"):
            kept = webui.data / "embeddings-training" / "zyx" / half.replace("zyx", "zyx-000001")
            (learned / f"{half}.pt").write_bytes(kept.with_suffix(".pt").read_bytes())
        webui.probe("reload_embeddings")
        me.pictures("another", negative_prompt="other")  # the WebUI keeps the last prompt's encoding
        assert me.pictures("zyx")[0] == first
        for path, content in last_step.items():
            path.write_bytes(content)
        webui.probe("reload_embeddings")

    @pytest.mark.usefixtures("learned")
    def test_reload_ui_doubles_nothing(self, webui, me):
        job = me.get(f"{V1}/status")["job"]
        for _ in range(2):
            reload_ui(webui)
            assert me.get(f"{V1}/status")["job"] == job, "the desk is the process's, not the page's"
            assert set(Caller(webui).statuses().values()) == {401}
            assert [option for option in plot_options(me) if "DreamArtist" in option] == [
                f"[DreamArtist] {axis}" for axis in AXES
            ]
        paths = me.get("/openapi.json")["paths"]
        assert sum(len(methods) for path, methods in paths.items() if path.startswith(V1)) == len(ROUTES)
        assert me.get("/sdapi/v1/options")["dreamartist_strength"] == 1.0


def cells(caller, prompt, x, y=("", "")):
    """The single pictures of an X/Y plot of our axes."""
    options = plot_options(caller)
    axes = [[options.index(f"[DreamArtist] {axis}") if axis else 0, values, []] for axis, values in (x, y, ("", ""))]
    # legend, single pictures, parts, seeds (4), margin, values as text
    arguments = [*axes[0], *axes[1], *axes[2], False, True, False, False, False, False, False, 0, True]
    return caller.pictures(prompt, script_name="x/y/z plot", script_args=arguments)[1:]


def plot_options(caller):
    [script] = [
        each for each in caller.get("/sdapi/v1/script-info") if each["name"] == "x/y/z plot" and not each["is_img2img"]
    ]
    return script["args"][0]["choices"]


def click(webui, elem_id, values=None):
    """Press a button of the page without a browser; `values` are by elem_id, the others as the page begins."""
    config = Caller(webui).get("/config")
    components = {each["id"]: each["props"] for each in config["components"]}
    [button] = [number for number, props in components.items() if props.get("elem_id") == elem_id]
    (index, event), *_ = [  # what comes after only tidies the page
        (index, each)
        for index, each in enumerate(config["dependencies"])
        if (each["targets"], each["trigger"]) == ([button], "click")
    ]
    inputs = [components[number] for number in event["inputs"]]
    data = [(values or {}).get(props.get("elem_id"), props.get("value")) for props in inputs]
    return Caller(webui).post("/run/predict", {"fn_index": index, "data": data, "session_hash": "test"})


def click_train(webui, settings):
    picture = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
    special = {"name": "dreamartist_name", "initialization_text": "dreamartist_start"}
    values = {special.get(key, f"dreamartist_{key}"): value for key, value in settings.items()}
    values["dreamartist_previews_on"] = False
    values["dreamartist_tray"] = json.dumps([{"name": PICTURE.name, "data": picture}])
    click(webui, "dreamartist_train", values)


def reload_ui(webui):
    starts = webui.starts()
    click(webui, "settings_restart_gradio")
    wait_until_up(webui, starts + 1)


class TestAccountsOfThePage:
    flags = ("--gradio-auth", "me:secret,you:other", "--gradio-auth-path", "{data}/accounts")

    @pytest.mark.parametrize("account", ["", "me:other", "him:word"])
    def test_every_route_is_refused_without_an_account(self, webui, account):
        before = sorted(webui.embeddings.iterdir())
        assert set(Caller(webui, account).statuses().values()) == {401}
        assert Caller(webui, Cookie="access-token=None").answer("GET", f"{V1}/status")[0] == 401
        assert sorted(webui.embeddings.iterdir()) == before

    @pytest.mark.parametrize("account", ["me:secret", "you:other", "her:word", "him:pass"])
    def test_every_account_may(self, webui, account):
        assert Caller(webui, account).answer("GET", f"{V1}/concepts")[0] == 200
        cookie = login(webui, *account.split(":"))
        assert Caller(webui, Cookie=cookie).answer("GET", f"{V1}/concepts")[0] == 200
        other_site = Caller(webui, Cookie=cookie, **{"Sec-Fetch-Site": "cross-site"})
        assert set(other_site.statuses().values()) == {401}

    def test_a_wrong_login_gives_no_cookie(self, webui):
        assert login(webui, "me", "other") == 400


def test_there_are_no_routes_where_the_webui_has_no_api(tmp_path):
    with running(fresh(tmp_path / "data")) as webui:
        assert set(Caller(webui).statuses().values()) == {404}
        assert Caller(webui, "me:secret").answer("GET", f"{V1}/status")[0] == 404
        assert Caller(webui).answer("GET", STATUS_OF_THE_WEBUI)[0] == 404, "as the WebUI's own"


def test_the_accounts_of_a_page_that_is_not_shown_count_too(tmp_path):
    """With --nowebui the WebUI itself takes no notice of --gradio-auth."""
    with running(fresh(tmp_path / "data"), "--nowebui", "--gradio-auth", "me:secret") as webui:
        assert set(Caller(webui).statuses().values()) == {401}
        assert Caller(webui, "me:secret").train("nowebui")["status"] == "done"
        assert webui.probe("vectors", name="nowebui") is not None
        assert Caller(webui).answer("GET", STATUS_OF_THE_WEBUI)[0] == 200, "the WebUI's own"
