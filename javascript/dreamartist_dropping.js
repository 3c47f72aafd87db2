// Where pictures come from: chosen, dropped, a folder of them, or pasted.
"use strict";

document.addEventListener("change", (event) => {
    const input = dreamartistIn(event, ".dreamartist-drop input");
    if (input) {
        dreamartistTake([...input.files]);
        input.value = "";
    }
});

for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
        const tray = dreamartistIn(event, ".dreamartist-tray");
        if (!tray) {
            return;
        }
        event.preventDefault();
        tray.querySelector(".dreamartist-drop").classList.toggle("over", kind === "dragover");
        if (kind === "drop") {
            event.stopPropagation();
            const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
            const folders = entries.filter((entry) => entry.isDirectory);
            const files = [...event.dataTransfer.files];
            if (folders.length) {
                Promise.all(folders.map(dreamartistFilesIn)).then((found) => dreamartistTake(
                    [...files.filter((file) => !folders.some((folder) => folder.name === file.name)), ...found.flat()]));
            } else {
                dreamartistTake(files);
            }
        }
    }, true);
}

// The pictures and captions that lie in a dropped folder, by name; not those of folders inside it.
async function dreamartistFilesIn(folder) {
    const reader = folder.createReader(), entries = [];
    for (let some = []; ; entries.push(...some)) { // a browser hands over a hundred at a time
        some = await new Promise((done, failed) => reader.readEntries(done, failed));
        if (!some.length) {
            break;
        }
    }
    const wanted = entries.filter((entry) => entry.isFile && /\.(png|jpe?g|webp|avif|bmp|gif|txt)$/i.test(entry.name));
    wanted.sort((one, other) => /\.txt$/i.test(one.name) - /\.txt$/i.test(other.name) || one.name.localeCompare(other.name));
    return Promise.all(wanted.map((entry) => new Promise((done, failed) => entry.file(done, failed))));
}

document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length && dreamartistVisible(dreamartistFind("#dreamartist_tab")) && !dreamartistIn(event, "input[type=text], textarea")) {
        dreamartistTake(files);
    }
});
