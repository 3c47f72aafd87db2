"""What to do about the messages that do not say it themselves, for docs/messages.md.

Each entry is a part of a message, as a regular expression, and the advice; the first that fits counts.
"""

from __future__ import annotations

import re

TELLS = re.compile(
    r"; |must |: (choose|give)|pip install"
    r"|^(give|write|choose|copy|[^:]*first[.:])",
    re.IGNORECASE,
)  # messages that say what to do, with such words

REFRESH = "Refresh the page: this changed in another window, or is over."
PERMISSIONS = "Check that it is there, and that you may read it."
ROOM = "Check that the folder exists, that you may write there, and that the disk is not full."
GET_AGAIN = "Download or copy it again. If it comes from a chat, ask for the original file, in a ZIP."
FOLDER = "Keep this model as a folder in diffusers' layout: the single file cannot hold it, or lacks a part."
NO_EMBEDDING = "Choose another file: this one cannot be used as an embedding."

REMEDIES: tuple[tuple[str, str], ...] = (
    # names and settings
    ("every prompt with", "This is a warning. Choose a made-up word, such as mycat, to be safe."),
    ("start_from needs one process", "Leave out `--processes`."),
    ("settings of this training are damaged", "Discard it and train again. A pair that it saved is not lost."),
    ("is longer than", "Shorten it."),
    ('there is an embedding "', "Choose another name, or move that file away."),
    ("there is no setting", "Check its spelling: [options](options.md)."),
    ("installs nothing for its pages", "Install the packages in a terminal, in the WebUI's own Python."),
    ("could not be installed", "Check the network. Or install it in a terminal, in the WebUI's own Python."),
    ("does not say with what settings", "Choose a settings file, or an embedding that DreamArtist has trained."),
    ("training_defaults.json", "Repair or delete that file in the model's folder."),
    ("is not JSON: ", "Save the settings again, or repair the file in a text editor."),
    ("is too large for settings", "Choose a settings file: it has a few kB."),
    ("left out: their loss", "You need not do anything. If it comes often, lower the learning rate."),
    # models
    (
        r"Stable Diffusion 3|Flux|refiner|instruct-pix2pix|no U-Net",
        "Choose a Stable Diffusion 1, 2 or SDXL checkpoint.",
    ),
    ("knows no clip skip", "Leave out `--clip-skip`."),
    (r"the checkpoint … could not be loaded", "Choose another checkpoint, or download this one again."),
    (
        r"the model … cannot be used|incomplete|does not fit its text encoder",
        "Download the model again, or choose another.",
    ),
    ("no device", "Leave out `--device`, or run `dreamartist doctor` to see what torch can use."),
    ("there is no model at", "Check the path."),
    ("not a Stable Diffusion folder", "Give the folder that contains `model_index.json`."),
    ("was made for another kind of model", "Load a model of the concept's family, or choose another concept."),
    # while training
    ("Measuring failed", "Try again. If it says so again, please open an issue with the WebUI's log."),
    ("Nothing is trained yet", "Train a concept first."),
    (r"^Nothing |^nothing is|No report|is not shown|any more|training of … is over", REFRESH),
    ("previews need lists", "Give preview prompts one per line, and seeds separated by commas."),
    ("latents of the pictures could not be written", "Make room on the disk, or lower Views."),
    ("by another process", "Wait for it, or stop the other WebUI or terminal that trains it."),
    ("already at step", "Give a larger number of steps, or leave it: it is finished."),
    ("another picture or mask", "Give the picture and mask that it was started with, or train under another name."),
    (r"this training was started", "Use the same setting or model again, or train under another name."),
    (r"the snapshot (… )?is damaged", "Discard the training and begin again. A pair that it saved is not lost."),
    # compare and the report
    ("open_clip_torch", '`pip install "dreamartist[clip]"`.'),
    ("two small packages", 'Click the button that installs them, or `pip install "dreamartist[evaluation]"`.'),
    ("prompts are …", "Name the lists as the sentence says."),
    (r"no embedding in the folder|there is no embedding", "Check the name and the folder, with `dreamartist list`."),
    (r"there is no picture ….", "Check its name and folder."),
    ("no list of prompts", "Choose a plain text file, with one prompt per line."),
    ("holds no CLIP weights", "Download the weights again."),
    ("not a CLIP model", "Choose another `--clip-model`, such as ViT-L-14-quickgelu."),
    ("not UTF-8 text", "Save it as plain text in UTF-8."),
    ("START => PROMPT", "Write the line so, for example `a cat => a [name]`."),
    ("do not print", "Delete them from the line."),
    # making a single file of a model
    ("… is not empty", "Choose a new or an empty folder."),
    (
        r"^the WebUI's format|^the U-Net|tokenizer folder|no folder with|configuration has no place|'s weights lack"
        r"|one .safetensors file|v1-type model|the YAML of",
        FOLDER,
    ),
    # many concepts
    ("a pass has at most", "Lower `--per-pass` or batch_size."),
    ("process … of …", "The part after the colon says why. Then run the same command again."),
    ("Ray did not start", "Check the address, or leave `--address` out. `--workers 0` works without Ray."),
    (r"several (GPUs|processes)|a GPU each", "Use fewer `--processes`, or one."),
    # the API and the X/Y/Z plot
    ("user and password", "Send the WebUI's user and password with the request (HTTP Basic)."),
    ("is not base64", "Encode the file's bytes in base64, without a `data:` prefix."),
    ("saved step", "See which steps there are in My concepts, under Its training."),
    # my concepts
    ("too large for a preview", "Choose a smaller picture."),
    ("preview is no picture", "Choose a PNG or JPEG picture."),
    ("trash holds nothing", "See what is there with `dreamartist list --trash`."),
    ("there is no concept", "Check the name with `dreamartist list`."),
    ("nothing to import", "Drop a card or embedding files."),
    (r"are no pair|cannot be the negative|lacks its negative|is whole", "Choose the two halves of one concept."),
    ("is its name already", "Choose another name."),
    # files
    (r"(not|cannot) be written|could not be made|could not be kept|could not be deleted", ROOM),
    ("leads nowhere", "Repair or delete the link, then try again."),
    ("is in the way", "Move or rename that file, then try again."),
    ("could not be moved", "Close the programs that use the file, and check its permissions."),
    ("other half cannot be used", "Get both halves again; the part after the colon says what is wrong."),
    ("not the vectors that they say", "Get both halves again, from one place: one of them was changed or replaced."),
    ("no snapshot … to go on from", "Leave out `--resume`, or check the name and `--out`."),
    ("snapshot of this version", "Begin the training again, or go on with the version that wrote it."),
    ("could not be read", PERMISSIONS),
    ("too large a picture for a card", "Choose another file: this is not a card that DreamArtist made."),
    (r"damaged|cut off", GET_AGAIN),
    (
        r"any embedding|no embedding has|plain tensors|list of vectors|not finite|byte order"
        r"|is not a (textual|card|file|PNG)",
        NO_EMBEDDING,
    ),
)


def with_remedy(sentence: str) -> str:
    """The message, with what to do after an arrow where it does not say that itself."""
    if TELLS.search(sentence):
        return sentence
    return f"{sentence} → {remedy}" if (remedy := remedy_of(sentence)) else sentence


def remedy_of(sentence: str) -> str:
    return next((advice for part, advice in REMEDIES if re.search(part, sentence)), "")
