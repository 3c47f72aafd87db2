"""A test's eyes inside the WebUI's process: an extension of its own, never shipped to users.

Every function here can be called through POST /dreamartist-test/NAME with its arguments as JSON.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import operator
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import fastapi
import torch
from modules import script_callbacks, sd_models, shared


def ready():
    """The checkpoint's name; Forge has chosen one, and loads it with the first picture."""
    if _is_sdnext():
        return shared.sd_model.sd_checkpoint_info.name
    chosen = getattr(sd_models.model_data, "forge_loading_parameters", {}).get("checkpoint_info")
    model = sd_models.model_data.sd_model
    assert model is not None or chosen is not None
    return (chosen or model.sd_checkpoint_info).name


def _workplace():
    from dreamartist_ext.webui.running import workplace

    return workplace()


def _is_sdnext():
    return hasattr(shared, "native")


def _databases():
    """Of the words that the loaded model knows."""
    if _is_sdnext():
        return [shared.sd_model.embedding_db]
    return [database for _, database in _workplace().lookups()]


def _parts():
    """All modules of the loaded model, without what the last picture made of them."""
    model = sd_models.model_data.sd_model
    if _is_sdnext():
        return [part for part in model.components.values() if isinstance(part, torch.nn.Module)]
    if isinstance(model, torch.nn.Module):
        return [model]
    parts = model.forge_objects_original
    return [parts.unet.model, parts.clip.patcher.model, parts.vae.patcher.model]


def vae_padding():
    """How the loaded VAE's convolutions pad; those of reForge's newmain_newforge do by reflection."""
    model = sd_models.model_data.sd_model
    parts = (model.first_stage_model,) if isinstance(model, torch.nn.Module) else _parts()[-1:]
    convolutions = [m for part in parts for m in part.modules() if isinstance(m, torch.nn.Conv2d)]
    return sorted({m.padding_mode for m in convolutions if any(m.padding)})


def own_size(side):
    """From now on, models are for pictures of so many pixels a side; with 0, as they are again."""
    from dreamartist_ext.hosts.webuis.host import LoadedModelHost

    real = getattr(LoadedModelHost._describe, "__wrapped__", LoadedModelHost._describe)

    @functools.wraps(real)
    def described(host, webui, picture_size, *more):
        real(host, webui, side or picture_size, *more)

    LoadedModelHost._describe = described if side else real


def load(name):
    from modules import call_queue

    with call_queue.queue_lock:
        if hasattr(sd_models.model_data, "forge_loading_parameters"):
            from modules_forge import main_entry

            main_entry.checkpoint_change(name, save=False)
            _workplace().host()
        else:
            shared.opts.data["sd_model_checkpoint"] = name
            sd_models.reload_model_weights()
    return ready()


def train_without_model(**values):
    """What a training says whose model is taken away after its second step."""
    try:
        _trained(values, lose_at=2)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _trained(values, stop_after=0, fail_at=0, lose_at=0):
    from modules import call_queue

    from dreamartist_ext.engine.config import TrainConfig
    from dreamartist_ext.engine.trainer import Training
    from dreamartist_ext.files.pictures import load_pictures

    with call_queue.queue_lock:
        host = _workplace().host()
        config = TrainConfig.from_mapping(values["settings"])
        size = config.width or host.picture_size, config.height or host.picture_size
        training = Training(host, config, load_pictures([Path(values["picture"])], *size))
        losses = []
        if fail_at:
            real, calls = host.predict, []

            def failing(*arguments):
                calls.append(1)
                if len(calls) > fail_at:
                    raise RuntimeError("thrown inside a step")
                return real(*arguments)

            host.predict = failing
        run = training.run()
        try:
            for report in run:
                losses.append(float(report.loss))
                if report.step == lose_at:
                    sd_models.model_data.sd_model = None
                if stop_after and report.step >= stop_after:
                    break
        except RuntimeError as error:
            if "thrown inside a step" not in str(error):
                raise
        finally:
            run.close()
            sd_models.model_data.sd_model = host.model
    return training, losses


