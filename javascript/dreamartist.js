// Keeps the tab up to date, and carries a learned word to the prompt. Runs in the WebUI and in `dreamartist serve`.
"use strict";

const DREAMARTIST_REFRESH_MS = 1000;

function dreamartistPage() {
    return typeof gradioApp === "function" ? gradioApp() : document;
}

function dreamartistVisible(element) {
    return element !== null && element.offsetParent !== null && !document.hidden;
}

setInterval(() => {
    const button = dreamartistPage().querySelector("#dreamartist_refresh");
    if (button && dreamartistVisible(dreamartistPage().querySelector("#dreamartist_tab"))) {
        button.click();
    }
}, DREAMARTIST_REFRESH_MS);

// The word of the training that the page shows, into the prompt of txt2img, or of the page's own "Try it".
function dreamartistUse() {
    const page = dreamartistPage();
    const name = page.querySelector('#dreamartist_live [data-status="done"] b, #dreamartist_live [data-status="stopped"] b');
    const prompt = page.querySelector("#txt2img_prompt textarea, #dreamartist_try_prompt textarea, #dreamartist_try_prompt input");
    if (!name || !prompt) {
        return [];
    }
    const word = name.textContent;
    if (!new RegExp(`(^|[^\\w-])${word}($|[^\\w-])`, "i").test(prompt.value)) {
        prompt.value = prompt.value.trim() ? `${prompt.value.trim()}, ${word}` : word;
        prompt.dispatchEvent(new Event("input", {bubbles: true}));
    }
    if (typeof switch_to_txt2img === "function") {
        switch_to_txt2img();
    } else {
        prompt.scrollIntoView({block: "center"});
    }
    prompt.focus();
    return [];
}
