// The pictures to learn from: dropped, looked at, painted over, captioned. They go to the server when Train is pressed.
"use strict";

const DREAMARTIST_MOST_PIXELS = 4e6; // larger pictures are scaled down here
const DREAMARTIST_MOST_BYTES = 100e6;
const DREAMARTIST_LEAST_SIDE = 32;
const DREAMARTIST_MOST_PICTURES = 100;
const DREAMARTIST_VIEW = 640; // pixels of the longer side, to look at and to paint on

let dreamartistTray = []; // {name, data, width, height, from, view, paint, isPainted, maskFile, caption, isClear}
let dreamartistPicked = null;
let dreamartistWork = Promise.resolve(); // files are taken one after the other

// As JSON for the server, when all that was dropped has been read.
async function dreamartistPictures() {
    await dreamartistWork;
    return JSON.stringify(dreamartistTray.map((item) => ({
        name: item.name, data: item.data, caption: item.caption,
        mask: item.isPainted ? item.paint.toDataURL("image/png") : "", mask_file: item.isPainted ? "" : item.maskFile,
    })));
}

function dreamartistTake(files) {
    const says = dreamartistFind(".dreamartist-tray-says");
    const problems = [];
    dreamartistWork = dreamartistWork.then(async () => {
        for (const [number, file] of files.entries()) {
            says.textContent = files.length > 1 ? `Reading ${number + 1} of ${files.length} ...` : "Reading the picture ...";
            try {
                await dreamartistTakeOne(file);
            } catch (error) {
                problems.push(dreamartistProblem(error, file.name));
            }
            dreamartistDraw(number === 0 || number === files.length - 1);
            await new Promise((done) => setTimeout(done)); // a click in between is answered
        }
        dreamartistSayProblems(problems);
        dreamartistFind("#dreamartist_pictures_says .dreamartist-message")?.remove();
        dreamartistAskAlone("#dreamartist_look");
    }).catch(console.error); // what comes later goes on
    return dreamartistWork;
}

function dreamartistProblem(error, name) {
    return error instanceof TypeError ? `"${name}" could not be read.` : error.message || String(error);
}

function dreamartistSayProblems(problems) {
    const says = dreamartistFind(".dreamartist-tray-says");
    says.innerHTML = "";
    for (const problem of problems) {
        const line = document.createElement("div");
        line.className = "dreamartist-message dreamartist-error";
        line.setAttribute("role", "alert");
        line.textContent = problem;
        says.append(line);
    }
}

async function dreamartistTakeOne(file) {
    const stem = file.name.replace(/\.[^.]*$/, "");
    const isOf = (item, name) => item.name.replace(/\.[^.]*$/, "") === name;
    if (/\.txt$/i.test(file.name)) {
        const item = dreamartistTray.find((each) => isOf(each, stem));
        if (!item) {
            throw new Error(`The caption "${file.name}" belongs to no picture here; drop its picture first.`);
        }
        item.caption = (await file.text()).split(/\s+/).join(" ").trim().slice(0, 2000);
        return;
    }
    const masked = stem.endsWith("_att") && dreamartistTray.find((each) => isOf(each, stem.slice(0, -4)));
    if (masked) {
        masked.maskFile = await dreamartistUrl(file);
        return;
    }
    if (dreamartistTray.length >= DREAMARTIST_MOST_PICTURES) {
        throw new Error(`"${file.name}" is one too many: ${DREAMARTIST_MOST_PICTURES} pictures are the most.`);
    }
    dreamartistTray.push(await dreamartistItem(file, file.name));
    dreamartistPicked = dreamartistPicked || dreamartistTray[0];
}