def train(**values):
    training, losses = _trained(values, values.get("stop_after", 0), values.get("fail_at", 0))
    pair = training.pair.detached()
    return {
        "losses": losses,
        "positive": _lists(pair.positive),
        "negative": _lists(pair.negative) if pair.negative else None,
    }


def _lists(half):
    """The rows of a model with one text encoder, or those of each of two by its name."""
    lists = {key: vectors.tolist() for key, vectors in half.items()}
    return lists.get("clip", lists)


def conditionings(prompts, size):
    """Whether our conditioning is the WebUI's own to the bit, for every prompt on its own, and the widths."""
    from modules import call_queue, devices
    from modules.prompt_parser import SdConditioning

    from dreamartist_ext.hosts.a1111.families import model_input
    from dreamartist_ext.hosts.a1111.host import WebUIHost

    equal, shapes = [], {}
    with call_queue.queue_lock, torch.no_grad():
        host = WebUIHost()
        for prompt in prompts:
            for is_negative in (False, True):
                given = SdConditioning([prompt], is_negative_prompt=is_negative, width=size[1], height=size[0])
                theirs = host.model.get_learned_conditioning(given)
                with host.session():
                    cond = (host.encode_negatives if is_negative else host.encode_prompts)([prompt])
                    ours = model_input(host.model, cond, size, None, devices.dtype_unet)
                ours = ours if "crossattn" in ours else ours["c_crossattn"][0]
                both = [(ours[key], theirs[key]) for key in theirs] if isinstance(theirs, dict) else [(ours, theirs)]
                equal.append(all(torch.equal(a, b) for a, b in both))
                shapes = {key: list(v.shape) for key, v in theirs.items()} if isinstance(theirs, dict) else {}
        vectors = {key: list(v.shape) for key, v in host.initial_vectors("a cat", 3).items()}
    return {"equal": equal, "shapes": shapes, "vectors": vectors, "expected": _expected_shape()}


def both_branches(prompts, negatives):
    """How far both branches encoded at once are from each encoded alone, in conditioning and gradients, as parts of
    the largest number, and how often each encoder ran for them."""
    from modules import call_queue

    from dreamartist_ext.engine.passes import conditioning
    from dreamartist_ext.hosts.a1111.families import text_encoders, vocabulary
    from dreamartist_ext.hosts.a1111.host import WebUIHost

    def found(cond):
        tensors = list(cond.values()) if isinstance(cond, dict) else [cond]
        total = torch.stack([tensor.float().square().sum() for tensor in tensors]).sum()
        return [*(tensor.detach() for tensor in tensors), *torch.autograd.grad(total, vectors)]

    calls = []
    with call_queue.queue_lock:
        host = WebUIHost()
        words = {"zyx": host.initial_vectors("a cat", 2), "zyx-neg": host.initial_vectors("lion", 3)}
        vectors = [v.requires_grad_(True) for half in words.values() for v in half.values()]
        tables = [vocabulary(encoder) for encoder in text_encoders(host.model).values()]
        hooks = [table.register_forward_pre_hook(lambda *_: calls.append(1)) for table in tables]
        try:
            with host.session(), host.bind(words):
                at_once, passes = found(conditioning(host, prompts, negatives)), len(calls) / len(tables)
                alone = found(host.join(host.encode_prompts(negatives), host.encode_prompts(prompts)))
        finally:
            for hook in hooks:
                hook.remove()
    apart = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(at_once, alone, strict=True)]
    return {"apart": max(apart), "passes": passes, "tensors": len(apart)}


def _expected_shape():
    from modules import sd_hijack

    return sd_hijack.model_hijack.embedding_db.get_expected_shape()


def pooled(prompt):
    """SDXL's vector for a negative prompt, as the WebUI itself computes it."""
    from modules.prompt_parser import SdConditioning

    with torch.no_grad():
        given = SdConditioning([prompt], is_negative_prompt=True, width=64, height=64)
        return shared.sd_model.get_learned_conditioning(given)["vector"][0].tolist()


