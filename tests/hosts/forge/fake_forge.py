"""The shapes of Forge that our host touches, small: modules, a model whose tensors are all of inference mode, and its
text engine. What its blocks and its attention do wrong for a backward pass, these do wrong too."""

from __future__ import annotations

import contextlib
from types import ModuleType, SimpleNamespace

import torch
from torch import nn
from torch.nn import functional

WIDTH, WORDS, START, END = 16, 64, 62, 63
CPU = torch.device("cpu")


def attention_pytorch(q, k, v, heads, mask=None):
    q, k, v = (t.view(t.shape[0], -1, heads, t.shape[-1] // heads).transpose(1, 2) for t in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def attention_without_backward(q, k, v, heads, mask=None):
    with torch.no_grad():
        return attention_pytorch(q, k, v, heads)


def spatial(q, k, v):
    return v


def blocks(unet: ModuleType) -> None:
    """`backend.nn.unet`, whose classes look up their attention in the module."""

    class CrossAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

        def forward(self, x, context=None):
            context = x if context is None else context
            return unet.attention_function(self.to_q(x), self.to_k(context), self.to_v(context), 2)

    class BasicTransformerBlock(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH) for _ in range(3))
            self.attn1, self.attn2, self.ff = CrossAttention(), CrossAttention(), nn.Linear(WIDTH, WIDTH)
            self.disable_self_attn = False

        def forward(self, x, context=None, transformer_options=None):
            x += self.attn1(self.norm1(x))
            x += self.attn2(self.norm2(x), context=context)
            skip = x
            x = self.ff(self.norm3(x))
            x += skip
            return x

    unet.CrossAttention, unet.BasicTransformerBlock = CrossAttention, BasicTransformerBlock
    unet.attention_function = attention_without_backward


class Unet(nn.Module):
    def __init__(self, block, channels=4):
        super().__init__()
        self.in_channels = channels
        self.first, self.block = nn.Conv2d(channels, WIDTH, 1), block()
        self.last, self.asked = nn.Conv2d(WIDTH, 4, 1), []

    def forward(self, x, timesteps=None, context=None, y=None, control=None, transformer_options=None):
        transformer_options["block"] = ("input", 0)  # Forge writes into what it is given
        self.asked.append(timesteps)
        hidden = self.first(x) * (1 + timesteps[:, None, None, None] / 1000)
        rows = self.block(hidden.flatten(2).transpose(1, 2), context=context, transformer_options=transformer_options)
        return self.last(rows.transpose(1, 2).unflatten(2, x.shape[2:]))


class Vae(nn.Module):
    scaling_factor, shift_factor = 0.5, 0.0

    def __init__(self):
        super().__init__()
        self.encoder, self.quant_conv, self.decoder = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 1), nn.Conv2d(4, 3, 1)

    def encode(self, pixels, regulation=None):
        return self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)[0]

    def decode(self, latents):
        return functional.interpolate(self.decoder(latents), scale_factor=8)


class TokenEmbedding(nn.Module):
    """As Forge's wrapper: the table belongs to two modules, and vectors take the places of tokens."""

    def __init__(self, wrapped, embeddings):
        super().__init__()
        self.wrapped, self.embeddings, self.weight = wrapped, embeddings, wrapped.weight

    def forward(self, ids):
        fixes, self.embeddings.fixes = self.embeddings.fixes, None
        rows = []
        for found, row in zip(fixes, self.wrapped(ids), strict=True):
            for offset, embedding in found:
                vectors = embedding.vec.to(row)
                row = torch.cat([row[: offset + 1], vectors, row[offset + 1 + len(vectors) :]])
            rows.append(row)
        return torch.stack(rows)


