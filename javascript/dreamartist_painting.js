// The picture that is looked at: painted over, captioned, with the frame of what is learned of it.
"use strict";

const DREAMARTIST_BRUSH = ["#ff00aa", "#00e5ff"]; // stripes, half transparent: they show on everything

const DREAMARTIST_TOOLS = `<div class="dreamartist-tools"><span>Optional: paint over what matters.</span>
<label>brush <input type="range" class="size" min="2" max="40" value="14"></label>
<label><input type="checkbox" class="erase"> erase</label>
<button type="button" class="dreamartist-do away">Background away</button>
<button type="button" class="dreamartist-do undo" hidden>Undo</button>
<button type="button" class="dreamartist-do clear">Clear the mask</button>
<label class="wide">Caption <input type="text" class="caption da" placeholder="optional, for prompts with [filewords]"></label></div>
<p class="away-says" role="status"></p>
<ul></ul>`;

function dreamartistEdit() {
    const editor = dreamartistFind(".dreamartist-editor"), item = dreamartistPicked;
    editor.hidden = !item;
    if (!item) {
        editor.innerHTML = "";
        editor.item = null;
        return;
    }
    if (editor.item !== item) {
        editor.item = item;
        editor.innerHTML = `<div class="dreamartist-stage"></div>${DREAMARTIST_TOOLS}`;
        const frame = document.createElement("div");
        frame.className = "frame";
        item.view.setAttribute("role", "img");
        item.view.setAttribute("aria-label", item.name);
        editor.querySelector(".dreamartist-stage").append(item.view, item.paint, frame);
        editor.querySelector(".caption").value = item.caption;
    }
    dreamartistEditFacts(editor, item);
}

function dreamartistEditFacts(editor, item) {
    const part = dreamartistFrame(item), frame = editor.querySelector(".frame"), list = editor.querySelector("ul");
    frame.style.cssText = `left:${100 * part.left}%;top:${100 * part.top}%;width:${100 * part.across}%;height:${100 * part.down}%`;
    frame.hidden = part.across * part.down > 0.995;
    const warnings = dreamartistWarnings(item), key = JSON.stringify(warnings);
    if (list.dataset.key === key) {
        return;
    }
    list.dataset.key = key;
    list.innerHTML = "";
    for (const [words, label, setting, value] of warnings) {
        const line = document.createElement("li");
        line.textContent = `${words} `;
        if (label) {
            const button = document.createElement("button");
            button.type = "button";
            button.className = "dreamartist-do";
            button.textContent = label;
            button.dataset.dreamartistSet = setting;
            button.dataset.value = value;
            line.append(button);
        }
        list.append(line);
    }
}

function dreamartistShowPainted() {
    const isPainted = dreamartistTray.some((item) => item.isPainted || item.maskFile);
    const tabs = dreamartistFind("#dreamartist_tabs");
    tabs?.classList.toggle("dreamartist-painted", isPainted);
    tabs?.classList.toggle("dreamartist-several", dreamartistTray.length > 1);
}

document.addEventListener("input", (event) => {
    const caption = dreamartistIn(event, ".dreamartist-editor .caption");
    if (caption && dreamartistPicked) {
        dreamartistPicked.caption = caption.value;
    }
});

function dreamartistBrush(context) {
    const tile = document.createElement("canvas"), side = 12;
    tile.width = tile.height = side;
    const draw = tile.getContext("2d");
    [draw.fillStyle] = DREAMARTIST_BRUSH;
    draw.fillRect(0, 0, side, side);
    [, draw.fillStyle] = DREAMARTIST_BRUSH;
    for (const left of [0, side]) {
        draw.beginPath();
        [[left, 0], [left - side / 2, 0], [left - side * 1.5, side], [left - side, side]].forEach((at) => draw.lineTo(...at));
        draw.fill();
    }
    return context.createPattern(tile, "repeat");
}

function dreamartistStroke(event, from) {
    const item = dreamartistPicked, box = item.paint.getBoundingClientRect();
    const scale = item.paint.width / box.width;
    const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const context = item.paint.getContext("2d"), editor = dreamartistFind(".dreamartist-editor");
    context.globalCompositeOperation = editor.querySelector(".erase").checked ? "destination-out" : "source-over";
    context.strokeStyle = dreamartistBrush(context);
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = Number(editor.querySelector(".size").value) / 100 * item.paint.width;
    context.beginPath();
    context.moveTo(...(from || at));
    context.lineTo(...at);
    context.stroke();
    item.isPainted = true;
    return at;
}

let dreamartistPen = null;

document.addEventListener("pointerdown", (event) => {
    if (dreamartistIn(event, ".dreamartist-stage .paint")) {
        event.preventDefault();
        dreamartistPen = dreamartistStroke(event, null);
    }
});
document.addEventListener("pointermove", (event) => {
    if (dreamartistPen) {
        dreamartistPen = dreamartistStroke(event, dreamartistPen);
    }
});
document.addEventListener("pointerup", () => {
    if (dreamartistPen) {
        dreamartistPen = null;
        dreamartistPicked.isPainted = !dreamartistIsEmpty(dreamartistPicked.paint);
        dreamartistShowPainted();
    }
});

function dreamartistIsEmpty(canvas) {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return !pixels.some((value, at) => at % 4 === 3 && value > 127);
}

setInterval(() => { // the size and the fit may have changed
    const editor = dreamartistFind(".dreamartist-editor");
    if (editor && dreamartistPicked && editor.item === dreamartistPicked) {
        dreamartistEditFacts(editor, dreamartistPicked);
    }
}, 700);
