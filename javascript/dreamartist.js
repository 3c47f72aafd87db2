// Keeps the tab up to date, and carries a learned word to the prompt. Runs in the WebUI and in `dreamartist serve`.
"use strict";

const DREAMARTIST_REFRESH_MS = 1000;
const DREAMARTIST_HIDDEN_MS = 5000; // between two questions while the page cannot be seen
const DREAMARTIST_GONE_MS = 12000; // without an answer

function dreamartistPage() {
    return typeof gradioApp === "function" ? gradioApp() : document;
}

function dreamartistFind(selector) {
    return dreamartistPage().querySelector(selector);
}

function dreamartistVisible(element) {
    return element !== null && element.offsetParent !== null && !document.hidden;
}

// ---- light or dark

// SD.Next has dark themes that no class tells of: what is behind the tab does.
function dreamartistShade() {
    const tabs = dreamartistFind("#dreamartist_tabs");
    if (!dreamartistVisible(tabs)) {
        return;
    }
    for (let element = tabs; element; element = element.parentElement || element.getRootNode().host) {
        const colour = getComputedStyle(element).backgroundColor;
        const [red, green, blue, alpha = 1] = (colour.match(/^rgba?\((.*)\)$/)?.[1] || "0,0,0,0").split(",").map(Number);
        if (alpha > 0.5) {
            tabs.classList.toggle("dreamartist-dark", 0.3 * red + 0.59 * green + 0.11 * blue < 110);
            return;
        }
    }
}

setInterval(dreamartistShade, DREAMARTIST_REFRESH_MS);

// ---- what a click says at once, until the server has answered

const dreamartistBusy = {
    dreamartist_train: "Starting ...", dreamartist_add: "Adding ...", dreamartist_each: "Adding ...", dreamartist_install: "Installing ...", dreamartist_recipe_save: "Saving ...", dreamartist_recipe_delete: "Deleting ...", dreamartist_spread: "Spreading ...", dreamartist_stop: "Stopping ...",
    dreamartist_pause: "Pausing ...", dreamartist_discard: "Discarding ...", dreamartist_undo: "Bringing back ...",
    dreamartist_share: "Making the card ...", dreamartist_again: "Filling the form ...", dreamartist_again_do: "Filling the form ...", dreamartist_go_on: "Going on ...",
    dreamartist_continue: "Going on ...", dreamartist_keep: "Keeping ...", dreamartist_forget: "Discarding ...",
    dreamartist_estimate: "One moment ...", dreamartist_compare: "Starting ...", dreamartist_evaluate: "Starting ...",
    dreamartist_compare_stop: "Stopping ...", dreamartist_compare_use: "Taking it ...", dreamartist_draw: "Drawing ...",
};

function dreamartistButton(event) {
    const target = event.composedPath()[0];
    return target instanceof Element ? target.closest("button[id^=dreamartist_]") : null;
}

document.addEventListener("click", (event) => {
    const button = dreamartistButton(event);
    if (!button || !(button.id in dreamartistBusy) || button.disabled) {
        return;
    }
    if (button.dataset.busy) { // its first click has not been answered
        event.stopImmediatePropagation();
        event.preventDefault();
        return;
    }
    button.dataset.busy = dreamartistBusy[button.id];
    button.setAttribute("aria-busy", "true");
    dreamartistAnnounce(button.dataset.busy);
    setTimeout(() => dreamartistFree(button), button.id === "dreamartist_draw" ? 3600000 : 30000);
}, true);

function dreamartistFree(button) {
    delete button.dataset.busy;
    button.removeAttribute("aria-busy");
}

// The server has answered: no button waits any more, and what the answer began is followed.
function dreamartistAnswered() {
    dreamartistPage().querySelectorAll("button[data-busy]").forEach(dreamartistFree);
    return dreamartistAskNow();
}

// Something has changed. Only the poll asks for what: of two answers the older could come last, and stay.
function dreamartistAskNow() {
    dreamartistPoll.changed = Date.now();
    dreamartistPoll.soon = dreamartistPoll.changed + 4000;
    dreamartistPoll();
    return [];
}

// Train has answered: to the progress where it is out of sight, or to what speaks against it.
function dreamartistBegun(goes = true) {
    dreamartistAnswered();
    setTimeout(() => {
        const places = "#dreamartist_pictures_says, #dreamartist_name_says, #dreamartist_train_says, #dreamartist_field_says";
        const wrong = [...dreamartistPage().querySelectorAll(places)].find((each) => each.querySelector(".dreamartist-error"));
        if (typeof dreamartistMarkWrong === "function") {
            dreamartistMarkWrong();
        }
        if (wrong) {
            wrong.scrollIntoView({block: "center", behavior: "smooth"});
        } else if (goes) {
            dreamartistBring("#dreamartist_trained", "start");
        }
        if (!wrong && "Notification" in window && Notification.permission === "default") {
            Notification.requestPermission();
        }
    }, 60);
    return [];
}