async function dreamartistItem(file, name) {
    if (file.size > DREAMARTIST_MOST_BYTES) {
        throw new Error(`"${name}" is too large with ${Math.round(file.size / 1e6)} MB; save it smaller first.`);
    }
    const {width, height, scale} = await dreamartistMeasured(file, name);
    if (Math.min(width, height) < DREAMARTIST_LEAST_SIDE) {
        throw new Error(`"${name}" is too small at ${width}x${height}; choose one with at least `
            + `${DREAMARTIST_LEAST_SIDE} pixels on each side.`);
    }
    const view = await dreamartistScaled(file, width, height, Math.min(1, DREAMARTIST_VIEW / Math.max(width, height)));
    const isClear = dreamartistIsClear(view);
    let data, from = "";
    if (scale < 1) {
        const small = await dreamartistScaled(file, width, height, scale);
        from = `${width}x${height}`;
        const blob = await new Promise((done) => small.toBlob(done, isClear ? "image/png" : "image/jpeg", 0.95));
        data = await dreamartistUrl(blob);
    } else {
        data = await dreamartistUrl(file);
    }
    const paint = document.createElement("canvas");
    paint.width = view.width;
    paint.height = view.height;
    paint.className = "paint";
    return {name, data, small: dreamartistSmall(view), width: Math.round(width * scale), height: Math.round(height * scale), from, view, paint,
        isPainted: false, maskFile: "", caption: "", isClear};
}

function dreamartistSmall(view) {
    const small = document.createElement("canvas"), scale = Math.min(1, 160 / Math.max(view.width, view.height));
    small.width = Math.max(1, view.width * scale);
    small.height = Math.max(1, view.height * scale);
    small.getContext("2d").drawImage(view, 0, 0, small.width, small.height);
    return small;
}

async function dreamartistMeasured(file, name) {
    let bitmap;
    try {
        bitmap = await createImageBitmap(file); // in a thread of the browser's own
    } catch (error) {
        throw new Error(`"${name}" cannot be opened as a picture; save it as PNG or JPEG.`);
    }
    const {width, height} = bitmap;
    bitmap.close();
    return {width, height, scale: Math.min(1, Math.sqrt(DREAMARTIST_MOST_PIXELS / (width * height)))};
}

async function dreamartistScaled(file, width, height, scale) {
    const to = {resizeWidth: Math.max(1, Math.round(width * scale)), resizeHeight: Math.max(1, Math.round(height * scale)),
        resizeQuality: "high"};
    const bitmap = await createImageBitmap(file, to);
    const canvas = document.createElement("canvas");
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    return canvas;
}

function dreamartistIsClear(canvas) {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    for (let at = 3; at < pixels.length; at += 4) {
        if (pixels[at] < 250) {
            return true;
        }
    }
    return false;
}

function dreamartistUrl(blob) {
    return new Promise((done, failed) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.onerror = () => failed(new Error("the file could not be read."));
        reader.readAsDataURL(blob);
    });
}

// The pictures of a training, back from the server into the form: all at once, and only then the button has answered.
function dreamartistTakeBack(tray, says) {
    if (!(says || "").includes("dreamartist-good")) { // there was nothing to take: what is in the form stays
        return dreamartistAnswered();
    }
    dreamartistWork = dreamartistWork.then(async () => {
        const taken = [], problems = [];
        for (const given of JSON.parse(tray || "[]")) {
            try {
                const item = await dreamartistItem(await (await fetch(given.data)).blob(), given.name);
                taken.push(Object.assign(item, {data: given.data, caption: given.caption, maskFile: given.mask_file || ""}));
            } catch (error) {
                problems.push(dreamartistProblem(error, given.name));
            }
        }
        dreamartistTray = taken;
        dreamartistPicked = taken[0] || null;
        dreamartistSayProblems(problems);
        dreamartistDraw();
        dreamartistAnswered();
        dreamartistAnnounce(dreamartistFind("#dreamartist_says")?.textContent || "");
        dreamartistFind("#dreamartist_name textarea, #dreamartist_name input")?.select();
        dreamartistAskAlone("#dreamartist_look");
    }).catch(console.error);
    return [];
}

// ---- the frame of what will be learned, and what there is to say of a picture

function dreamartistTrained() {
    const own = Number(dreamartistFind("#dreamartist_memory .dreamartist-own")?.dataset.own) || 0;
    const side = (name) => Number(dreamartistValue(name)) || own;
    return {width: side("width"), height: side("height"), fit: dreamartistValue("fit") || "crop", own};
}