def kept(batch, side):
    """Bytes that a pass keeps, as our host computes them and as autograd holds them."""
    from modules import call_queue

    found = {}

    def hold(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with call_queue.queue_lock:
        host = _workplace().host()
        with host.session():
            computed = host.kept_for_backward(batch, side, side)
            with torch.no_grad():
                cond = host.encode_prompts(["a cat"] * batch)
            for states in [cond] if isinstance(cond, torch.Tensor) else [cond["crossattn"]]:
                states.requires_grad_(True)
            latents, timesteps = torch.randn(batch, 4, side, side), torch.zeros(batch, dtype=torch.long)
            host.predict(latents, timesteps, cond)  # an inpainting model's grey picture is encoded once
            with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
                prediction = host.predict(latents, timesteps, cond)
        weights = {p.untyped_storage().data_ptr() for part in _parts() for p in part.parameters()}
        held = sum(storage.nbytes() for pointer, storage in found.items() if pointer not in weights)
    return {"plain": computed.plain, "less": computed.less, "held": held, "graph": prediction.requires_grad}


def linear_types():
    unet = sd_models.model_data.sd_model.model.diffusion_model
    return sorted({str(m.weight.dtype) for m in unet.modules() if isinstance(m, torch.nn.Linear)})


def schedules():
    """abar of every timestep: as trainings have it, and as the WebUI's own sampler does."""
    from modules import sd_samplers

    from dreamartist_ext.hosts.a1111.host import WebUIHost

    host = WebUIHost()
    before = host.model.alphas_cumprod
    sd_models.apply_alpha_schedule_override(host.model)
    sigmas = sd_samplers.create_sampler("Euler", host.model).model_wrap.sigmas.double().cpu()
    host.model.alphas_cumprod = before
    return {"ours": host.schedule.alphas_cumprod.tolist(), "theirs": (1 / (1 + sigmas**2)).tolist()}


def merged(first, second, name, half):
    """What the WebUI's checkpoint merger makes of two checkpoints, in equal parts."""
    from modules import extras, sd_models

    titles = [sd_models.get_closet_checkpoint_match(f"{each}.safetensors").title for each in (first, second)]
    settings = [half, name, "safetensors", 0, "None", "", False, False, False, "{}"]
    extras.run_modelmerger("", *titles, None, "Weighted sum", 0.5, *settings)
    sd_models.list_models()


def sd3():
    """What a training says while the WebUI's own class of Stable Diffusion 3 is loaded, of one small block, without
    memory and without its text encoders, whose tokenizer comes from the network."""
    from modules import sd_disable_initialization
    from modules.models.sd3 import sd3_model

    prefix = "model.diffusion_model."
    shapes = {"x_embedder.proj.weight": (64, 16, 2, 2), "pos_embed": (1, 16, 64), "context_embedder.weight": (64, 32)}
    shapes |= {"y_embedder.mlp.0.weight": (64, 32)}
    tensors = {prefix + name: torch.zeros(shape) for name, shape in shapes.items()}
    encoders, sd3_model.SD3Cond = sd3_model.SD3Cond, torch.nn.Module
    try:
        with sd_disable_initialization.InitializeOnMeta():
            model = sd3_model.SD3Inferencer(tensors)
    finally:
        sd3_model.SD3Cond = encoders
    sd_models.set_model_type(model, tensors)
    before = sd_models.model_data.sd_model
    model.sd_checkpoint_info = before.sd_checkpoint_info
    sd_models.model_data.sd_model = model
    try:
        return trainable()
    finally:
        sd_models.model_data.sd_model = before


def other_unet(label):
    """Have the WebUI draw with a U-Net of its extensions' kind, as TensorRT's is; it answers with zeros."""
    from modules import sd_unet

    class Zeros(sd_unet.SdUnet):
        def forward(self, x, timesteps, context, *args, **kwargs):
            return torch.zeros_like(x)

    class Option(sd_unet.SdUnetOption):
        def create_unet(self):
            return Zeros()

    option = Option()
    option.label = label
    sd_unet.unet_options.append(option)
    shared.opts.set("sd_unet", label)


@contextmanager
def casting_by_hand():
    """As on a Mac, and with weights in 8 bits beside --no-half: the WebUI casts layer by layer as they are called."""
    from modules import devices

    before = devices.autocast
    devices.autocast = lambda disable=False: devices.manual_cast(devices.dtype)
    try:
        yield
    finally:
        devices.autocast = before


def train_casting_by_hand(**values):
    with casting_by_hand():
        return train(**values)


def trainable():
    """Why the loaded checkpoint cannot be trained, or nothing."""
    from dreamartist_ext.engine.errors import ModelError
    from dreamartist_ext.hosts.a1111.host import WebUIHost

    try:
        WebUIHost()
    except ModelError as error:
        return str(error)
    return ""


def state():
    """Whatever a training could leave behind, as a digest and as counts."""
    lowvram = sys.modules.get("modules.lowvram")
    parts = _parts()
    digest, tensors = hashlib.sha256(), []
    for part in parts:
        for name, tensor in sorted(part.state_dict(keep_vars=True).items()):
            raw = _without_words(name, tensor.detach()).cpu().contiguous().view(-1).view(torch.uint8)
            digest.update(name.encode() + raw.numpy().tobytes())
            tensors.append(tensor)
    modules = [module for part in parts for module in part.modules()]
    databases = _databases()
    return {
        "weights": digest.hexdigest(),
        "the very tensors": hash(tuple(map(id, tensors))),
        "of inference mode": sum(tensor.is_inference() for tensor in tensors),
        "gradients": sum(tensor.grad is not None for tensor in tensors),
        "requires_grad": sum(tensor.requires_grad for tensor in tensors),
        "training": sum(m.training for m in modules),
        "hooks": [len(m._forward_pre_hooks) for m in modules],
        "attention": _attention(),
        "own forwards": ["forward" in vars(m) for m in modules].count(True),
        "random": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
        "embeddings": [sorted(database.word_embeddings) for database in databases],
        "lookup": [sum(len(found) for found in database.ids_lookup.values()) for database in databases],
        "own lookups": ["find_embedding_at_position" in vars(database) for database in databases],
        "emphasis": getattr(shared.opts, "emphasis", None),
        "lowvram": getattr(lowvram, "module_in_gpu", None) is None,
        "devices": sorted({str(tensor.device) for tensor in tensors}),
    }


def _without_words(name, tensor):
    """SD.Next's learned words are rows behind those of the vocabulary."""
    is_table = _is_sdnext() and name.endswith("token_embedding.weight")
    return tensor[: shared.sd_model.tokenizer.vocab_size] if is_table else tensor


def _attention():
    """Every function that some host puts another one in place of."""
    places = {
        "ldm.modules.attention": ("CrossAttention.forward",),
        "sgm.modules.attention": ("CrossAttention.forward",),
        "ldm_patched.ldm.modules.attention": ("optimized_attention", "optimized_attention_masked"),
        "modules_forge.forge_clip": ("move_clip_to_gpu",),
        "backend.nn.unet": ("attention_function", "BasicTransformerBlock.forward"),
        "backend.nn.vae": ("attention_function_single_head_spatial",),
        "torch.nn.functional": ("scaled_dot_product_attention",),
    }
    loaded = {sys.modules[name]: names for name, names in places.items() if name in sys.modules}
    return [id(operator.attrgetter(name)(module)) for module, names in loaded.items() for name in names]


def clash(name):
    return _workplace().clash(name)


def axes():
    """The X/Y/Z plot's own and ours."""
    from modules import scripts

    plots = [data.module for data in scripts.scripts_data if hasattr(data.module, "axis_options")]
    return [option.label for plot in plots for option in plot.axis_options]


def cards_while_a_word_is_live(name):
    """The words on the cards of the Textual Inversion page, one of them in training."""
    from modules import call_queue
    from modules.ui_extra_networks_textual_inversion import ExtraNetworksPageTextualInversion

    from dreamartist_ext.hosts.a1111.host import WebUIHost

    with call_queue.queue_lock:
        host = WebUIHost()
        with host.session(), host.bind({name: host.initial_vectors("lion", 1)}):
            return [item["name"] for item in ExtraNetworksPageTextualInversion().list_items()]


def _halves(vec):
    """By text encoder; SD.Next has a list of them, in the order of their widths."""
    if isinstance(vec, dict):
        return vec
    names = ("clip",) if len(vec) == 1 or not _is_sdnext() else ("clip_l", "clip_g")
    return dict(zip(names, vec if _is_sdnext() else [vec], strict=True))


def vectors(name):
    """What the WebUI has loaded under a word."""
    database = next(iter(_databases()), None)
    embedding = None if database is None else database.word_embeddings.get(name)
    return None if embedding is None else _lists(_halves(embedding.vec))


def added_tokens():
    """In SD.Next, what is behind the vocabulary of the tokenizer."""
    tokenizer = shared.sd_model.tokenizer
    return sorted(token for token, place in tokenizer.get_vocab().items() if place >= tokenizer.vocab_size)


def control_tab(prompt, negative):
    """The negative prompts that a picture of SD.Next's Control tab is drawn with."""
    from modules import call_queue, processing, scripts_manager
    from modules.api.script import init_default_script_args
    from modules.processing_class import StableDiffusionProcessingControl

    runner = scripts_manager.scripts_control
    with call_queue.queue_lock:
        p = StableDiffusionProcessingControl(
            sd_model=shared.sd_model, prompt=prompt, negative_prompt=negative, seed=7, steps=2, width=64, height=64
        )
        p.scripts, p.script_args = runner, init_default_script_args(runner)
        p.do_not_save_samples = p.do_not_save_grid = True
        done = processing.process_images(p)
    return done.all_negative_prompts


def in_offload_mode(mode):
    """As if SD.Next had loaded its model with it."""
    from modules import call_queue

    with call_queue.queue_lock:
        sd_models.disable_offload(shared.sd_model)
        shared.opts.data["diffusers_offload_mode"] = mode
        sd_models.set_diffuser_offload(shared.sd_model, "model")
    return sum(hasattr(module, "_hf_hook") for part in _parts() for module in part.modules())


def reload_embeddings():
    _workplace().learned()
    return sorted(_databases()[0].word_embeddings)


_hook_times = []


def _script():
    from modules import scripts

    return next(each for each in scripts.scripts_txt2img.alwayson_scripts if each.title() == "DreamArtist")


def time_hook():
    """From now on, how long the extension's script takes each time that it is called."""
    script = _script()
    real = type(script).process_batch
    _hook_times.clear()

    def timed(*args, **kwargs):
        began = time.perf_counter()
        real(script, *args, **kwargs)
        _hook_times.append(time.perf_counter() - began)

    script.process_batch = timed


def hook_seconds():
    del _script().process_batch
    return _hook_times


def callbacks():
    """The names under which the extension's callbacks are kept."""
    kept = (callback for _, kept in script_callbacks.enumerate_callbacks() for callback in kept)
    return sorted(callback.name for callback in kept if Path(callback.script).name == "dreamartist.py")


def reload_ui():
    """As the button of that name does."""
    shared.state.request_restart()


def has(package):
    return importlib.util.find_spec(package) is not None


def options(**values):
    for key, value in values.items():
        shared.opts.set(key, value)
    return True


def _mount(_demo, app):
    async def call(function: str, request: fastapi.Request):
        values = await request.json()
        try:
            return {"result": await fastapi.concurrency.run_in_threadpool(lambda: globals()[function](**values))}
        except Exception:
            return {"error": traceback.format_exc()}

    app.add_api_route("/dreamartist-test/{function}", call, methods=["POST"])


for arch in Path(__file__).parents[1].glob("open_clip/*.json"):
    import open_clip

    open_clip.add_model_config(arch)
script_callbacks.on_app_started(_mount)