// What a training is told by its buttons is answered at its top, which may be out of sight: to the answer, or the progress.
function dreamartistTold() {
    dreamartistAnswered();
    setTimeout(() => dreamartistFind("#dreamartist_says").textContent.trim()
        ? dreamartistBring("#dreamartist_says", "center") : dreamartistBring("#dreamartist_trained", "start"), 60);
    return [];
}

// Into sight, unless its top is.
function dreamartistBring(selector, block) {
    const element = dreamartistFind(selector), {top} = element.getBoundingClientRect();
    if (top < 0 || top > window.innerHeight - 100) {
        element.scrollIntoView({block, behavior: "smooth"});
    }
}

// ---- what is going on, asked only while something is

const dreamartistAsked = {}; // by refresh button: when it was asked last, and which beat was there then

function dreamartistPoll() {
    dreamartistAsk("#dreamartist_tab", "#dreamartist_refresh", "#dreamartist_beat .dreamartist-beat");
    dreamartistAsk("#dreamartist_concepts_head", "#dreamartist_concepts_refresh", "#dreamartist_concepts_beat .dreamartist-beat");
    dreamartistAsk("#dreamartist_compare_tab", "#dreamartist_compare_refresh", "#dreamartist_compare_beat .dreamartist-beat");
}
dreamartistPoll.soon = dreamartistPoll.changed = 0;

function dreamartistAsk(shown, refresh, beat) {
    const button = dreamartistFind(refresh), last = dreamartistFind(beat);
    if (!button) {
        return;
    }
    const asked = dreamartistAsked[refresh] || (dreamartistAsked[refresh] = {at: 0, beat: null, waits: false});
    const now = Date.now(), number = last ? last.dataset.beat : "";
    if (asked.waits && number !== asked.beat) {
        asked.waits = false;
        dreamartistHeard(last);
    }
    const isVisible = dreamartistVisible(dreamartistFind(shown));
    const isActive = last !== null && last.dataset.active === "1";
    const isNew = isVisible && !asked.seen; // the first look, and each time the tab is opened again
    asked.seen = isVisible;
    if (asked.waits) {
        if (now - asked.at > DREAMARTIST_GONE_MS) {
            asked.at = now;
            dreamartistIsThere().then((there) => there ? button.click() : dreamartistGone());
        }
    } else if (isNew || (isVisible && (now < dreamartistPoll.soon || asked.at <= dreamartistPoll.changed))
        || (isActive && now - asked.at >= (document.hidden ? DREAMARTIST_HIDDEN_MS : 0))) {
        Object.assign(asked, {at: now, beat: number, waits: true});
        button.click();
    }
}

setInterval(dreamartistPoll, DREAMARTIST_REFRESH_MS);

// What is asked at each change is asked for one at a time: of two answers the older could come last, and stay.
const dreamartistUnderWay = {}; // by hidden button: since when, and whether something has changed meanwhile

function dreamartistAskAlone(button) {
    const asked = dreamartistUnderWay[button] || (dreamartistUnderWay[button] = {since: 0, again: false});
    if (Date.now() - asked.since < DREAMARTIST_GONE_MS) {
        asked.again = true;
    } else if (dreamartistFind(button)) { // today's gradio makes what a tab holds only when it is opened first
        Object.assign(asked, {since: Date.now(), again: asked.since > 0}); // gradio 3 hears no click before it has answered
        dreamartistFind(button).click();
    }
    return [];
}

function dreamartistToldAlone(button) {
    const asked = dreamartistUnderWay[button];
    asked.since = 0;
    return asked.again ? dreamartistAskAlone(button) : [];
}

// A picture of the WebUI's that is in the queue behind a training: for what it waits, and what Interrupt does there.
function dreamartistSayWhatWaits() {
    for (const bar of dreamartistPage().querySelectorAll(".progressDiv")) {
        const waits = /^(In queue|Waiting)/.test(bar.textContent.trim());
        const title = waits ? dreamartistFind("#dreamartist_beat .dreamartist-beat")?.dataset.title : "";
        if (waits && Date.now() - dreamartistSayWhatWaits.asked > DREAMARTIST_HIDDEN_MS) {
            dreamartistSayWhatWaits.asked = Date.now();
            dreamartistFind("#dreamartist_refresh")?.click();
        }
        let says = bar.parentElement.querySelector(".dreamartist-waits");
        if (!title) {
            says?.remove();
            continue;
        }
        if (!says) {
            says = document.createElement("div");
            says.className = "dreamartist-waits";
            says.setAttribute("role", "status");
            bar.after(says);
        }
        const words = `It waits for a training: ${title}. Interrupt calls off this picture; the training goes on.`;
        if (says.textContent !== words) {
            says.textContent = words;
        }
    }
}
dreamartistSayWhatWaits.asked = 0;