// Left, top, width and height of what is learned, as shares of the picture.
function dreamartistFrame(item) {
    const {width, height, fit} = dreamartistTrained();
    if (fit !== "crop") {
        return {left: 0, top: 0, across: 1, down: 1};
    }
    const wanted = width && height ? width / height : 1, given = item.width / item.height;
    const across = given > wanted ? wanted / given : 1, down = given > wanted ? 1 : given / wanted;
    return {left: (1 - across) / 2, top: (1 - down) / 2, across, down};
}

function dreamartistWarnings(item) {
    const found = [], {width, height} = dreamartistTrained(), frame = dreamartistFrame(item);
    const cut = Math.round(100 * (1 - frame.across * frame.down));
    if (item.from) {
        found.push([`It was ${item.from}, and is scaled down to ${item.width}x${item.height}.`]);
    }
    if (width && Math.min(item.width * frame.across, item.height * frame.down) < Math.min(width, height)) {
        found.push([`It is small: ${item.width}x${item.height}, and is enlarged to ${width}x${height}.`]);
    }
    if (cut >= 10) {
        found.push([`${cut} % of it is cut off: only the bright part is learned.`, "Keep all of it", "fit", "pad"]);
    }
    if (item.isClear && dreamartistValue("transparency_as_mask") !== true) {
        const background = dreamartistValue("background") || "white";
        found.push([`Its transparent parts become ${background}.`, "Ignore them instead", "transparency_as_mask", "true"]);
    }
    return found;
}

// ---- thumbnails and the editor

function dreamartistDraw(isWhole = true) {
    const list = dreamartistFind(".dreamartist-thumbs");
    if (!list) {
        return;
    }
    if (!isWhole) { // one of many that are read
        for (let number = list.children.length; number < dreamartistTray.length; number++) {
            list.append(dreamartistThumb(dreamartistTray[number], number));
        }
        return;
    }
    list.innerHTML = "";
    dreamartistTray.forEach((item, number) => list.append(dreamartistThumb(item, number)));
    dreamartistFind(".dreamartist-tray").classList.toggle("full", dreamartistTray.length > 0);
    dreamartistEdit();
    dreamartistShowPainted();
}

function dreamartistThumb(item, number) {
    const line = document.createElement("li");
    line.innerHTML = '<button type="button" class="pick"></button><button type="button" class="drop">×</button>';
    const [pick, drop] = line.children;
    pick.append(item.small);
    pick.dataset.number = drop.dataset.number = number;
    pick.setAttribute("aria-pressed", String(item === dreamartistPicked));
    pick.setAttribute("aria-label", `picture ${number + 1}, ${item.name}`);
    drop.setAttribute("aria-label", `take ${item.name} out`);
    const count = dreamartistWarnings(item).length;
    if (count) {
        const note = document.createElement("small");
        note.textContent = count === 1 ? "1 remark" : `${count} remarks`;
        line.append(note);
    }
    return line;
}

// ---- events; the elements come and go, so the document listens

function dreamartistIn(event, selector) {
    const target = event.composedPath()[0];
    return target instanceof Element ? target.closest(selector) : null;
}

document.addEventListener("click", (event) => {
    const pick = dreamartistIn(event, ".dreamartist-thumbs .pick"), drop = dreamartistIn(event, ".dreamartist-thumbs .drop");
    if (pick) {
        dreamartistPicked = dreamartistTray[Number(pick.dataset.number)];
    } else if (drop) {
        const [gone] = dreamartistTray.splice(Number(drop.dataset.number), 1);
        dreamartistPicked = gone === dreamartistPicked ? dreamartistTray[0] || null : dreamartistPicked;
    } else if (dreamartistIn(event, ".dreamartist-editor .clear")) {
        const item = dreamartistPicked;
        item.paint.getContext("2d").clearRect(0, 0, item.paint.width, item.paint.height);
        Object.assign(item, {isPainted: false, maskFile: ""});
        dreamartistShowPainted();
        return;
    } else {
        return;
    }
    dreamartistDraw();
});
