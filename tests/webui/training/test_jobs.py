"""The desk: what the page's buttons and the API's routes do, on a tiny model without a WebUI."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from dreamartist_ext.engine import preview
from dreamartist_ext.engine.errors import DreamArtistError, FileError, ModelError, SettingError
from dreamartist_ext.files.storage import load_pair, save_snapshot
from dreamartist_ext.webui.training import live_view
from dreamartist_ext.webui.training.job import Ask, Status
from dreamartist_ext.webui.training.jobs import Desk
from dreamartist_ext.webui.training.kept_pictures import kept_pictures
from dreamartist_ext.webui.training.sentences import is_worse_than_nothing

from ..fake_workplace import SETTINGS, FakeWorkplace


@pytest.fixture
def place(tmp_path):
    return FakeWorkplace(tmp_path)


@pytest.fixture
def desk(place):
    return Desk(place)


@pytest.fixture
def picture(tmp_path):
    image = Image.new("RGB", (80, 64), "white")
    ImageDraw.Draw(image).ellipse((20, 10, 60, 50), fill="red")
    image.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def trained(desk, picture, **settings):
    return desk.run(desk.prepare(SETTINGS | settings, [picture]))


def test_a_training_runs_to_its_end(desk, place, picture):
    job = trained(desk, picture)
    assert (job.status, job.step, job.used_step) == (Status.DONE, 6, 6)
    assert ("has not learned" in job.message) == job.is_worse == is_worse_than_nothing(job.checks, job.used_step)
    assert place.told == [1, 2, 3, 4, 5, 6]
    assert place.learnings == 1
    assert [row.step for row in job.previews] == [2, 4, 6]
    assert {len(row.pair) for row in job.previews} == {3}
    assert job.previews[0].pair != job.previews[-1].pair, "previews are drawn afresh"
    assert job.previews[0].pair != job.previews[0].positive_only
    assert [check.step for check in job.checks] == [2, 4, 6]
    assert load_pair(place.embeddings, "cat").step == 6


def test_going_on_with_another_model_names_both_before_anything_begins(desk, place, picture):
    job = desk.prepare(SETTINGS | {"steps": 50}, [picture])
    place.interrupt_at = 3
    desk.run(job)
    place.interrupt_at = None
    about = job.files.last_snapshot().about
    place.tiny.checkpoint_hash = "0123456789"
    with pytest.raises(
        SettingError, match=r"the training of cat began on .*, and another file of that name \(0123456789\) is loaded"
    ):
        desk.prepare_continuation("cat")
    place.tiny.parts = replace(place.tiny.parts, name="other")
    with pytest.raises(
        SettingError, match=rf"the training of cat began on {about['model']} .*, and other is loaded; load"
    ):
        desk.prepare_continuation("cat")
    assert desk.job is job
    with place.turn:  # a picture is drawn: what is loaded cannot be asked
        job = desk.prepare_continuation("cat")
    desk.run(job)
    assert job.status is Status.FAILED
    assert "and other is loaded; load" in job.message
    assert job.files.last_snapshot().step == 3
    place.tiny.checkpoint_hash = about["model_hash"]
    assert desk.prepare_continuation("cat").step == 3, "the same file under another name"


def test_previews_change_nothing(desk, place, picture):
    trained(desk, picture)
    first = load_pair(place.embeddings, "cat").positive["clip"]
    job = desk.prepare(SETTINGS | {"name": "dog"}, [picture])
    job.previews_wanted = False
    desk.run(job)
    assert not job.previews
    assert torch.equal(first, load_pair(place.embeddings, "dog").positive["clip"])


@pytest.mark.parametrize("negative", [True, False])
def test_previews_have_the_same_seeds_and_prompts_each_time_the_positive_alone_beside_the_pair(
    desk, picture, monkeypatch, negative
):
    asked, draw = [], preview.draw

    def watched(host, prompts, negative_prompts, seeds, *rest):
        asked.append((tuple(prompts), tuple(negative_prompts), tuple(seeds)))
        return draw(host, prompts, negative_prompts, seeds, *rest)

    monkeypatch.setattr(preview, "draw", watched)
    job = trained(desk, picture, use_negative=negative)
    row = [(("cat",), (beside,), (seed,)) for beside in ("", "cat-neg")[: 1 + negative] for seed in (1, 2, 3)]
    assert asked == row * 3
    assert [(len(shown.pair), len(shown.positive_only)) for shown in job.previews] == [(3, 3)] * 3
    assert all((shown.pair != shown.positive_only) == negative for shown in job.previews)


def test_a_run_that_was_killed_before_its_last_check_is_unfinished_until_that_is_made(desk, place, picture):
    """The last step is in the snapshot, its check and the pair in use are not: nobody must take it for done."""
    trained(desk, picture)
    files = desk.files("cat")
    whole = files.last_snapshot()
    assert desk.unfinished() == []
    save_snapshot(replace(whole, checks=whole.checks[:-1]), files.snapshot)
    assert desk.unfinished() == [("cat", 6, 6)]
    job = desk.run(desk.prepare_continuation("cat"))
    assert (job.status, [check.step for check in job.checks]) == (Status.DONE, [2, 4, 6])
    assert [check.loss for check in job.checks] == [check.loss for check in whole.checks]
    assert desk.unfinished() == []


@pytest.mark.parametrize(
    ("settings", "pictures", "words"),
    [
        ({"name": ""}, 1, "name must be letters"),
        ({"name": "../x"}, 1, "name must be letters"),
        ({"name": "taken"}, 1, "prompts would take"),
        ({"steps": 0}, 1, "steps must be at least 1"),
        ({"guidance": "__import__('os')"}, 1, "guidance must be a number"),
        ({}, 0, "no picture"),
    ],
)
def test_a_bad_wish_is_one_sentence_and_leaves_nothing(desk, place, picture, settings, pictures, words):
    with pytest.raises(DreamArtistError, match=words):
        desk.prepare(SETTINGS | settings, [picture] * pictures)
    assert desk.job is None
    assert not list(place.embeddings.iterdir())
    assert not list(place.embeddings.parent.glob("embeddings-training/*/*"))


def test_a_broken_picture_is_refused_before_the_queue(desk, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(DreamArtistError, match=r"bad\.png"):
        desk.prepare(SETTINGS, [tmp_path / "bad.png"])
    assert desk.job is None


def test_only_one_training_at_a_time(desk, picture):
    desk.prepare(SETTINGS, [picture])
    with pytest.raises(SettingError, match="cat is being trained"):
        desk.prepare(SETTINGS | {"name": "dog"}, [picture])
    with pytest.raises(SettingError, match="cat is being trained"):
        desk.measure(SETTINGS)


def test_a_name_is_taken_once_it_is_learned(desk, picture):
    assert desk.check_word("cat") == ""
    trained(desk, picture)
    assert "taken" in desk.check_word("cat")
    assert "taken" in desk.check_word("CAT")
    with pytest.raises(SettingError, match="taken"):
        desk.prepare(SETTINGS, [picture])
    assert trained_again(desk, picture).status is Status.DONE


def trained_again(desk, picture):
    return desk.run(desk.prepare(SETTINGS, [picture], overwrite=True))


def test_stop_keeps_the_best_step(desk, place, picture):
    job = desk.prepare(SETTINGS | {"steps": 50}, [picture])
    place.show = lambda step, steps, text: job.ask(Ask.STOP) if step == 5 else None
    desk.run(job)
    assert (job.status, job.step) == (Status.STOPPED, 5)
    assert job.used_step == job.best_step
    assert load_pair(place.embeddings, "cat").step == job.best_step
    assert f"as it was at step {job.best_step}" in job.message
    losses = {check.step: check.loss for check in job.checks}
    assert losses[job.best_step] == min(losses.values())


def test_stop_before_the_first_snapshot_keeps_what_there_is(desk, place, picture):
    job = desk.prepare(SETTINGS | {"steps": 50, "save_every": 0}, [picture])
    place.show = lambda step, steps, text: job.ask(Ask.STOP) if step == 3 else None
    desk.run(job)
    assert job.status is Status.STOPPED
    assert load_pair(place.embeddings, "cat").step == 3


def test_the_webuis_interrupt_stops_and_keeps(desk, place, picture):
    place.interrupt_at = 4
    job = trained(desk, picture, steps=50)
    assert (job.status, job.step) == (Status.STOPPED, 4)
    assert load_pair(place.embeddings, "cat").step in (2, 4)


def test_pause_and_continue_give_the_bytes_of_one_run(desk, place, picture):
    trained(desk, picture)
    whole = (place.embeddings / "cat.pt").read_bytes()
    job = desk.prepare(SETTINGS, [picture], overwrite=True)
    before = (place.embeddings / "cat.pt").read_bytes()
    place.show = lambda step, steps, text: job.ask(Ask.PAUSE) if step == 3 else None
    desk.run(job)
    assert (job.status, job.step) == (Status.PAUSED, 3)
    assert (place.embeddings / "cat.pt").read_bytes() == before, "a pause changes no word"
    assert desk.unfinished() == [("cat", 3, 6)]
    place.show = lambda step, steps, text: None
    (picture).unlink()  # the user's own file is not needed any more
    continued = desk.run(Desk(place).prepare_continuation("cat"))
    assert (continued.status, continued.step) == (Status.DONE, 6)
    assert (place.embeddings / "cat.pt").read_bytes() == whole
    assert desk.unfinished() == []


def test_discard_leaves_an_earlier_concept_alone(desk, place, picture):
    trained(desk, picture)
    before = (place.embeddings / "cat.pt").read_bytes()
    job = desk.prepare(SETTINGS | {"seed": 5}, [picture], overwrite=True)
    place.show = lambda step, steps, text: job.ask(Ask.DISCARD) if step == 3 else None
    desk.run(job)
    assert job.status is Status.DISCARDED
    assert (place.embeddings / "cat.pt").read_bytes() == before
    assert desk.unfinished() == []


def test_a_discarded_training_comes_back_and_goes_on_with_the_same_bytes(desk, place, picture):
    trained(desk, picture)
    whole = everything(place.embeddings)
    place.show = lambda step, steps, text: desk.job.ask(Ask.DISCARD) if step == 3 else None
    job = desk.run(desk.prepare(SETTINGS, [picture], overwrite=True))
    assert job.status is Status.DISCARDED
    assert "in the trash" in job.message
    assert not job.files.folder.exists()
    place.show = lambda step, steps, text: None
    assert desk.undo_discard() == "cat"
    assert not desk.thrown
    assert [name for name, _, _ in desk.unfinished()] == ["cat"]
    assert desk.run(desk.prepare_continuation("cat")).status is Status.DONE
    assert everything(place.embeddings) == whole


def test_an_unfinished_training_is_discarded_and_brought_back(desk, place, picture):
    place.show = lambda step, steps, text: desk.job.ask(Ask.PAUSE) if step == 3 else None
    files = desk.run(desk.prepare(SETTINGS, [picture])).files
    before = everything(files.folder)
    desk.discard("cat")
    assert not files.folder.exists()
    assert desk.undo_discard() == "cat"
    assert everything(files.folder) == before
    with pytest.raises(FileError, match="not in the trash"):
        desk.undo_discard()


def test_a_discarded_training_does_not_come_back_over_a_later_one(desk, place, picture):
    place.show = lambda step, steps, text: desk.job.ask(Ask.PAUSE) if step == 3 else None
    desk.run(desk.prepare(SETTINGS, [picture]))
    desk.discard("cat")
    files = desk.run(desk.prepare(SETTINGS | {"seed": 5}, [picture])).files
    before = everything(files.folder)
    with pytest.raises(SettingError, match="has been trained again meanwhile"):
        desk.undo_discard()
    assert everything(files.folder) == before
    assert desk.thrown, "it can be tried again"


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_checkpoint_that_waits_is_told_while_it_waits(desk, place, picture):
    seen, texts = [], []

    def show(step, steps, text):
        texts.append(text)
        seen.append(desk.job.message)
        place.chosen = "second" if step == 2 else ""

    place.show = show
    job = desk.run(desk.prepare(SETTINGS, [picture]))
    word = "second was chosen meanwhile: it is loaded when this training is over."
    assert [bool(said) for said in seen] == [False, False, True, *[False] * (job.step - 3)]
    assert seen[2] == word
    assert texts[2].endswith(word)
    assert word not in job.message
    assert job.message.startswith("cat ")


def test_a_training_that_waits_says_what_becomes_of_a_checkpoint_that_waits_too(desk, place, picture):
    place.chosen = "first"
    job = desk.prepare(SETTINGS, [picture])
    said = {}
    for chosen in ("first", "second", ""):
        place.chosen = chosen
        said[chosen] = desk.looked_at().message
        assert said[chosen] in live_view.progress_html(desk.job)
    assert said == {
        "first": "first is loaded first.",
        "second": "second was chosen meanwhile: it is loaded when this training is over.",
        "": "",
    }
    job.ask(Ask.STOP)
    place.chosen = "second"
    assert desk.looked_at().message == "cat was called off before it began."


def test_a_status_comes_after_all_that_belongs_to_it(desk, place, picture):
    """Whoever waits for the end must find the word usable and the message there."""
    seen = []
    place.learned = lambda: seen.append(desk.job.status)
    trained(desk, picture)
    place.show = lambda step, steps, text: desk.job.ask(Ask.STOP) if step == 3 else None
    desk.run(desk.prepare(SETTINGS, [picture], overwrite=True))
    assert seen == [Status.RUNNING, Status.RUNNING]


def test_an_error_inside_is_a_sentence_and_keeps_the_last_step(desk, place, picture, monkeypatch):
    real, calls = place.tiny.predict, []

    def failing(*arguments):
        calls.append(1)
        if len(calls) > 12:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(*arguments)

    monkeypatch.setattr(place.tiny, "predict", failing)
    job = desk.prepare(SETTINGS | {"steps": 50, "save_every": 0}, [picture])
    desk.run(job)
    assert job.status is Status.FAILED
    assert job.message.startswith("Out of memory at step")
    assert "smaller" in job.message
    assert "can be continued" in job.message
    assert desk.unfinished()[0][0] == "cat"
    step = desk.keep_unfinished("cat")
    assert step == job.step == load_pair(place.embeddings, "cat").step
    assert all(p.grad is None for p in place.tiny.parts.unet.parameters())


def test_a_model_that_cannot_be_trained_says_so(desk, place, picture):
    def host():
        raise ModelError("SDXL checkpoints cannot be trained yet.")

    place.host = host
    job = trained(desk, picture)
    assert (job.status, job.message) == (Status.FAILED, "SDXL checkpoints cannot be trained yet.")
    assert not job.files.folder.parent.exists(), "a failed start leaves nothing"
    assert desk.prepare(SETTINGS | {"name": "dog"}, [picture]).status is Status.WAITING, "the desk is free again"


def test_a_waiting_training_can_be_called_off(desk, place, picture):
    job = desk.prepare(SETTINGS, [picture])
    place.turn.acquire()
    thread = threading.Thread(target=desk.run, args=(job,))
    thread.start()
    job.ask(Ask.STOP)
    place.turn.release()
    thread.join(20)
    assert (job.status, job.step) == (Status.STOPPED, 0)
    assert not list(place.embeddings.iterdir())


def test_an_earlier_step_can_be_used(desk, place, picture):
    trained(desk, picture)
    desk.use_step("cat", 2)
    assert load_pair(place.embeddings, "cat").step == 2
    assert desk.job.used_step == 2
    with pytest.raises(DreamArtistError, match="there is no embedding cat-000003"):
        desk.use_step("cat", 3)
    assert load_pair(place.embeddings, "cat").step == 2


def test_an_estimate_counts_every_view_of_every_picture(desk):
    alone = desk.measure(SETTINGS)
    many = desk.measure(SETTINGS | {"mirror": True, "views": 6, "latent_sampling": "each", "spread_mask": 1.0}, 5)
    assert (alone.views, many.views) == (1, 30)
    assert 0 < alone.encoding < alone.seconds
    assert many.encoding > 2 * alone.encoding


def test_a_template_file_is_read_from_the_place_of_such_files(desk, place, picture):
    place.templates.mkdir()
    (place.templates / "mine.txt").write_text("a [name]\na big [name]\n")
    job = desk.prepare(SETTINGS | {"template": "mine.txt"}, [picture])
    assert job.config.templates == ("a [name]", "a big [name]")
    job.ask(Ask.DISCARD)
    with pytest.raises(DreamArtistError, match=r"template file yours\.txt could not be read"):
        desk.prepare(SETTINGS | {"template": "yours.txt"}, [picture])


def test_an_estimate_leaves_nothing(desk, place):
    found = desk.measure(SETTINGS | {"steps": 1000})
    assert found.steps == 1000
    assert found.seconds > 0
    assert not list(place.embeddings.iterdir())
    assert not (place.embeddings.parent / "embeddings-training").exists()


def test_pictures_are_kept_with_masks_and_captions(desk, picture):
    Image.fromarray(np.full((64, 80), 200, np.uint8)).save(picture.with_name("photo_att.png"))
    picture.with_suffix(".txt").write_text("a red ball")
    job = desk.prepare(SETTINGS, [picture])
    desk.run(job)
    kept = kept_pictures(job.files)
    assert [path.name for path in kept] == ["001-photo.png"]
    assert {path.name for path in kept[0].parent.iterdir()} == {"001-photo.png", "001-photo_att.png", "001-photo.txt"}


def test_an_uploaded_mask_belongs_to_its_picture_though_it_lies_elsewhere(desk, picture, tmp_path):
    (tmp_path / "other").mkdir()
    mask = tmp_path / "other" / "photo_att.png"
    Image.fromarray(np.full((64, 80), 200, np.uint8)).save(mask)
    job = desk.prepare(SETTINGS | {"steps": 1}, [picture, mask])
    desk.run(job)
    kept = kept_pictures(job.files)
    assert [path.name for path in kept] == ["001-photo.png"]
    assert (kept[0].parent / "001-photo_att.png").is_file()


def test_discard_at_the_last_step_keeps_the_earlier_pair(desk, place, picture):
    trained(desk, picture)
    before = (place.embeddings / "cat.pt").read_bytes()
    job = desk.prepare(SETTINGS | {"seed": 5}, [picture], overwrite=True)
    place.show = lambda step, steps, text: job.ask(Ask.DISCARD) if step == steps else None
    desk.run(job)
    assert job.status is Status.DISCARDED
    assert (place.embeddings / "cat.pt").read_bytes() == before


def test_pause_at_the_last_step_is_the_end(desk, place, picture):
    job = desk.prepare(SETTINGS, [picture])
    place.show = lambda step, steps, text: job.ask(Ask.PAUSE) if step == steps else None
    desk.run(job)
    assert job.status is Status.DONE
    assert place.learnings == 1


def test_a_refused_overwrite_costs_the_unfinished_training_nothing(desk, place, picture, tmp_path):
    job = desk.prepare(SETTINGS, [picture])
    place.show = lambda step, steps, text: job.ask(Ask.PAUSE) if step == 3 else None
    desk.run(job)
    place.show = lambda step, steps, text: None
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "another.png")
    real, place.host = place.host, None
    refused = desk.run(desk.prepare(SETTINGS, [tmp_path / "another.png"], overwrite=True))
    assert refused.status is Status.FAILED
    assert not list(job.files.folder.glob("*.new"))
    place.host = real
    assert desk.run(desk.prepare_continuation("cat")).status is Status.DONE


def test_discarding_a_training_that_never_began_keeps_the_steps_of_the_one_before(desk, place, picture):
    first = trained(desk, picture)
    steps = first.files.kept_steps()
    job = desk.prepare(SETTINGS | {"seed": 5}, [picture], overwrite=True)
    job.ask(Ask.DISCARD)
    desk.run(job)
    assert job.status is Status.DISCARDED
    assert first.files.kept_steps() == steps != []


def test_a_running_training_is_neither_unfinished_nor_to_be_thrown_away(desk, place, picture):
    job = desk.prepare(SETTINGS, [picture])
    seen = []

    def look(step, steps, text):
        if step == 4:
            seen.append(desk.unfinished())
            for action in (desk.discard, desk.keep_unfinished):
                with pytest.raises(SettingError, match="is being trained"):
                    action("cat")

    place.show = look
    assert desk.run(job).status is Status.DONE
    assert seen == [[]]


def test_a_preview_that_fails_costs_no_training(desk, place, picture, monkeypatch):
    def no_memory(training, plan):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("dreamartist_ext.webui.training.previews.draw_row", no_memory)
    job = trained(desk, picture)
    assert job.status is Status.DONE
    assert job.previews == ()


def test_previews_are_small_and_few(desk, place, picture, monkeypatch):
    job = trained(desk, picture, steps=40, save_every=2, check_every=2)
    best = [row.step for row in job.previews if row.step == job.best_step]
    assert len(job.previews) <= 13
    assert best == [job.best_step]
    assert job.previews[-1].step == 40


def test_an_estimate_says_what_a_pass_keeps_with_less_memory_and_without(desk):
    plain, less = (desk.measure(SETTINGS | {"less_memory": choice}) for choice in ("off", "on"))
    assert plain.kept == plain.plain == less.plain
    assert 0 < less.kept < less.plain


def test_an_estimate_that_does_not_fit_is_a_sentence(desk, place, monkeypatch):
    def no_memory(*arguments):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(place.tiny, "predict", no_memory)
    with pytest.raises(DreamArtistError, match="64x64 in batches of 1 does not fit"):
        desk.measure(SETTINGS)


def test_a_full_disk_frees_the_desk(desk, place, picture, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dreamartist_ext.webui.training.kept_pictures.shutil.copyfile", full)
    with pytest.raises(DreamArtistError, match="No space left"):
        desk.prepare(SETTINGS, [picture])
    monkeypatch.undo()
    assert desk.run(desk.prepare(SETTINGS, [picture])).status is Status.DONE


def test_a_name_from_a_browser_is_checked_before_any_path_is_made(desk):
    for name in ("../x", "a/b", ""):
        with pytest.raises(SettingError, match="name must be"):
            desk.prepare_continuation(name)
        with pytest.raises(SettingError, match="name must be"):
            desk.keep_unfinished(name)
        with pytest.raises(SettingError, match="name must be"):
            desk.discard(name)


def test_going_on_from_the_snapshot_before_is_said_on_the_page(desk, place, picture):
    job = desk.prepare(SETTINGS | {"steps": 9}, [picture])
    place.show = lambda step, steps, text: job.ask(Ask.PAUSE) if step == 5 else None
    desk.run(job)
    place.show = lambda step, steps, text: None
    job.files.snapshot.write_bytes(b"spoilt")
    assert [name for name, _, _ in desk.unfinished()] == ["cat"]
    again = desk.run(desk.prepare_continuation("cat"))
    assert (again.status, again.step) == (Status.DONE, 9)
    assert "goes on from the one before it, of step 4" in live_view.progress_html(again)


def test_steps_that_were_left_out_are_said_on_the_page(desk, place, picture):
    host = place.host()
    true_predict, calls = host.predict, []

    def sometimes(*arguments):
        if not torch.is_grad_enabled():  # a check, or a preview
            return true_predict(*arguments)
        calls.append(arguments)
        return true_predict(*arguments) * (float("nan") if len(calls) == 3 else 1)

    host.predict = sometimes
    job = trained(desk, picture)
    assert job.status is Status.DONE
    assert all(np.isfinite(loss) for _, loss in job.losses)
    assert "1 step was left out" in live_view.progress_html(job)


def test_the_estimate_says_what_the_reconstruction_costs(desk, place):
    assert desk.measure(SETTINGS).reconstruction == 0
    true_decode, began = place.tiny.decode_latents, []

    def slow(latents):
        began.append(len(latents))
        if torch.is_grad_enabled():  # as if the decoder were a large one
            for _ in range(20):
                true_decode(latents.detach())
        return true_decode(latents)

    place.tiny.decode_latents = slow
    assert desk.measure(SETTINGS | {"reconstruction": 1.0}).reconstruction > 0.3


def test_a_training_whose_patience_has_run_out_is_done_and_not_unfinished(desk, picture, place):
    job = desk.prepare(SETTINGS | {"steps": 60, "learning_rate": "1e-9", "patience": 2, "keep": "best"}, [picture])
    job.previews_wanted = False
    desk.run(job)
    assert job.status is Status.DONE
    assert job.step < 60
    assert job.used_step == load_pair(place.embeddings, "cat").step == job.best_step
    assert f"stopped at step {job.step} of 60, because nothing better was found" in job.message
    assert desk.unfinished() == []
