// Where files come from: chosen, dropped, a folder of them, or pasted.
"use strict";

const DREAMARTIST_LEARNED = /\.(png|jpe?g|webp|avif|bmp|gif|txt)$/i;
const DREAMARTIST_IMPORTED = /\.(pt|safetensors|bin|png|jpe?g|webp|jxl|avif)$/i;

document.addEventListener("change", (event) => {
    const input = dreamartistIn(event, ".dreamartist-drop input");
    if (input) {
        dreamartistTakerAt(input)([...input.files]);
        input.value = "";
    }
});

for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
        const place = dreamartistIn(event, ".dreamartist-tray, .dreamartist-import");
        if (!place) {
            return;
        }
        event.preventDefault();
        (place.querySelector(".dreamartist-drop") || place).classList.toggle("over", kind === "dragover");
        if (kind === "drop") {
            event.stopPropagation();
            const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
            const folders = entries.filter((entry) => entry.isDirectory);
            const files = [...event.dataTransfer.files], take = dreamartistTakerAt(place);
            if (folders.length) {
                Promise.all(folders.map((folder) => dreamartistFilesIn(folder, place))).then((found) => take(
                    [...files.filter((file) => !folders.some((folder) => folder.name === file.name)), ...found.flat()]));
            } else {
                take(files);
            }
        }
    }, true);
}

// What takes the files of a place where they are dropped: pictures to learn from, or concepts to import.
function dreamartistTakerAt(place) {
    return place.closest(".dreamartist-import") ? dreamartistImport : dreamartistTake;
}

// The files in a dropped folder that its place takes, by name, captions last; not those of folders inside it.
async function dreamartistFilesIn(folder, place) {
    const reader = folder.createReader(), entries = [];
    for (let some = []; ; entries.push(...some)) { // a browser hands over a hundred at a time
        some = await new Promise((done, failed) => reader.readEntries(done, failed));
        if (!some.length) {
            break;
        }
    }
    const ends = place.matches(".dreamartist-import") ? DREAMARTIST_IMPORTED : DREAMARTIST_LEARNED;
    const wanted = entries.filter((entry) => entry.isFile && ends.test(entry.name));
    wanted.sort((one, other) => /\.txt$/i.test(one.name) - /\.txt$/i.test(other.name) || one.name.localeCompare(other.name));
    return Promise.all(wanted.map((entry) => new Promise((done, failed) => entry.file(done, failed))));
}

// ---- concepts to import: the server looks at them as soon as they are dropped

let dreamartistGiven = [];

function dreamartistImport(files) {
    const isLarge = (file) => file.size > DREAMARTIST_MOST_BYTES;
    dreamartistGiven = files.filter((file) => !isLarge(file));
    const names = dreamartistGiven.slice(0, 3).map((file) => file.name).join(", "), more = dreamartistGiven.length - 3;
    const large = files.filter(isLarge).map((file) => `"${file.name}" is too large to be dropped here; copy it into the embeddings folder instead.`);
    dreamartistFind(".dreamartist-import span").textContent = [names + (more > 0 ? ` and ${more} more` : ""), ...large].join(" ");
    dreamartistAskAlone("#dreamartist_offer");
}

// As JSON for the server; what could not be read it says itself.
async function dreamartistDropped() {
    const read = async (file) => ({name: file.name, data: await dreamartistUrl(file).catch(() => "data:,unread")});
    return JSON.stringify(await Promise.all(dreamartistGiven.map(read)));
}

document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length && dreamartistVisible(dreamartistFind("#dreamartist_tab")) && !dreamartistIn(event, "input[type=text], textarea")) {
        dreamartistTake(files);
    }
});