class Database:
    """Words by their token ids; `files` stands for the folder."""

    def __init__(self, tokenize, files):
        self.tokenize, self.files, self.expected_shape, self.fixes = tokenize, files, WIDTH, None
        self.ids_lookup, self.word_embeddings, self.skipped_embeddings = {}, {}, {}
        self.load_textual_inversion_embeddings()

    def load_textual_inversion_embeddings(self):
        self.ids_lookup.clear()
        self.word_embeddings.clear()
        for embedding in self.files:
            self.word_embeddings[embedding.name] = embedding
            ids = self.tokenize([embedding.name])[0]
            self.ids_lookup.setdefault(ids[0], []).append((ids, embedding))

    def find_embedding_at_position(self, tokens, offset):
        for ids, embedding in self.ids_lookup.get(tokens[offset], ()):
            if tokens[offset : offset + len(ids)] == ids:
                return embedding, len(ids)
        return None, None


class Chunk:
    def __init__(self, tokens=(), fixes=()):
        self.tokens = [START, *tokens, *[END] * (76 - len(tokens))]
        self.multipliers, self.fixes = [1.0] * 77, list(fixes)


class TextEngine:
    """A token for each letter, and a chunk for each prompt."""

    return_pooled = False

    def __init__(self, files, opts):
        self._make(files, opts)
        self.emphasis = "as of the last picture"

    def _make(self, files, opts):
        self.embeddings = Database(self.tokenize, files)
        self.clip_skip, self.opts = 1, opts
        inner = SimpleNamespace(embeddings=SimpleNamespace())
        self.table = TokenEmbedding(nn.Embedding(WORDS, WIDTH), self.embeddings)
        inner.embeddings.token_embedding = self.table
        self.text_encoder = SimpleNamespace(transformer=SimpleNamespace(text_model=inner))
        self.seen = []

    @staticmethod
    def tokenize(texts):
        return [[ord(letter) % 60 for letter in text.lower() if letter != " "] for text in texts]

    def empty_chunk(self):
        return Chunk()

    def process_texts(self, texts):
        rows = []
        for text in texts:
            tokens, kept, fixes, place = self.tokenize([text])[0], [], [], 0
            while place < len(tokens):
                embedding, length = self.embeddings.find_embedding_at_position(tokens, place)
                if embedding is None:
                    kept.append(tokens[place])
                else:
                    fixes.append((len(kept), embedding))
                    kept += [0] * embedding.vectors
                place += length or 1
            rows.append([Chunk(kept[:75], fixes)])
        return rows, 0

    def process_tokens(self, tokens, multipliers):
        self.seen.append((self.clip_skip, type(self.emphasis).__name__))
        return self.table(torch.tensor(tokens)).tanh()


class NeoTextEngine(TextEngine):
    """Neo's of 2026: it keeps no emphasis, and asks for it each time."""

    def __init__(self, files, opts):
        self._make(files, opts)

    @property
    def emphasis(self):
        return emphasis.get_current_option(self.opts.emphasis)()


class Patcher:
    def __init__(self, model, device=CPU):
        self.model, self.load_device = model, device


class Predictor(nn.Module):
    prediction_type = "epsilon"

    def __init__(self):
        super().__init__()
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        self.register_buffer("alphas_cumprod", torch.cumprod(1 - betas, 0))


