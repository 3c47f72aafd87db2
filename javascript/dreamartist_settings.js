// The settings form: folded away until wanted, searched, and marked where it is not as usual.
"use strict";

const dreamartistRead = {text: "", values: null}; // read once for each answer of the server's

function dreamartistUsual() {
    const element = dreamartistFind("#dreamartist_usual .dreamartist-usual");
    if (element && element.dataset.usual !== dreamartistRead.text) {
        dreamartistRead.text = element.dataset.usual;
        dreamartistRead.values = JSON.parse(dreamartistRead.text);
    }
    return element ? dreamartistRead.values : null;
}

function dreamartistSetting(name) {
    return dreamartistFind(`#dreamartist_${name}`);
}

// What the field of a setting says now.
function dreamartistValue(name) {
    const block = dreamartistSetting(name);
    const box = block?.querySelector("input[type=checkbox]");
    return box ? box.checked : block?.querySelector("textarea, input")?.value;
}

function dreamartistSame(one, other) {
    if (typeof one === "boolean" || typeof other === "boolean") {
        return one === other;
    }
    const isNumber = (value) => String(value).trim() !== "" && !Number.isNaN(Number(value));
    return isNumber(one) && isNumber(other) ? Number(one) === Number(other) : String(one ?? "") === String(other ?? "");
}

function dreamartistMark() {
    const usual = dreamartistUsual();
    if (!usual) {
        return;
    }
    let count = 0;
    for (const [name, value] of Object.entries(usual)) {
        const block = dreamartistSetting(name);
        const now = block ? dreamartistValue(name) : undefined;
        const isChanged = now !== undefined && !dreamartistSame(now, value);
        count += isChanged;
        if (block && block.classList.contains("changed") !== isChanged) {
            block.classList.toggle("changed", isChanged);
        }
        if (isChanged) {
            dreamartistWayBack(block, name, value);
        }
    }
    const says = dreamartistFind(".dreamartist-count"), back = dreamartistFind(".dreamartist-all-back");
    if (says && says.textContent !== (count ? `${count} changed` : "")) {
        says.textContent = count ? `${count} changed` : "";
    }
    if (back) {
        back.hidden = !count;
    }
}

function dreamartistWayBack(block, name, value) {
    let back = block.querySelector(".back");
    if (!back) {
        back = document.createElement("button");
        back.type = "button";
        back.className = "dreamartist-do back";
        back.dataset.dreamartistSet = name;
        block.append(back);
    }
    const words = `usual: ${value === "" ? "empty" : value === true ? "on" : value === false ? "off" : value}`;
    if (back.textContent !== words) {
        back.textContent = words;
        back.setAttribute("aria-label", `set back to the usual ${value}`);
    }
}

function dreamartistFold(isOpen) {
    const button = dreamartistFind("#dreamartist_fold");
    dreamartistFind("#dreamartist_options")?.classList.toggle("dreamartist-folded", !isOpen);
    button?.setAttribute("aria-expanded", String(isOpen));
}

function dreamartistSearch(words) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const block of dreamartistPage().querySelectorAll("#dreamartist_options .dreamartist-setting")) {
        const text = `${block.textContent} ${block.id.replace("dreamartist_", "").replaceAll("_", " ")}`.toLowerCase();
        const isFound = wanted.every((word) => text.includes(word));
        block.classList.toggle("dreamartist-missed", !isFound);
        found += isFound;
    }
    for (const group of dreamartistPage().querySelectorAll("#dreamartist_options .dreamartist-group")) {
        group.classList.toggle("dreamartist-missed", !group.querySelector(".dreamartist-setting:not(.dreamartist-missed)"));
    }
    dreamartistFind(".dreamartist-settings-search span").textContent = wanted.length ? `${found} found` : "";
}

// The setting that the server named in an error: opened, marked, and in sight.
function dreamartistMarkWrong() {
    dreamartistPage().querySelectorAll(".dreamartist-setting.wrong").forEach((block) => block.classList.remove("wrong"));
    const named = dreamartistFind("#dreamartist_field_says [data-field]");
    const block = named ? dreamartistSetting(named.dataset.field) : null;
    if (block) {
        dreamartistFold(true);
        block.classList.add("wrong");
        block.scrollIntoView({block: "center"});
        const input = block.querySelector("textarea, input");
        input?.setAttribute("aria-invalid", "true");
        input?.focus();
    }
}

document.addEventListener("click", (event) => {
    const target = event.composedPath()[0];
    if (target instanceof Element && target.id === "dreamartist_fold") {
        dreamartistFold(target.getAttribute("aria-expanded") !== "true");
    }
    if (target instanceof Element && target.closest("#dreamartist_tab")) {
        setTimeout(dreamartistMark, 150);
    }
});

document.addEventListener("input", (event) => {
    const target = event.composedPath()[0];
    if (!(target instanceof Element)) {
        return;
    }
    if (target.id === "dreamartist_find") {
        dreamartistSearch(target.value);
    } else if (target.closest("#dreamartist_tab")) {
        target.removeAttribute("aria-invalid");
        setTimeout(dreamartistMark, 100);
    }
});

setInterval(() => {
    if (dreamartistVisible(dreamartistFind("#dreamartist_tab"))) {
        dreamartistMark();
    }
}, 1500);
