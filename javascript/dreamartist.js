// Keeps the tab up to date, and carries a learned word to the prompt. Runs in the WebUI and in `dreamartist serve`.
"use strict";

const DREAMARTIST_REFRESH_MS = 1000;

function dreamartistPage() {
    return typeof gradioApp === "function" ? gradioApp() : document;
}

function dreamartistVisible(element) {
    return element !== null && element.offsetParent !== null && !document.hidden;
}

// What is refreshed, while it can be seen.
const dreamartistLive = {"#dreamartist_tab": "#dreamartist_refresh", "#dreamartist_compare_tab": "#dreamartist_compare_refresh"};

setInterval(() => {
    for (const [shown, refresh] of Object.entries(dreamartistLive)) {
        const button = dreamartistPage().querySelector(refresh);
        if (button && dreamartistVisible(dreamartistPage().querySelector(shown))) {
            button.click();
        }
    }
}, DREAMARTIST_REFRESH_MS);

// A word, as it is typed, into the prompt of txt2img, or of the page's own "Try it".
function dreamartistUseWord(word) {
    const prompt = dreamartistPage().querySelector(
        "#txt2img_prompt textarea, #dreamartist_try_prompt textarea, #dreamartist_try_prompt input");
    if (!word || !prompt) {
        return;
    }
    const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    if (!new RegExp(`(^|[^\\w-])${escaped}($|[^\\w-])`, "i").test(prompt.value)) {
        prompt.value = prompt.value.trim() ? `${prompt.value.trim()}, ${word}` : word;
        prompt.dispatchEvent(new Event("input", {bubbles: true}));
    }
    if (typeof switch_to_txt2img === "function") {
        switch_to_txt2img();
    } else {
        prompt.scrollIntoView({block: "center"});
    }
    prompt.focus();
}

// The word of the training that the page shows.
function dreamartistUse() {
    const name = dreamartistPage().querySelector(
        '#dreamartist_live [data-status="done"] b, #dreamartist_live [data-status="stopped"] b');
    dreamartistUseWord(name ? name.textContent : "");
    return [];
}

// What a button in "My concepts" asks for, on its way to the server: it takes the place of a hidden field's value.
let dreamartistAsked = "";

function dreamartistWish() {
    const wish = dreamartistAsked;
    dreamartistAsked = "";
    return wish;
}

function dreamartistAsk(button) {
    const page = dreamartistPage();
    const field = button.closest(".dreamartist-form")?.querySelector("input, select");
    const cards = page.querySelector("#dreamartist_concepts .dreamartist-cards");
    dreamartistAsked = JSON.stringify({
        do: button.dataset.dreamartistDo,
        key: button.dataset.key,
        value: button.dataset.value || (field ? field.value : ""),
        page: cards ? Number(cards.dataset.page) : 0,
    });
    page.querySelector("#dreamartist_do").click();
}

document.addEventListener("click", (event) => {
    const target = event.composedPath()[0];
    const button = target instanceof Element ? target.closest("[data-dreamartist-do], [data-dreamartist-word]") : null;
    if (button && button.dataset.dreamartistDo) {
        dreamartistAsk(button);
    } else if (button) {
        dreamartistUseWord(button.dataset.dreamartistWord);
    }
    for (const menu of dreamartistPage().querySelectorAll(".dreamartist-menu[open]")) {
        if (!menu.contains(target) || button) {
            menu.open = false;
        }
    }
});

document.addEventListener("keydown", (event) => {
    const target = event.composedPath()[0];
    const form = target instanceof Element ? target.closest(".dreamartist-form") : null;
    if (form && event.key === "Enter" && target.tagName === "INPUT") {
        form.querySelector("[data-dreamartist-do]").click();
    }
});