class KModel(nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.diffusion_model, self.predictor = unet, Predictor()
        self.storage_dtype = self.computation_dtype = torch.float32


class EmphasisNone: ...


class EmphasisOriginal: ...


class EmphasisOriginalNoNorm: ...


emphasis = SimpleNamespace(
    EmphasisNone=EmphasisNone,
    EmphasisOriginalNoNorm=EmphasisOriginalNoNorm,
    get_current_option=lambda _name: EmphasisOriginal,
)


class Embedding:
    def __init__(self, vec, name):
        self.vec, self.name = vec, name


class StableDiffusion:
    is_sd1, is_sd2, is_sdxl = True, False, False

    def __init__(self, forge, channels=4):
        info = SimpleNamespace(
            name_for_extra="tiny", filename="/m/tiny.safetensors", sha256="ab" * 32, shorthash="ab" * 5
        )
        self.sd_checkpoint_info, self.model_config = info, SimpleNamespace(ztsnr=False)
        self.text_processing_engine = forge.engine(forge.files, forge.shared.opts)
        clip = nn.ModuleDict({"clip_l": self.text_processing_engine.table})
        vae = Vae()
        self.forge_objects_original = SimpleNamespace(
            unet=Patcher(KModel(Unet(forge.unet.BasicTransformerBlock, channels))),
            clip=SimpleNamespace(patcher=Patcher(clip)),
            vae=SimpleNamespace(first_stage_model=vae, patcher=Patcher(vae), device=CPU),
        )


class Forge:
    """All of it; `model()` makes and loads one, as Forge does: in inference mode."""

    def __init__(self, folder):
        self.files, self.loaded_in, self.engine = [], [], TextEngine
        self.unet, self.vae = ModuleType("backend.nn.unet"), ModuleType("backend.nn.vae")
        blocks(self.unet)
        self.vae.attention_function_single_head_spatial = attention_without_backward
        self.attention = SimpleNamespace(
            attention_pytorch=attention_pytorch, pytorch_attention_single_head_spatial=spatial
        )
        opts = SimpleNamespace(emphasis="Original", CLIP_stop_at_last_layers=2, sd_noise_schedule="Default")
        opts.sdxl_crop_top = opts.sdxl_crop_left = 0
        arguments = SimpleNamespace(embeddings_dir=str(folder))
        self.shared = SimpleNamespace(opts=opts, cmd_opts=arguments, state=SimpleNamespace(), demo=None)
        stand_in = SimpleNamespace(cond_stage_model=None)
        self.data = SimpleNamespace(sd_model=stand_in, forge_loading_parameters={}, forge_hash="")
        caches = {"cached_c": [1, 2, 3], "cached_uc": [1, 2, 3]}
        kinds = [type("StableDiffusionProcessing", (), dict(caches)), type("Txt2Img", (), dict(caches))]
        self.processing = SimpleNamespace(StableDiffusionProcessing=kinds[0], StableDiffusionProcessingTxt2Img=kinds[1])

    def model(self, channels=4, **about):
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(0)
            model = StableDiffusion(self, channels)
        for name, value in about.items():
            setattr(model, name, value)
        self.data.sd_model = model
        self.data.forge_loading_parameters = {"checkpoint_info": model.sd_checkpoint_info}
        self.data.forge_hash = str(self.data.forge_loading_parameters)
        return model

    def reload(self):
        return self.data.sd_model, False

    def load_models_gpu(self, patchers, memory_required=0):
        self.loaded_in.append((len(patchers), torch.is_inference_mode_enabled()))

    def modules(self):
        """What stands in `sys.modules`, by name."""
        models = SimpleNamespace(model_data=self.data, forge_model_reload=lambda: self.reload())
        turn = contextlib.nullcontext()
        turn.acquire, turn.release = lambda blocking=True: True, lambda: None
        webui = {
            "shared": self.shared,
            "sd_models": models,
            "processing": self.processing,
            "call_queue": SimpleNamespace(queue_lock=turn),
        }
        prediction = SimpleNamespace(rescale_zero_terminal_snr_sigmas=lambda sigmas: sigmas * 2)
        memory = SimpleNamespace(load_models_gpu=self.load_models_gpu)
        network = SimpleNamespace(unet=self.unet, vae=self.vae)
        words = SimpleNamespace(emphasis=emphasis, textual_inversion=SimpleNamespace(Embedding=Embedding))
        inner = SimpleNamespace(k_prediction=prediction)
        backend = SimpleNamespace(attention=self.attention, memory_management=memory, nn=network, modules=inner)
        return {
            "modules": SimpleNamespace(**webui),
            "modules_forge": SimpleNamespace(),
            "backend": backend,
            "backend.nn": network,
            "backend.modules": inner,
            "backend.modules.k_prediction": prediction,
            "backend.text_processing": words,
            "backend.text_processing.textual_inversion": words.textual_inversion,
        }
