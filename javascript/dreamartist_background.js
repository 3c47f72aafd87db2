// "Background away": a near-even background, from the corners inwards, stays unpainted; all else is painted over.
"use strict";

const DREAMARTIST_NEAR = 28; // per colour, of 255: what still is the corner's colour
const DREAMARTIST_MOST_AWAY = 0.97, DREAMARTIST_LEAST_AWAY = 0.03; // shares of the picture that make sense

// For each pixel, 1 where the background is: everything that is joined to a corner by pixels near to its colour.
function dreamartistBackground(pixels, width, height) {
    const isAway = new Uint8Array(width * height);
    for (const corner of [0, width - 1, (height - 1) * width, height * width - 1]) {
        const colour = pixels.slice(4 * corner, 4 * corner + 4), todo = [corner];
        const isNear = (at) => [0, 1, 2, 3].every((part) => Math.abs(pixels[4 * at + part] - colour[part]) <= DREAMARTIST_NEAR)
            || pixels[4 * at + 3] < 8;
        while (todo.length) {
            const at = todo.pop();
            if (isAway[at] || !isNear(at)) {
                continue;
            }
            isAway[at] = 1;
            const x = at % width;
            if (x > 0) { todo.push(at - 1); }
            if (x < width - 1) { todo.push(at + 1); }
            if (at >= width) { todo.push(at - width); }
            if (at < (height - 1) * width) { todo.push(at + width); }
        }
    }
    return isAway;
}

function dreamartistBackgroundAway(item, says) {
    const {width, height} = item.view;
    const isAway = dreamartistBackground(item.view.getContext("2d").getImageData(0, 0, width, height).data, width, height);
    const share = isAway.reduce((sum, each) => sum + each, 0) / isAway.length;
    if (share < DREAMARTIST_LEAST_AWAY || share > DREAMARTIST_MOST_AWAY) {
        says.textContent = "The background is not even enough to be told apart; paint by hand.";
        return;
    }
    const context = item.paint.getContext("2d");
    item.before = {pixels: context.getImageData(0, 0, width, height), isPainted: item.isPainted};
    context.globalCompositeOperation = "source-over";
    context.fillStyle = dreamartistBrush(context);
    context.fillRect(0, 0, width, height);
    const painted = context.getImageData(0, 0, width, height);
    isAway.forEach((each, at) => { painted.data[4 * at + 3] = each ? 0 : 255; });
    context.putImageData(painted, 0, 0);
    item.isPainted = true;
    says.textContent = `The background, ${Math.round(100 * share)} % of the picture, counts less now. Paint or erase to correct it.`;
}

function dreamartistUndoAway(item) {
    item.paint.getContext("2d").putImageData(item.before.pixels, 0, 0);
    item.isPainted = item.before.isPainted;
    item.before = null;
}

document.addEventListener("click", (event) => {
    const away = dreamartistIn(event, ".dreamartist-editor .away"), undo = dreamartistIn(event, ".dreamartist-editor .undo");
    const item = dreamartistPicked;
    if (!item || !(away || undo)) {
        return;
    }
    const says = dreamartistFind(".dreamartist-editor .away-says");
    if (away) {
        dreamartistBackgroundAway(item, says);
    } else if (item.before) {
        dreamartistUndoAway(item);
        says.textContent = "";
    }
    dreamartistFind(".dreamartist-editor .undo").hidden = !item.before;
    dreamartistShowPainted();
});