setInterval(dreamartistSayWhatWaits, DREAMARTIST_REFRESH_MS);

async function dreamartistIsThere() {
    try {
        await fetch(window.location.href, {method: "HEAD", cache: "no-store"});
        return true;
    } catch (error) {
        return false;
    }
}

function dreamartistGone() {
    const live = dreamartistFind("#dreamartist_live");
    if (live && !dreamartistFind(".dreamartist-stale")) {
        const says = document.createElement("div");
        says.className = "dreamartist-stale";
        says.setAttribute("role", "alert");
        says.textContent = "The server does not answer: what is shown here is old. Start it again, then reload this page.";
        live.before(says);
    }
}

let dreamartistTitle = "", dreamartistDone = null;

// An answer has come: the window's title, and a word when a training is over.
function dreamartistHeard(beat) {
    dreamartistFind(".dreamartist-stale")?.remove();
    if (!beat || beat.dataset.title === undefined) {
        return;
    }
    if (beat.dataset.title) {
        dreamartistTitle = dreamartistTitle || document.title;
        document.title = beat.dataset.title;
    } else if (dreamartistTitle) {
        document.title = dreamartistTitle;
        dreamartistTitle = "";
    }
    const done = beat.dataset.done;
    if (dreamartistDone !== null && done && done !== dreamartistDone) {
        const words = done.replace(/^[^:]*: /, "");
        dreamartistAnnounce(words);
        if (document.hidden && "Notification" in window && Notification.permission === "granted") {
            new Notification("DreamArtist", {body: words});
        }
    }
    dreamartistDone = done;
    const stage = dreamartistFind(".dreamartist-stages .now")?.textContent || "";
    if (stage && stage !== dreamartistHeard.stage) {
        dreamartistAnnounce(stage);
    }
    dreamartistHeard.stage = stage;
}

// To whoever listens to the page instead of looking at it.
function dreamartistAnnounce(words) {
    let region = document.getElementById("dreamartist_announced");
    if (!region) {
        region = document.createElement("div");
        region.id = "dreamartist_announced";
        region.className = "dreamartist-sr";
        region.setAttribute("role", "status");
        document.body.append(region);
    }
    region.textContent = words;
}

// ---- a word, as it is typed, into the prompt of txt2img, or of the page's own "Try it"

function dreamartistOpenTab(label) {
    const tabs = dreamartistPage().querySelectorAll("#dreamartist_tabs .tab-nav button, #dreamartist_tabs button[role=tab]");
    [...tabs].find((tab) => tab.textContent.trim() === label)?.click();
}

// Today's gradio makes what a tab holds only when it is opened first.
function dreamartistWhenThere(selector, then, tries = 50) {
    const element = dreamartistFind(selector);
    if (element) {
        then(element);
    } else if (tries) {
        setTimeout(() => dreamartistWhenThere(selector, then, tries - 1), 100);
    }
}

function dreamartistUseWord(word) {
    if (!word) {
        return;
    }
    if (typeof switch_to_txt2img === "function") {
        switch_to_txt2img();
    } else {
        dreamartistOpenTab("Try it");
    }
    const fields = "#txt2img_prompt textarea, #dreamartist_try_prompt textarea, #dreamartist_try_prompt input";
    dreamartistWhenThere(fields, (prompt) => {
        const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
        if (!new RegExp(`(^|[^\\w-])${escaped}($|[^\\w-])`, "i").test(prompt.value)) {
            prompt.value = prompt.value.trim() ? `${prompt.value.trim()}, ${word}` : word;
            prompt.dispatchEvent(new Event("input", {bubbles: true}));
        }
        setTimeout(() => prompt.focus(), 60);
    });
}

function dreamartistShownName() {
    return dreamartistFind("#dreamartist_live b")?.textContent || "";
}

// The word of the training that the page shows.
function dreamartistUse() {
    const live = dreamartistFind('#dreamartist_live [data-status="done"], #dreamartist_live [data-status="stopped"]');
    dreamartistUseWord(live ? dreamartistShownName() : "");
    return [];
}
